"""``avsafe generate``, ``release`` and ``verify``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli import many
from avsafe.cli.shell import Json, console, print_json, progress_bar, shown
from avsafe.plain import plain

if TYPE_CHECKING:
    from avsafe.types import GenerationRequest, InputMedia, Release, Verdict

# What an option's file is called in a request, where a task calls it otherwise.
ROLES = {
    "talking-head": {"image": "portrait", "audio": "voice"},
    "text-to-speech": {"audio": "voice"},
}
# Of the file that is written when no name is given; any other task makes a clip.
SUFFIXES = {"text-to-image": ".png", "text-to-speech": ".wav"}
VERIFY_EXIT = {
    "unreadable": 3,
    "synthetic-declared": 10,
    "synthetic-recovered": 11,
    "synthetic-suspected": 12,
    "altered": 20,
}

Prompt = Annotated[str, typer.Option("--prompt", "-p", help="What to make, in words.")]
MadeFrom = Annotated[str, typer.Option("--prompt", "-p", help="The prompt that it was made from.")]
Disclose = Annotated[
    bool,
    typer.Option(
        "--disclose-prompt", help="Put the prompt into the manifest; otherwise only a hash of it."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same output.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Where to write the release.")]
Purpose = Annotated[str, typer.Option("--purpose", help="What it is for; the policy may ask.")]
Consent = Annotated[
    list[str] | None, typer.Option("--consent", help="Id of a consent record; repeat for more.")
]
Tsa = Annotated[str | None, typer.Option("--tsa", help="RFC 3161 time stamp authority, URL.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output file that exists.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("generate")(generate)
    app.command("release")(release)
    app.command("verify")(verify)


def generate(
    task: Annotated[
        str, typer.Argument(help="text-to-video, text-to-image, text-to-speech, talking-head, ...")
    ],
    prompt: Prompt = "",
    output: Output = None,
    seed: Seed = 0,
    duration: Annotated[float | None, typer.Option(help="Length in seconds.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, e.g. 512x512.")] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            help="A registered generator (avsafe generators list). Default: the embedded one."
        ),
    ] = None,
    negative_prompt: Annotated[str, typer.Option(help="What to keep out.")] = "",
    image: Annotated[Path | None, typer.Option(help="Input picture, e.g. a portrait.")] = None,
    video: Annotated[Path | None, typer.Option(help="Input video.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Input sound, e.g. a voice.")] = None,
    mask: Annotated[
        str | None,
        typer.Option(help="Where to work: a picture or video (white), or a box x,y,w,h, 0 to 1."),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the generator; repeat for more.")
    ] = None,
    purpose: Purpose = "general",
    consent: Consent = None,
    disclose_prompt: Disclose = False,
    tsa: Tsa = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Generate media behind the gate: decided, marked, signed, logged, verified, then released.

    Example: avsafe generate text-to-video --prompt "a red metal ball bouncing on grass" -o ball.mp4

    Exit codes: 0 released, 1 failed, 2 usage, 3 unreadable input, 4 denied, 5 to review, 6 an
    optional package is missing.
    """
    from avsafe.errors import UsageError
    from avsafe.plugins import DEFAULT_GENERATORS
    from avsafe.types import GenerationRequest, Task

    try:
        wanted = Task(task)
    except ValueError:
        names = ", ".join(t for t in Task if t is not Task.RELEASE)
        raise UsageError(f"No task {task!r}. Tasks: {names}.") from None
    if wanted is Task.RELEASE:
        raise UsageError("To release a file made elsewhere use: avsafe release FILE.")
    name = generator or DEFAULT_GENERATORS[wanted]
    width, height = _size(size)
    if duration is not None and not 0 < duration < float("inf"):
        raise UsageError(f"--duration is a number of seconds over 0, not {duration:g}.")
    box = {"mask": mask} if mask and _is_box(mask) else {}
    given = {"image": image, "video": video, "audio": audio}
    given |= {"mask": Path(mask)} if mask and not box else {}
    roles = ROLES.get(task, {})
    request = GenerationRequest(
        principal=_principal(),
        task=wanted,
        generator=name,
        prompt=prompt,
        negative_prompt=negative_prompt,
        inputs=tuple(_input(roles.get(n, n), path) for n, path in given.items() if path),
        consent_ids=tuple(consent or ()),
        purpose=purpose,
        seed=seed,
        width=width,
        height=height,
        duration_s=duration,
        parameters=_parameters(param)
        | box
        | ({"disclose_prompt": True} if disclose_prompt else {}),
    )
    target = output or Path(f"{task}{SUFFIXES.get(task, '.mp4')}")
    _run(request, target, tsa=tsa, force=force, as_json=as_json)


def release(
    file: Annotated[Path, typer.Argument(help="Media that another program made.")],
    generator: Annotated[str, typer.Option(help="The name of what made it.")],
    prompt: MadeFrom = "",
    output: Output = None,
    purpose: Purpose = "general",
    consent: Consent = None,
    disclose_prompt: Disclose = False,
    tsa: Tsa = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Release AI-made media from elsewhere: the same gate, marks, signature and ledger.

    Example: avsafe release clip.mp4 --generator my-model --prompt "a boat at dawn" -o signed.mp4

    The file itself stays as it is: FILE.released.mp4 (.png, .wav) is written unless -o says
    otherwise. A credential that it carries is kept as history. Exit codes as for generate.
    """
    from avsafe.types import GenerationRequest, Kind, Task

    source = _input("source", file)
    suffix = {Kind.VIDEO: ".mp4", Kind.IMAGE: ".png", Kind.AUDIO: ".wav"}[source.media.kind]
    request = GenerationRequest(
        principal=_principal(),
        task=Task.RELEASE,
        generator=generator,
        prompt=prompt,
        inputs=(source,),
        consent_ids=tuple(consent or ()),
        purpose=purpose,
        parameters={"disclose_prompt": True} if disclose_prompt else {},
    )
    target = output or file.with_name(f"{file.stem}.released{suffix}")
    _run(request, target, tsa=tsa, force=force, as_json=as_json)


def verify(
    files: Annotated[list[Path], typer.Argument(help="Files to verify; with --out also folders.")],
    credential_only: Annotated[
        bool,
        typer.Option("--credential-only", help="Read the credential and stop: nothing is decoded."),
    ] = False,
    detectors: Annotated[
        str,
        typer.Option(
            help="all, none, or names with commas between (avsafe detectors list).", metavar="NAMES"
        ),
    ] = "all",
    maps: Annotated[
        Path | None,
        typer.Option(
            help="A folder for pictures: where in the frame and when in time detectors see signs."
        ),
    ] = None,
    out: many.Out = None,
    jobs: many.Jobs = 1,
    executor: many.Executor = "local",
    table: many.Table = None,
    strict: many.Strict = False,
    as_json: Json = False,
) -> None:
    """Say what can be known of a file: credential, watermark, fingerprint, detectors.

    Example: avsafe verify clip.mp4 --detectors all --maps maps/

    Many files, in a run that can be interrupted: avsafe verify FOLDER --out RUN --jobs 8

    Exit codes: 0 inconclusive or declared-other, 3 unreadable, 10 synthetic-declared,
    11 synthetic-recovered, 12 synthetic-suspected, 20 altered; of several files, the highest. With
    --out: 0 every file was looked at, 1 some could not be; with --strict as without --out.
    "Nothing found" never means "not AI-made"; detectors alone reach synthetic-suspected at most,
    and abstain where they were not measured (docs/detectors.md).
    """
    from avsafe.errors import UsageError

    asked = [name for part in detectors.split(",") if (name := part.strip())]
    if not asked:
        raise UsageError('--detectors takes "all", "none", or names with commas between.')
    if out is not None:
        if maps is not None:
            raise UsageError("--maps does not go with --out: name the files that are to be shown.")
        outcome = many.run(
            files, out, asked, credential_only=credential_only, jobs=jobs, executor=executor,
            tables=table, as_json=as_json,
        )  # fmt: skip
        labels = [VERIFY_EXIT.get(label, 0) for label in outcome.labels] if strict else []
        raise typer.Exit(max([int(outcome.failed > 0), *labels]))
    if (jobs, executor, table, strict) != (1, "local", None, False):
        raise UsageError("--jobs, --executor, --table and --strict go with --out RUN.")
    if folders := [str(path) for path in files if path.is_dir()]:
        raise UsageError(f"{folders[0]} is a folder: name a place for the answers, --out RUN.")
    verdicts = _verdicts(files, asked, credential_only, maps, as_json=as_json)
    if as_json:
        print_json(verdicts)
    else:
        for verdict in verdicts:
            show_verdict(verdict)
    if maps is not None:
        _write_maps(verdicts, maps)
    raise typer.Exit(max(VERIFY_EXIT.get(verdict.label, 0) for verdict in verdicts))


def _verdicts(
    files: list[Path],
    asked: list[str],
    credential_only: bool,
    maps: Path | None,
    *,
    as_json: bool,
) -> list[Verdict]:
    from avsafe.errors import UsageError
    from avsafe.home import Home
    from avsafe.verify import verify as verify_file
    from avsafe.workspace import Lookup

    if missing := [str(path) for path in files if not path.is_file()]:
        raise UsageError(f"No such file: {', '.join(missing)}.")
    if closed := [str(path) for path in files if not os.access(path, os.R_OK)]:
        raise UsageError(f"You may not read {', '.join(closed)}.")
    if maps is not None and credential_only:
        raise UsageError("--maps shows what detectors saw: leave out --credential-only.")
    lookup = Lookup(Home.default())
    verdicts: list[Verdict] = []
    with progress_bar("verifying", show=not as_json) as progress:
        for number, path in enumerate(files):
            progress(number / len(files), path.name)
            verdicts.append(
                verify_file(path, lookup, credential_only=credential_only, detectors=asked)
            )
    return verdicts


def _write_maps(verdicts: list[Verdict], folder: Path) -> None:
    """Pictures of every verdict; of several files each into a folder of its own."""
    from avsafe.maps import write_maps

    for number, verdict in enumerate(verdicts):
        own = folder if len(verdicts) == 1 else folder / f"{number + 1:03d}"
        made = write_maps(verdict, own)
        for path in made:
            console(stderr=True).print(f"wrote {shown(str(path))}")
        for warning in made.warnings:
            console(stderr=True).print(f"[yellow]warning:[/] {shown(warning)}")


COLOUR = {
    "synthetic-declared": "cyan",
    "synthetic-recovered": "cyan",
    "synthetic-suspected": "yellow",
    "altered": "red",
    "unreadable": "red",
}


def show_verdict(verdict: Verdict) -> None:
    """One verdict as a small table."""
    from rich.table import Table

    colour = COLOUR.get(verdict.label, "white")
    out = console()
    out.print(f"{shown(verdict.path.name)}: [bold {colour}]{verdict.label}[/]")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for item in verdict.evidence:
        table.add_row(item.source, f"[dim]{item.status}[/]", shown(item.summary))
    out.print(table)
    if any("timeline" in item.details for item in verdict.evidence):
        from avsafe.maps import timeline_text

        utf8 = out.encoding.lower() in ("utf-8", "utf8")
        if text := timeline_text(verdict.evidence, out.width, plain=not utf8):
            out.print(text)


def show_release(result: Release) -> None:
    """What was released, in a few lines."""
    out = console()
    out.print(f"[bold green]released[/] {shown(str(result.path))}")
    for mark in result.marks:
        quality = (
            f"PSNR {mark.psnr_db:.1f} dB" if mark.psnr_db else f"SNR {mark.snr_db or 0:.1f} dB"
        )
        out.print(
            f"  mark      {mark.modality} {mark.payload:0{mark.payload_bits // 4}x} ({quality})"
        )
    out.print(f"  release   {result.release_id}")
    out.print(f"  manifest  {shown(result.manifest_id)}")
    out.print(f"  decision  {shown(', '.join(result.decision.rules))}")
    if result.sidecar:
        out.print(
            f"  sidecar   {shown(str(result.sidecar))} (the credential: keep it beside the file)"
        )
    for key in ("caption", "ignored"):
        if value := result.details.get(key):
            text = ", ".join(value) if isinstance(value, list | tuple) else str(value)
            out.print(f"  {key:<9} {shown(text)}")
    for warning in result.warnings:
        console(stderr=True).print(f"[yellow]warning:[/] {shown(warning)}")


def release_json(result: Release) -> dict[str, Any]:
    """The published JSON of a release (docs/cli.md)."""
    return {
        "path": result.path,
        "release_id": result.release_id,
        "decision": result.decision,
        "marks": [
            plain(mark) | {"payload": f"{mark.payload:0{mark.payload_bits // 4}x}"}  # as text:
            for mark in result.marks  # JavaScript rounds integers beyond 2^53
        ],
        "manifest_id": result.manifest_id,
        "cost": result.cost,
        "sha256": result.sha256,
        "sidecar": result.sidecar,
        "details": result.details,
        "warnings": result.warnings,
    }


def _run(
    request: GenerationRequest, target: Path, *, tsa: str | None, force: bool, as_json: bool
) -> None:
    from avsafe import gate
    from avsafe.errors import UsageError
    from avsafe.staging import final_path
    from avsafe.workspace import open_workspace

    if target.exists() and not force:
        raise UsageError(f"{target} exists. Choose another name with -o, or pass --force.")
    for text in (request.prompt, request.negative_prompt, request.purpose, request.generator):
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise UsageError("A prompt, a purpose or a generator's name is not valid UTF-8.")
    final_path(target)  # complains before anything is opened or made
    with (
        open_workspace(timestamp_url=tsa) as workspace,
        progress_bar(str(request.task), show=not as_json) as progress,
    ):
        result = gate.generate(request, target, workspace, progress=progress)
    if as_json:
        print_json(release_json(result))
    else:
        show_release(result)


def _principal() -> Any:
    from avsafe.policy import local_principal

    return local_principal()


def _input(role: str, path: Path) -> InputMedia:
    from avsafe import media
    from avsafe.errors import UsageError
    from avsafe.types import InputMedia

    if not path.is_file():
        raise UsageError(f"No such file: {path}.")
    return InputMedia(media.probe(path), role)


def _is_box(text: str) -> bool:
    """Whether ``--mask`` names a box; a file of that name in this folder is a file."""
    return not Path(text).exists() and re.fullmatch(r"[\d.,\s+-]+", text) is not None


def _size(text: str | None) -> tuple[int | None, int | None]:
    from avsafe.errors import UsageError

    if text is None:
        return None, None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size is WIDTHxHEIGHT, for example 512x512, not {text!r}.")
    return int(width), int(height)


def _parameters(items: list[str] | None) -> dict[str, Any]:
    from avsafe.errors import UsageError

    found: dict[str, Any] = {}
    for item in items or ():
        name, separator, value = item.partition("=")
        if not separator:
            raise UsageError(f"--param takes NAME=VALUE, not {item!r}.")
        found[name] = value
    return found

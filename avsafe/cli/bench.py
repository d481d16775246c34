"""``avsafe bench``: measure what avsafe promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli import bench_kinds, votes
from avsafe.cli.shell import Json, console, print_json, print_lines, progress_bar, shown
from avsafe.errors import UsageError

if TYPE_CHECKING:
    from avsafe.bench.suites import Outcome

app = typer.Typer(
    help="Measure clips, generators and marks: scores with intervals. See docs/bench.md.",
    no_args_is_help=True,
)
app.add_typer(votes.app, name="vote")
_CLIPS, _MARKS = "Clips and metrics", "Robustness of marks: watermark with --media"
_DETECT = "Detectors: detectors with --protocol or --media"


@app.command("list")
def list_(
    attacks_too: Annotated[
        bool, typer.Option("--attacks", help="Also damages: of marks, and before detectors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the suites, the metrics and what they need, and the watermarkers."""
    from avsafe import plugins
    from avsafe.bench import listing

    found = listing.everything()
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    out = console()
    for suite in found["suites"]:
        out.print(f"[bold]{suite['name']}[/]  {suite['summary']}")
    table = Table(title="metrics", title_justify="left", box=None, padding=(0, 1))
    for heading in ("name", "family", "what", "needs"):
        table.add_column(heading, no_wrap=heading == "name")
    for metric in found["metrics"]:
        needs = ", ".join(metric["needs"])
        table.add_row(*(shown(text) for text in (
            metric["name"], metric["family"], metric["title"], needs
        )))  # fmt: skip
    out.print(table)
    out.print(f"watermarkers: {', '.join(plugins.catalogue('watermarkers'))}")
    out.print(f"detectors: {', '.join(found['detectors']) or 'none is installed'}")
    tables = [(f"attacks on {kind}", rows) for kind, rows in found["attacks"].items()]
    tables += [(f"{kind} before detectors", rows) for kind, rows in found["conditions"].items()]
    for title, rows in tables if attacks_too else ():
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
        table.add_column("name", no_wrap=True)
        table.add_column("what is done")
        for row in rows:
            table.add_row(row["name"], row["title"])
        out.print(table)


@app.command()
def run(
    ctx: typer.Context,
    suite: Annotated[
        str,
        typer.Argument(metavar="SUITE", help="A name from `avsafe bench list`, or a YAML file."),
    ],
    out: Annotated[Path, typer.Option(help="Where rows, figures and report go.")],
    videos: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR",
            help="A folder of clips, one system; repeat to compare.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    generator: Annotated[
        list[str] | None,
        typer.Option(
            help="A generator, asked for every item of the suite through the gate; repeat.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="A folder of reference clips: of the same names for PSNR..., as a set for FVD...",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="The suite's inputs (`bench inputs`), for clips made from them elsewhere.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Only this metric of the suite; repeat.", rich_help_panel=_CLIPS),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="Weights that a metric needs (`bench list`); repeat.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    executor: Annotated[str, typer.Option(help="local or ray.", rich_help_panel=_CLIPS)] = "local",
    device: Annotated[
        str, typer.Option(help="cpu or cuda, for metrics with networks.", rich_help_panel=_CLIPS)
    ] = "cpu",
    own: Annotated[
        list[str] | None,
        typer.Option(
            help="A system of --videos whose pictures the report may show; repeat.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    safety: Annotated[
        bool | None,
        typer.Option(
            "--safety/--no-safety",
            help="Marks, credential and cost of the gate beside quality; else as the suite says.",
            rich_help_panel=_CLIPS,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many clips a system, spread over the folders.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Of each clip (marks: of its pictures, 5); 0: all of it."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    media: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of clips; for detectors with folders real, synthetic/FAMILY, benign/SET "
            "in it; repeat.",
            rich_help_panel=_MARKS,
        ),
    ] = None,
    protocol: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of scores of a detector, or a folder of them; repeat.",
            rich_help_panel=_DETECT,
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(help="Only this detector; repeat.", rich_help_panel=_DETECT),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help='Clips only so: clean, "mp3 32k"... (`bench list --attacks`); repeat.',
            rich_help_panel=_DETECT,
        ),
    ] = None,
    watermarker: Annotated[
        list[str] | None,
        typer.Option(
            help="Which plugin to measure; repeat. Default: video and audio.",
            rich_help_panel=_MARKS,
        ),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            help="Only these attacks, with commas. Leaves out the copies.", rich_help_panel=_MARKS
        ),
    ] = None,
    keys: Annotated[
        int, typer.Option(min=1, help="Fresh keys and payloads a clip.", rich_help_panel=_MARKS)
    ] = 2,
    audio_seconds: Annotated[
        float,
        typer.Option(min=0, help="Of each clip's sound; 0: all of it.", rich_help_panel=_MARKS),
    ] = 10.0,
    false_positives: Annotated[
        int,
        typer.Option(
            min=0, help="Searches with wrong keys on unmarked clips.", rich_help_panel=_MARKS
        ),
    ] = 1000,
    seed: Annotated[
        str, typer.Option(help="Other keys and payloads: any text.", rich_help_panel=_MARKS)
    ] = "1",
    quick: Annotated[
        bool, typer.Option(help="Four clips, one key, a few attacks.", rich_help_panel=_MARKS)
    ] = False,
    strict: Annotated[bool, typer.Option(help="Exit code 1 when any row failed.")] = False,
    as_json: Json = False,
) -> None:
    """Run a suite; what is already measured with the same code and settings is not repeated.

    `avsafe bench run t2v --videos clips --out out` measures a folder of clips, `--generator NAME`
    asks a generator through the gate first. `avsafe bench run watermark --media clips --out out`
    measures what the marks survive, `avsafe bench run detectors --protocol files --media clips` how
    far detectors hold.

    Leaves scores.jsonl (one row a measurement), aggregates.json and report.html in --out.

    Exit code 0 also when clips failed: they are rows with a reason, and a warning. With --strict 1.
    """
    kind = bench_kinds.of(ctx, suite, media=bool(media), protocol=bool(protocol))
    if kind == "detectors":
        outcome = _detection(
            suite=suite,
            out=out,
            protocol=tuple(protocol or ()),
            media=tuple(media or ()),
            detectors=tuple(detector or ()),
            conditions=tuple(condition or ()),
            limit=limit,
            seconds=10.0 if seconds is None else seconds,
            jobs=jobs,
        )
    elif kind == "marks":
        outcome = _robustness(
            suite,
            media=tuple(media or ()),
            out=out,
            watermarkers=tuple(watermarker) if watermarker else ("video", "audio"),
            attacks=_split(attacks),
            keys=keys,
            limit=limit,
            seconds=5.0 if seconds is None else seconds,
            audio_seconds=audio_seconds,
            false_positives=false_positives,
            jobs=jobs,
            seed=seed,
            quick=quick,
        )
    else:
        from avsafe.bench import run as media_run

        options = media_run.Options(
            suite=suite,
            out=out,
            videos=tuple(_folder(given) for given in videos or ()),
            generators=tuple(generator or ()),
            reference=reference,
            inputs=inputs,
            weights=dict(_pair(given, "--weights") for given in weights or ()),
            metrics=tuple(metric) if metric else None,
            limit=limit,
            seconds=seconds or None,
            jobs=jobs,
            executor=executor,
            device=device,
            safety=safety,
            own=tuple(own or ()),
        )
        with progress_bar("bench") as progress:
            outcome = media_run.run(options, progress)
    if as_json:
        print_json(outcome)
    else:
        _show(outcome)
    for warning in outcome.warnings:
        console(stderr=True).print(f"[yellow]warning:[/] {shown(warning)}")
    raise typer.Exit(1 if strict and outcome.n_failed else 0)


@app.command()
def inputs(
    suite: Annotated[str, typer.Argument(help="A name from `avsafe bench list`, or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Where the inputs and items.jsonl go.")],
    as_json: Json = False,
) -> None:
    """Make the inputs of a suite (portraits, sources) for a system that runs elsewhere.

    Leaves files under OUT/inputs and OUT/items.jsonl, which says what is asked of each item. Name
    your clips after the items, then: `avsafe bench run SUITE --videos DIR --inputs OUT/inputs`.
    """
    from avsafe.bench import making, suitefile

    with progress_bar("inputs") as progress:
        made = making.make_inputs(suitefile.load(suite), out, progress=progress)
    if as_json:
        print_json({"out": out, "inputs": made, "items": out / "items.jsonl"})
        return
    for name, path in made.items():
        where = shown(str(path)) if isinstance(path, Path) else f"[yellow]{shown(path)}[/]"
        console().print(f"{shown(name)}  {where}")
    console().print(shown(str(out / "items.jsonl")))


@app.command()
def gating(
    suite: Annotated[str, typer.Argument(help="A name from `avsafe bench list`, or a YAML file.")],
    generator: Annotated[str, typer.Option(help="A generator; asked through the gate.")],
    out: Annotated[Path, typer.Option(help="The folder of a run; its clips are used again.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="In what to price it; repeat. Default: six.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Clips, evenly spaced over the suite.")] = 8,
    as_json: Json = False,
) -> None:
    """What gating cost in quality: releases against the same clips, coded alike, without marks."""
    from avsafe.bench import pricing, suitefile
    from avsafe.workspace import open_workspace

    with open_workspace() as workspace, progress_bar("gating") as progress:
        found = pricing.price_list(
            suitefile.load(suite), generator, out, metric or pricing.PRICED,
            workspace=workspace, most=most, progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for heading in ("score", "without marks", "released", "cost", "n"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, price in found["scores"].items():
        if price["n"]:
            numbers = [f"{price[key]:.4g}" for key in ("unmarked", "released", "cost")]
            table.add_row(name, *numbers, f"{price['n']} of {found['n_expected']}")
        else:
            table.add_row(name, "-", "-", shown(price["reason"]), f"0 of {found['n_expected']}")
    console().print(table)
    if found["labelled"]:
        console().print(f"{found['labelled']} of them carry a visible label, which costs too.")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run (--out).")],
    embed_mb: Annotated[
        float, typer.Option(min=0, help="Of our own clips inside the page, at the most.")
    ] = 24.0,
    as_json: Json = False,
) -> None:
    """Make the figures and the page of a run again from its rows; measures nothing."""
    from avsafe.bench.aggregate import aggregate
    from avsafe.bench.report import scores_page

    aggregate(folder)
    page = scores_page.write(folder, embed_mb=embed_mb)
    if as_json:
        print_json({"report": page})
    else:
        console().print(shown(str(page)))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="The folder of a run (--out).")],
    b: Annotated[Path, typer.Argument(help="The folder of another run of the same suite.")],
    system: Annotated[
        list[str] | None,
        typer.Option(metavar="A=B", help="Which system of A is which of B, by names; repeat."),
    ] = None,
    across_suites: Annotated[
        bool, typer.Option(help="Warn, do not refuse, where the suites differ.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two runs on the items that both scored: paired differences, corrected by Holm.

    A metric whose version or weights differ is listed, and never compared.
    """
    from avsafe.bench import compare as comparing

    systems = dict(_pair(given, "--system") for given in system or ()) or None
    found = comparing.compare(a, b, systems=systems, across_suites=across_suites)
    if as_json:
        print_json(found)
    else:
        print_lines(comparing.as_text(found))


def _robustness(suite: str, **options: Any) -> Outcome:
    from avsafe.bench import suites
    from avsafe.bench.watermark.suite import Options

    module = suites.load(suite)
    with progress_bar("bench") as progress:
        outcome: Outcome = module.run(Options(**options), progress)
    return outcome


def _detection(**options: Any) -> Outcome:
    from avsafe.bench.detection.suite import Options, run

    with progress_bar("bench") as progress:
        return run(Options(**options), progress)


def _split(text: str | None) -> tuple[str, ...] | None:
    return tuple(n.strip() for n in text.split(",") if n.strip()) if text else None


def _pair(given: str, option: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{option} {given}: expected NAME=VALUE.")
    return name, value


def _folder(given: str) -> tuple[str, Path]:
    """``NAME=DIR``, or a folder that gives its own name.

    >>> _folder("a/clips")
    ('clips', PosixPath('a/clips'))
    """
    if "=" in given and not Path(given).is_dir():
        name, value = _pair(given, "--videos")
        return name, Path(value)
    return Path(given).resolve().name, Path(given)


def _show(outcome: Outcome) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1))
    for asked, found in outcome.headline:
        colour = "red" if "MISSED" in found else "green"
        table.add_row(shown(asked), f"[{colour}]{shown(found)}[/]")
    console().print(table)
    rows = f"{outcome.n_rows} rows, {outcome.n_new} new, {outcome.n_failed} failed"
    console().print(f"{rows}; {shown(str(outcome.report or outcome.out))}")

"""``avsafe policy``: check prompts, compare, validate and start policy folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json

if TYPE_CHECKING:
    from avsafe.policy import Policy
    from avsafe.types import Decision, GeneratorInfo

app = typer.Typer(help="Ask, compare, check and edit the policy.", no_args_is_help=True)

_EXIT = {"allow": 0, "deny": 4, "review": 5}
_COLOUR = {"allow": "green", "review": "yellow", "deny": "red"}
Folder = Annotated[
    Path | None,
    typer.Option("--policy", help="Policy folder; default: the one of this installation."),
]


@app.command()
def check(
    task: Annotated[str, typer.Option("--task", help="text-to-video, talking-head, release, ...")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="One prompt.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="A file of prompts, one a line; - is stdin.")
    ] = None,
    negative_prompt: Annotated[
        str, typer.Option("--negative-prompt", help="What to keep out.")
    ] = "",
    purpose: Annotated[
        str, typer.Option("--purpose", help="What it is for; a rule may ask.")
    ] = "general",
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", help="Its name. Default: a registered one without limits of its own."
        ),
    ] = None,
    policy: Folder = None,
    json_: Json = False,
) -> None:
    """Ask what the gate would say to a prompt, without making anything.

    With --prompt the exit code is the gate's: 0 allow, 4 deny, 5 review. With
    --prompts it is 0.
    """
    from avsafe.errors import UsageError
    from avsafe.types import Task

    try:
        asked = Task(task)
    except ValueError:
        names = ", ".join(item.value for item in Task)
        raise UsageError(f"No task {task!r}; choose one of {names}.") from None
    if (prompt is None) == (prompts is None):
        raise UsageError("Give either --prompt TEXT or --prompts FILE.")
    texts = [prompt] if prompt is not None else _lines(prompts)
    info = _generator(generator)
    loaded = _load(policy)
    answers = [
        (text, _ask(text, asked, negative_prompt, purpose, generator, info, loaded))
        for text in texts
    ]
    if json_:
        print_json(
            [
                {
                    "prompt": text,
                    "effect": answer.effect.value,
                    "rules": answer.rules,
                    "reasons": answer.reasons,
                    "risk": answer.risk,
                    "obligations": [str(item) for item in answer.obligations],
                    "appeal": answer.appeal,
                    "details": answer.details,
                }
                for text, answer in answers
            ]
        )
    else:
        _show(answers)
    if prompt is not None:
        raise typer.Exit(_EXIT[answers[0][1].effect.value])


@app.command()
def simulate(
    before: Annotated[
        Path,
        typer.Argument(help="Policy folder as it is, or the word default for the packaged one."),
    ],
    after: Annotated[Path, typer.Argument(help="Policy folder as it may become.")],
    requests: Annotated[
        Path,
        typer.Option(
            "--requests",
            help='One JSON request a line, e.g. {"task": "text-to-video", "prompt": "a ball"}.',
        ),
    ],
    json_: Json = False,
) -> None:
    """Compare two policy folders: which requests of a file would they decide otherwise?"""
    from avsafe.policy.simulate import read_cases
    from avsafe.policy.simulate import simulate as run

    result = run(_named(before), _named(after), read_cases(requests))
    if json_:
        print_json(result)
        return
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(f"{result.requests} requests, {len(result.changes)} decided otherwise")
    table = Table("effect", before.name, after.name)
    for effect in _EXIT:
        table.add_row(effect, str(result.before.get(effect, 0)), str(result.after.get(effect, 0)))
    out.print(table)
    if result.changes:
        table = Table("line", "prompt", before.name, after.name)
        for change in result.changes:
            table.add_row(
                str(change.line),
                Text(change.prompt[:60]),
                Text(f"{change.before.effect.value}: {', '.join(change.before.rules)}"),
                Text(f"{change.after.effect.value}: {', '.join(change.after.rules)}"),
            )
        out.print(table)


@app.command()
def validate(
    folder: Annotated[
        Path | None, typer.Argument(help="Policy folder; default: the one of this installation.")
    ] = None,
    json_: Json = False,
) -> None:
    """Check that a policy folder loads, and list its rules."""
    from avsafe.errors import PolicyError
    from avsafe.policy import KNOWN_OBLIGATIONS

    policy = _load(folder)
    unknown = {
        name: [str(item) for item in rule.obligations if item not in KNOWN_OBLIGATIONS]
        for name, rule in policy.rules.items()
    }
    unknown = {name: items for name, items in unknown.items() if items}
    if unknown:
        name, items = next(iter(sorted(unknown.items())))
        raise PolicyError(
            f"{policy.folder}: the rule {name!r} asks for {items[0]!r}, which nothing can carry "
            f"out: it would deny. Known: {', '.join(sorted(map(str, KNOWN_OBLIGATIONS)))}."
        )
    if json_:
        print_json(
            {"folder": policy.folder, "sha256": policy.sha256, "rules": list(policy.rules.values())}
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "kind", "reason")
    for rule in policy.rules.values():
        table.add_row(Text(rule.rule_id), rule.effect, Text(rule.reason))
    console().print(table)
    console().print(f"{len(policy.rules)} rules, sha256 {policy.sha256}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    json_: Json = False,
) -> None:
    """Copy the packaged policy into a folder to edit."""
    import shutil

    from avsafe.errors import UsageError
    from avsafe.policy.engine import BASE, DEFAULT_FOLDER, REVIEW, SCHEMA

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty. Choose a new folder: nothing is overwritten.")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in (BASE, REVIEW, SCHEMA)]
    for path in files:
        shutil.copyfile(DEFAULT_FOLDER / path.name, path)
    if json_:
        print_json({"folder": folder, "files": files})
    else:
        console().print(f"Wrote {', '.join(path.name for path in files)} to {folder}.")


def _load(folder: Path | None) -> Policy:
    """The policy of a folder that was named, else of this installation, else the packaged one."""
    from avsafe.errors import UsageError
    from avsafe.home import Home
    from avsafe.policy import Policy

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Start one with `avsafe policy init {folder}`.")
    return Policy.load(folder if folder is not None else Home.default().policy)


def _named(folder: Path) -> Policy:
    """'default' is the packaged one; a folder that is not there must not become it in silence."""
    from avsafe.policy import Policy

    if str(folder) == "default" and not folder.exists():
        return Policy.load(None)
    return _load(folder)


def _lines(path: Path | None) -> list[str]:
    import sys

    from avsafe.errors import UsageError

    if str(path) == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(str(path)).read_bytes()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    # Not splitlines: a prompt may hold form feeds or Unicode line separators on purpose.
    lines = data.decode("utf-8-sig", "replace").split("\n")
    return [line.rstrip("\r") for line in lines if line.strip()]


def _generator(name: str | None) -> GeneratorInfo | None:
    from avsafe import plugins
    from avsafe.policy.simulate import ANY_GENERATOR

    if name is None:
        return ANY_GENERATOR
    if name not in plugins.catalogue("generators"):
        return None
    info: GeneratorInfo = plugins.load("generators", name).info
    return info


def _ask(
    text: str,
    task: Any,
    negative_prompt: str,
    purpose: str,
    name: str | None,
    info: GeneratorInfo | None,
    policy: Policy,
) -> Decision:
    from avsafe.policy import decide, local_principal
    from avsafe.types import GenerationRequest

    request = GenerationRequest(
        principal=local_principal(),
        task=task,
        generator=name or (info.name if info else ""),
        prompt=text,
        negative_prompt=negative_prompt,
        purpose=purpose,
    )
    return decide(request, policy, generator=info)


def _show(answers: list[tuple[str, Decision]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("effect", "prompt", "why")
    table.columns[2].min_width = 33  # the longest rule id and its colon
    for text, answer in answers:
        scores = sorted(answer.risk.items(), key=lambda item: -item[1])
        risks = ", ".join(f"{name} {score}" for name, score in scores[:3] if score) or "none"
        why = [f"{a}: {b}" for a, b in zip(answer.rules, answer.reasons, strict=True)]
        table.add_row(
            f"[{_COLOUR[answer.effect.value]}]{answer.effect.value}[/]",
            Text(text if len(text) <= 60 else text[:59] + "…"),
            Text("\n".join([*why, f"risk: {risks}"])),
        )
    console().print(table)

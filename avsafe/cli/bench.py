"""``avsafe bench``: measure what avsafe promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json, progress_bar, shown

app = typer.Typer(
    help="Measure what is promised: robustness of the marks. See docs/bench.md.",
    no_args_is_help=True,
)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the suites, and for the marks the attacks and watermarkers there are."""
    from avsafe import plugins
    from avsafe.bench.suites import SUITES
    from avsafe.bench.watermark import attacks
    from avsafe.types import Kind

    tables = {str(kind): attacks.table(kind) for kind in Kind}
    if as_json:
        print_json(
            {
                "suites": [
                    {"name": s.name, "summary": s.summary, "needs": s.needs}
                    for s in SUITES.values()
                ],
                "watermarkers": list(plugins.catalogue("watermarkers")),
                "attacks": {
                    kind: [{"name": a.name, "group": a.group, "title": a.title} for a in t.values()]
                    for kind, t in tables.items()
                },
            }
        )
        return
    from rich.table import Table

    out = console()
    for suite in SUITES.values():
        out.print(f"[bold]{suite.name}[/]  {suite.summary}; needs {suite.needs}")
    out.print(f"watermarkers: {', '.join(plugins.catalogue('watermarkers'))}")
    for kind, found in tables.items():
        table = Table(title=f"attacks on {kind}", title_justify="left", box=None, padding=(0, 1))
        table.add_column("name", no_wrap=True)
        table.add_column("what is done")
        for attack in found.values():
            table.add_row(attack.name, attack.title)
        out.print(table)


@app.command()
def run(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A name from `avsafe bench list`.")],
    media: Annotated[
        list[Path], typer.Option(help="A folder of clips; may be given several times.")
    ],
    out: Annotated[Path, typer.Option(help="Where rows, figures and report go.")],
    watermarker: Annotated[
        list[str] | None,
        typer.Option(help="Which plugin to measure; may be repeated. Default: video and audio."),
    ] = None,
    attacks: Annotated[
        str | None, typer.Option(help="Only these attacks, with commas. Leaves out the copies.")
    ] = None,
    keys: Annotated[int, typer.Option(min=1, help="Fresh keys and payloads a clip.")] = 2,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many clips, spread over the folders.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Of each clip's pictures; 0: all of it.")
    ] = 5.0,
    audio_seconds: Annotated[
        float, typer.Option(min=0, help="Of each clip's sound; 0: all of it.")
    ] = 10.0,
    false_positives: Annotated[
        int, typer.Option(min=0, help="Searches with wrong keys on unmarked clips.")
    ] = 1000,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    seed: Annotated[str, typer.Option(help="Other keys and payloads: any text.")] = "1",
    quick: Annotated[bool, typer.Option(help="Four clips, one key, a few attacks.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit code 1 when any row failed.")] = False,
    as_json: Json = False,
) -> None:
    """Run a suite; what is already measured with the same code and settings is not repeated.

    Leaves scores.jsonl (one row a measurement), aggregates.json and report.html in --out.

    Exit code 0 also when clips failed: they are rows with a reason, and a warning. With --strict 1.
    """
    from avsafe.bench import suites
    from avsafe.bench.watermark.suite import Options

    module = suites.load(suite)
    names = tuple(n.strip() for n in attacks.split(",") if n.strip()) if attacks else None
    options = Options(
        media=tuple(media),
        out=out,
        watermarkers=tuple(watermarker) if watermarker else Options.watermarkers,
        attacks=names,
        keys=keys,
        limit=limit,
        seconds=seconds,
        audio_seconds=audio_seconds,
        false_positives=false_positives,
        jobs=jobs,
        seed=seed,
        quick=quick,
    )
    with progress_bar("bench") as progress:
        outcome = module.run(options, progress)
    if as_json:
        print_json(outcome)
    else:
        _show(outcome)
    for warning in outcome.warnings:
        console(stderr=True).print(f"[yellow]warning:[/] {shown(warning)}")
    raise typer.Exit(1 if strict and outcome.n_failed else 0)


def _show(outcome: object) -> None:
    from rich.table import Table

    from avsafe.bench.suites import Outcome

    assert isinstance(outcome, Outcome)  # noqa: S101
    table = Table(box=None, show_header=False, padding=(0, 1))
    for asked, found in outcome.headline:
        colour = "red" if "MISSED" in found else "green"
        table.add_row(shown(asked), f"[{colour}]{shown(found)}[/]")
    console().print(table)
    rows = f"{outcome.n_rows} rows, {outcome.n_new} new, {outcome.n_failed} failed"
    console().print(f"{rows}; {shown(str(outcome.report or outcome.out))}")

"""``avsafe verify --out``: many files in a run that can be interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsafe.cli.shell import console, print_json, progress_bar, shown

if TYPE_CHECKING:
    from avsafe.bulk.run import Outcome

_PANEL = "Many files"
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Where the answers go; run again to go on after an interruption.",
        rich_help_panel=_PANEL,
    ),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="Processes.", rich_help_panel=_PANEL)
]
Executor = Annotated[
    str,
    typer.Option(help="local, or ray: the cluster that RAY_ADDRESS names.", rich_help_panel=_PANEL),
]
Table = Annotated[
    list[str] | None,
    typer.Option(
        help="Also a table of all evidence, csv or parquet; repeat.", rich_help_panel=_PANEL
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit code of the highest label.", rich_help_panel=_PANEL),
]


def run(
    files: list[Path],
    out: Path,
    detectors: list[str],
    *,
    credential_only: bool,
    jobs: int,
    executor: str,
    tables: list[str] | None,
    as_json: bool,
) -> Outcome:
    """Look at what lacks an answer, and show the summary."""
    from avsafe.bulk import run as bulk

    options = bulk.Options(
        files=tuple(files),
        out=out,
        detectors=tuple(detectors),
        credential_only=credential_only,
        jobs=jobs,
        executor=executor,
        tables=tuple(dict.fromkeys(tables or ())),
    )
    with progress_bar("verifying", show=not as_json) as progress:
        outcome = bulk.run(options, progress)
    if as_json:
        print_json(outcome)
    else:
        _show(outcome)
    for warning in outcome.warnings:
        console(stderr=True).print(f"[yellow]warning:[/] {shown(warning)}")
    return outcome


def _show(outcome: Outcome) -> None:
    from rich.table import Table

    from avsafe.cli.media import COLOUR

    out = console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    for label, count in outcome.labels.items():
        share = f"{100 * count / outcome.files:.1f} %"
        table.add_row(f"[{COLOUR.get(label, 'white')}]{label}[/]", str(count), share)
        for error, files in outcome.unreadable.items() if label == "unreadable" else ():
            table.add_row(f"  [dim]{shown(error)}[/]", f"[dim]{files}[/]")
    if outcome.failed:
        table.add_row("[red]could not be looked at[/]", str(outcome.failed))
    table.add_row("[bold]files[/]", f"[bold]{outcome.files}[/]")
    out.print(table)
    known = outcome.files - outcome.new
    out.print(f"looked at now: {outcome.new - outcome.copies}; known before: {known}", end="")
    out.print(f"; same bytes as another file: {outcome.copies}")
    for what, count in outcome.passed_over.items():
        out.print(f"passed over: {count} {what}")
    for path in outcome.written:
        out.print(shown(str(path)))

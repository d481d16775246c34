"""``avsafe demo`` and ``avsafe doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demo")(demo)
    app.command("doctor")(doctor)


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo leaves its files.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """The whole way in one command: generate, verify, strip, recover, tamper, deny.

    Uses a state folder of its own inside --out; yours is not touched.

    Exit code 0 when every step ended as the demo promises.
    """
    from avsafe.cli.demo import run

    steps = run(out, show=not as_json)
    if as_json:
        print_json(steps)
    raise typer.Exit(0 if all(step.ok for step in steps) else 1)


def doctor(as_json: Json = False) -> None:
    """Check this installation: libraries, sandbox, keys, registry, ledger, plugins.

    Exit code 0 when nothing is broken, else 1; what is merely missing is advice, not an error.
    """
    from avsafe.cli.doctor import examine

    findings = list(examine())
    if as_json:
        print_json(findings)
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for item in findings:
            sign = "[green]ok[/]" if item.ok else "[red]!![/]"
            advice = f"\n[yellow]{escape(item.advice)}[/]" if item.advice else ""
            table.add_row(sign, item.name, escape(item.value) + advice)
        console().print(table)
    raise typer.Exit(0 if all(item.ok for item in findings) else 1)

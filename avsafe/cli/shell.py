"""What every command shares: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import category

import typer

from avsafe.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

    from avsafe.errors import AvsafeError
    from avsafe.types import Progress

# Control and format characters, surrogates, unassigned; separators of lines and paragraphs.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def print_json(value: Any) -> None:
    """One JSON document on stdout; escaped where the terminal, or a file name, is not UTF-8."""
    value = plain(value)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def console(*, stderr: bool = False) -> Console:
    """A rich console; tables go to stdout, talk goes to stderr."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not stderr)


def shown(text: str) -> str:
    """Text of unknown origin for a terminal: no markup, no control characters, no half letters.

    >>> shown("clip" + chr(10) + "x.mp4: synthetic [b]")
    'clip\\\\nx.mp4: synthetic \\\\[b]'
    """
    from rich.markup import escape

    return escape(
        "".join(
            c.encode("unicode_escape").decode() if category(c) in _UNPRINTABLE else c for c in text
        )
    )


def report_error(error: AvsafeError | OSError, *, as_json: bool) -> int:
    """Show an error; returns the exit code."""
    decision = getattr(error, "decision", None)
    if as_json:
        body: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        print_json({"error": body} | ({"decision": decision} if decision else {}))
    console(stderr=True).print(f"[bold red]error:[/] {shown(str(error))}")
    return getattr(error, "exit_code", 1)


def print_lines(text: str) -> None:
    """Text of several lines on stdout, each made safe for a terminal."""
    out = console()
    for line in text.splitlines():
        out.print(shown(line))


@contextmanager
def progress_bar(description: str, *, show: bool = True) -> Iterator[Progress]:
    """A bar on stderr, only on a terminal; yields the Progress to hand to a call."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
        disable=not (show and sys.stderr.isatty()),
    )
    with bar:
        task = bar.add_task(description, total=1.0)
        yield lambda fraction, stage: bar.update(task, completed=fraction, description=stage)

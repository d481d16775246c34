"""The command ``avsafe gallery``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json, progress_bar, shown


def gallery(
    out: Annotated[Path, typer.Option("--out", help="The folder of the page and its files.")],
    only: Annotated[
        list[str] | None, typer.Option(help="A task or a work; repeat for more. Default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make clips of every task through the gate, and a page that shows them.

    Each work is decided, marked, signed, logged and verified; its frames and levels are measured.
    Opens without a network: FOLDER/index.html.

    Exit codes: 0 all is well; 1 a work is black, still, silent, or does not verify.
    """
    from importlib.metadata import version

    from avsafe.cli.gallery import page, run
    from avsafe.cli.gallery.plan import ENTRIES
    from avsafe.errors import UsageError

    chosen = [e for e in ENTRIES if not only or {e.key, str(e.task), e.generator} & set(only)]
    if not chosen:
        names = ", ".join(sorted({str(e.task) for e in ENTRIES}))
        raise UsageError(
            f"Nothing in the gallery is called {', '.join(only or ())} (try: {names})."
        )
    keys = {e.key for e in chosen}
    while needed := {k for e in ENTRIES if e.key in keys for k in e.inputs.values()} - keys:
        keys |= needed
    chosen = [e for e in ENTRIES if e.key in keys]
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("gallery", show=not as_json) as progress:
        works = list(run.make(chosen, out, progress))
    page.write(works, out / "index.html", version("avsafe"))
    if as_json:
        print_json(
            [
                {
                    "key": w.entry.key, "task": w.entry.task, "generator": w.entry.generator,
                    "file": w.file, "label": w.label, "reason": w.reason, "cpu_s": w.cpu_s,
                    "wrong": w.wrong, "seen": w.seen,
                }
                for w in works
            ]
        )  # fmt: skip
    else:
        for w in works:
            state = shown("; ".join(w.wrong)) if w.wrong else (w.label or "not made")
            colour = "red" if w.wrong else ("green" if w.file or w.label else "yellow")
            why = shown(w.reason[:90]) if w.reason and not w.file else ""
            console().print(f"{w.entry.key:<14} [{colour}]{state}[/] {w.cpu_s:.1f} CPU-s {why}")
        console().print(f"page: {shown(str(out / 'index.html'))}")
    if any(w.wrong for w in works):
        raise typer.Exit(1)

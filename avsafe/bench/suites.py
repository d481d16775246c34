"""Which suites there are. A suite is a module with ``run(options, progress) -> Outcome``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError


@dataclass(frozen=True)
class Suite:
    """A suite by name; its code is imported when it runs."""

    name: str
    summary: str
    module: str
    needs: str  # what the user must bring


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    out: Path
    n_rows: int  # rows of this run, old and new
    n_new: int
    n_failed: int
    warnings: tuple[str, ...] = ()
    report: Path | None = None  # None when no report could be drawn
    headline: tuple[tuple[str, str], ...] = ()  # what was asked for -> what was found


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "watermark",
            "marks in picture and sound: what they survive, what they cost, what chance finds",
            "avsafe.bench.watermark.suite",
            "a folder of clips (--media)",
        ),
        Suite(
            "detectors",
            "how far detectors hold: cells of protocol files, and clips of known origin",
            "avsafe.bench.detection.suite",
            "protocol files (--protocol), or folders real, synthetic and benign (--media)",
        ),
    )
}


def load(name: str) -> Any:
    """The module of a suite. UsageError lists the known names.

    >>> load("watermark").__name__
    'avsafe.bench.watermark.suite'
    """
    if name not in SUITES:
        raise UsageError(f"No suite {name!r} (known: {', '.join(SUITES)}).")
    return import_module(SUITES[name].module)

"""Which of three kinds of run ``avsafe bench run`` is asked for, and which options are of each."""

from __future__ import annotations

from typing import Literal

import typer

from avsafe.errors import UsageError

Kind = Literal["metrics", "marks", "detectors"]
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "metrics": ("videos", "generator", "reference", "inputs", "metric", "weights", "executor",
                "device", "own", "safety"),
    "marks": ("watermarker", "attacks", "keys", "audio_seconds", "false_positives", "seed",
              "quick"),
    "detectors": ("protocol", "detector", "condition"),
}  # fmt: skip
_WORDS: dict[Kind, str] = {
    "metrics": "runs of metrics (--videos, --generator)",
    "marks": "the robustness of marks (watermark with --media)",
    "detectors": "detectors (detectors with --protocol or --media)",
}


def of(ctx: typer.Context, suite: str, *, media: bool, protocol: bool) -> Kind:
    """The kind of run. UsageError for an option that this kind would pass over."""
    kind: Kind = "metrics"
    if protocol or (media and _of_detectors(suite)):
        kind = "detectors"
    elif media:
        kind = "marks"
    given = {
        name for name in ctx.params
        if (source := ctx.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }  # fmt: skip
    for other, names in _OPTIONS.items():
        for name in names if other != kind else ():
            if name in given:
                raise UsageError(
                    f"--{name.replace('_', '-')} is of {_WORDS[other]}, and this run is of "
                    f"{_WORDS[kind]}. Leave out one of them."
                )
    return kind


def _of_detectors(suite: str) -> bool:
    from avsafe.bench import suitefile

    return suitefile.load(suite).detectors

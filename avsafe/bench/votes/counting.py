"""A tally as files and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avsafe.bench.votes.tally import MIN_CHECKS, read_votes, tally
from avsafe.errors import UsageError


def write_tally(
    out: Path | str,
    votes: Sequence[Path | str] = (),
    *,
    min_checks: float = MIN_CHECKS,
    seed: int = 0,
    report: Path | str | None = None,
) -> dict[str, Any]:
    """Count the votes of the ballot in ``out``: ``out/votes.json``, and the same in the run folder
    ``report``, whose page then shows it. UsageError where there is no ballot or no file of votes.
    """
    out = Path(out)
    try:
        key = json.loads((out / "key.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{out.name} has no key.json: votes cannot be told whose they are."
        ) from error
    found = tally(read_votes(votes or [out / "votes.jsonl"]), key, min_checks=min_checks, seed=seed)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for folder in (out, *([] if report is None else [Path(report)])):
        (folder / "votes.json").write_text(text, encoding="utf-8")
    return found


def as_text(found: Mapping[str, Any]) -> str:
    """The tally for a terminal."""
    out = [f"{found['n_votes']} of {found['n_expected']} votes"]
    for line in found["lines"]:
        head = f"{line['criterion']}: {line['a']} against {line['b']}"
        if line["p"] is None:
            out.append(f"{head}: no vote")
            continue
        ends = "no interval"
        if line["low"] is not None:
            ends = f"{100 * line['low']:.0f} to {100 * line['high']:.0f} %"
        told = "told apart" if line["significant"] else "not told apart"
        out.append(
            f"{head}: {line['a']} wins {100 * line['value']:.0f} % ({ends}) of {line['n_votes']} "
            f"votes on {line['items']} items, p {line['p_holm']:.3g} after Holm: {told}"
        )
    for criterion, agreed in found["agreement"].items():
        alpha = agreed["krippendorff_alpha"]
        shown = f"{alpha:.2f}" if isinstance(alpha, float) else alpha
        out.append(f"{criterion}: Krippendorff's alpha {shown}")
    side = found["side"]
    if side["n"]:
        out.append(
            f"left chosen {100 * side['value']:.0f} % ({100 * side['low']:.0f} to "
            f"{100 * side['high']:.0f} %)"
        )
    for rater, one in found["raters"].items():
        if one["left_out"]:
            out.append(f"rater {rater} is left out: {one['left_out']}")
    out += [f"not counted: {n} {why}" for why, n in found["not_counted"].items()]
    return "\n".join(out)

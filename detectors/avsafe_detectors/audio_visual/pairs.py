"""Lips with their own sound, with it moved, and with another's: what ``audio-visual`` is tested on.

Every pair uses the same lips in both classes, so that nothing but the sound tells them apart. A
person is judged by networks that have not seen them: the folds that the lip-sync model's own
training writes.

Legend: a stretch is 3, 6 or up to 12 s of a clip; ``offset_s`` positive: sound late.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable, UsageError
from avsafe_detectors.audio_visual import lips
from avsafe_detectors.audio_visual.clips import Source
from avsafe_detectors.audio_visual.lips import HZ, Found, Talk

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS_S = (3.0, 6.0, 12.0)
SHIFTS_S = (0.24, 0.4, 0.56, 1.2)  # in both directions
SWAPS = 4  # other people's sounds for each stretch


@dataclass(frozen=True)
class Row:
    """One stretch with one sound. ``kind`` is "own", "moved", "other"; ``of`` whose sound."""

    unit: str
    source: Source
    length_s: float
    kind: str
    of: str
    found: Found | None
    reason: str = ""


class Judge:
    """The lip-sync metric, by the networks of a person's fold."""

    def __init__(self, folds: Path) -> None:
        from safetensors.numpy import load_file

        self._metric = lips.metric()
        self._module = sys.modules[type(self._metric).__module__]
        try:
            self._fold: dict[str, int] = json.loads((folds / "folds.json").read_text())
            self._weights = [
                {k: v.astype(np.float32) for k, v in load_file(path).items()}
                for path in sorted(folds.glob("fold_?.safetensors"))
            ]
        except OSError as error:
            raise UsageError(
                f"{folds} has no folds of the lip-sync model. Run first: python -m "
                "avsafe_metrics.sync.lip_sync.train --media MEDIA --out FOLDS"
            ) from error

    def admitted(self, talk: Talk) -> None:
        """Raises Unscorable where the metric scores nothing, whatever the networks."""
        lips.found(self._metric, talk)

    def found(self, source: Source, talk: Talk) -> Found:
        """As ``lips.found``, by networks that have not seen the person."""
        own = self._fold.get(source.fold_person)
        if own is None:
            return lips.found(self._metric, talk)
        seen = self._module.judge(
            talk.points, talk.rate, talk.sound, cuts=talk.cuts, weights=self._weights[own]
        )
        return Found(seen.offset_ms, seen.confidence, seen.p_value, seen.in_sync_score)


def stretches(talk: Talk, length_s: float) -> Iterator[tuple[int, int]]:
    """Frames (first, end) of stretches with a face in all but a few frames and with sound."""
    count = min(len(talk.points), int(len(talk.sound) / HZ * talk.rate))
    wide = round(length_s * talk.rate)
    least = round((length_s if length_s < 12 else 6.5) * talk.rate)
    if length_s <= 3:
        least = round(2.7 * talk.rate)
    first = 0
    while first + least <= count:
        end = min(first + wide, count)
        if talk.seen[first:end].mean() > 0.9:
            yield first, end
        first = end


def moved(sound: NDArray[np.float32], offset_s: float) -> NDArray[np.float32]:
    """Sound that begins later (positive) or earlier, what leaves at one end comes in at the other.

    >>> moved(np.array([1, 2, 3, 4], np.float32), 1 / 16000).tolist()
    [4.0, 1.0, 2.0, 3.0]
    """
    return np.asarray(np.roll(sound, round(offset_s * HZ)), np.float32)


def rows(
    judge: Judge, talks: Sequence[tuple[Source, Talk]], lengths: Sequence[float] = LENGTHS_S,
    seed: int = 0,
) -> list[Row]:  # fmt: skip
    """All stretches of all clips, with each kind of sound."""
    rng = np.random.default_rng(seed)
    out: list[Row] = []
    for source, talk in talks:
        for length in lengths:
            for number, (first, end) in enumerate(stretches(talk, length)):
                unit = f"{source.name}{'.crop' if source.sound else ''}:{length:g}:{number}"
                part = talk.part(first, end)
                own = _row(judge, source, part, unit, length, "own", source.name)
                out.append(own)
                if own.found is None:
                    continue
                for shift in SHIFTS_S:
                    late = float(shift * rng.choice([-1, 1]))
                    a, b = round(first * HZ / talk.rate), round(end * HZ / talk.rate)
                    sound = moved(talk.sound, late)[a:b]
                    out.append(_row(judge, source, _with(part, sound), unit, length, "moved",
                                    f"{late:+.2f}"))  # fmt: skip
                others = [(s, t) for s, t in talks if s.fold_person != source.fold_person
                          and len(t.sound) >= len(part.sound)]  # fmt: skip
                for at in rng.choice(len(others), min(SWAPS, len(others)), replace=False):
                    whose, other = others[int(at)]
                    start = int(rng.integers(0, len(other.sound) - len(part.sound) + 1))
                    sound = other.sound[start : start + len(part.sound)]
                    out.append(_row(judge, source, _with(part, sound), unit, length, "other",
                                    whose.name))  # fmt: skip
    return out


def _with(talk: Talk, sound: NDArray[np.float32]) -> Talk:
    return Talk(talk.points, talk.faces, talk.change, talk.cuts, sound, talk.rate)


def _row(judge: Judge, source: Source, talk: Talk, unit: str, length: float, kind: str,
         of: str) -> Row:  # fmt: skip
    try:
        if kind == "own":
            judge.admitted(talk)
        return Row(unit, source, length, kind, of, judge.found(source, talk))
    except Unscorable as error:
        return Row(unit, source, length, kind, of, None, str(error))

"""From the evidence of windows to what is said of a clip: offset, confidence, p-value.

Legend: evidence is (n, 2 K + 1), n windows and the offsets from -K (sound early) to K (sound
late), K = 15 frames of 40 ms; frames are those that the windows cover.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sync.lip_sync.features import RATE, REACH, WINDOW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

NEAR = 2  # frames; 80 ms off is in sync for most viewers (ITU-R BT.1359: +90 ms, -185 ms)
FRAME_MS = 1000 / RATE
CALIBRATION = Path(__file__).with_name("weights") / "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """``frames`` of clips, and for each the confidences that unrelated sound reached, ascending:
    quantiles at (i + 0.5) / q. ``sharpness`` and ``growth`` turn evidence into log-odds."""

    frames: tuple[int, ...]
    null: tuple[tuple[float, ...], ...]
    sharpness: float
    growth: float

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        return cls(
            tuple(value["frames"]), tuple(map(tuple, value["null"])),
            float(value["sharpness"]), float(value["growth"]),
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        null = [[round(v, 4) for v in row] for row in self.null]
        return {"frames": list(self.frames), "null": null,
                "sharpness": round(self.sharpness, 4), "growth": round(self.growth, 4)}  # fmt: skip


@lru_cache(maxsize=2)
def calibration(path: Path = CALIBRATION) -> Calibration:
    """The shipped one."""
    return Calibration.from_json(json.loads(path.read_text()))


def offset_frames(evidence: Array) -> int:
    """The best offset in frames; positive when the sound is late.

    >>> rows = np.zeros((2, 31), np.float32); rows[:, 18] = 1
    >>> offset_frames(rows)
    3
    """
    return int(np.argmax(evidence.mean(0))) - REACH


def confidence(evidence: Array) -> float:
    """How well lips and sound agree at their best offset: cosine times the networks' scale.

    Training weighs this very number against sound of somebody else, so it tells own sound from
    other sound better than how far it stands above the other offsets (reports/lip_sync).

    >>> rows = np.zeros((1, 31), np.float32); rows[0, 3] = 2
    >>> confidence(rows)
    2.0
    """
    return float(evidence.mean(0).max())


def posterior(evidence: Array, frames: int, known: Calibration) -> NDArray[np.float64]:
    """Probability (2 K + 1,) of each offset, one of them being right.

    Longer clips know more: log-odds grow as (frames / 75) ** growth.
    """
    odds = evidence.mean(0).astype(np.float64) * known.sharpness
    odds *= (frames / WINDOW) ** known.growth
    odds = np.exp(odds - odds.max())
    return np.asarray(odds / odds.sum())


def in_sync(evidence: Array, frames: int, known: Calibration) -> float:
    """Probability of an offset of at most 80 ms, 0 to 1, the offset being one of the 31."""
    chances = posterior(evidence, frames, known)
    return float(np.clip(chances[REACH - NEAR : REACH + NEAR + 1].sum(), 0, 1))


def p_value(score: float, frames: int, known: Calibration) -> float:
    """Chance that sound of somebody else, or of another time, reaches this confidence.

    Between the lengths of the calibration it is interpolated in the logarithm of the length. Never
    below 1 / (q + 1), q the number of quantiles.

    >>> known = Calibration((75,), (tuple(np.arange(99) / 99),), 1.0, 0.5)
    >>> round(p_value(0.5, 75, known), 2), round(p_value(7.0, 75, known), 2)
    (0.5, 0.01)
    """
    chances = []
    for row in known.null:
        above = len(row) - int(np.searchsorted(row, score, side="left"))
        chances.append(np.log((above + 1) / (len(row) + 1)))
    return float(np.exp(np.interp(np.log(frames), np.log(known.frames), chances)))


def covered(windows: Sequence[tuple[int, int]]) -> int:
    """Frames that windows (first, end) cover, each once.

    >>> covered([(0, 75), (25, 100), (200, 250)])
    150
    """
    total, reached = 0, -1
    for first, end in sorted(windows):
        total += max(0, end - max(first, reached))
        reached = max(reached, end)
    return total

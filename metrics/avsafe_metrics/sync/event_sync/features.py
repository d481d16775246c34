"""What the model of event sync is given: motion of 64 cells and mel bands of the sound.

Legend: ``t`` frames, ``k`` steps of 20 ms, ``c`` = 64 cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sync.motion_cells import FEATURES, MotionCells, at_rate
from avsafe_metrics.sync.sound_onsets import log_mel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

RATE_HZ = 50
STEP_MS = 1000 / RATE_HZ
PICTURE_INPUTS = len(FEATURES) + 1
SOUND_INPUTS = 20
_LEAST = np.array([0.02, 0.02, 1e-3, 1e-3], np.float32)  # less than that is noise of a codec


def in_step(
    rows: NDArray[Any], rate: float, mono: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells (t, c, 4) at ``rate`` and sound (n,) at 16 kHz -> (k, c, 4) and (2 k, 40), as long as
    the shorter of them."""
    cells, mel = at_rate(rows, rate, RATE_HZ), log_mel(mono)
    count = min(len(cells), len(mel) // 2)
    return cells[:count], mel[: 2 * count]


def picture_input(cells: NDArray[Any]) -> NDArray[np.float32]:
    """(k, c, 4) -> (k, c, 5): each feature against its mean square in the clip, compressed; the
    change of light also with its sign."""
    x = cells / (np.sqrt((cells**2).mean(axis=(0, 1))) + _LEAST)
    y = np.log1p(2 * np.abs(x))
    light = np.sign(x[..., 2:3]) * y[..., 2:3]
    return np.concatenate([y, light], axis=-1).astype(np.float32)


def sound_input(mel: NDArray[Any]) -> NDArray[np.float32]:
    """(2 k, 40) -> (2 k, 20): ten bands against their means, and how much they rise."""
    bands = mel.reshape(len(mel), SOUND_INPUTS // 2, -1).mean(axis=-1)
    bands = bands - bands.mean(axis=0)
    bands = bands / (bands.std() + 0.3)
    rise = np.zeros_like(bands)
    rise[1:-1] = np.maximum(bands[2:] - bands[:-2], 0)
    return np.concatenate([bands, 2 * rise], axis=1).astype(np.float32)


class EventFeatures(PlainMetric):
    """The raw features of a clip, for training and for benchmarks that shift the sound."""

    info = MetricInfo(
        name="event_features", version="1", title="Features of event sync",
        columns=(Column("", "", "none", "features of a clip"),),
        wants=("luma", "mono16k"), family="sync", scope="set",
    )  # fmt: skip

    def open(self, clip: Clip) -> CellsMeter:
        return CellsMeter(clip)


class CellsMeter(QuietMeter):
    """Gathers the cells of a clip."""

    def __init__(self, clip: Clip) -> None:
        rate = clip.shape.frame_rate
        if rate is None:
            raise Unscorable("a picture does not move: pass a clip with moving pictures")
        self._cells = MotionCells(float(rate))

    def frame(self, view: View, beside: View | None) -> None:
        self._cells.take(view)

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        mono = gathered.mono16k if gathered.mono16k is not None else np.zeros(0, np.float32)
        return {"cells": self._cells.rows(), "sound": mono, "rate": np.array([self._cells.rate])}

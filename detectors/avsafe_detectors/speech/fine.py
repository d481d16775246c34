"""The fine structure in time: how a voice's pulses stand in its bands, which a spectrum of 32 ms
does not show. Vocoders and neural decoders place them otherwise than a throat does.

Legend: ``t`` moments of 1 ms, ``b`` six bands from 0.5 to 7 kHz, ``d`` numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

HOP, SIZE = 16, 64  # samples at 16 kHz: 1 ms, 4 ms
EDGES = (2, 4, 8, 12, 16, 22, 28)  # bins of 250 Hz
BANDS = len(EDGES) - 1
STEP_DB, FLOOR_DB = 0.5, -120.0
PER_FRAME = 10  # moments of a frame of 10 ms
_TREND = 21  # moments over which the level itself is taken
_PART = 48  # moments in which a pitch is sought
_WINDOW = np.hanning(SIZE + 1)[:SIZE].astype(np.float32)


def moments(x: F32) -> NDArray[np.uint8]:
    """Mono sound (n,) at 16 kHz -> levels (t, 6) as bytes, half a decibel a step."""
    if len(x) < SIZE:
        return np.zeros((0, BANDS), np.uint8)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float32), SIZE)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * _WINDOW, axis=1))) * (4.0 / SIZE) ** 2
    bands = np.add.reduceat(power[:, : EDGES[-1]], EDGES[:-1], axis=1)
    level = 10 * np.log10(bands + 1e-13)
    kept: NDArray[np.uint8] = np.clip(np.rint((level - FLOOR_DB) / STEP_DB), 0, 255).astype(
        np.uint8
    )
    return kept


def summary(levels: NDArray[Any]) -> F32:
    """Levels (t, 6) of heard moments -> (d,) statistics: how peaked the levels are, how strongly
    they repeat with the pitch, how fast they change, how bands go together."""
    db = np.asarray(levels, np.float32) * STEP_DB
    if len(db) < 2 * _PART:
        db = np.resize(db, (2 * _PART, BANDS))
    db = np.maximum(db, np.quantile(db, 0.95, axis=0) - 50)
    swing = db - _smoothed(db)
    loud = _smoothed(db).mean(1)
    swing = swing[loud >= np.quantile(loud, 0.4)]
    count = len(swing) // _PART
    parts = swing[: count * _PART].reshape(count, _PART, BANDS)
    out: list[Any] = [swing.std(0), _moment(swing, 3), _moment(swing, 4)]
    spectrum = np.square(np.abs(np.fft.rfft(parts - parts.mean(1, keepdims=True), 96, axis=1)))
    total = spectrum[:, 4:].sum(1) + 1e-3
    for low, high in ((6, 15), (15, 30), (30, 48)):  # 62 to 156, to 312, to 500 Hz
        share = spectrum[:, low:high].sum(1) / total
        out += [share.mean(0), share.std(0)]
    again = np.fft.irfft(spectrum, axis=1)
    again = again[:, 3:13] / (again[:, :1] + 1e-3)  # repeating after 3 to 12 ms
    out += [again.max(1).mean(0), again.max(1).std(0)]
    z = parts - parts.mean(1, keepdims=True)
    z = z / (np.sqrt(np.square(z).sum(1, keepdims=True)) + 1e-3)
    for apart in (1, 2, 3):
        together = (z[:, :, apart:] * z[:, :, :-apart]).sum(1)
        out += [together.mean(0)]
    late = (z[:, 1:, 1:] * z[:, :-1, :-1]).sum(1) - (z[:, :-1, 1:] * z[:, 1:, :-1]).sum(1)
    out += [late.mean(0), late.std(0)]
    return np.concatenate(out).astype(np.float32)


def _smoothed(x: F32) -> F32:
    half = _TREND // 2
    total = np.cumsum(np.pad(x, ((half + 1, half), (0, 0)), mode="edge"), 0, dtype=np.float64)
    return np.asarray((total[_TREND:] - total[:-_TREND]) / _TREND, np.float32)


def _moment(x: F32, power: int) -> F32:
    z = (x - x.mean(0)) / (x.std(0) + 1e-3)
    return np.asarray(np.clip((z**power).mean(0), -30, 30), np.float32)

"""Loudness and loudness range, as broadcasting measures them.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``c`` channels, ``n`` samples; ``k`` stretches of
100 ms. A power is the sum over channels of weighted mean squares after the K filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.blocks import Stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFFSET_DB = -0.691  # BS.1770-5, annex 1, equation 2
ABSOLUTE_GATE_LUFS = -70.0
PER_S = 10  # stretches a second: blocks of 400 ms with 75 % overlap
BLOCK, SHORT = 4, 30  # stretches in a gating block (400 ms), in a short-term window (3 s)
RANGE_LEAST_S = 10.0  # a shorter range says nothing; Tech 3342 advises a minute

# BS.1770-5, annex 1, tables 1 and 2: numerator and denominator of the K filter at 48 kHz.
_STAGES_48K = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285),
     (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)  # fmt: skip
# By FFmpeg's usual order for that many channels: 1.41 for surround channels at 60 to 120 degrees,
# 0 for the low-frequency channel (BS.1770-5, annex 1, table 3 and annex 3).
_WEIGHTS = {
    5: (1.0, 1.0, 1.0, 1.41, 1.41),  # L R C Ls Rs
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),  # L R C LFE Ls Rs
    7: (1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41),  # L R C LFE back Ls Rs
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),  # L R C LFE Lb Rb Ls Rs
}


def k_filter(rate_hz: int) -> NDArray[np.float64]:
    """The K filter for a rate, as second-order sections ``(2, 6)``.

    The standard gives coefficients for 48 kHz and asks for the same response at other rates: each
    stage goes to the s plane and back by the bilinear transform, warped so that its corner stays.

    >>> bool(np.allclose(k_filter(48000)[0, :3], _STAGES_48K[0][0]))
    True
    """
    rows = []
    for stage in _STAGES_48K:
        # b(z) in u = (1 - 1/z) / (1 + 1/z): (1+u)^2 b0 + (1+u)(1-u) b1 + (1-u)^2 b2
        upper, lower = (
            np.array([b0 + b1 + b2, 2 * (b0 - b2), b0 - b1 + b2]) for b0, b1, b2 in stage
        )
        corner = np.sqrt(lower[0] / lower[2])  # tan(pi f / 48000)
        ratio = corner / np.tan(np.arctan(corner) * 48000 / rate_hz)
        row = []
        for c0, c1, c2 in (upper * ratio ** np.arange(3), lower * ratio ** np.arange(3)):
            row += [c0 + c1 + c2, 2 * (c0 - c2), c0 - c1 + c2]
        rows.append(np.array(row) / row[3])
    return np.array(rows)


def channel_weights(channels: int) -> NDArray[np.float64]:
    """``(c,)``: the weight of each channel's mean square.

    >>> channel_weights(6)[3:].tolist()
    [0.0, 1.41, 1.41]
    """
    return np.array(_WEIGHTS.get(channels, (1.0,) * channels))


def lufs(power: NDArray[np.float64] | float) -> Any:
    """Power as loudness (BS.1770-5, annex 1, equation 2); -inf for none."""
    with np.errstate(divide="ignore"):
        return OFFSET_DB + 10 * np.log10(power)


def windows(powers: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Mean power of every ``length`` stretches that follow each other: ``(k - length + 1,)``.

    >>> windows(np.array([1.0, 3.0, 5.0]), 2).tolist()
    [2.0, 4.0]
    """
    if powers.size < length:
        return np.zeros(0)
    means = np.lib.stride_tricks.sliding_window_view(powers, length).mean(axis=1)
    return np.asarray(means)


def integrated(powers: NDArray[np.float64]) -> float:
    """Integrated loudness in LUFS of stretches ``(k,)`` of 100 ms: blocks of 400 ms above -70 LUFS
    and above 10 LU under the mean of those (BS.1770-5, annex 1, equations 4 to 7). Raises
    ``Unscorable`` below 400 ms, and when no block is above -70 LUFS.
    """
    if powers.size < BLOCK:
        raise Unscorable(f"{powers.size / PER_S:.1f} s of sound: loudness needs 0.4 s")
    blocks = windows(powers, BLOCK)
    loud = blocks[lufs(blocks) > ABSOLUTE_GATE_LUFS]
    if not loud.size:
        raise Unscorable("no 400 ms of the sound are louder than -70 LUFS")
    gated = loud[lufs(loud) > lufs(loud.mean()) - 10]
    return float(lufs(gated.mean()))


def loudness_range(powers: NDArray[np.float64]) -> float:
    """LRA in LU: 95th less 10th percentile of short-term loudness (3 s, every 100 ms) above -70
    LUFS and above 20 LU under their mean (EBU Tech 3342). Raises ``Unscorable`` below 10 s.
    """
    if powers.size < RANGE_LEAST_S * PER_S:
        raise Unscorable(f"{powers.size / PER_S:.1f} s of sound: a range needs {RANGE_LEAST_S:g} s")
    short = windows(powers, SHORT)
    loud = short[lufs(short) > ABSOLUTE_GATE_LUFS]
    if not loud.size:
        raise Unscorable("no 3 s of the sound are louder than -70 LUFS")
    gated = np.sort(lufs(loud[lufs(loud) > lufs(loud.mean()) - 20]))
    low, high = (gated[round((gated.size - 1) * share)] for share in (0.10, 0.95))
    return float(high - low)


class Loudness(PlainMetric):
    """Loudness of programme material (ITU-R BS.1770-5, EBU R 128, Tech 3341 and 3342).

    Channels count by FFmpeg's usual order for their number; a mono sound counts as one channel.
    """

    info = MetricInfo(
        name="loudness",
        version="1",
        title="Loudness",
        columns=(
            Column("integrated", "LUFS", "none", "loudness of the whole; broadcasting aims at -23"),
            Column("range", "LU", "none", "loudness range", 0.0),
            Column("momentary_max", "LUFS", "none", "the loudest 400 ms"),
            Column("short_term_max", "LUFS", "none", "the loudest 3 s"),
        ),
        wants=("sound",),
        family="sound",
        source="ITU-R BS.1770-5 annex 1; EBU R 128, Tech 3341 (2016), Tech 3342 (2016)",
    )

    def open(self, clip: Clip) -> LoudnessMeter:
        return LoudnessMeter(clip.shape.rate_hz)


class LoudnessMeter(QuietMeter):
    """Powers of 100 ms from blocks; 80 bytes for each second of sound are kept."""

    def __init__(self, rate_hz: int) -> None:
        if rate_hz < 6000:
            raise Unscorable(f"{rate_hz} Hz: the K filter needs a rate of 6000 Hz or more")
        self._sections = k_filter(rate_hz)
        self._stretches = Stretches(rate_hz, PER_S)
        self._state: NDArray[np.float64] | None = None
        self._powers: list[float] = []

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        for stretch in self._stretches.take(block):
            self._powers.append(self._power(stretch))

    def _power(self, stretch: NDArray[Any]) -> float:
        from scipy.signal import sosfilt

        if self._state is None:
            self._state = np.zeros((len(self._sections), stretch.shape[0], 2))
        heard, self._state = sosfilt(
            self._sections, stretch.astype(np.float64), axis=1, zi=self._state
        )
        weights = channel_weights(stretch.shape[0])
        return float(weights @ np.einsum("cn,cn->c", heard, heard) / stretch.shape[1])

    def powers(self) -> NDArray[np.float64]:
        """``(k,)``: of every whole stretch so far."""
        return np.array(self._powers)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        powers = self.powers()
        found: dict[str, float | str] = {"integrated": integrated(powers)}
        try:
            found["range"] = loudness_range(powers)
        except Unscorable as reason:
            found["range"] = str(reason)
        found["momentary_max"] = float(lufs(windows(powers, BLOCK).max()))
        short = windows(powers, SHORT)
        found["short_term_max"] = (
            float(lufs(short.max())) if short.size else "less than 3 s of sound"
        )
        return found

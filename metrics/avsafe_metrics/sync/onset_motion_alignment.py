"""Onset-motion alignment: whether sounds begin where motion peaks, more often than by chance.

Legend: ``t`` frames, ``k`` steps of 10 ms; events are times in seconds from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sync import shifted_null
from avsafe_metrics.sync.sound_onsets import STEP_S, log_mel, onset_strength, peaks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

TOLERANCE_S = 0.1
LEAST_EVENTS = 3  # in each stream; one pair aligns by chance as often as not
LEAST_S = 2.0  # shorter clips have too few shifts that differ
SHIFT_S = 0.02  # step of the null
NEAR_S = 0.3  # shifts nearer than that are no null for the excess
_APART_S = 0.1  # events nearer to one another are one
_LEAST_RISE = 0.05  # mean rise of log bands that is a sound at all
_LEAST_SPEED = 0.004  # short sides per second over the whole picture that is motion at all


def pairs(sound: NDArray[Any], motion: NDArray[Any], tolerance_s: float = TOLERANCE_S) -> int:
    """How many events of both sorted streams pair up one to one within ``tolerance_s``; the most
    that can.

    >>> pairs(np.array([0.5, 1.0]), np.array([0.45, 0.55, 3.0]))
    1
    """
    i = k = found = 0
    while i < len(sound) and k < len(motion):
        gap = sound[i] - motion[k]
        if abs(gap) <= tolerance_s + 1e-9:
            found, i, k = found + 1, i + 1, k + 1
        elif gap < 0:
            i += 1
        else:
            k += 1
    return found


def shifted_ious(
    sound: NDArray[Any], motion: NDArray[Any], duration_s: float, tolerance_s: float = TOLERANCE_S
) -> NDArray[np.float64]:
    """IoU of the two sets of events for every circular shift of the sound, 20 ms apart; index 0 is
    unshifted. IoU is pairs / (events of both - pairs), 0 to 1 (Yariv et al. 2024, arXiv:2309.16429,
    section 4.2; events here pair one to one).

    >>> float(shifted_ious(np.array([1.0, 2.0]), np.array([1.0, 2.05]), 4.0)[0])
    1.0
    """
    out = []
    for step in range(max(1, round(duration_s / SHIFT_S))):
        moved = np.sort((sound + step * SHIFT_S) % duration_s)
        n = pairs(moved, motion, tolerance_s)
        out.append(n / max(1, len(sound) + len(motion) - n))
    return np.array(out)


def f1_of(iou: float) -> float:
    """F1 = 2 IoU / (1 + IoU), for pairs one to one.

    >>> f1_of(0.5)
    0.6666666666666666
    """
    return 2 * iou / (1 + iou)


def sound_events(mono: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) sound at 16 kHz -> times at which sounds begin."""
    rise = onset_strength(log_mel(mono))
    found = peaks(rise, round(_APART_S / STEP_S), least=_LEAST_RISE)
    return np.asarray(found * STEP_S, np.float64)


def motion_events(speed: NDArray[Any], rate: float) -> NDArray[np.float64]:
    """(t,) mean speed, short sides per second, at ``rate`` -> times at which it peaks."""
    found = peaks(speed, max(1, round(_APART_S * rate)), least=_LEAST_SPEED)
    return np.asarray(found / rate, np.float64)


class OnsetMotionAlignment(PlainMetric):
    """Peaks of spectral flux against peaks of the mean optical flow, within 100 ms.

    The idea is AV-Align's; flow (dense inverse search), onsets and pairing are ours, so numbers are
    not comparable with theirs. The raw IoU depends on how many events there are: 0.41 is below
    chance for a busy clip. Read ``excess`` and ``p_value``.
    """

    info = MetricInfo(
        name="onset_motion_alignment",
        version="1",
        title="Onset-motion alignment",
        columns=(
            Column("excess", "", "higher", "IoU less its mean over shifted sound", -1.0, 1.0),
            Column("p_value", "", "lower", "share of shifts that align as well", 0.0, 1.0),
            Column("iou", "", "none", "raw; means nothing without its null", 0.0, 1.0),
            Column("f1", "", "none", "raw; means nothing without its null", 0.0, 1.0),
        ),
        wants=("luma", "mono16k"),
        family="sync",
        source="after AV-Align (Yariv et al. 2024, arXiv:2309.16429, 4.2), less a circular null",
    )

    def open(self, clip: Clip) -> _Meter:
        if clip.shape.frame_rate is None:
            raise Unscorable("a picture does not move: it needs moving pictures and sound")
        return _Meter(float(clip.shape.frame_rate))


class _Meter(QuietMeter):
    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._speed: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        flow = view.flow()
        if flow is None:
            self._speed.append(0.0)
            return
        length = np.hypot(flow[..., 0], flow[..., 1])
        self._speed.append(float(length.mean()) * self._rate / min(length.shape))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        mono = gathered.mono16k if gathered.mono16k is not None else np.zeros(0, np.float32)
        duration_s = min(len(self._speed) / self._rate, mono.size / 16_000)
        if duration_s < LEAST_S:
            raise Unscorable(f"{duration_s:.2f} s with picture and sound; it needs {LEAST_S:g} s")
        heard, seen = sound_events(mono), motion_events(np.array(self._speed), self._rate)
        heard, seen = heard[heard < duration_s], seen[seen < duration_s]
        if min(len(heard), len(seen)) < LEAST_EVENTS:
            raise Unscorable(
                f"{len(heard)} beginnings of sound and {len(seen)} peaks of motion; "
                f"it needs {LEAST_EVENTS} of each"
            )
        ious = shifted_ious(heard, seen, duration_s)
        return {
            "excess": shifted_null.excess(ious, round(NEAR_S / SHIFT_S)),
            "p_value": shifted_null.p_value(ious),
            "iou": float(ious[0]),
            "f1": f1_of(float(ious[0])),
        }

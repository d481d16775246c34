"""STOI and ESTOI: how intelligible speech is beside its reference.

Legend: sounds are ``(n,)`` float32 mono at 16 kHz.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sound.pairing import RATE_HZ, pair, parts
from avsafe_metrics.sound.shipped import needed
from avsafe_metrics.sound.vad import Voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_S, LEAST_SPEECH_S = 0.5, 0.4  # 30 frames of 12.8 ms


def stoi(x: NDArray[np.float32], y: NDArray[np.float32], *, extended: bool = False) -> float:
    """STOI (or ESTOI) of ``x`` to the reference ``y`` by the package ``pystoi``; 1 for
    equal sounds.

    Sounds above 30 s are scored in equal parts and averaged, so that memory stays bounded; parts
    with less than 384 ms of sound do not count. Raises ``Unscorable`` when all are like that.
    Rounded to 9 digits: ESTOI adds noise of 1e-16.
    """
    import pystoi

    found = []
    for part in parts(y.size):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                found.append(float(pystoi.stoi(y[part], x[part], RATE_HZ, extended=extended)))
            except (RuntimeWarning, ValueError):  # its word for "too few frames"
                continue
    if not found:
        raise Unscorable("less than 384 ms of the reference are louder than 40 dB below its peak")
    return round(float(np.mean(found)), 9)


class Stoi:
    """Short-time objective intelligibility of speech against the undamaged speech, in step with
    it. A gain changes nothing, a delay of a few ms does."""

    info = MetricInfo(
        name="stoi",
        version="1",
        title="STOI",
        columns=(
            Column("", "", "higher", "STOI", -1.0, 1.0),
            Column("extended", "", "higher", "ESTOI", -1.0, 1.0),
        ),
        wants=("mono16k",),
        family="sound",
        beside="reference",
        source="Taal et al. 2011, Jensen and Taal 2016, by the package pystoi; in parts above 30 s",
    )

    def prepare(self) -> None:
        needed("pystoi")
        self._voice = Voice()

    def digests(self) -> Mapping[str, str]:
        return self._voice.digests()

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self._voice)


class _Meter(QuietMeter):
    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        x, y = pair(gathered, LEAST_S)
        self._voice.need(y, LEAST_SPEECH_S, "reference")
        return {"": stoi(x, y), "extended": stoi(x, y, extended=True)}

"""PESQ: what listeners would say of speech beside its reference.

Legend: sounds are ``(n,)`` float32 mono at 16 kHz.
"""

from __future__ import annotations

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

LEAST_S, LEAST_SPEECH_S = 1.0, 0.5
_BANDS = {"wide": "wb", "narrow": "nb"}


def pesq_mos(x: NDArray[np.float32], y: NDArray[np.float32], band: str) -> float:
    """MOS-LQO of ``x`` to the reference ``y`` by the package ``pesq``; ``band`` is "wide" (P.862.2,
    1.04 to 4.64) or "narrow" (P.862.1, 1.02 to 4.56).

    Sounds above 30 s are scored in equal parts and averaged by P.862's own advice on length; parts
    without an utterance do not count. Raises ``Unscorable`` when none has one.
    """
    import pesq

    found = []
    for part in parts(y.size):
        try:
            found.append(float(pesq.pesq(RATE_HZ, y[part], x[part], _BANDS[band])))
        except (pesq.NoUtterancesError, pesq.BufferTooShortError):
            continue
    if not found:
        raise Unscorable("PESQ found no utterance in the reference")
    return float(np.mean(found))


class Pesq:
    """PESQ of speech against the undamaged speech, wide and narrow band. It aligns levels and
    delays itself; lengths may differ by 50 ms."""

    info = MetricInfo(
        name="pesq",
        version="1",
        title="PESQ",
        columns=(
            Column("wide", "MOS", "higher", "P.862.2, up to 7 kHz", 1.0, 4.65),
            Column("narrow", "MOS", "higher", "P.862.1, telephone band", 1.0, 4.6),
        ),
        wants=("mono16k",),
        family="sound",
        beside="reference",
        source="ITU-T P.862.1, P.862.2 by the package pesq; in parts above 30 s",
    )

    def prepare(self) -> None:
        needed("pesq")
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
        return {band: pesq_mos(x, y, band) for band in _BANDS}

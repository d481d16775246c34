"""Speech-to-noise ratio, estimated from the pauses.

Legend: the sound is ``(n,)`` float32 mono at 16 kHz; frames of 32 ms are speech or pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sound.vad import FRAME, FRAME_S, Voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SPEECH_S, LEAST_PAUSE_S = 1.0, 0.3
GUARD = 3  # frames beside speech (96 ms) that are neither
HIGHEST_DB, LOWEST_DB = 100.0, -10.0


def speech_snr(x: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Power of speech less that of the pauses, over the power of the pauses, in dB.

    ``mask`` ``(k,)`` tells the frames of speech. Raises ``Unscorable`` below 0.3 s of pauses, and
    when these are digital silence.
    """
    near = np.convolve(mask, np.ones(2 * GUARD + 1), "same") > 0
    whole = x.size // FRAME
    powers = (x[: whole * FRAME].astype(np.float64).reshape(-1, FRAME) ** 2).mean(axis=1)
    pauses = powers[~near[:whole]]
    if pauses.size * FRAME_S < LEAST_PAUSE_S:
        raise Unscorable(f"{pauses.size * FRAME_S:.1f} s of pauses: this needs {LEAST_PAUSE_S} s")
    noise, speech = float(pauses.mean()), float(powers[mask[:whole]].mean())
    if noise <= 1e-12:
        raise Unscorable("the pauses are digital silence")
    if speech <= noise:
        return LOWEST_DB
    return float(np.clip(10 * np.log10((speech - noise) / noise), LOWEST_DB, HIGHEST_DB))


class SpeechSnr:
    """How far speech stands above what is heard in its pauses (by Silero VAD). All that is no
    speech counts as noise: music, laughter, room. Noise that only comes with the speech is missed.
    """

    info = MetricInfo(
        name="speech_snr",
        version="1",
        title="Speech-to-noise ratio, estimated",
        columns=(Column("", "dB", "higher", "speech over its pauses", LOWEST_DB, HIGHEST_DB),),
        wants=("mono16k",),
        family="sound",
        source="power of speech frames less that of pauses, over pauses; Silero VAD, 96 ms guard",
    )

    def prepare(self) -> None:
        self._voice = Voice()

    def digests(self) -> Mapping[str, str]:
        return self._voice.digests()

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self._voice)


class _Meter(QuietMeter):
    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        x = gathered.mono16k
        if x is None:
            raise Unscorable("the clip has no sound")
        return {"": speech_snr(x, self._voice.need(x, LEAST_SPEECH_S))}

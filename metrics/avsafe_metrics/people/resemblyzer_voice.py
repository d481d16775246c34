"""A voice as 256 numbers: Resemblyzer's encoder on the speech of a recording.

Legend: the sound is ``(n,)`` float32 mono at 16 kHz; an embedding is ``(256,)`` of norm 1.
"""

from __future__ import annotations

from contextlib import suppress
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import EmbedderInfo, Features, Frame, Media, Picture, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
DIMENSIONS = 256
MOST_S = 60.0  # of a recording that are heard


class ResemblyzerVoice:
    """For ``avsafe.embedders``."""

    info = EmbedderInfo(
        name="resemblyzer",
        version="ge2e-1",
        modality="voice",
        dimensions=DIMENSIONS,
        same_below=0.70,
        other_above=0.80,
        licence="Apache-2.0",
        source="Resemblyzer 0.1.4 (Wan et al. 2018, arXiv:1710.10467), speech by Silero VAD",
    )
    extractor = "avsafe_metrics.people.resemblyzer_voice:VoiceVectors"

    def prepare(self) -> None:
        """Raises MissingExtra."""
        from avsafe_metrics.sound.speaker_similarity import SpeakerSimilarity

        SpeakerSimilarity().prepare()


class VoiceVectors:
    """A FeatureExtractor: the voice in the first minute of a sound; no vector below 1 s of speech.

    Several voices in one recording make one vector that is nobody's: it cannot tell them apart.
    """

    picture: Picture = "none"

    def __init__(self) -> None:
        self._held: list[NDArray[np.float32]] = []
        self._from_hz, self._n = 0, 0

    def start(self, media: Media) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Pictures are not looked at."""

    def samples(self, block: Samples, rate_hz: int) -> None:
        self._from_hz = self._from_hz or rate_hz
        if rate_hz == self._from_hz and self._n < MOST_S * rate_hz:
            self._held.append(np.nan_to_num(block.mean(axis=0)).astype(np.float32))
            self._n += block.shape[1]

    def finish(self) -> Features:
        found = np.empty((0, DIMENSIONS), np.float32)
        if self._held:
            with suppress(Unscorable):
                found = vector(np.concatenate(self._held), self._from_hz)[None]
        return {
            "vectors": found,
            "look": np.zeros(len(found), np.int64),
            "looks": np.array([1], np.int64),
        }


def vector(sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """(256,) of mono sound. Raises Unscorable where too little is spoken."""
    from scipy.signal import resample_poly

    from avsafe_metrics.sound.speaker_similarity import SpeakerSimilarity

    shared = gcd(RATE_HZ, rate_hz)
    at_rate = resample_poly(sound, RATE_HZ // shared, rate_hz // shared)
    metric = SpeakerSimilarity()
    metric.prepare()
    return metric.embedding(np.asarray(at_rate, np.float32))

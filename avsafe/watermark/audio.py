"""The audio mark: 32 bits + CRC32 as keyed level chips in time-frequency cells.

Legend: ``c`` channels, ``n`` samples. docs/watermark-audio.md has the measured figures.

>>> from avsafe.types import Kind, RawMedia
>>> import numpy as np
>>> sound = np.random.default_rng(0).normal(0, 0.1, (1, 16_000 * 10)).astype(np.float32)
>>> raw = RawMedia(kind=Kind.AUDIO, samples=[sound], rate_hz=16_000, channels=1)
>>> marker = AudioWatermarker()
>>> embedder = marker.embedder(raw, payload=1234, key=bytes(32))
>>> marked = np.hstack([embedder.samples(sound), embedder.flush()])
>>> marked.shape == sound.shape, embedder.mark().payload
(True, 1234)
"""

from __future__ import annotations

from collections.abc import Sequence

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Detection, Features, Kind, RawMedia
from avsafe.watermark import audio_chips, audio_detect, audio_embed, keyring
from avsafe.watermark.audio_features import LevelMeter


class AudioWatermarker:
    """A ``types.Watermarker`` for sound, mono or not, at 8 to 384 kHz."""

    @property
    def algorithm(self) -> str:
        return audio_chips.ALGORITHM

    @property
    def modality(self) -> Kind:
        return Kind.AUDIO

    @property
    def payload_bits(self) -> int:
        return audio_chips.PAYLOAD_BITS

    @property
    def extractor(self) -> str:
        return "avsafe.watermark.audio_features:AudioFeatureExtractor"

    def embedder(
        self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0
    ) -> audio_embed.AudioEmbedder:
        """An embedder for one pass over ``raw.samples``.

        Raises CannotMark at once when there is no sound or its rate is out of range; UsageError for
        a payload that is not 32 bits. Sound that proves too short or too quiet raises CannotMark
        from ``mark()``: a stream is known only at its end, and pictures may end before it.
        """
        if not 0 <= payload < 1 << audio_chips.PAYLOAD_BITS:
            raise UsageError(f"An audio payload is 0..2^32-1, not {payload}.")
        if raw.samples is None or raw.channels < 1:
            raise CannotMark("There is no sound to mark.")
        return audio_embed.AudioEmbedder(raw.rate_hz, raw.channels, payload, key, attempt=attempt)

    def detect(self, features: Features, key: bytes) -> Detection:
        """Look for a mark of ``key`` in what the extractor gave; see ``audio_detect.detect``."""
        return audio_detect.detect(features, key)

    def detect_any(self, features: Features, keys: Sequence[bytes]) -> Detection:
        """``detect`` for each key until one is there; what depends on no key is done once."""
        prepared = audio_detect.Prepared(features)
        return keyring.among(audio_detect.search(prepared, key) for key in keys)

    def bit_error_rate(self, features: Features, key: bytes, payload: int) -> float:
        """Share of wrong coded bits, 0..1, at the alignment that fits ``payload`` best.

        For benchmarks, which know the payload: 0.5 means that nothing is left, and what the code
        mends lies well below. Not a detection: with the payload known, every alignment is tried.
        """
        return audio_detect.bit_error_rate(features, key, payload)

    def can_mark(self, raw: RawMedia) -> str | None:
        """None when the sound should carry a mark, else the reason why not.

        Listens to all of ``raw.samples`` once (about 1 % of real time) and needs no key. Only
        ``mark()`` is certain.
        """
        if raw.samples is None or raw.channels < 1:
            return "There is no sound to mark."
        if (reason := audio_embed.refused_rate(raw.rate_hz)) is not None:
            return reason
        meter = LevelMeter(raw.rate_hz)
        fed = 0
        for block in raw.samples:
            meter.feed(block)
            fed += block.shape[1]
        return audio_embed.refusal(fed / raw.rate_hz, meter.finish())

"""AudioSeal by safetensors of its generator and detector. See docs/watermark-adapters.md.

Legend: ``k`` samples at 16 kHz; a *segment* is one second; a *word* is four segments, 64 bits.

AudioSeal (github.com/facebookresearch/audioseal, MIT) hides 16 bits, which leave no room for a
check, and says at each sample how likely a mark is and what the bits are. So we give each second a
message of its own, four in turn: 32 bits and their CRC32. A cut file has lost the beginning of the
count; the detector tries where a second may begin and which of the four it is, and counts each try.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.types import Detection, Features, Kind, Mark, RawMedia
from avsafe.watermark.adapters import message, sounds
from avsafe.watermark.adapters.weights import Weights, require

RATE_HZ = 16_000
SEGMENT = RATE_HZ
_SEGMENTS = 4
_BITS = 16
_WORD = _SEGMENTS * _BITS
_PHASES = 16  # of a second at which it may begin
_EDGE = SEGMENT // 10  # left out at both ends of a second: the neighbour's message
_FLIPS = 8
_MARGIN_S = 0.25
_LEAST_S = 4.5
_SURE = 1e-6  # of the p-value: a word that needs more repair does not count
_CARDS = {"generator": "audioseal_wm_16bits", "detector": "audioseal_detector_16bits"}


class AudioSeal:
    """A ``types.Watermarker`` for sound: 32 bits and their check, spread over seconds.

    Options of the configuration: ``cards``, the names of other model cards in the audioseal
    package by part. Raises MissingExtra when no weights are configured or audioseal, safetensors
    or torch is not installed.
    """

    algorithm: ClassVar[str] = "com.meta.audioseal+org.avsafe.word.1"
    modality: ClassVar[Kind] = Kind.AUDIO
    payload_bits: ClassVar[int] = 32
    extractor: ClassVar[str] = "avsafe.watermark.adapters.sounds:SoundSampler"

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights.configured("audioseal", list(_CARDS))
        self._torch = require("torch", "audioseal")
        self._safetensors = require("safetensors.torch", "audioseal")
        require("audioseal", "audioseal")
        # Compiling takes a minute and a C++ compiler; the networks run as they are.
        self._eager = require("audioseal.libs.moshi.utils.compile", "audioseal").no_compile

    def _network(self, part: str) -> Any:
        """One of the two networks, built by the audioseal package, with the user's tensors."""
        loader = require("audioseal.loader", "audioseal")
        builder = require("audioseal.builder", "audioseal")
        file = self._weights.parts[part]
        try:
            tensors = self._safetensors.load(file.read_tensors())
        except require("safetensors", "audioseal").SafetensorError as error:
            raise UsageError(f"{file.path.name} is no safetensors file ({error}).") from error
        card = (self._weights.options.get("cards") or _CARDS).get(part, _CARDS[part])
        config = loader.load_local_model_config(str(card))
        if config is None:
            raise UsageError(f"The audioseal package has no model card {card!r}.")
        config = {name: config[name] for name in config if name != "checkpoint"}
        of_part = {
            "generator": (builder.AudioSealWMConfig, builder.create_generator),
            "detector": (builder.AudioSealDetectorConfig, builder.create_detector),
        }
        kind, create = of_part[part]
        model = create(loader.AudioSeal.parse_config(config, config_type=kind, nbits=_BITS))
        try:
            loader.load_state_dict(model, tensors)
        except (RuntimeError, KeyError, AttributeError) as error:
            raise UsageError(f"{file.path.name} holds no tensors of {card} ({error}).") from error
        return model.eval()

    @cached_property
    def _generator(self) -> Any:
        return self._network("generator")

    @cached_property
    def _detector(self) -> Any:
        return self._network("detector")

    def embedder(
        self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0
    ) -> sounds.ResidualEmbedder:
        """``attempt`` 1 adds one and a half times what the network says.

        Raises UsageError for a payload over 32 bits or a short key, CannotMark for no sound or
        under 8 kHz; ``mark()`` raises CannotMark for silence and for less than 4.5 s.
        """
        word = message.write(payload, self.payload_bits, _WORD, key, self.algorithm)
        messages = word.reshape(_SEGMENTS, _BITS)
        return sounds.ResidualEmbedder(
            lambda mono, index: self._residual(mono, messages[index % _SEGMENTS]),
            Mark(self.modality, self.algorithm, payload, self.payload_bits),
            raw,
            network_hz=RATE_HZ,
            core_s=SEGMENT / RATE_HZ,
            margin_s=_MARGIN_S,
            least_s=_LEAST_S,
            gain=1.5 if attempt > 0 else 1.0,
        )

    def detect(self, features: Features, key: bytes) -> Detection:
        """The best word among 16 phases and 4 turns; ``p_value`` counts all of them.

        ``details["share_marked"]`` is AudioSeal's own answer: the part of the samples that look
        marked, by anybody and with any message.
        """
        sound = sounds.heard(features, RATE_HZ)
        details: dict[str, Any] = {"weights": self._weights.digests(), "keyless_network": True}
        if sound.size < _SEGMENTS * SEGMENT:
            return Detection(False, None, 1.0, details | {"reason": "silent, or under 4 s"})
        logits = self._logits(sound)
        details["share_marked"] = float((logits[1] > logits[0]).mean())
        sums = np.concatenate(
            [np.zeros((_BITS, 1)), np.cumsum(logits[2:], axis=1, dtype=np.float64)], axis=1
        )
        best = message.Reading(None, 1.0, 0, 0)
        for phase in range(_PHASES):
            soft = _by_turn(sums, phase * SEGMENT // _PHASES)
            for turn in range(_SEGMENTS):
                word = np.roll(soft, turn, axis=0).reshape(-1)
                found = message.read(word, self.payload_bits, key, self.algorithm, flips=_FLIPS)
                best = min(best, found, key=lambda reading: reading.p_value)
        hypotheses = _PHASES * _SEGMENTS
        p_value = min(1.0, hypotheses * best.p_value)
        details |= {"hypotheses": hypotheses, "tries": best.tries, "repaired": best.repaired}
        if p_value > _SURE:
            return Detection(False, None, p_value, details)
        return Detection(True, best.payload, p_value, details)

    def _residual(self, mono: sounds.Mono, bits: NDArray[np.uint8]) -> sounds.Mono:
        torch = self._torch
        with torch.no_grad(), self._eager():
            word = torch.from_numpy(bits.astype(np.int64))[None]
            added = self._generator.get_watermark(
                torch.from_numpy(mono)[None, None], sample_rate=RATE_HZ, message=word
            )
        return np.asarray(added[0, 0].numpy(), np.float32)

    def _logits(self, sound: sounds.Mono) -> NDArray[np.float32]:
        """``(2 + 16, k)``: unmarked, marked, and the bits, at each sample; ten seconds a time."""
        torch, parts = self._torch, []
        size = 10 * SEGMENT
        with torch.no_grad(), self._eager():
            for start in range(0, max(1, sound.size - SEGMENT), size):
                last = start + size >= sound.size - SEGMENT  # no piece shorter than a second
                piece = sound[start:] if last else sound[start : start + size]
                parts.append(self._detector.detector(torch.from_numpy(piece.copy())[None, None]))
        logits: NDArray[np.float32] = torch.cat(parts, dim=2)[0].numpy()
        if logits.shape != (2 + _BITS, sound.size):
            raise UsageError(
                f"The detector gave {logits.shape}; 18 numbers a sample were expected."
            )
        return logits


def _by_turn(sums: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """Soft bits ``(4, 16)``: the means over all first, second, third and fourth seconds.

    ``sums`` ``(16, k + 1)`` are running sums; ``start`` is where a second may begin.
    """
    begins = np.arange(start, sums.shape[1] - SEGMENT, SEGMENT)
    means = (sums[:, begins + SEGMENT - _EDGE] - sums[:, begins + _EDGE]).T
    soft = np.zeros((_SEGMENTS, _BITS))
    for turn in range(min(_SEGMENTS, len(means))):
        soft[turn] = means[turn::_SEGMENTS].mean(axis=0)
    return soft

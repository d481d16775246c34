"""TrustMark by ONNX files of its encoder and decoder. See docs/watermark-adapters.md.

How it is called is read from ``python/trustmark/trustmark.py`` in github.com/adobe/trustmark (MIT):
pictures ``(1, 3, h, w)`` in [-1, 1], the encoder at 256 x 256 with a secret ``(1, 100)`` of 0 and 1
gives the marked picture, the decoder (245 x 245 for the models B, C and Q) gives one number a bit,
above 0 for 1. ONNX is data: unlike the published pickles it cannot run a program of its own.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.types import Detection, Features, Kind, Mark, RawMedia
from avsafe.watermark.adapters import message, pictures
from avsafe.watermark.adapters.weights import Weights, require

_ENCODER_SIDE = 256
_FEATHER = 10  # pixels; only where a central square is marked
_GAIN = (1.0, 1.5)


class TrustMarkSampler(pictures.FrameSampler):
    """The square that TrustMark's decoder looks at."""

    side = 245
    box = staticmethod(pictures.centre_if_long)


class TrustMark:
    """A ``types.Watermarker`` for images: 64 bits and their check in TrustMark's 100.

    TrustMark's own error correction (BCH) is not used, so its own reader does not read our number,
    nor we that of others. Raises MissingExtra when no weights are configured or onnxruntime is not
    installed.
    """

    algorithm: ClassVar[str] = "com.adobe.trustmark+org.avsafe.word.1"
    modality: ClassVar[Kind] = Kind.IMAGE
    payload_bits: ClassVar[int] = 64
    extractor: ClassVar[str] = "avsafe.watermark.adapters.trustmark:TrustMarkSampler"

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights.configured("trustmark", ["encoder", "decoder"])
        self._runtime = require("onnxruntime", "trustmark")

    def _session(self, part: str) -> Any:
        file = self._weights.parts[part]
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            return self._runtime.InferenceSession(
                file.read_tensors(), options, providers=["CPUExecutionProvider"]
            )
        except UsageError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own for each status
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise UsageError(f"{file.path.name} is no ONNX model ({error}).") from error

    @cached_property
    def _encoder(self) -> Any:
        return self._session("encoder")

    @cached_property
    def _decoder(self) -> Any:
        return self._session("decoder")

    @cached_property
    def message_bits(self) -> int:
        """The length of the network's message: 100."""
        side = TrustMarkSampler.side
        return int(self._detect(np.zeros((side, side, 3), np.float32)).size)

    def embedder(
        self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0
    ) -> pictures.ResidualEmbedder:
        """``attempt`` 0 adds what the network says, 1 one and a half times that.

        Raises CannotMark for a short side under 128 pixels or without frames, UsageError for a
        payload over 64 bits, a short key, or weights that are not what was configured.
        """
        pictures.check_kind(raw.frames is not None and raw.frame_count != 0, self.modality)
        bits = message.write(payload, self.payload_bits, self.message_bits, key, self.algorithm)
        return pictures.ResidualEmbedder(
            lambda small: self._residual(small, bits),
            Mark(self.modality, self.algorithm, payload, self.payload_bits),
            height=raw.height,
            width=raw.width,
            side=_ENCODER_SIDE,
            box=pictures.centre_if_long(raw.width, raw.height),
            step=1,
            gain=_GAIN[min(max(attempt, 0), 1)],
            feather=_FEATHER,
        )

    def detect(self, features: Features, key: bytes) -> Detection:
        """The bits of the first picture (mean over several), then the CRC32 under the mask."""
        frames = pictures.sampled(features, TrustMarkSampler.side)
        details: dict[str, Any] = {"frames": len(frames), "weights": self._weights.digests()}
        if not frames:
            return Detection(False, None, 1.0, details | {"reason": "no usable frame"})
        soft = pictures.mean_bits([self._detect(frame) for frame in frames])
        found = message.read(soft, self.payload_bits, key, self.algorithm)
        details |= {"tries": found.tries, "repaired": found.repaired, "keyless_network": True}
        return Detection(found.payload is not None, found.payload, found.p_value, details)

    def _residual(self, small: pictures.Small, bits: NDArray[np.uint8]) -> pictures.Small:
        picture = (small * 2 - 1).transpose(2, 0, 1)[None].astype(np.float32)
        feeds = {
            item.name: picture if len(item.shape) == 4 else bits[None].astype(np.float32)
            for item in self._encoder.get_inputs()
        }
        marked = next(out for out in self._encoder.run(None, feeds) if out.shape == picture.shape)
        added = np.clip(marked, -1, 1) - picture
        added -= added.mean(axis=(2, 3), keepdims=True)  # no change of the picture's tint
        return np.asarray(added[0].transpose(1, 2, 0) / 2, np.float32)

    def _detect(self, small: pictures.Small) -> NDArray[np.float64]:
        picture = (small * 2 - 1).transpose(2, 0, 1)[None].astype(np.float32)
        found = self._decoder.run(None, {self._decoder.get_inputs()[0].name: picture})[0]
        if found.ndim != 2 or len(found) != 1:
            raise UsageError(f"The decoder gave {found.shape}; (1, 100) was expected of TrustMark.")
        return np.asarray(found[0], np.float64)

"""VideoSeal and PixelSeal by their TorchScript files. See docs/watermark-adapters.md.

The interface is that of ``docs/torchscript.md`` in github.com/facebookresearch/videoseal (MIT):
``embed(imgs, msgs, is_video)`` and ``detect(imgs, is_video)`` on ``(f, 3, h, w)`` float in [0, 1],
a message ``(f, n)`` of 0 and 1, answers ``(f, 1 + n)`` of which the first is unused and the sign of
the others is the bit. The network works at 256 x 256 whatever it is given, and marks one frame in
four; so do we, at that size, with the residual enlarged.
"""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.types import Detection, Features, Kind, Mark, RawMedia
from avsafe.watermark.adapters import message, pictures
from avsafe.watermark.adapters.weights import Weights, require

_PART = "model"
_STEP = 4  # frames that share a residual: VideoSeal's own step_size
_GAIN = (1.0, 1.5)


class VideoSeal:
    """A ``types.Watermarker`` for video: 64 bits and their check in VideoSeal's message.

    Raises MissingExtra when no weights are configured or torch is not installed.
    """

    algorithm: ClassVar[str] = "com.meta.videoseal+org.avsafe.word.1"
    modality: ClassVar[Kind] = Kind.VIDEO
    payload_bits: ClassVar[int] = 64
    extractor: ClassVar[str] = "avsafe.watermark.adapters.pictures:FrameSampler"

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights.configured("videoseal", [_PART])
        self._torch = require("torch", "videoseal")

    @cached_property
    def _model(self) -> Any:
        """The program in the file: it runs with our rights, and the digest vouches for it."""
        data = self._weights.parts[_PART].read()
        try:
            model = self._torch.jit.load(io.BytesIO(data), map_location="cpu").eval()
        except RuntimeError as error:
            raise UsageError(
                f"{self._weights.parts[_PART].path.name} is no TorchScript file. Use the .jit file "
                "that VideoSeal's authors publish, not the .pth checkpoint."
            ) from error
        for name in ("embed", "detect"):
            if not hasattr(model, name):
                raise UsageError(f"The TorchScript program has no {name}(): it is no VideoSeal.")
        return model

    @cached_property
    def message_bits(self) -> int:
        """The length of the network's message: 256 for VideoSeal 1.0 and PixelSeal."""
        side = pictures.FrameSampler.side
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
            side=pictures.FrameSampler.side,
            box=pictures.whole(raw.width, raw.height),
            step=_STEP,
            gain=_GAIN[min(max(attempt, 0), 1)],
        )

    def detect(self, features: Features, key: bytes) -> Detection:
        """Mean of the bits over the sampled frames, then the CRC32 under the key's mask."""
        frames = pictures.sampled(features, pictures.FrameSampler.side)
        details: dict[str, Any] = {"frames": len(frames), "weights": self._weights.digests()}
        if not frames:
            return Detection(False, None, 1.0, details | {"reason": "no usable frame"})
        soft = pictures.mean_bits([self._detect(frame) for frame in frames])
        found = message.read(soft, self.payload_bits, key, self.algorithm)
        details |= {"tries": found.tries, "repaired": found.repaired, "keyless_network": True}
        return Detection(found.payload is not None, found.payload, found.p_value, details)

    def _tensor(self, small: pictures.Small) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))[None])

    def _residual(self, small: pictures.Small, bits: NDArray[np.uint8]) -> pictures.Small:
        with self._torch.no_grad():
            one = self._tensor(small)
            word = self._torch.from_numpy(bits.astype(np.float32))[None]
            added = (self._model.embed(one, word, False) - one)[0].numpy()
        return np.asarray(added.transpose(1, 2, 0), np.float32)

    def _detect(self, small: pictures.Small) -> NDArray[np.float64]:
        with self._torch.no_grad():
            found = self._model.detect(self._tensor(small), False).numpy().astype(np.float64)
        if found.ndim < 2 or len(found) != 1 or found.shape[1] < 2:
            raise UsageError(f"detect() gave {found.shape}; (1, 1 + n) was expected of VideoSeal.")
        means: NDArray[np.float64] = found.reshape(1, found.shape[1], -1).mean(axis=2)[0, 1:]
        return means

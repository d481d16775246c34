"""ImageBind score: whether a clip's sound is that of what it shows, by a model the user exported.

Legend: pictures (b, 3, 224, 224) RGB 0 to 1, sound (b, 32000) at 16 kHz, embeddings (b, d).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sync.exported import Exported, cosine, square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

EVERY_S = 1.0  # one picture a second
PIECE = 32_000  # samples: 2 s, what ImageBind hears at once
BATCH = 8


def pieces(mono: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(n,) -> (k, size), in order; the last is filled with zeros, and left out when it is less than
    half full and not the only one.

    >>> pieces(np.ones(5, np.float32), 2).shape
    (3, 2)
    """
    count = max(1, (mono.size + size // 2) // size)
    padded = np.pad(mono[: count * size], (0, max(0, count * size - mono.size)))
    return padded.reshape(count, size)


class ImageBindScore:
    """Cosine of the mean embeddings of pictures and sound (Girdhar et al. 2023), as the IB-score of
    video-to-audio work; semantic, not temporal: shifted sound scores the same.

    ``weights={"imagebind_vision": path, "imagebind_audio": path}``, ONNX graphs with inputs
    ``picture`` (b, 3, 224, 224), RGB 0 to 1, and ``audio`` (b, 32000), output (b, d);
    ``metadata_props`` ``model`` = "imagebind".
    """

    info = MetricInfo(
        name="imagebind_score",
        version="1",
        title="ImageBind score (user weights)",
        columns=(Column("", "", "higher", "cosine of picture and sound", -1.0, 1.0),),
        wants=("rgb", "mono16k"),
        family="sync",
        weights=("imagebind_vision", "imagebind_audio"),
        source="ImageBind (Girdhar et al. 2023, arXiv:2305.05665); a picture a second, 2 s pieces",
    )

    def __init__(self, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._weights, self._device = dict(weights or {}), device
        self._models: tuple[Exported, Exported] | None = None

    def prepare(self) -> None:
        if self._models is None:
            self._models = (
                Exported(self._weights, "imagebind_vision", inputs=("picture",),
                         model="imagebind", device=self._device),
                Exported(self._weights, "imagebind_audio", inputs=("audio",),
                         model="imagebind", device=self._device),
            )  # fmt: skip

    def digests(self) -> Mapping[str, str]:
        if self._models is None:
            return {}
        vision, audio = self._models
        return {"imagebind_vision": vision.digest, "imagebind_audio": audio.digest}

    def open(self, clip: Clip) -> _Meter:
        if self._models is None:
            raise MissingExtra("ImageBind is not loaded: call prepare() before open().")
        return _Meter(*self._models)


class _Meter(QuietMeter):
    def __init__(self, vision: Exported, audio: Exported) -> None:
        self._vision, self._audio = vision, audio
        self._due_s = 0.0
        self._waiting: list[NDArray[np.uint8]] = []
        self._seen: list[NDArray[np.float32]] = []

    def frame(self, view: View, beside: View | None) -> None:
        if view.time_s + 1e-9 < self._due_s:
            return
        self._due_s += EVERY_S
        self._waiting.append(square(view.rgb))
        if len(self._waiting) == BATCH:
            self._look()

    def _look(self) -> None:
        if self._waiting:
            stacked = np.stack(self._waiting).transpose(0, 3, 1, 2).astype(np.float32) / 255
            self._seen.append(self._vision(picture=stacked))
            self._waiting = []

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        self._look()
        mono = gathered.mono16k
        if mono is None or not np.any(mono):
            raise Unscorable("the sound is silent")
        cut = pieces(mono, PIECE)
        heard = [self._audio(audio=cut[i : i + BATCH]) for i in range(0, len(cut), BATCH)]
        return {"": cosine(np.concatenate(self._seen), np.concatenate(heard))}

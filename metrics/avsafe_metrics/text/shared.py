"""What the metrics on CLIP and DINO share: which frames are looked at, and pairs of frames.

Legend: ``k`` frames, ``d`` features; a frame is (h, w, 3) uint8 RGB; features are unit vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.types import Clip, Gathered, Meter, MetricInfo
from avsafe_metrics.base import QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe.types import Frame
    from avsafe_metrics.text.clip_backbone import ClipBackbone
    from avsafe_metrics.text.dino_backbone import DinoBackbone

FRAMES_PER_S = 2.0  # frames that are looked at, where a metric does not need every one
PAIRED_SHARE = 0.9  # of the frames looked at need one beside


class Pick:
    """Which frames of a stream are looked at: the first at or after each tick of a clock that
    starts at 0 s, whatever the frame rate; all of them without a rate.

    >>> pick = Pick(2.0)
    >>> [t / 10 for t in range(12) if pick(t / 10)]
    [0.0, 0.5, 1.0]
    """

    def __init__(self, frames_per_s: float | None) -> None:
        if frames_per_s is not None and not 0 < frames_per_s <= 1000:
            raise UsageError(
                f"frames_per_s={frames_per_s}: expected a number above 0 and up to 1000, or null "
                "for every frame"
            )
        self._rate, self._tick = frames_per_s, 0

    def __call__(self, time_s: float) -> bool:
        if self._rate is None:
            return True
        if time_s + 1e-6 < self._tick / self._rate:
            return False
        self._tick = int((time_s + 1e-6) * self._rate) + 1
        return True


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Cosine of two vectors; 0 where one has no length.

    >>> cosine(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    1.0
    """
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return 0.0 if lengths == 0 else float(np.dot(a, b)) / lengths


def frame_to_frame(features: list[NDArray[np.float32]]) -> float:
    """VBench's consistency of (k, d) features of length 1, k >= 2; 0 to 1, higher is steadier.

    Each frame from the second on scores the mean of its cosine to the frame before and to the
    first, both cut at 0; the clip scores their mean (VBench, arXiv:2311.17982, section 3.2,
    equation in appendix; ``subject_consistency`` and ``background_consistency`` of its code).

    >>> one, other = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    >>> frame_to_frame([one, one, other])
    0.5
    """
    stack = np.stack(features).astype(np.float64)
    before = np.maximum(0.0, np.sum(stack[1:] * stack[:-1], 1))
    first = np.maximum(0.0, stack[1:] @ stack[0])
    return float(np.mean((before + first) / 2))


class Steadiness:
    """``frame_to_frame`` of features that come one at a time; two of them are held.

    >>> running = Steadiness()
    >>> for vector in np.eye(2, dtype=np.float32)[[0, 0, 1]]:
    ...     running.take(vector)
    >>> running.value()
    0.5
    """

    def __init__(self) -> None:
        self._first: NDArray[np.float32] | None = None
        self._before: NDArray[np.float32] | None = None
        self._scores: list[float] = []

    def take(self, vector: NDArray[np.float32]) -> None:
        if self._first is None or self._before is None:
            self._first = vector
        else:
            pairs = ((self._before, vector), (self._first, vector))
            near, far = (float(np.maximum(0.0, np.dot(a.astype(np.float64), b))) for a, b in pairs)
            self._scores.append((near + far) / 2)
        self._before = vector

    def value(self) -> float:
        if not self._scores:
            raise Unscorable("1 frame: consistency needs two")
        return float(np.mean(self._scores))


class ClipMetric:
    """A metric on a CLIP model: ``weights={"clip": PATH}``, and the model's name in open_clip as
    ``architecture`` where the path is a checkpoint alone."""

    info: MetricInfo

    def __init__(
        self,
        weights: Mapping[str, str] | None = None,
        architecture: str = "",
        frames_per_s: float | None = FRAMES_PER_S,
        device: str = "cpu",
        allow_download: bool = False,
    ) -> None:
        self._path = dict(weights or {}).get("clip", "")
        self._options = {"device": device, "allow_download": allow_download}
        self._architecture, self.frames_per_s = architecture, frames_per_s
        self._backbone: ClipBackbone | None = None
        Pick(frames_per_s)

    def prepare(self) -> None:
        if not self._path:
            raise missing("clip", "a CLIP model: a checkpoint with architecture=NAME, or a folder")
        from avsafe_metrics.text.clip_backbone import load

        self._backbone = load(self._path, self._architecture, **self._options)

    def digests(self) -> Mapping[str, str]:
        return self.backbone.digests

    @property
    def backbone(self) -> ClipBackbone:
        if self._backbone is None:
            self.prepare()
        if self._backbone is None:
            raise missing("clip", "a CLIP model")
        return self._backbone

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError


class DinoMetric:
    """A metric on a DINO vision transformer: ``weights={"dino": PATH}``."""

    info: MetricInfo

    def __init__(
        self,
        weights: Mapping[str, str] | None = None,
        frames_per_s: float | None = None,
        device: str = "cpu",
    ) -> None:
        self._path, self._device = dict(weights or {}).get("dino", ""), device
        self.frames_per_s = frames_per_s
        self._backbone: DinoBackbone | None = None
        Pick(frames_per_s)

    def prepare(self) -> None:
        if not self._path:
            raise missing("dino", "a DINO or DINOv2 ViT: a state dict, or a folder of transformers")
        from avsafe_metrics.text.dino_backbone import load

        self._backbone = load(self._path, self._device)

    def digests(self) -> Mapping[str, str]:
        return self.backbone.digests

    @property
    def backbone(self) -> DinoBackbone:
        if self._backbone is None:
            self.prepare()
        if self._backbone is None:
            raise missing("dino", "a DINO model")
        return self._backbone

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError


def missing(name: str, what: str) -> MissingExtra:
    return MissingExtra(
        f'no weights "{name}" were given, and none are fetched. Give the path of {what}, as in '
        f'weights: {{{name}: "PATH"}}.'
    )


class PairMeter(QuietMeter):
    """Frames that were looked at, each with the one that the source shows at that time."""

    def __init__(self, frames_per_s: float | None) -> None:
        self._pick = Pick(frames_per_s)
        self._looked, self._values = 0, list[float]()

    def frame(self, view: View, beside: View | None) -> None:
        if not self._pick(view.time_s):
            return
        self._looked += 1
        if beside is not None:
            self._values.append(self.compare(view.rgb, beside.rgb))

    def compare(self, edited: Frame, source: Frame) -> float:
        raise NotImplementedError

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if len(self._values) < PAIRED_SHARE * self._looked or not self._values:
            raise Unscorable(
                f"the source ends before the clip: it has a frame beside {len(self._values)} of "
                f"{self._looked} that were looked at"
            )
        return {"": float(np.mean(self._values))}

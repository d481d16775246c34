"""``talking``: whether the mouth, or the face, of somebody who speaks was made.

Legend: a stretch is 4 s of one face; a score is higher for made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import calibration
from avsafe.calibration import Condition, abstention, segment
from avsafe.types import Evidence, Features, Kind, Media
from avsafe_detectors import domain
from avsafe_detectors.audio_visual.lips import Talk
from avsafe_detectors.talking import measures, model
from avsafe_detectors.talking.regions import FIGURES, REGIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXTRACTOR = "avsafe_detectors.audio_visual.extractor:TalkingExtractor"
MODALITY = "video"
SOURCE = "detector.talking"
STRETCH_S = 4.0
LEAST_S = 2.5
LEAST_EYES = 38.0  # px between the eyes: of less nothing was measured
RATES = (20.0, 31.0)  # frames a second that were measured
REFUSED = 0.6  # lower end of the AUC below which a condition is not used
_MOST_LOOKS = 1000


class Talking:
    """The detector of the catalogue's name ``talking``."""

    name = "talking"
    kinds = (Kind.VIDEO,)
    modality = MODALITY
    extractors: Mapping[str, str] = {"talking": EXTRACTOR, "domain": domain.EXTRACTOR}

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        talk = Talk.of(features["talking"])
        regions, at = looks(features["talking"], len(talk.points))
        about = domain.describe(features["domain"], media)
        if (reason := unfit(talk, about)) is not None:
            return abstention(SOURCE, MODALITY, reason)
        found = [
            (first, end, measures.measured(talk.part(first, end), regions[mine], at[mine]))
            for first, end in stretches(talk)
            for mine in [(at >= first) & (at < end)]
        ]
        if not found:
            return abstention(SOURCE, MODALITY, f"no {LEAST_S:g} s with one face and no cut")
        known, arrays, region = model.loaded()
        condition = nearest(known.conditions, about.total_kbps)
        x = np.stack([row for _, _, row in found])
        scores = model.scored(x, arrays)
        far = float(np.median(region.distance(model.standardised(model.used(x), arrays))))
        details = {"stretches": len(found), "distance": far}
        if refused(condition):
            return abstention(
                SOURCE, MODALITY,
                f"{condition.name}: refused by measurement (AUC on people and systems left out "
                f"{float(condition.where['auc']):.2f}, lower end "
                f"{float(condition.where['auc_low']):.2f}; it needs {REFUSED:g})",
                details,
            )  # fmt: skip
        if far > 1:
            return abstention(SOURCE, MODALITY, f"the face is {far:.1f} times as far from the "
                              "measured ones as they are from each other", details)  # fmt: skip
        spans = [(first / talk.rate, end / talk.rate) for first, end, _ in found]
        lines = [segment(a, b, condition.llr(float(s)), flagged=bool(s > condition.threshold))
                 for (a, b), s in zip(spans, scores, strict=True)]  # fmt: skip
        return calibration.evidence(
            known, condition, float(np.mean(scores)),
            present="The mouth or the face differs from its surroundings as a remade one does",
            absent="No sign of a remade mouth or face was found",
            distance=far, details=details | {"timeline": lines},
        )  # fmt: skip


def looks(features: Features, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The looks (k, r, f) at the pixels and their frames (k,). Raises KeyError, ValueError."""
    regions = np.asarray(features["regions"], np.float64)
    at = np.asarray(features["at"], np.int64).reshape(-1)
    if regions.shape != (len(at), len(REGIONS), len(FIGURES)) or len(at) > _MOST_LOOKS:
        raise ValueError(f"regions {regions.shape} of {at.shape} frames")
    inside = (at >= 0) & (at < max(1, count))
    return np.where(np.abs(regions) < 1e4, regions, np.nan)[inside], at[inside]


def unfit(talk: Talk, about: domain.Domain) -> str | None:
    """Why a clip is not judged; None when it may be."""
    if about.picture_class in ("drawn", "screen", "blank", "cgi"):
        return f"the pictures are {about.picture_class}; measured on filmed faces only"
    if about.still:
        return "nothing moves; it needs a face in motion"
    if not len(talk.points) or not talk.seen.any():
        return f"no face in {len(talk.points)} frames"
    seconds = float(talk.seen.sum()) / talk.rate
    if seconds < LEAST_S:
        return f"{seconds:.1f} s with a face; it needs {LEAST_S:g} s"
    if not RATES[0] <= talk.rate <= RATES[1]:
        return f"{talk.rate:.3g} frames a second; measured at {RATES[0]:g} to {RATES[1]:g}"
    eyes = float(np.median(eyes_apart(talk.points[talk.seen])))
    if eyes < LEAST_EYES:
        return f"the face is too small: {eyes:.0f} px between the eyes, expected {LEAST_EYES:g}"
    return None


def eyes_apart(points: NDArray[Any]) -> NDArray[np.float64]:
    """(t,) px between the centres of the eyes of (t, 152, 2)."""
    from avsafe.faces.points import five_of

    five = five_of(points)
    return np.asarray(np.hypot(*np.moveaxis(five[..., 1, :] - five[..., 0, :], -1, 0)), np.float64)


def stretches(talk: Talk) -> list[tuple[int, int]]:
    """Frames (first, end) of 4 s, the last at least 2.5 s, with one face in nine tenths of them and
    without a cut."""
    wide, least = round(STRETCH_S * talk.rate), round(LEAST_S * talk.rate)
    edges = [0, *talk.cuts, len(talk.points)]
    out = []
    for low, high in pairwise(edges):
        for first in range(low, high - least + 1, wide):
            end = min(first + wide, high)
            if talk.seen[first:end].mean() >= 0.9 and np.median(talk.faces[first:end]) <= 1:
                out.append((first, end))
    return out


def nearest(conditions: tuple[Condition, ...], kbps: float | None) -> Condition:
    """The condition whose bit rate is nearest."""

    def far(one: Condition) -> float:
        return abs(math.log((kbps or 600.0) / float(one.where["kbps"])))

    return min(conditions, key=far)


def refused(condition: Condition) -> bool:
    """Whether measurement did not qualify it: AUC too low, or no finite threshold."""
    return not (math.isfinite(condition.threshold) and float(condition.where["auc_low"]) >= REFUSED)

"""Evidence of pictures and frames: are their pixels generated or re-synthesised?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import calibration as c
from avsafe.types import Evidence, Features, Kind, Media
from avsafe_detectors.domain import EXTRACTOR as DOMAIN
from avsafe_detectors.domain import Domain, describe
from avsafe_detectors.image import judging, model

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE, MODALITY = "detector.image", "image"
LEAST_QUALITY = 40  # of a JPEG
LEAST_SCALE = 0.5  # share of the resolution with detail
LEAST_PHOTO = 0.5  # of the domain gate's classes
LEAST_SIDE = 192  # px of the picture
MOST_NOISE = 5.0  # grey levels, as the domain gate reads them


class ImageDetector:
    """A ``types.Detector`` of still pictures. Films are looked at, but not judged: see REFUSED.

    >>> ImageDetector().name
    'image'
    """

    name = "image"
    kinds = (Kind.IMAGE, Kind.VIDEO)
    modality = MODALITY

    @property
    def extractors(self) -> Mapping[str, str]:
        return {"domain": DOMAIN, "image": "avsafe_detectors.image.extractor:TileExtractor"}

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        """Raises KeyError or ValueError for features that are no answer of the extractors."""
        weights = model.load()
        domain = describe(features["domain"], media)
        seen = judging.checked(features["image"], len(weights["mean"]))
        reason = unfit(domain, seen)
        if reason is not None:
            return c.abstention(SOURCE, MODALITY, reason)
        usable = seen.usable
        s = judging.summary(seen.x[usable], weights)
        known = calibrated()
        if domain.kind == "video":
            name, share = judging.VIDEO, 1.0
        else:
            stills = [n for n in judging.CONDITIONS if n != judging.VIDEO]
            name, share = judging.condition_of(s, weights, stills)
        if name in judging.REFUSED:
            return c.abstention(SOURCE, MODALITY, judging.REFUSED[name], {"nearest": name})
        distance = judging.distance(seen.x[usable], s, weights)
        if not distance <= 1:  # NaN abstains
            return c.abstention(
                SOURCE, MODALITY,
                f"its pixels are unlike all pictures measured ({distance:.1f} times the distance "
                "within which 99 % of those lie)", {"distance": distance},
            )  # fmt: skip
        try:
            condition = known.condition(name)
        except KeyError:
            return c.abstention(SOURCE, MODALITY, f"no measured condition is near ({name})")
        logit = judging.tile_logits(seen, weights)
        score = model.pooled(logit)
        found = judging.maps(seen, logit, weights[f"null.{judging.CONDITIONS.index(name)}"])
        what = "frames" if domain.kind == "video" else "picture"
        judged = c.evidence(
            known, condition, score, distance=distance,
            present=f"The pixels of the {what} have signs of generation or re-synthesis",
            absent=f"No sign of generation or re-synthesis was found in the pixels of the {what}",
            details={"condition_share": share, **_shown(found, condition, media)},
        )  # fmt: skip
        return _no_proof_of_a_camera(judged)


def _no_proof_of_a_camera(judged: Evidence) -> Evidence:
    """Pictures of most generators pass (card.md): that none was seen speaks for nothing."""
    if judged.llr is None or judged.llr >= 0:
        return judged
    low, high = judged.details["interval"]
    interval = [max(0.5, low), max(0.5, high)]
    return replace(
        judged, llr=0.0, probability=0.5, details={**judged.details, "interval": interval}
    )


def unfit(domain: Domain, seen: judging.Seen) -> str | None:
    """Why this file is not judged; None if it is."""
    photo = domain.picture_scores.get("photo", 0.0)
    if domain.picture_class is None or photo < LEAST_PHOTO:
        found = domain.picture_class or "unknown"
        return f"the picture is no photograph ({found}, {photo:.0%} photo); it needs photographs"
    width, height = domain.width or 0, domain.height or 0
    if min(width, height) < LEAST_SIDE:
        return f"the picture has {width} x {height} pixels; it needs {LEAST_SIDE} on each side"
    quality = domain.jpeg_quality
    if domain.kind == "image" and quality is not None and quality < LEAST_QUALITY:
        return f"JPEG quality {quality:.0f} was found; it needs {LEAST_QUALITY}"
    scale = domain.effective_scale
    if scale is not None and scale < LEAST_SCALE:
        return f"only {scale:.0%} of its resolution holds detail; it needs {LEAST_SCALE:.0%}"
    if domain.noise_sigma is not None and domain.noise_sigma > MOST_NOISE:
        return f"its noise is {domain.noise_sigma:.1f} grey levels; measured up to {MOST_NOISE:.0f}"
    count = int(seen.usable.sum())
    if count < judging.LEAST_TILES:
        return (
            f"{count} parts of it show something to measure, the others are flat or clipped; "
            f"it needs {judging.LEAST_TILES}"
        )
    if seen.colour < judging.LEAST_COLOUR:
        return "it is black and white; colour pictures were measured"
    return None


def _shown(
    found: list[tuple[float, Any, NDArray[np.bool_], list[float]]], condition: c.Condition,
    media: Media,
) -> dict[str, Any]:  # fmt: skip
    """The heatmap of the frame that stands out most, and for films a timeline of frames."""
    if not found:
        return {}
    moving = media.video is not None and media.video.frame_rate is not None

    def llr(grid: Any) -> Any:
        return np.clip(condition.slope * grid + condition.intercept, -condition.cap, condition.cap)

    most = max(range(len(found)), key=lambda k: (found[k][2].sum(), model.pooled(found[k][1])))
    time_s, grid, flagged, box = found[most]
    out: dict[str, Any] = {
        "heatmap": c.heatmap(llr(grid), flagged, box, fdr=judging.FDR,
                             time_s=time_s if moving else None),
        "flagged_share": float(np.mean([f.mean() for _, _, f, _ in found])),
    }  # fmt: skip
    if moving:
        ends = [t for t, *_ in found[1:]] + [media.duration_s or found[-1][0]]
        out["timeline"] = [
            c.segment(t, max(t, end), None if np.isnan(s := model.pooled(g)) else float(llr(s)),
                      flagged=bool(f.mean() > 0.5))
            for (t, g, f, _), end in zip(found, ends, strict=True)
        ]  # fmt: skip
    return out


@lru_cache(maxsize=1)
def calibrated() -> c.Calibration:
    """The calibration that ships."""
    return c.Calibration.load(model.CALIBRATION)

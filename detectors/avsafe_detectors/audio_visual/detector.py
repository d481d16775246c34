"""``audio-visual``: whether the lips follow the sound, and where they do not.

A mismatch is no sign of generation by itself: dubbed films and bad sync have it too, and generated
talking faces mostly follow their sound. So what it adds to the question "synthetic?" is bounded by
``AT_MOST``, and "in sync" adds nothing.

Legend: ``t`` frames at ``rate`` a second; a score is higher the less the lips follow the sound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import calibration
from avsafe.calibration import Calibration, Condition, abstention, segment
from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Evidence, EvidenceStatus, Features, Kind, Media
from avsafe_detectors import domain
from avsafe_detectors.audio_visual import events, lips
from avsafe_detectors.audio_visual.lips import HZ, Found, Talk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Metric

EXTRACTOR = "avsafe_detectors.audio_visual.extractor:TalkingExtractor"
WEIGHTS = Path(__file__).with_name("weights")
MODALITY = "audio-visual"
SOURCE = "detector.audio-visual"
WINDOW_S = 3.0  # of the timeline
LEAST_S = 2.7  # with a face and sound
LEAST_SHARE = 0.5  # of what sounds must be speech by the domain gate, and voiced by our own look
STILL_SHARE = 0.5  # of the speech without mouth motion: a voice over a silent face (0 to 0.45 else)
RATES = (20.0, 31.0)  # frames a second that were measured
EARLY_MS = 200.0  # an offset from which it is said to be one
AT_MOST = math.log(2)  # what a certain mismatch adds to "synthetic": assumed, see ``weighed``
DUBBED, OFF = 0.15, 0.30  # assumed: real, and synthetic, talking films whose lips do not follow
DRAWN = ("drawn", "screen", "blank")
SPOKEN = "speech"


class AudioVisual:
    """The detector of the catalogue's name ``audio-visual``."""

    name = "audio-visual"
    kinds = (Kind.VIDEO,)
    modality = MODALITY
    extractors: Mapping[str, str] = {"talking": EXTRACTOR, "domain": domain.EXTRACTOR}

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        talk = Talk.of(features["talking"])
        details: dict[str, Any] = {"indicators": dict(events.described(talk))}
        about = domain.describe(features["domain"], media)
        if (reason := unfit(talk, about)) is not None:
            return abstention(SOURCE, MODALITY, reason, details)
        still = details["indicators"]["speech_with_still_mouth"]
        if still is not None and still > STILL_SHARE:
            reason = (
                f"the mouth stands still in {still:.0%} of what is spoken: somebody else speaks"
            )
            return abstention(SOURCE, MODALITY, reason, details)
        try:
            metric = _metric()
            found = lips.found(metric, talk)
        except (Unscorable, MissingExtra) as error:
            return abstention(SOURCE, MODALITY, str(error), details)
        seconds = float(talk.seen.sum() / talk.rate)
        known, weights = loaded()
        condition, distance = nearest(known, seconds)
        if not math.isfinite(condition.threshold):
            return abstention(
                SOURCE, MODALITY, f"{condition.name}: refused by measurement", details
            )
        score = scored(found, weights)
        details |= {"lip_sync": {"offset_ms": found.offset_ms, "confidence": found.confidence,
                                 "p_value": found.p, "in_sync_score": found.in_sync},
                    "timeline": timeline(metric, talk, known, weights)}  # fmt: skip
        return said(known, condition, score, found, distance, details)


@lru_cache(maxsize=1)
def _metric() -> Metric:
    return lips.metric()


@lru_cache(maxsize=1)
def loaded() -> tuple[Calibration, NDArray[np.float64]]:
    """The calibration, and the weights (4,) of the score: three figures and a constant."""
    from safetensors.numpy import load_file

    weights = load_file(WEIGHTS / "audio_visual.safetensors")["score"].astype(np.float64)
    return Calibration.load(WEIGHTS / "calibration.json"), weights


def gate(picture: str | None, sound: str | None, share: float | None, voiced: float) -> str | None:
    """Why such media are not judged; None when they may be: classes of pictures and sound and the
    share of speech (``domain.Domain``), and how much is voiced (``events.voiced_share``)."""
    if picture in DRAWN:
        return f"the pictures are {picture}; measured on filmed faces only"
    if sound != SPOKEN:
        return f"the sound is {sound or 'of no known class'}; it needs speech"
    if share is not None and share < LEAST_SHARE:
        return f"{share:.0%} of the sound is speech; it needs {LEAST_SHARE:.0%}"
    if voiced < LEAST_SHARE:
        return f"{voiced:.0%} of the sound is voiced; it needs {LEAST_SHARE:.0%}, as speech has"
    return None


def unfit(talk: Talk, about: domain.Domain) -> str | None:
    """Why a clip is not judged; None when it may be."""
    if not talk.sound.size or not np.abs(talk.sound).max() > 1e-4:
        return "there is no sound; it needs speech"
    voiced = events.voiced_share(talk.sound)
    reason = gate(about.picture_class, about.sound_class, about.speech_share, voiced)
    if reason is not None:
        return reason
    if not len(talk.points) or not talk.seen.any():
        return f"no face in {len(talk.points)} frames; it needs one that speaks"
    seconds = min(float(talk.seen.sum()) / talk.rate, len(talk.sound) / HZ)
    if seconds < LEAST_S:
        return f"{seconds:.1f} s with a face and sound; it needs {LEAST_S:g} s"
    if not RATES[0] <= talk.rate <= RATES[1]:
        return (f"{talk.rate:.3g} frames a second; measured at {RATES[0]:g} to {RATES[1]:g}"
                " (of faster films every second frame)")  # fmt: skip
    return None


def figures(found: Found) -> NDArray[np.float64]:
    """(3,) what the score is made of: log-odds of being in sync, log of p, confidence."""
    sync = min(max(found.in_sync, 1e-3), 1 - 1e-3)
    return np.array([np.log(sync / (1 - sync)), np.log(max(found.p, 1e-4)), found.confidence])


def scored(found: Found, weights: NDArray[np.float64]) -> float:
    return float(figures(found) @ weights[:3] + weights[3])


def nearest(known: Calibration, seconds: float) -> tuple[Condition, float]:
    """The condition whose length is nearest, and how far it is: the logarithm of the ratio."""

    def far(one: Condition) -> float:
        return abs(math.log(seconds / float(one.where["seconds"])))

    best = min(known.conditions, key=far)
    return best, far(best)


def weighed(llr: float) -> float:
    """What a mismatch of this log-likelihood ratio says of "synthetic", at most log 2.

    (s L + 1 - s) / (r L + 1 - r): of synthetic talking films a share ``s`` is out of sync, of real
    ones ``r`` (dubbed, spoken over, bad sync). Both shares are assumptions; nobody measured them.

    >>> round(weighed(3.0), 2), weighed(-1.0)
    (0.55, 0.0)
    """
    ratio = math.exp(llr)
    value = math.log((OFF * ratio + 1 - OFF) / (DUBBED * ratio + 1 - DUBBED))
    return min(AT_MOST, max(0.0, value))


def said(
    known: Calibration, condition: Condition, score: float, found: Found, distance: float,
    details: Mapping[str, Any],
) -> Evidence:  # fmt: skip
    """Evidence in words that claim no more than was measured."""
    base = calibration.evidence(known, condition, score, present="", absent="",
                                distance=distance, details=details)  # fmt: skip
    if base.status is EvidenceStatus.ABSTAINED:
        return base
    mismatch = condition.llr(score)
    llr = weighed(mismatch)
    tail = (
        f"on {condition.name} that is said of {condition.false_positive_rate:.1%} of clips whose "
        f"lips follow their sound, and of {condition.true_positive_rate:.0%} with another sound"
    )
    if score > condition.threshold:
        late = found.offset_ms
        text = "The lips do not follow the sound (as in dubbing, bad sync or a lip-sync fake)"
        if found.p < 0.05 and abs(late) >= EARLY_MS:
            text += f": it is {abs(late):.0f} ms {'late' if late > 0 else 'early'}"
        text = f"{text}; {tail}."
    elif mismatch > 0:
        text = (
            "It is not clear whether the lips follow the sound: what speaks against it is below "
            f"the threshold (so are {1 - condition.true_positive_rate:.0%} of other sounds)."
        )
    else:
        text = (
            "No mismatch of lips and sound was found. That is no sign of a real recording: "
            "generated talking faces follow their sound as well."
        )
    films = float(condition.where["real_films"])
    alarms = (float(condition.where["real_films_above"]) + 1) / (films + 1)
    measured = condition.as_details(distance)
    # Of real films, dubbed or not; beside it, of clips whose lips follow their sound.
    measured |= {
        "fpr": alarms,
        "fpr_upper": max(alarms, condition.false_positive_upper),
        "fpr_in_sync": condition.false_positive_rate,
    }
    return replace(
        base,
        summary=text,
        llr=llr,
        probability=calibration.probability(llr),
        details={**base.details, "condition": measured, "mismatch_llr": mismatch,
                 "mismatch_probability": calibration.probability(mismatch),
                 "interval": list(_through(condition.interval(score)))},
    )  # fmt: skip


def _through(interval: tuple[float, float]) -> tuple[float, ...]:
    """An interval of the probability of a mismatch as one of "synthetic"."""
    odds = [math.log(max(p, 1e-9) / max(1 - p, 1e-9)) for p in interval]
    return tuple(calibration.probability(weighed(v)) for v in odds)


def timeline(
    metric: Metric, talk: Talk, known: Calibration, weights: NDArray[Any]
) -> list[dict[str, Any]]:
    """Windows of 3 s, judged by their own condition; None where one can't be."""
    condition, _ = nearest(known, WINDOW_S)
    wide = round(WINDOW_S * talk.rate)
    count = min(len(talk.points), int(len(talk.sound) / HZ * talk.rate))
    out = []
    for first in range(0, max(1, count - wide // 2), wide):
        end = min(first + wide, count)
        llr, flagged = None, False
        try:
            score = scored(lips.found(metric, talk.part(first, end)), weights)
            llr, flagged = weighed(condition.llr(score)), score > condition.threshold
        except Unscorable:
            pass
        out.append(segment(first / talk.rate, end / talk.rate, llr, flagged=flagged))
    return out

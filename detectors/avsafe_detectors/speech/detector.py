"""Evidence that a voice is synthetic, converted or re-rendered; or why none can be had.

Legend: ``k`` blocks of 2 s, ``t`` frames of 10 ms, ``w`` windows of 1.92 s.

1. Is there enough sound, and is it speech?
2. Which measured condition is nearest: clean, low-rate codec, narrowband, noisy?
3. Networks give a score; does the voice lie where measured ones lie?
4. Is the score one that says something?
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import (
    Calibration,
    Condition,
    Region,
    abstention,
    evidence,
    probability,
    segment,
)
from avsafe.types import Evidence, Features, Kind, Media
from avsafe_detectors.domain import EXTRACTOR as DOMAIN
from avsafe_detectors.domain import Domain, describe
from avsafe_detectors.speech import features as f
from avsafe_detectors.speech import model
from avsafe_detectors.speech.extractor import (
    BINS,
    BLOCK,
    BLOCKS,
    HEARD,
    HOP,
    LEVELS,
    MOMENTS,
    STARTS,
)
from avsafe_detectors.speech.extractor import RATE_HZ as LEVELS_HZ
from avsafe_detectors.speech.fine import BANDS, PER_FRAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "speech"
EXTRACTOR = "avsafe_detectors.speech.extractor:SpeechExtractor"
SEEN = Path(__file__).parent / "weights" / "seen.json"
CALIBRATION = Path(__file__).parent / "weights" / "calibration.json"
LEAST_S = 1.5  # of speech
SPEECH_SHARE = 0.35  # of the sounding part, by the domain gate
BAND_HZ = 3_300.0  # sound above it is missing: not even a telephone's band
WIDE_HZ = 5_500.0  # below it, narrowband
LOW_KBPS = 72.0  # of a mono stream: at most this is "low rate"
# Loudest twentieth over quietest twentieth of heard frames; below it, noisy. Measured on 33
# utterances: 32 to 61 dB as they are, 31 to 38 with noise of 30 dB, 25 to 28 with 20, 16 to 19 with
# 10 (10 % to 90 %).
NOISY_DB = 30.0
# |log-odds| below which a score says nothing: at most 0.38 to 0.62
UNSURE = 0.5
LOSSY = {"mp3", "aac", "opus", "vorbis", "wmav2", "ac3", "mp2"}
TELEPHONE = {"pcm_mulaw", "pcm_alaw", "amr_nb", "gsm", "gsm_ms", "amrnb"}


@dataclass(frozen=True)
class Voice:
    """What is heard of a file."""

    x: NDArray[np.float32]  # (t, 216) normalised levels of the heard frames
    moments: NDArray[np.uint8]  # (10 t, 6)
    at_s: NDArray[np.float64]  # (t,) where each of them is
    bandwidth_hz: float
    snr_db: float
    speech_s: float


def voice(features: Features) -> Voice:
    """The heard frames. Raises KeyError or ValueError for arrays that our extractor never makes."""
    blocks, starts = np.asarray(features[LEVELS]), np.asarray(features[STARTS], np.float64)
    heard = np.asarray(features[HEARD], np.float64)
    if blocks.ndim != 3 or blocks.shape[1:] != (BLOCK, BINS) or len(blocks) > BLOCKS:
        raise ValueError(f"levels are (k, {BLOCK}, {BINS}), k <= {BLOCKS}, not {blocks.shape}")
    moments = np.asarray(features[MOMENTS])
    if moments.shape != (len(blocks), BLOCK * PER_FRAME, BANDS) or moments.dtype != np.uint8:
        raise ValueError(f"the moments do not go with levels of {blocks.shape}: {moments.shape}")
    if blocks.dtype != np.uint8 or starts.shape != blocks.shape[:1] or heard.shape != (4,):
        raise ValueError("the levels, their starts and totals do not fit together")
    if not (np.isfinite(starts).all() and np.isfinite(heard).all()):
        raise ValueError("a start or total is no number")
    flat = blocks.reshape(-1, BINS)
    at = (starts[:, None] + np.arange(BLOCK) * HOP / LEVELS_HZ).ravel()
    present = flat.any(1)
    quick = moments.reshape(-1, PER_FRAME, BANDS)[present]
    db, at = f.decibels(flat[present]), at[present]
    loud = f.loudness(db)
    keep = f.heard(loud)
    if not keep.any():
        return Voice(np.zeros((0, f.WIDTH), np.float32), moments[:0, 0], at[:0], 0.0, 0.0, 0.0)
    db, at, loud = db[keep], at[keep], loud[keep]
    active = loud > np.quantile(loud, 0.95) - f.ACTIVE_DB
    return Voice(
        x=f.normalised(db),
        moments=quick[keep].reshape(-1, BANDS),
        at_s=at,
        bandwidth_hz=_bandwidth(db[active]),
        snr_db=float(np.quantile(loud, 0.95) - np.quantile(loud, 0.05)),
        speech_s=float(active.sum() * HOP / LEVELS_HZ),
    )


def _bandwidth(db: NDArray[np.float32]) -> float:
    """Highest frequency whose loudest moments lie within 50 dB of the loudest bin."""
    if not len(db):
        return 0.0
    top = np.quantile(db, 0.98, axis=0)
    above = np.flatnonzero(top > top.max() - 50)
    return float((above[-1] + f.FIRST) * 31.25)


def nearest(domain: Domain, heard: Voice) -> tuple[str, float] | str:
    """Name of the nearest measured condition and how far it is (0: within), or why none is near."""
    if heard.bandwidth_hz < BAND_HZ:
        return f"its sound ends at {heard.bandwidth_hz:.0f} Hz; expected {BAND_HZ:.0f} Hz at least"
    narrow = heard.bandwidth_hz < WIDE_HZ or (domain.rate_hz or 16_000) < 11_000
    if narrow or domain.audio_codec in TELEPHONE:
        return "narrowband", max(0.0, (heard.bandwidth_hz - 4_200) / 1_300) if narrow else 0.0
    if heard.snr_db < NOISY_DB:
        return "noisy", max(0.0, (16 - heard.snr_db) / 10)
    kbps = _sound_kbps(domain)
    if domain.audio_codec in LOSSY and (kbps is None or kbps <= LOW_KBPS):
        return "low rate", 0.0 if kbps is not None and kbps >= 16 else 0.5
    return "clean", 0.0


def _sound_kbps(domain: Domain) -> float | None:
    """Of an audio file; what part of a video's rate is sound is not known."""
    return domain.total_kbps if domain.kind == "audio" else None


class SpeechDetector:
    """A ``types.Detector``: synthetic, converted or re-rendered speech.

    >>> SpeechDetector().modality
    'speech'
    """

    name = NAME
    kinds = (Kind.AUDIO, Kind.VIDEO)
    modality = "speech"
    extractors: Mapping[str, str] = {"speech": EXTRACTOR, "domain": DOMAIN}

    @property
    def seen(self) -> frozenset[str]:
        """First 16 hex digits of the SHA-256 of each clip that was learned from."""
        return frozenset(json.loads(SEEN.read_text(encoding="utf-8")))

    def judge(self, features: Mapping[str, Features], media: Media) -> Evidence:
        """Raises KeyError or ValueError for features that are none."""
        heard, domain = voice(features["speech"]), describe(features["domain"], media)
        seconds = np.asarray(features["speech"][HEARD], np.float64)
        if reason := unfit(domain, heard, media):
            return self._abstain(reason, domain, heard)
        found = nearest(domain, heard)
        if isinstance(found, str):
            return self._abstain(found, domain, heard)
        name, distance = found
        known, weights = calibration(), model.load()
        condition = known.condition(name)
        said = model.judged(heard.x, heard.moments, weights)
        far = float(np.median(region(name).distance(standardised(said.summaries))))
        what = "re-rendered" if said.rendered > 0.5 else "synthetic"
        details = _heard(domain, heard) | {
            "region": round(far, 3),
            "class": what,
            "analysed_s": round(len(heard.x) * HOP / LEVELS_HZ, 2),
            "of_s": round(float(seconds[0]), 2),
            "timeline": timeline(said, heard, condition, said.score > condition.threshold),
        }
        if reason := undecided(condition, said.score, far):
            return self._abstain(reason, domain, heard, condition.as_details(distance))
        if said.score <= condition.threshold:
            del details["class"]
        return evidence(
            known,
            condition,
            said.score,
            present=f"The voice has traces of being {what}",
            absent="The voice has no clear traces of synthesis",
            distance=distance,
            details=details,
        )

    def _abstain(
        self, reason: str, domain: Domain, heard: Voice, condition: Any = None
    ) -> Evidence:
        details = _heard(domain, heard)
        if condition is not None:
            details["condition"] = condition
        return abstention(f"detector.{NAME}", self.modality, reason, details)


def _heard(domain: Domain, heard: Voice) -> dict[str, Any]:
    return {
        "sound_class": domain.sound_class,
        "speech_s": round(heard.speech_s, 2),
        "bandwidth_hz": round(heard.bandwidth_hz),
        "snr_db": round(heard.snr_db, 1),
        "audio_codec": domain.audio_codec,
    }


def unfit(domain: Domain, heard: Voice, media: Media) -> str | None:
    """Why a file can't be judged, before its voice is looked at."""
    if media.audio is None:
        return "it has no sound; expected speech"
    if domain.sound_class not in ("speech", None):
        return f"its sound is {domain.sound_class}; expected speech"
    if heard.speech_s < LEAST_S:
        return f"it has {heard.speech_s:.1f} s of sound; expected {LEAST_S:g} s of speech"
    if domain.speech_s is not None and domain.speech_s < 0.6 * LEAST_S:
        return f"it has {domain.speech_s:.1f} s of speech; expected {LEAST_S:g} s"
    if domain.speech_share is not None and domain.speech_share < SPEECH_SHARE:
        return (
            f"{domain.speech_share:.0%} of its sound is speech; expected {SPEECH_SHARE:.0%} at "
            "least"
        )
    return None


def undecided(condition: Condition, score: float, far: float) -> str | None:
    """Why a score is not stated."""
    if condition.where.get("refused"):
        return f"in its condition ({condition.name}) the detector failed its test"
    if far > 1:
        return (
            f"the voice is unlike all that was measured ({far:.2f} times as far as 99 % of those); "
            "expected 1 at most"
        )
    if not math.isfinite(score):
        return "the score is no number"
    llr = condition.slope * score + condition.intercept
    if abs(llr) < float(condition.where.get("unsure", UNSURE)):
        return (
            f"the score lies between real and synthetic voices (probability {probability(llr):.2f})"
        )
    return None


def timeline(
    said: model.Judgement, heard: Voice, condition: Condition, flagged: bool
) -> list[dict[str, Any]]:
    """Windows of 1.92 s in time. Only of a voice that is flagged as a whole are windows flagged:
    those above the same threshold."""
    out = []
    last = len(heard.at_s) - 1
    for first, score in zip(said.first.tolist(), said.windows.tolist(), strict=True):
        start = float(heard.at_s[min(first, last)])
        end = float(heard.at_s[min(first + f.WINDOW - 1, last)]) + HOP / LEVELS_HZ
        if end - start > 3 * f.WINDOW * HOP / LEVELS_HZ:
            continue  # the window joins parts that lie far apart
        out.append(
            segment(
                start, end, condition.llr(score), flagged=flagged and score > condition.threshold
            )
        )
    return out


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    return Calibration.load(CALIBRATION)


@lru_cache(maxsize=8)
def region(name: str) -> Region:
    return Region.from_arrays(model.load(), f"region.{name}")


def standardised(summaries: NDArray[np.float32]) -> NDArray[np.float64]:
    weights = model.load()
    return model.standardised(summaries, weights["summary.mean"], weights["summary.spread"])

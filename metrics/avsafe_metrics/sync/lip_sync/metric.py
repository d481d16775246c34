"""Lip-sync: by how much the sound is late, how sure that is, and whether it could be chance.

Legend: ``t`` frames of the file, ``n`` samples at 16 kHz; evidence as in ``judgement``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sync.lip_sync import features, judgement, model
from avsafe_metrics.sync.lip_sync.features import AUDIO_HZ, LEAST, RATE
from avsafe_metrics.talking.tracks import track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

LEAST_S = LEAST / RATE
QUIET = 1e-3  # root mean square: -60 dBFS; what is below is silence
# Deviation of the lips' points over a window, in distances between the eyes: a picture that does
# not move has less, however it was coded (docs/metrics/lip-sync.md).
STILL = 0.006


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was found in a clip; ``evidence`` (n, 31) of ``windows`` that cover ``frames``."""

    offset_ms: float
    confidence: float
    p_value: float
    in_sync_score: float
    evidence: Array
    frames: int


def judge(
    points: Array,
    frame_rate: float,
    sound: Array,
    *,
    cuts: Sequence[int] = (),
    weights: Mapping[str, Array] | None = None,
    known: judgement.Calibration | None = None,
) -> Judgement:
    """Lips against sound: landmarks (t, 152, 2) px as seen (NaN without a face) at ``frame_rate``,
    sound (n,) at 16 kHz, both from time 0; ``cuts`` first frames of new scenes.

    Raises Unscorable: silence, no stretch of 1.6 s with a face and sound, lips that do not move.
    ``weights`` and ``known`` default to what ships.

    >>> judge(np.zeros((50, 152, 2), np.float32), 25.0, np.zeros(32000, np.float32))
    Traceback (most recent call last):
    ...
    avsafe.errors.Unscorable: the sound is silent (below -60 dBFS)
    """
    weights = model.load() if weights is None else weights
    known = judgement.calibration() if known is None else known
    mouths, runs = features.at_rate(features.mouth(points), frame_rate, cuts)
    energy = features.power(sound)
    spans = model.starts(runs)
    with_sound = [span for span in spans if _level(sound, *span) > QUIET]
    if not with_sound:
        level = float(np.sqrt(np.mean(np.square(sound)))) if sound.size else 0.0
        if level <= QUIET:
            raise Unscorable("the sound is silent (below -60 dBFS)")
        longest = max((end - first for first, end in runs), default=0) / RATE
        if not spans:
            raise Unscorable(
                f"the longest stretch with a face and no cut has {longest:.1f} s; expected "
                f"{LEAST_S:g} s"
            )
        raise Unscorable("the sound is silent while there is a face")
    moving = [span for span in with_sound if _moves(mouths, *span)]
    if not moving:
        raise Unscorable("the lips do not move")
    members = model.members_of(weights)
    seen, rows = [], []
    for span in moving:  # one at a time: memory does not grow with the clip
        shown = model.window(mouths, energy, *span)
        if shown.heard.sum() >= LEAST:
            seen.append(span)
            rows.append(model.evidence([shown], weights, members)[0])
    if not seen:
        raise Unscorable(f"less than {LEAST_S:g} s of sound beside the face")
    evidence = np.stack(rows)
    frames = judgement.covered(seen)
    sure = judgement.confidence(evidence)
    return Judgement(
        offset_ms=judgement.offset_frames(evidence) * judgement.FRAME_MS,
        confidence=sure,
        p_value=judgement.p_value(sure, frames, known),
        in_sync_score=judgement.in_sync(evidence, frames, known),
        evidence=evidence,
        frames=frames,
    )


def _level(sound: Array, first: int, end: int) -> float:
    step = AUDIO_HZ // RATE
    part = sound[first * step : end * step]
    return float(np.sqrt(np.mean(np.square(part)))) if part.size else 0.0


def _moves(mouths: Array, first: int, end: int) -> bool:
    part = mouths[first:end]
    return bool((part - part.mean(0)).std() > STILL)


class LipSync(PlainMetric):
    """Our own lip-sync model on the landmarks of ``avsafe.faces``; its card: weights/card.md.

    Not SyncNet: its confidence is another number. It reads no pixels but through the landmarks.
    """

    info = MetricInfo(
        name="lip_sync",
        version="1",
        title="Lip-sync",
        columns=(
            Column(
                "offset_ms", "ms", "none", "positive: sound late; steps of 40 ms", -600.0, 600.0
            ),
            Column("confidence", "", "higher", "agreement at the best offset; 0 is none"),
            Column("p_value", "", "lower", "chance of that confidence with other sound", 0.0, 1.0),
            Column("in_sync_score", "", "higher", "chance of at most 80 ms off", 0.0, 1.0),
        ),
        wants=("faces", "mono16k"),
        family="sync",
        source=(
            "own model: two encoders trained to pick the offset (as Chung and Zisserman 2016, "
            "Chung et al. 2019, arXiv:1809.08001), on lip landmarks; weights/card.md"
        ),
    )

    def prepare(self) -> None:
        model.load()
        judgement.calibration()

    def digests(self) -> Mapping[str, str]:
        import hashlib

        paths = (model.WEIGHTS, judgement.CALIBRATION)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        track, sound = track_of(gathered, LEAST_S), gathered.mono16k
        if sound is None or not sound.size:
            raise Unscorable("the clip has no sound")
        found = judge(track.raw, float(track.frame_rate), sound, cuts=track.cuts)
        return {
            "offset_ms": found.offset_ms,
            "confidence": found.confidence,
            "p_value": found.p_value,
            "in_sync_score": found.in_sync_score,
        }

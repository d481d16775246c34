"""Speech and mouth motion: does the mouth move while there is speech, and rest while there is none.

Legend: ``t`` frames, ``n`` samples at 16 kHz, ``b`` blocks of 20 ms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.talking.mouth_motion import moving
from avsafe_metrics.talking.tracks import track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.faces import FaceTrack

RATE_HZ = 16_000
BLOCK_S = 0.02
MIN_S = 1.0  # of loud time, and of quiet time, for a share of it
LOUD_DB = 25.0  # below the level of the loudest twentieth: speech; what is below is a pause
SILENT_DB = -60.0  # full scale; a clip that never gets louder is silent
FILL_S = 0.2  # pauses that are shorter belong to speech


def loud(mono: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(b,) which blocks of 20 ms of a sound (n,) at 16 kHz are loud: within 25 dB of the level that
    a twentieth of them exceeds, with gaps up to 0.2 s closed. By level alone: music is loud too.

    >>> tone = np.sin(np.arange(RATE_HZ) * 0.3).astype(np.float32) * 0.1
    >>> float(loud(np.concatenate([tone, 0 * tone])).mean())
    0.5
    """
    size = round(BLOCK_S * RATE_HZ)
    blocks = mono[: mono.size // size * size].reshape(-1, size).astype(np.float64)
    if not len(blocks):
        return np.zeros(0, bool)
    level_db = 10 * np.log10(np.mean(blocks**2, 1) + 1e-12)
    top = float(np.percentile(level_db, 95))
    if top < SILENT_DB:
        return np.zeros(len(blocks), bool)
    result: NDArray[np.bool_] = level_db > top - LOUD_DB
    edges = np.flatnonzero(np.diff(result.astype(int)))
    for down, up in pairwise(edges):
        if result[down] and up - down <= round(FILL_S / BLOCK_S):
            result[down + 1 : up + 1] = True
    return result


def speech_motion(track: FaceTrack, mono: NDArray[np.float32]) -> dict[str, float]:
    """``loud``: share of the loud time in which the mouth moves; ``quiet``: share of the quiet time
    in which it does; NaN where there is less than a second of either."""
    noisy, moves = loud(mono), moving(track)
    times = np.arange(len(track)) / float(track.frame_rate)
    block = np.minimum((times / BLOCK_S).astype(int), max(0, len(noisy) - 1))
    heard = times < len(noisy) * BLOCK_S
    usable = track.seen & heard
    at = noisy[block] if len(noisy) else np.zeros(len(track), bool)
    least = MIN_S * float(track.frame_rate)
    found = {}
    for name, where in (("loud", usable & at), ("quiet", usable & ~at)):
        enough = where.sum() >= least
        found[name] = float(moves[where].mean()) if enough else float("nan")
    return found


class SpeechMotion(PlainMetric):
    """Share of loud time, and of quiet time, in which the mouth moves. A frozen mouth under speech
    is told; sound from another clip of speech is not: this is no evidence of lip-sync.
    """

    info = MetricInfo(
        name="speech_motion",
        version="1",
        title="Mouth motion during sound",
        columns=(
            Column("loud", "", "none", "share of loud time in which the mouth moves", 0.0, 1.0),
            Column("quiet", "", "none", "share of quiet time in which it moves", 0.0, 1.0),
        ),
        wants=("faces", "mono16k"),
        family="talking",
        source="avsafe.faces.mouth_opening; level within 25 dB of the 95th percentile",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        track = track_of(gathered, MIN_S)
        if gathered.mono16k is None:
            raise Unscorable("the clip has no sound")
        if not loud(gathered.mono16k).any():
            raise Unscorable("the sound is silent")
        found = speech_motion(track, gathered.mono16k)
        return {
            name: f"less than {MIN_S:g} s of {name} time with a face" if np.isnan(value) else value
            for name, value in found.items()
        }

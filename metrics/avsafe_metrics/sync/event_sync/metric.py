"""Event sync: do sounds come when things happen in the picture, and if not, how late are they?

Legend: ``k`` steps of 20 ms; scores (k,) are those of all circular shifts of the sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.sync import shifted_null
from avsafe_metrics.sync.event_sync import features, network
from avsafe_metrics.sync.sound_onsets import onset_strength, peaks
from avsafe_metrics.sync.user_weights import digest_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH_MS = 600.0  # offsets that are looked for, to each side
IN_SYNC_MS = 60.0  # sound within this counts as in sync
LEAST_S = 2.4  # below, all shifts lie within the reach
LEAST_SOUNDS = 2  # moments at which a sound begins
LEAST_JOLT = 0.01  # short sides per second between two frames, in the liveliest cell
LEAST_LIGHT = 2.0 / 255 * 2  # change of mean luma of a cell
_RISE = 0.2  # mean rise of log bands that is the beginning of a sound


@dataclass(frozen=True)
class Judgement:
    """``offset_ms`` (sound late is positive), ``confidence`` in that offset and ``in_sync``, the
    same for offset 0, in standard deviations over all shifts; the p-value of being in sync."""

    offset_ms: float
    confidence: float
    in_sync: float
    p_value: float


def judge(scores: NDArray[Any], step_ms: float = features.STEP_MS) -> Judgement:
    """(k,) score of every circular shift -> offset, confidence and p-value.

    >>> scores = np.zeros(200); scores[6] = 1.0
    >>> judge(scores).offset_ms
    120.0
    """
    reach, near = round(REACH_MS / step_ms), round(IN_SYNC_MS / step_ms)
    window = np.concatenate([scores[-reach:], scores[: reach + 1]])
    best = int(np.argmax(window))
    shift = 0.0
    if 0 < best < window.size - 1:  # the top of the parabola through three points
        left, top, right = window[best - 1 : best + 2]
        bend = left - 2 * top + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    pooled = shifted_null.best_within(scores, near)
    spread = float(pooled.std()) or 1.0
    # at -0.0 a clip would read "-0.0 ms"
    offset = (best - reach + float(np.clip(shift, -0.5, 0.5))) * step_ms + 0.0
    return Judgement(
        offset_ms=offset,
        confidence=(float(pooled[best - reach]) - float(pooled.mean())) / spread,
        in_sync=(float(pooled[0]) - float(pooled.mean())) / spread,
        p_value=shifted_null.p_value(pooled),
    )


def lag_scores(
    cells: NDArray[Any], mel: NDArray[Any], spectra: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """(k, c, 4) cells and (2 k, 40) log bands -> (k,) scores of all circular shifts.

    ``spectra`` are those of ``watched(cells)``, where the same picture meets many sounds. Raises
    Unscorable where there is nothing to align.
    """
    seconds = len(cells) / features.RATE_HZ
    if seconds < LEAST_S:
        raise Unscorable(f"{seconds:.2f} s with picture and sound; event sync needs {LEAST_S:g} s")
    sounds = _beginnings(mel)
    if sounds < LEAST_SOUNDS:
        raise Unscorable(f"{sounds} sounds begin in the clip; event sync needs {LEAST_SOUNDS}")
    if cells[..., 1].max() < LEAST_JOLT and np.abs(cells[..., 2]).max() < LEAST_LIGHT:
        raise Unscorable("nothing changes abruptly in the picture")
    spectra = watched(cells) if spectra is None else spectra
    return network.lag_scores(spectra, features.sound_input(mel))


def watched(cells: NDArray[Any]) -> NDArray[Any]:
    """(k, c, 4) cells -> what the model makes of the picture."""
    return network.watched(features.picture_input(cells))


def _beginnings(mel: NDArray[Any]) -> int:
    """How many sounds begin."""
    return len(peaks(onset_strength(mel), 10, least=_RISE))


class EventSync:
    """Our own model: small, trained on rendered objects that strike floors and one another.

    It compares the motion of 64 cells with the sound over all circular shifts, and knows nothing of
    what is shown. For clips with impacts, shots, barks, drums; not for speech (see lip sync), and
    not for clips whose sound has no visible cause. Periodic action (a drummer) aligns at every
    beat: the offset is then known only up to the period. See the card beside its weights.
    """

    info = MetricInfo(
        name="event_sync",
        version="1",
        title="Event sync",
        columns=(
            Column("offset_ms", "ms", "none", "sound late is positive; +-600 ms", -610.0, 610.0),
            Column("confidence", "", "higher", "of that offset, sd over all shifts"),
            Column("in_sync", "", "higher", "fit within 60 ms of offset 0, sd over all shifts"),
            Column(
                "p_value", "", "lower", "share of all shifts that fit as well as none", 0.0, 1.0
            ),
        ),
        wants=("luma", "mono16k"),
        family="sync",
        source="own model, docs/metrics/sync.md; circular null as in Good 2005, ch. 3",
        experimental=True,
    )

    def __init__(self) -> None:
        self._digest = ""

    def prepare(self) -> None:
        if not network.WEIGHTS.is_file():
            raise MissingExtra(f"{network.WEIGHTS.name} is not in the package: install it again.")
        network.shipped_weights()
        self._digest = digest_of(network.WEIGHTS)

    def digests(self) -> Mapping[str, str]:
        return {"event_sync": self._digest} if self._digest else {}

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip)


class _Meter(features.CellsMeter):
    def finish(self, gathered: Gathered) -> dict[str, Any]:
        found = super().finish(gathered)
        cells, mel = features.in_step(found["cells"], float(found["rate"][0]), found["sound"])
        judged = judge(lag_scores(cells, mel))
        return {
            "offset_ms": judged.offset_ms,
            "confidence": judged.confidence,
            "in_sync": judged.in_sync,
            "p_value": judged.p_value,
        }

"""When in time detectors see signs: a lane for each source, on one axis of seconds.

Legend: ``s`` segments of a lane; ``k`` columns (pixels, or letters of a terminal).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from avsafe.maps import drawing
from avsafe.maps.details import Lane
from avsafe.maps.drawing import EMPTY, FAINT, INK, LINE, PAPER, Key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

WIDTH = 1000
LEFT, RIGHT = 232, 972  # of the axis, in pixels
_MARGIN = 20
BAR_PX, PITCH_PX = 36, 54
TOP = 92  # of the first lane
_LEAST_TICK_PX = 70
_NOTE = (
    "Colour: natural logarithm of how much likelier such a score is among synthetic media than "
    "among the real media that were measured; the mean where windows overlap. Evidence, not proof: "
    "a flagged stretch is a reason to look or listen there; what is not flagged is not thereby "
    "real."
)


@dataclass(frozen=True, eq=False)
class Columns:
    """A lane in (k,) columns of equal time."""

    llr: NDArray[np.float64]  # mean of the segments that cover a column; NaN where none was judged
    flagged: NDArray[np.bool_]  # one of them is flagged
    covered: NDArray[np.bool_]  # there is a segment at all


def columns(lane: Lane, k: int, duration_s: float) -> Columns:
    """What each of ``k`` columns shows. A segment covers one column at least.

    >>> at = np.array
    >>> lane = Lane("speech", "present", "", at([0.0, 2]), at([1.0, 4]), at([2.0, -1]),
    ...             at([True, False]))
    >>> columns(lane, 4, 4.0).llr.tolist()
    [2.0, nan, -1.0, -1.0]
    """
    scale = k / duration_s
    end_s = _met(lane)
    first = np.minimum(np.rint(lane.start_s * scale).astype(np.int64), k - 1)
    past = np.clip(np.rint(end_s * scale).astype(np.int64), first + 1, k)

    def summed(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        steps = np.zeros(k + 1)
        np.add.at(steps, first, weight)
        np.add.at(steps, past, -weight)
        return np.cumsum(steps)[:k]

    judged = np.isfinite(lane.llr)
    count = summed(judged.astype(np.float64)).round()
    total = summed(np.where(judged, np.clip(lane.llr, -1e6, 1e6), 0.0))
    return Columns(
        np.where(count > 0, total / np.maximum(count, 1), math.nan),
        summed(lane.flagged.astype(np.float64)).round() > 0,
        summed(np.ones(len(judged))).round() > 0,
    )


def _met(lane: Lane) -> NDArray[np.float64]:
    """(s,) ends; one that misses the next start by less than a tenth of its segment meets it: some
    detectors end a window with its last frame, others with the next."""
    starts = np.append(np.sort(lane.start_s), math.inf)
    following = starts[np.searchsorted(starts, lane.end_s)]
    near = following - lane.end_s < 0.1 * (lane.end_s - lane.start_s)
    return np.where(near, following, lane.end_s)


def duration_of(lanes: Sequence[Lane]) -> float:
    """The end of the last segment, seconds; a millisecond at least."""
    return max(1e-3, *(float(lane.end_s.max()) for lane in lanes))


def ticks(duration_s: float, most: int) -> list[float]:
    """Round times from 0 to the end, at most ``most``.

    >>> ticks(12.0, 6)
    [0.0, 5.0, 10.0]
    """
    step = 10.0 ** math.floor(math.log10(duration_s / max(1, most - 1)))
    while duration_s / step > most - 1:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    return [n * step for n in range(int(duration_s / step + 1e-9) + 1)]


def x_of(time_s: float, duration_s: float) -> float:
    """The pixel column of a time."""
    return LEFT + (RIGHT - LEFT) * time_s / duration_s


def draw(lanes: Sequence[Lane], *, name: str, label: str) -> Image:
    """The whole timeline, ``WIDTH`` pixels wide."""
    from PIL import Image as Images
    from PIL import ImageDraw

    duration_s = duration_of(lanes)
    room = WIDTH - 2 * _MARGIN
    shown = [columns(lane, RIGHT - LEFT, duration_s) for lane in lanes]
    rows = drawing.legend_rows(_keys(shown), room)
    notes = drawing.wrapped(_NOTE, 13, room, 3)
    axis = TOP + PITCH_PX * len(lanes)
    under = axis + 44
    height = under + drawing.legend_height(rows) + 18 * len(notes) + _MARGIN
    image = Images.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN), drawing.cut(f"Timeline of {name}", 20, room), fill=INK,
             font=drawing.font(20))  # fmt: skip
    about = drawing.cut(f"verdict on the whole file: {label}", 14, room)
    pen.text((_MARGIN, _MARGIN + 32), about, fill=FAINT, font=drawing.font(14))
    for time_s in ticks(duration_s, (RIGHT - LEFT) // _LEAST_TICK_PX):
        x = round(x_of(time_s, duration_s))
        pen.line((x, TOP - 6, x, axis + 2), fill=LINE)
        pen.text((x, axis + 6), f"{time_s:g} s", fill=FAINT, font=drawing.font(14), anchor="ma")
    for number, (lane, seen) in enumerate(zip(lanes, shown, strict=True)):
        top = TOP + PITCH_PX * number
        gutter = LEFT - _MARGIN - 14
        title = drawing.cut(lane.source.removeprefix("detector."), 16, gutter)
        pen.text((_MARGIN, top), title, fill=INK, font=drawing.font(16))
        state = "  ·  ".join(filter(None, (lane.status, lane.condition)))
        state = drawing.cut(state, 13, gutter)
        pen.text((_MARGIN, top + 20), state, fill=FAINT, font=drawing.font(13))
        _bar(image, seen, top)
    drawing.draw_legend(image, rows, _MARGIN, under)
    y = under + drawing.legend_height(rows)
    for line in notes:
        pen.text((_MARGIN, y), line, fill=FAINT, font=drawing.font(13))
        y += 18
    return image


def _bar(image: Image, seen: Columns, top: int) -> None:
    from PIL import Image as Images
    from PIL import ImageDraw

    k = len(seen.llr)
    strip = np.full((BAR_PX, k, 3), EMPTY, np.uint8)
    hatch = np.asarray(drawing.hatch_picture(BAR_PX, k))
    judged = np.isfinite(seen.llr)
    silent = seen.covered & ~judged
    strip[:, silent] = hatch[:, silent]
    strip[:, judged] = drawing.tint(seen.llr[judged])
    image.paste(Images.fromarray(strip), (LEFT, top))
    pen = ImageDraw.Draw(image)
    pen.rectangle((LEFT, top, RIGHT - 1, top + BAR_PX - 1), outline=LINE)
    for first, past in runs(seen.flagged):
        drawing.outline(pen, (LEFT + first, top, LEFT + past - 1, top + BAR_PX - 1))


def runs(flagged: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of true values, as (first, past the last).

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    steps = np.diff(np.concatenate([[0], flagged.astype(np.int8), [0]]))
    return list(
        zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True)
    )


def _keys(shown: Sequence[Columns]) -> list[Key]:
    keys = [Key("bar")]
    if any(seen.flagged.any() for seen in shown):
        keys.append(Key("flagged", "flagged"))
    if any((seen.covered & ~np.isfinite(seen.llr)).any() for seen in shown):
        keys.append(Key("hatched", "not judged"))
    return keys

"""Tiles over the picture that a detector looked at.

Legend: ``r`` rows and ``c`` columns of tiles; ``h`` ``w`` pixels; a picture is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from avsafe.calibration import CAP
from avsafe.maps import drawing
from avsafe.maps.details import Heat
from avsafe.maps.drawing import FAINT, INK, PAPER, Key

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from avsafe.types import Frame

MOST_PX = 1280  # of the picture's longer side
_LEAST_PX = 480  # a smaller picture is enlarged, so that tiles and letters can be told apart
_LEAST_WIDTH = 640  # of the whole: the legend needs it
_MARGIN = 20
_WEAKEST, _STRONGEST = 0.06, 0.6  # opacity of a tile at 0 and at CAP
_COLOURS = (
    "Colour: natural logarithm of how much likelier such a score is among synthetic media than "
    "among the real media that were measured. Evidence, not proof: a flagged tile is a reason to "
    "look there; a tile that is not flagged is not thereby real."
)
_PLAIN = "Nothing flagged does not mean that the picture is real."


@dataclass(frozen=True)
class Drawn:
    """A map, and where the picture lies on it: (left, top, width, height) in pixels."""

    image: Image
    place: tuple[int, int, int, int]


def draw(
    heat: Heat, picture: Frame, *, source: str, condition: str, summary: str, name: str,
    tiles: bool = True,
) -> Drawn:  # fmt: skip
    """The whole map; without ``tiles`` the plain twin of it.

    Sentences are cut to fit. ``picture`` is at most ``MOST_PX`` on its longer side.
    """
    from PIL import Image as Images
    from PIL import ImageDraw

    shown = _enlarged(picture)
    height, width = shown.shape[:2]
    whole_width = max(width, _LEAST_WIDTH) + 2 * _MARGIN
    room = whole_width - 2 * _MARGIN
    level = f"FDR {100 * heat.fdr:g} %" if heat.fdr else "FDR not stated"
    tail = f"  ·  {level}"
    title = drawing.cut(
        f"{source}  ·  {condition or 'no condition named'}",
        20,
        room - drawing.font(20).getlength(tail),
    )
    lines = drawing.wrapped(_counted(heat, tiles), 14, room, 2)
    said = drawing.wrapped(summary, 14, room, 3)
    keys = _keys(heat) if tiles else []
    rows = drawing.legend_rows(keys, room)
    notes = drawing.wrapped(_COLOURS if tiles else _PLAIN, 13, room, 3)
    top = _MARGIN + 32 + 20 + 20 * len(lines) + 20 * len(said) + 8
    under = top + height + 16
    whole_height = under + drawing.legend_height(rows) + 18 * len(notes) + _MARGIN
    image = Images.new("RGB", (whole_width, whole_height), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN), title + tail, fill=INK, font=drawing.font(20))
    y = _MARGIN + 32
    when = "" if heat.time_s is None else f", frame at {heat.time_s:.2f} s"
    of = drawing.cut(name, 14, room - drawing.font(14).getlength(when)) + when
    for line, paint in ((of, FAINT), *((t, FAINT) for t in lines), *((t, INK) for t in said)):
        pen.text((_MARGIN, y), line, fill=paint, font=drawing.font(14))
        y += 20
    left = (whole_width - width) // 2
    image.paste(Images.fromarray(blended(heat, shown) if tiles else shown), (left, top))
    if tiles:
        outline(heat, image, left, top, width, height)
    drawing.draw_legend(image, rows, _MARGIN, under)
    y = under + drawing.legend_height(rows)
    for line in notes:
        pen.text((_MARGIN, y), line, fill=FAINT, font=drawing.font(13))
        y += 18
    return Drawn(image, (left, top, width, height))


def blended(heat: Heat, picture: Frame) -> Frame:
    """The picture with translucent tiles: the stronger the evidence, the less is seen through."""
    height, width = picture.shape[:2]
    rows, columns = heat.llr.shape
    xs, ys = edges(heat, width, height)
    at_y = np.clip(np.searchsorted(ys, np.arange(height), "right") - 1, 0, rows - 1)
    at_x = np.clip(np.searchsorted(xs, np.arange(width), "right") - 1, 0, columns - 1)
    y0, y1, x0, x1 = ys[0], max(ys[-1], ys[0] + 1), xs[0], max(xs[-1], xs[0] + 1)
    inside = np.ix_(at_y[y0:y1], at_x[x0:x1])
    llr = heat.llr[inside]
    judged = np.isfinite(llr)
    strength = np.clip(np.abs(np.nan_to_num(llr)) / CAP, 0, 1).astype(np.float32)
    opacity = np.where(judged, _WEAKEST + (_STRONGEST - _WEAKEST) * strength, 0)[..., None]
    out = picture.copy()
    area = out[y0:y1, x0:x1].astype(np.float32)
    area += opacity * (drawing.tint(llr).astype(np.float32) - area)
    light, dark = drawing.hatched(*judged.shape)
    for lines, paint in ((light, drawing.HATCH_LIGHT), (dark, drawing.HATCH_DARK)):
        hatch = lines & ~judged
        area[hatch] = 0.35 * area[hatch] + 0.65 * np.array(paint, np.float32)
    out[y0:y1, x0:x1] = np.rint(area).astype(np.uint8)
    return out


def edges(heat: Heat, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where tiles begin and end: (c + 1,) columns and (r + 1,) rows of pixels."""
    x0, y0, x1, y1 = heat.box
    rows, columns = heat.llr.shape
    xs = np.rint(np.linspace(x0, x1, columns + 1) * width).astype(np.int64)
    ys = np.rint(np.linspace(y0, y1, rows + 1) * height).astype(np.int64)
    return np.minimum(xs, width), np.minimum(ys, height)


def outline(heat: Heat, image: Image, left: int, top: int, width: int, height: int) -> None:
    """Around flagged tiles; none between two of them."""
    from PIL import ImageDraw

    xs, ys = edges(heat, width, height)
    xs, ys = np.minimum(xs, width - 1) + left, np.minimum(ys, height - 1) + top
    padded = np.pad(heat.flagged, 1)
    sides: list[tuple[float, float, float, float]] = []
    for r, c in np.argwhere(heat.flagged).tolist():
        x0, x1, y0, y1 = int(xs[c]), int(xs[c + 1]), int(ys[r]), int(ys[r + 1])
        around = padded[r : r + 3, c : c + 3]
        candidates = (
            (around[0, 1], (x0, y0, x1, y0)),
            (around[2, 1], (x0, y1, x1, y1)),
            (around[1, 0], (x0, y0, x0, y1)),
            (around[1, 2], (x1, y0, x1, y1)),
        )
        sides.extend(side for same, side in candidates if not same)
    narrow = min(np.diff(xs).min(), np.diff(ys).min()) < 10
    drawing.strokes(ImageDraw.Draw(image), sides, thin=bool(narrow))


def _enlarged(picture: Frame) -> Frame:
    """A small picture, each pixel repeated; the longer side stays within ``MOST_PX``."""
    long = max(picture.shape[:2])
    times = min(MOST_PX // long, -(-_LEAST_PX // long)) if long < _LEAST_PX else 1
    if times <= 1:
        return picture
    return np.ascontiguousarray(picture.repeat(times, axis=0).repeat(times, axis=1))


def _counted(heat: Heat, tiles: bool) -> str:
    n, flagged = heat.llr.size, int(heat.flagged.sum())
    silent = int((~np.isfinite(heat.llr)).sum())
    counted = f"{flagged} of {n} tiles flagged" if flagged else f"None of {n} tiles is flagged"
    if silent:
        counted += f", {silent} not judged"
    if tiles and not flagged and silent < n:
        counted += ". The colours are below the threshold: no finding"
    return f"{counted}." if tiles else f"{counted}: the picture without tiles."


def _keys(heat: Heat) -> list[Key]:
    keys = [Key("bar")]
    if heat.flagged.any():
        share = f": on average at most {100 * heat.fdr:g} % of these wrongly" if heat.fdr else ""
        keys.append(Key("flagged", f"flagged{share}"))
    if not np.isfinite(heat.llr).all():
        keys.append(Key("hatched", "nothing judged here"))
    return keys

"""Colours, letters and the legend that all maps share.

The scale runs from blue over a light grey to orange, which people who see no red or green tell
apart (Brewer's PuOr and RdBu ends; Harrower and Brewer 2003). Flagged is a yellow line on a black
one, seen on any ground; what nobody judged is hatched.

Legend: ``llr`` is a natural logarithm, positive for synthetic; a colour is RGB, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from unicodedata import category, normalize

import numpy as np

from avsafe.calibration import CAP

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

PAPER, INK, FAINT = (255, 255, 255), (28, 30, 34), (104, 108, 116)
LINE, EMPTY = (190, 194, 199), PAPER
FLAG, UNDER = (255, 221, 0), (0, 0, 0)
HATCH_LIGHT, HATCH_DARK, HATCH_PX = (238, 238, 238), (96, 98, 102), 10
_REAL, _EVEN, _MADE = (33, 102, 172), (224, 224, 220), (217, 95, 2)
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
LONGEST_TEXT = 400  # characters that are looked at, whatever a name or a sentence has

BAR_PX = 250
_GAP_PX, _ROW_PX = 26, 40


def tint(llr: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(...) -> (..., 3): blue at ``-CAP``, light grey at 0, orange at ``CAP``; red less blue rises.

    >>> tint(np.array([-9.0, 0.0, 9.0])).tolist()
    [[33, 102, 172], [224, 224, 220], [217, 95, 2]]
    """
    share = np.clip(np.nan_to_num(llr) / CAP, -1, 1)[..., None]
    end = np.where(share < 0, np.array(_REAL), np.array(_MADE))
    mixed = np.array(_EVEN) * (1 - np.abs(share)) + end * np.abs(share)
    return np.asarray(np.rint(mixed), np.uint8)


def hatched(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels (h, w) of light and of dark diagonal lines."""
    across = np.add.outer(np.arange(height), np.arange(width)) % HATCH_PX
    return (across == 0) | (across == 1), (across == 2) | (across == 3)


# ---------------------------------------------------------------- letters


@cache
def font(size: int) -> FreeTypeFont:
    """Pillow's own typeface, the same on every machine; it has plain Latin letters."""
    from PIL import ImageFont

    return ImageFont.load_default(size)  # type: ignore[return-value]


@cache
def _lacks(letter: str) -> bool:
    face = font(14)
    return bytes(face.getmask(letter)) == bytes(face.getmask("\U0010ffff"))  # the empty box


def printable(text: str) -> str:
    """Text of unknown origin in letters that the typeface has: accents go, control characters are
    spelled out, what is left becomes "?".

    >>> printable("caf" + chr(233) + chr(10) + chr(0x4e2d))
    'cafe\\\\n?'
    """
    out = []
    for letter in text[:LONGEST_TEXT]:
        kind = category(letter)
        if kind in _UNPRINTABLE:
            out.append(letter.encode("unicode_escape").decode())
        elif kind == "Zs":
            out.append(" ")
        else:
            bare = "".join(c for c in normalize("NFKD", letter) if category(c)[0] != "M")
            out.append("".join("?" if _lacks(c) else c for c in bare))
    return "".join(out) + ("…" if len(text) > LONGEST_TEXT else "")


def cut(text: str, size: int, width: float) -> str:
    """As much of a text as fits into so many pixels, with an ellipsis where it was cut."""
    text = printable(text)
    face = font(size)
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        fits = face.getlength(text[:middle].rstrip() + "…") <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + "…" if low else ""


def wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    """Lines of a text, at most ``most``; the last one is cut where more would follow."""
    words = printable(text).split()
    lines: list[str] = []
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font(size).getlength(f"{line} {words[0]}") <= width:
            line += f" {words.pop(0)}"
        if words and len(lines) == most - 1:
            line = " ".join([line, *words])
        lines.append(cut(line, size, width))
    return lines


# ---------------------------------------------------------------- legend


@dataclass(frozen=True)
class Key:
    """One entry of the legend: a swatch and what it means."""

    kind: str  # "bar" | "flagged" | "hatched"
    text: str = ""

    @property
    def width(self) -> int:
        return BAR_PX if self.kind == "bar" else 30 + round(font(14).getlength(self.text))


def legend_rows(keys: Iterable[Key], width: int) -> list[list[Key]]:
    """Entries in rows that fit into the width."""
    rows: list[list[Key]] = []
    for key in keys:
        used = sum(one.width + _GAP_PX for one in rows[-1]) if rows else 0
        if rows and used + key.width <= width:
            rows[-1].append(key)
        else:
            rows.append([key])
    return rows


def legend_height(rows: list[list[Key]]) -> int:
    return _ROW_PX * len(rows)


def draw_legend(image: Image, rows: list[list[Key]], left: int, top: int) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        x, y = left, top + number * _ROW_PX
        for key in row:
            _draw_key(image, draw, key, x, y)
            x += key.width + _GAP_PX


def _draw_key(image: Image, draw: ImageDraw, key: Key, x: int, y: int) -> None:
    from PIL import Image as Images

    if key.kind == "bar":
        scale = tint(np.linspace(-CAP, CAP, BAR_PX))[None].repeat(13, axis=0)
        image.paste(Images.fromarray(scale), (x, y))
        draw.rectangle((x, y, x + BAR_PX - 1, y + 12), outline=LINE)
        draw.text((x, y + 16), f"-{CAP:g} real-like", fill=FAINT, font=font(13))
        draw.text((x + BAR_PX / 2, y + 16), "0", fill=FAINT, font=font(13), anchor="ma")
        end = f"synthetic-like +{CAP:g}"
        draw.text((x + BAR_PX, y + 16), end, fill=FAINT, font=font(13), anchor="ra")
        return
    if key.kind == "flagged":
        outline(draw, (x + 2, y + 2, x + 20, y + 14))
    else:
        image.paste(hatch_picture(16, 22), (x, y))
    draw.text((x + 30, y), key.text, fill=INK, font=font(14))


def hatch_picture(height: int, width: int) -> Image:
    """Hatching on the colour of nothing."""
    from PIL import Image as Images

    area = np.full((height, width, 3), EMPTY, np.uint8)
    light, dark = hatched(height, width)
    area[light], area[dark] = HATCH_LIGHT, tuple(160 for _ in range(3))
    return Images.fromarray(area)


def outline(draw: ImageDraw, box: tuple[float, float, float, float], thin: bool = False) -> None:
    """The line of something flagged, centred on the edges of ``box`` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    sides = [(x0, y0, x1, y0), (x1, y0, x1, y1), (x1, y1, x0, y1), (x0, y1, x0, y0)]
    strokes(draw, sides, thin)


def strokes(
    draw: ImageDraw, sides: Iterable[tuple[float, float, float, float]], thin: bool = False
) -> None:
    """Yellow on black along each side (x0, y0, x1, y1), horizontal or vertical."""
    whole: Any = list(sides)
    for half, paint in ((1, UNDER), (0, FLAG)) if thin else ((2, UNDER), (1, FLAG)):
        for x0, y0, x1, y1 in whole:
            left, right = sorted((round(x0), round(x1)))
            top, bottom = sorted((round(y0), round(y1)))
            draw.rectangle((left - half, top - half, right + half, bottom + half), fill=paint)

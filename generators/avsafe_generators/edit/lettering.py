"""Words as pictures, in the font that OpenCV brings along (Rubik, and WenQuanYi for Chinese).

Legend: a coverage is (h, w) float32 in 0..1; colours are RGB in 0..255.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError

F32 = NDArray[np.float32]
_WEIGHT = 500  # of 100 thin to 900 black
_LEAST = 8  # pixels: smaller letters can't be read
_WIDEST = 0.94  # of the frame
_MARGIN = 0.06  # of the height


def placed(
    text: str, width: int, height: int, pixels: int, where: str, paint: tuple[int, int, int]
) -> tuple[F32, F32, tuple[int, int]]:
    """(letters (h, w, 3) with their rim, opacity (h, w, 1), (top, left)) for a frame of the size.

    Raises UsageError for letters without a shape and for a text that does not fit.
    """
    import cv2

    line = readable(text)
    while True:
        rim = max(1, pixels // 14)
        inside = np.pad(drawn(line, pixels), rim)
        if inside.shape[1] <= _WIDEST * width or pixels <= _LEAST:
            break
        pixels = max(_LEAST, min(pixels - 1, int(pixels * _WIDEST * width / inside.shape[1])))
    if inside.shape[1] > _WIDEST * width or inside.shape[0] > height:
        raise UsageError(
            f"The text of {len(line)} letters is too long for a frame {width} pixels wide. Shorten "
            "it, or pass larger footage."
        )
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1,) * 2)
    alpha = cv2.dilate(inside, kernel)
    rim_colour = (0, 0, 0) if sum(paint) > 240 else (255, 255, 255)
    ground = np.array(rim_colour, np.float32)
    share = (inside / np.maximum(alpha, 1e-6))[..., None]
    letters = ground + share * (np.array(paint, np.float32) - ground)
    free = height - inside.shape[0]
    down = {"top": _MARGIN * height, "centre": free / 2}.get(where, free - _MARGIN * height)
    left = (width - inside.shape[1]) // 2
    opacity = np.asarray(alpha[..., None], np.float32)
    return letters.astype(np.float32), opacity, (min(max(0, round(down)), free), left)


def readable(text: str) -> str:
    """The text on one line without control characters.

    Raises UsageError where nothing is left, for letters that the font has not and for scripts that
    are written from right to left, which would come out in the wrong order.
    """
    text = unicodedata.normalize("NFC", text)
    line = "".join(" " if c.isspace() else c for c in text if c.isspace() or c.isprintable())
    line = " ".join(line.split())
    if not line:
        raise UsageError("The text to be added has no letter that can be drawn.")
    unknown = drawn("?", 32)
    bad = [
        c
        for c in dict.fromkeys(line)
        if unicodedata.bidirectional(c) in ("R", "AL")
        or (c not in "? " and np.array_equal(drawn(c, 32), unknown))
    ]
    if bad:
        raise UsageError(
            f"The letters {' '.join(bad[:10])} are among those that edit can't draw (no emoji, no "
            "script from right to left). Leave them out."
        )
    return line


def drawn(line: str, pixels: int) -> F32:
    """The coverage of a line, cut to where its ink is; (1, 1) where there is none."""
    import cv2

    font: Any = cv2.FontFace("sans")
    room = 2 * pixels
    canvas: Any = np.zeros((4 * pixels, 2 * room + 2 * pixels * len(line)), np.uint8)
    cv2.putText(canvas, line, (room, room + pixels // 2), (255,), font, pixels, _WEIGHT)
    ys, xs = np.nonzero(canvas)
    if not ys.size:
        return np.zeros((1, 1), np.float32)
    part = canvas[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return np.asarray(part, np.float32) / np.float32(255)

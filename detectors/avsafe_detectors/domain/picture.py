"""What a picture is like: flat areas, colours, edges, strokes, noise; for its class.

Legend: ``h`` ``w`` pixels, ``p`` numbers of a picture (``NAMES``), grey levels 0 to 255. A window
is a part at full resolution whose corner lies on the 8 x 8 grid of the whole.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

    Grey = NDArray[np.uint8]
    Array = NDArray[np.float32]
else:
    Frame = Grey = Array = Any

LEAST_SIDE = 24  # pixels; a smaller picture has no class
WHOLE = 1_000_000  # pixels that are looked at whole; of a larger picture, a grid of windows
_ACROSS = 3  # windows in a row and in a column
_SMALL = 256  # longest side of the reduced whole
_COLOURS = 1 << 16  # pixels that colours are counted on

_STEPS = (0, 1, 2, 4, 8, 16, 32, 64)  # of differences between neighbours, grey levels
_RANGES = (0, 2, 6, 16, 60)  # of 8 x 8 blocks, grey levels
_OF_WINDOW = (
    *(f"dx<={s}" for s in _STEPS), *(f"dy<={s}" for s in _STEPS),
    *(f"range<={r}" for r in _RANGES),
    "two levels", "same row", "same column", "axis edges", "edge width", "strokes", "stroke rows",
    "band 1", "band 2:1", "band 3:2", "band 4:3", "kurtosis 1", "kurtosis 2",
    "deviation 10", "deviation 50", "deviation 90",
    "level top", "level top 8", "level entropy", "black", "white",
)  # fmt: skip
_OF_COLOURS = (
    "colour top", "colour top 4", "colour top 16", "colour top 64", "colours", "exact colours",
    "saturation", "saturation spread", "vivid", "grey", "chroma edges",
)  # fmt: skip
_OF_SMALL = tuple(f"small {name}" for name in (
    "dx<=1", "dx<=4", "dx<=16", "dx<=64", "range<=2", "range<=16", "level top", "level entropy",
    "colour top 4", "colour top 16", "kurtosis", "rest"))  # fmt: skip
_MORE = ("level rough", "edge spread", "together")
NAMES = (*_OF_WINDOW, *_OF_COLOURS, *_OF_SMALL, *_MORE)


def windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Where to look: all of a picture of up to a megapixel, else nine parts of it.

    >>> windows(480, 640)
    [(slice(0, 480, None), slice(0, 640, None))]
    >>> len(windows(4000, 6000))
    9
    """
    if height * width <= WHOLE:
        return [(slice(0, height), slice(0, width))]
    side = int(np.sqrt(WHOLE / _ACROSS**2)) // 8 * 8
    tall, wide = _sides(height, width, side)
    rows = _corners(height, tall)
    columns = _corners(width, wide)
    return [(slice(y, y + tall), slice(x, x + wide)) for y in rows for x in columns]


def content(rgb: Frame) -> Frame:
    """The picture without even dark bars at its sides (letterbox, pillarbox).

    What is cut above and left is a multiple of 8, so that an 8 x 8 grid stays where it is.

    >>> content(np.pad(np.full((64, 96, 3), 90, np.uint8), ((16, 8), (0, 0), (0, 0)))).shape
    (64, 96, 3)
    """
    height, width = rgb.shape[:2]
    top, bottom = _bars(rgb.max((1, 2)))
    left, right = _bars(rgb[top:bottom].max((0, 2))) if bottom > top else (0, width)
    top, left = (top + 7) // 8 * 8, (left + 7) // 8 * 8
    if bottom - top < max(LEAST_SIDE, height // 4) or right - left < max(LEAST_SIDE, width // 4):
        return rgb
    return rgb[top:bottom, left:right]


def _bars(brightest: NDArray[Any]) -> tuple[int, int]:
    """First and one past the last line that is not a bar's; black of films is 16, with ringing."""
    lit = np.flatnonzero(brightest > 28)
    return (int(lit[0]), int(lit[-1]) + 1) if len(lit) else (0, 0)


def _sides(height: int, width: int, side: int) -> tuple[int, int]:
    """Of a window; long where the picture is narrow."""
    tall, wide = min(side, height // _ACROSS), min(side, width // _ACROSS)
    if tall < side:
        wide = min(width // _ACROSS, side * side // max(1, tall))
    elif wide < side:
        tall = min(height // _ACROSS, side * side // max(1, wide))
    return max(8, tall // 8 * 8), max(8, wide // 8 * 8)


def _corners(length: int, side: int) -> list[int]:
    last = max(0, length - side)
    return [last * i // (_ACROSS - 1) // 8 * 8 for i in range(_ACROSS)]


def grey(rgb: Frame) -> Grey:
    """(h, w, 3) -> (h, w), luma of BT.601."""
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)


def look(rgb: Frame) -> Array:
    """(h, w, 3) -> (p,) numbers in the order of ``NAMES``; NaN for a picture that is too small.

    >>> look(np.zeros((64, 64, 3), np.uint8)).shape == (len(NAMES),)
    True
    """
    import cv2

    height, width = rgb.shape[:2]
    if min(height, width) < LEAST_SIDE:
        return np.full(len(NAMES), np.nan, np.float32)
    parts = [rgb[place] for place in windows(height, width)]
    seen = np.mean([_window(grey(part)) for part in parts], axis=0)
    seen, more = seen[: -len(_MORE)], seen[-len(_MORE) :]
    scale = _SMALL / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    together = np.concatenate(
        [seen, _colours(parts, rgb), _small(np.ascontiguousarray(small)), more]
    )
    return np.nan_to_num(together.astype(np.float32), nan=0.0, posinf=30.0, neginf=-30.0)


def _window(luma: Grey) -> NDArray[np.float64]:
    import cv2

    dx = _apart(luma[:, 1:], luma[:, :-1])
    dy = _apart(luma[1:], luma[:-1])
    blocks = _blocks(luma, 8)
    low, high = blocks.min((1, 2)), blocks.max((1, 2))
    spread = (high - low).astype(np.int16)
    level = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel() / luma.size
    top = np.sort(level)[::-1]
    deviation = np.log2(blocks.reshape(len(blocks), -1).std(1, dtype=np.float32) + 0.25)
    rough = np.abs(level - cv2.blur(level[:, None], (1, 5)).ravel()).sum()
    width, widths = _edge_width(luma, dx)
    *bands, together = _bands(luma)
    return np.array([
        *_below(dx, _STEPS), *_below(dy, _STEPS), *(float((spread <= r).mean()) for r in _RANGES),
        _two_levels(blocks, low, high, spread), _same(dy, 1), _same(dx, 0),
        _axis(dx, dy), width, *_strokes(dx),
        *bands, *np.quantile(deviation, [0.1, 0.5, 0.9]),
        top[0], top[:8].sum(), _entropy(level), level[:5].sum(), level[251:].sum(),
        rough, widths, together,
    ])  # fmt: skip


def _apart(a: Grey, b: Grey) -> Grey:
    import cv2

    return np.asarray(cv2.absdiff(a, b), np.uint8)


def _below(difference: Grey, steps: tuple[int, ...]) -> list[float]:
    """Share of differences that are at most each step."""
    import cv2

    count = cv2.calcHist([difference], [0], None, [256], [0, 256]).ravel()
    share = np.cumsum(count) / max(1.0, float(count.sum()))
    return [float(share[s]) for s in steps]


def _blocks(luma: Grey, side: int) -> Grey:
    """(h, w) -> (count, side, side)."""
    h, w = luma.shape[0] // side * side, luma.shape[1] // side * side
    cut = luma[:h, :w].reshape(h // side, side, w // side, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)


def _two_levels(blocks: Grey, low: Grey, high: Grey, spread: NDArray[np.int16]) -> float:
    """Share of pixels near the darkest or the lightest of their block, where these differ."""
    strong = spread >= 48
    if not strong.any():
        return 0.0
    near = (spread[strong] // 8).astype(np.int16)[:, None, None]
    part = blocks[strong].astype(np.int16)
    dark = part <= low[strong].astype(np.int16)[:, None, None] + near
    light = part >= high[strong].astype(np.int16)[:, None, None] - near
    return float((dark | light).mean())


def _same(difference: Grey, axis: int) -> float:
    """Share of pieces of 32 pixels along ``axis`` that equal their neighbour within a level."""
    lines = difference if axis == 1 else difference.T
    count = lines.shape[1] // 32
    if not count:
        return float((lines <= 1).all(1).mean())
    pieces = np.ascontiguousarray(lines[:, : 32 * count]).reshape(len(lines), count, 32)
    return float((pieces.max(2) <= 1).mean())


def _axis(dx: Grey, dy: Grey) -> float:
    """Share of strong edges that run along a row or a column."""
    a, b = dx[:-1], dy[:, :-1]
    strong = np.maximum(a, b) > 32
    if not strong.any():
        return 0.0
    a, b = a[strong], b[strong]
    return float((np.minimum(a, b) * 6.0 < np.maximum(a, b)).mean())


def _edge_width(luma: Grey, dx: Grey) -> tuple[float, float]:
    """The largest step's share of strong edges over five pixels, 1 where hard: mean, spread."""
    import cv2

    wide = cv2.absdiff(luma[:, 5:], luma[:, :-5])
    strong = wide > 48
    if not strong.any():
        return 0.0, 0.0
    step = cv2.dilate(dx, np.ones((1, 5), np.uint8))[:, 2:-2]
    share = np.minimum(1.5, step[strong] / wide[strong].astype(np.float32))
    return float(share.mean()), float(share.std())


def _strokes(dx: Grey) -> tuple[float, float]:
    """Share of tiles (16 x 48) dense in strong steps, and how unevenly their rows share these."""
    h, w = dx.shape[0] // 16 * 16, dx.shape[1] // 48 * 48
    if not h or not w:
        return 0.0, 0.0
    rows = (dx[:h, :w] > 40).reshape(h // 16, 16, w // 48, 48).mean(3)  # of each row of each tile
    density = rows.mean(1)
    dense = density > 0.08
    if not dense.any():
        return 0.0, 0.0
    uneven = rows.std(1)[dense] / density[dense]
    return float(dense.mean()), float(uneven.mean())


def _bands(luma: Grey) -> list[float]:
    """Detail by octave: log2 deviation of the finest, ratios of the next, their tails, and how far
    the two finest lie in the same places."""
    import cv2

    together, finer = 0.0, None

    level = luma.astype(np.float32)
    deviations, tails = [], []
    for _ in range(4):
        if min(level.shape) < 4:
            break
        coarse = np.asarray(cv2.pyrDown(level), np.float32)
        band: Array = level - cv2.pyrUp(coarse, dstsize=(level.shape[1], level.shape[0]))
        square = np.square(band)
        power = float(square.mean()) + 1e-3
        deviations.append(0.5 * np.log2(power))
        tails.append(np.log2(float(np.square(square).mean()) / power**2 + 1e-3))
        if len(tails) == 1:
            finer = np.asarray(cv2.pyrDown(np.abs(band)), np.float32)
        elif len(tails) == 2 and finer is not None:
            together = _correlation(finer, np.abs(band))
        level = coarse
    deviations += [deviations[-1]] * (4 - len(deviations))
    tails += [tails[-1]] * (2 - len(tails))
    ratios = [b - a for a, b in pairwise(deviations)]
    return [deviations[0], *ratios[:3], *tails[:2], together]


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() / (np.sqrt(float((a * a).mean() * (b * b).mean())) + 1e-6))


def _entropy(share: NDArray[Any]) -> float:
    p = share[share > 0]
    return float(-(p * np.log2(p)).sum())


def _colours(parts: list[Frame], rgb: Frame) -> NDArray[np.float64]:
    import cv2

    step = max(1, round(np.sqrt(rgb.shape[0] * rgb.shape[1] / _COLOURS)))
    pixels = rgb[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
    coarse = pixels >> 3
    index = (coarse[:, 0].astype(np.int32) << 10) | (coarse[:, 1].astype(np.int32) << 5)
    count = np.sort(np.bincount(index | coarse[:, 2], minlength=1))[::-1] / len(pixels)
    whole = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    exact = len(np.unique(whole))
    most, least = pixels.max(1).astype(np.int16), pixels.min(1).astype(np.int16)
    saturation = (most - least) / np.maximum(most, 8)
    part = np.ascontiguousarray(parts[len(parts) // 2])
    ycc = cv2.cvtColor(part, cv2.COLOR_RGB2YCrCb)
    steps = [float(cv2.absdiff(c[:, 2:], c[:, :-2]).mean()) for c in cv2.split(ycc)]
    return np.array([
        count[0], count[:4].sum(), count[:16].sum(), count[:64].sum(),
        np.log2(max(1, int((count > 0).sum()))), np.log2(exact / len(pixels)),
        saturation.mean(), saturation.std(),
        ((saturation > 0.75) & (most > 128)).mean(), (saturation < 0.04).mean(),
        (steps[1] + steps[2]) / (steps[0] + 0.1),
    ])  # fmt: skip


def _small(rgb: Frame) -> NDArray[np.float64]:
    import cv2

    luma = grey(rgb)
    dx = _apart(luma[:, 1:], luma[:, :-1])
    blocks = _blocks(luma, 4)
    spread = blocks.max((1, 2)).astype(np.int16) - blocks.min((1, 2))
    level = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel() / luma.size
    coarse = rgb.reshape(-1, 3) >> 4
    index = (coarse[:, 0].astype(np.int32) << 8) | (coarse[:, 1].astype(np.int32) << 4)
    count = np.sort(np.bincount(index | coarse[:, 2], minlength=1))[::-1] / len(coarse)
    bands = _bands(luma)
    return np.array([
        *_below(dx, (1, 4, 16, 64)), (spread <= 2).mean(), (spread <= 16).mean(),
        level.max(), _entropy(level), count[:4].sum(), count[:16].sum(), bands[4], bands[0],
    ])  # fmt: skip

"""What a picture went through: an 8 x 8 grid, JPEG's steps, noise, enlargement.

Legend: ``h`` ``w`` pixels, ``k`` blocks of 8 x 8, ``f`` frequency in cycles a pixel over 0.5 (1 is
the highest that the picture can hold); grey levels 0 to 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.domain.picture import windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

    F32 = NDArray[np.float32]
else:
    Frame = F32 = Any

NAMES = ("block_grid", "grid_x", "grid_y", "jpeg_quality", "noise_sigma", "effective_scale",
         "sharp", "deviation")  # fmt: skip
# Luma table of ITU-T T.81 Annex K.1, row by row: what quality 50 of libjpeg divides by.
TABLE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
]).reshape(8, 8)  # fmt: skip
QUALITIES = range(10, 97)  # that can be told from pixels; above, the steps drown in rounding
_LOW = [(u, v) for u in range(4) for v in range(4) if 0 < u + v < 5]  # frequencies that are read
_LEAST_BLOCKS = 60
_FFT = 64  # side of the blocks of the spectrum


def steps(quality: int) -> NDArray[np.int64]:
    """libjpeg's luma table (8, 8) at a quality of 1 to 100 (jcparam.c, jpeg_quality_scaling).

    >>> steps(50)[0, 0], steps(90)[0, 0], steps(100).max()
    (np.int64(16), np.int64(3), np.int64(1))
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.asarray(np.clip((TABLE * scale + 50) // 100, 1, 255), np.int64)


def quality_of_table(table: NDArray[Any]) -> float | None:
    """The quality whose table (8, 8) is nearest, also for tables that are no one's of libjpeg.

    >>> quality_of_table(steps(75))
    75.0
    """
    given = np.asarray(table, np.float64)
    if given.shape != (8, 8) or not np.isfinite(given).all() or given.min() < 1:
        return None
    apart = [float(np.abs(np.log(given / steps(q))).mean()) for q in range(1, 101)]
    return float(np.argmin(apart) + 1)


def measure(rgb: Frame, *, jpeg: bool = True) -> F32:
    """(h, w, 3) -> the numbers of ``NAMES``; NaN where one can't be told.

    ``jpeg`` False leaves the quality out: frames of a film have no such table.
    """
    parts = [luma_of(rgb[place]) for place in windows(*rgb.shape[:2])]
    strength, x, y = grid(parts)
    quality = float("nan")
    if jpeg:  # a fine grid is not seen at its borders, but its steps are where the picture begins
        quality = jpeg_quality(parts, 0, 0)
        if np.isnan(quality) and (x, y) != (0, 0):
            quality = jpeg_quality(parts, x, y)
        elif not np.isnan(quality):
            x = y = 0
    largest = max(parts, key=lambda p: float(p.std()))
    deviation = float(np.mean([p.std() for p in parts]))
    return np.array([strength, x, y, quality, noise_sigma(parts), effective_scale(parts),
                     sharpness(largest), deviation], np.float32)  # fmt: skip


def luma_of(rgb: Frame) -> F32:
    """(h, w, 3) uint8 -> (h, w) float32, JFIF's Y, not rounded."""
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


# ---------------------------------------------------------------- grid


def grid(parts: list[F32]) -> tuple[float, int, int]:
    """Strength 0 to 1 of an 8 x 8 grid, and the column and row where its first block begins.

    At each step between two pixels: how much larger it is than the mean of the steps beside it
    (Wang, Sheikh and Bovik 2002). Strength: the share by which the eighth step exceeds the others.
    """
    across, x = _phase([np.asarray(p) for p in parts])
    down, y = _phase([np.asarray(p).T for p in parts])
    return float(np.sqrt(max(0.0, across) * max(0.0, down))), x, y


def _phase(parts: list[F32]) -> tuple[float, int]:
    total, weight = np.zeros(8), np.zeros(8)
    level, count = 0.0, 0
    for part in parts:
        if part.shape[1] < 24:
            continue
        step = np.abs(np.diff(part, axis=1))
        # A step counts only as far as it is one of compression, not an edge of the scene.
        excess = np.clip(step[:, 1:-1] - 0.5 * (step[:, :-2] + step[:, 2:]), -6.0, 6.0).mean(0)
        # excess[i] belongs to the step from column i + 1 to i + 2: a block begins at i + 2.
        phase = (np.arange(len(excess)) + 2) % 8
        total += np.bincount(phase, excess, 8)
        weight += np.bincount(phase, minlength=8)
        level += float(np.minimum(step, 6.0).sum())
        count += step.size
    if not count or weight.min() == 0:
        return 0.0, 0
    mean = total / weight
    best = int(np.argmax(mean))
    others = np.delete(mean, best)
    above = mean[best] - np.median(others) - 3.0 * (np.median(np.abs(others - np.median(others))))
    return float(np.clip(above / (level / count + 0.15), 0.0, 1.0)), best


# ---------------------------------------------------------------- JPEG


def jpeg_quality(parts: list[F32], x: int, y: int) -> float:
    """libjpeg's quality whose steps the DCT coefficients keep to; NaN where they keep to none.

    For every quality: the mean of cos(2 pi c / q) over coefficients c that are not zero. It is near
    1 when all are multiples of q; so it is for divisors of q, hence the lowest quality near the top
    (after Fan and de Queiroz 2003).
    """
    found: dict[tuple[int, int], F32] = {}
    blocks = [b for p in parts if len(b := _grid_blocks(p, x, y))]
    whole = np.concatenate(blocks) if blocks else np.zeros((0, 8, 8), np.float32)
    # Clipped blocks keep to no step, flat ones say nothing.
    inside = (whole.min((1, 2)) > 2) & (whole.max((1, 2)) < 253) & (np.ptp(whole, (1, 2)) > 4)
    whole = whole[inside][:: max(1, int(inside.sum()) // 6000)]
    if len(whole) < _LEAST_BLOCKS:
        return float("nan")
    # Rows of the one-dimensional transform (ITU-T T.81, A.3.3).
    turn = np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)
    basis = np.cos(turn) * np.where(np.arange(8) > 0, 0.5, np.sqrt(1 / 8))[:, None]
    spectrum = np.einsum("ui,kij,vj->kuv", basis, whole - 128, basis, optimize=True)
    for u, v in _LOW:
        found[u, v] = spectrum[:, u, v]
    scores = np.array([_keeping(found, steps(q)) for q in QUALITIES])
    best = float(np.nanmax(scores, initial=0.0))
    if best < 0.5:
        return float("nan")
    # Steps of neighbouring qualities may be equal on low frequencies: the middle of the run.
    first = int(np.flatnonzero(scores >= 0.85 * best)[0])
    last = first
    while last + 1 < len(scores) and scores[last + 1] >= scores[first] - 0.02:
        last += 1
    run = scores[first : last + 1]
    peak = np.flatnonzero(run >= run.max() - 0.01) + first
    return float(QUALITIES[0] + peak.mean())


def _grid_blocks(part: F32, x: int, y: int) -> F32:
    cut = part[y % 8 :, x % 8 :]
    h, w = cut.shape[0] // 8 * 8, cut.shape[1] // 8 * 8
    blocks = cut[:h, :w].reshape(h // 8, 8, w // 8, 8).swapaxes(1, 2)
    found: F32 = blocks.reshape(-1, 8, 8)
    return found


def _keeping(found: dict[tuple[int, int], F32], table: NDArray[np.int64]) -> float:
    """How far the coefficients keep to multiples of the table's steps: 1 wholly, 0 not at all."""
    total, count = 0.0, 0
    for (u, v), values in found.items():
        step = float(table[u, v])
        used = values[np.abs(values) > 0.6 * step]
        if step < 2 or len(used) < 20:
            continue
        total += float(np.cos(2 * np.pi / step * used).sum())
        count += len(used)
    return total / count if count >= 4 * _LEAST_BLOCKS else float("nan")


# ---------------------------------------------------------------- noise and detail


def noise_sigma(parts: list[F32]) -> float:
    """Noise, grey levels: a low quantile over blocks of what Immerkaer's mask leaves (1996).

    Blocks that touch black or white are left out. NaN where all do.
    """
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6.0
    found = []
    for part in parts:
        h, w = part.shape[0] // 16 * 16, part.shape[1] // 16 * 16
        if not h or not w:
            continue
        rough = cv2.filter2D(part, cv2.CV_32F, mask)[:h, :w]
        cut = part[:h, :w].reshape(h // 16, 16, w // 16, 16)
        inside = (cut.min((1, 3)) > 6) & (cut.max((1, 3)) < 249)
        sigma = np.sqrt(np.square(rough).reshape(h // 16, 16, w // 16, 16).mean((1, 3)))
        found.append(sigma[inside])
    values = np.concatenate(found) if found else np.zeros(0)
    return float(np.quantile(values, 0.1)) if len(values) else float("nan")


def effective_scale(parts: list[F32]) -> float:
    """Share 0 to 1 of the picture's frequencies that hold detail; 0.5 after enlarging twice.

    The frequency where the spectrum, whitened by f^2 as scenes have it (Field 1987), falls below an
    eighth of what it is at low frequencies, and stays there. NaN for a picture without detail.
    """
    rows, columns = np.zeros(_FFT // 2 + 1), np.zeros(_FFT // 2 + 1)
    count = 0
    window = np.hanning(_FFT).astype(np.float32)
    window2 = np.outer(window, window)
    for part in parts:
        h, w = part.shape[0] // _FFT, part.shape[1] // _FFT
        if not h or not w:
            continue
        cut = part[: h * _FFT, : w * _FFT].reshape(h, _FFT, w, _FFT).swapaxes(1, 2)
        blocks = cut.reshape(-1, _FFT, _FFT)
        spread = blocks.std((1, 2))
        best = np.argsort(spread)[::-1][: max(1, min(24, len(spread) // 2))]
        best = best[spread[best] > 2.0]
        if not len(best):
            continue
        chosen = (blocks[best] - blocks[best].mean((1, 2), keepdims=True)) * window2
        power = np.abs(np.fft.rfft2(chosen)) ** 2 / np.square(spread[best])[:, None, None]
        # Frequencies near zero across: detail along one axis only.
        columns += power[:, :5, :].sum((0, 1)) + power[:, -4:, :].sum((0, 1))
        rows += power[:, : _FFT // 2 + 1, :5].sum((0, 2))
        count += len(best)
    if not count:
        return float("nan")
    return min(_cutoff(rows), _cutoff(columns))


def _cutoff(power: NDArray[np.float64]) -> float:
    n = len(power) - 1
    white = power * np.arange(n + 1) ** 2.0
    smooth = np.convolve(np.pad(white, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    reference = float(np.median(smooth[3 : n // 3]))
    below = smooth < reference / 8
    for i in range(2, n - 3):
        if below[i : i + 4].all():
            return i / n
    return 1.0


def sharpness(luma: F32) -> float:
    """The largest step's share of strong edges over seven pixels: 1 hard, 0.17 a ramp.

    NaN where there is no strong edge.
    """
    if min(luma.shape) < 16:
        return float("nan")
    step = np.abs(np.diff(luma, axis=1))
    wide = np.abs(luma[:, 6:] - luma[:, :-6])
    limit = max(24.0, float(np.quantile(wide, 0.98)))
    y, x = np.nonzero(wide >= limit)
    if len(y) < 16:
        return float("nan")
    keep = slice(None, None, max(1, len(y) // 4000))
    y, x = y[keep], x[keep]
    largest = np.max([step[y, x + i] for i in range(6)], axis=0)
    return float(np.minimum(1.0, largest / wide[y, x]).mean())

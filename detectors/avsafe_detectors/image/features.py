"""What tiles of a picture say of how it was made: residuals, spectrum, 8 x 8 cosine transform.

Legend: ``n`` tiles, ``d`` features; a tile is (128, 128, 3) uint8 RGB at the picture's own
resolution. Every feature is of one tile, so that a picture can be judged in parts.

- residual co-occurrences: SRM, Fridrich and Kodovsky, IEEE TIFS 7(3), 2012; SPAM, Pevny et al. 2010
- neighbour differences by phase of the pixel: NPR, Tan et al., CVPR 2024
- radial profile of the spectrum: Durall et al., CVPR 2020; peaks: Zhang et al., WIFS 2019
- cosine transform: Frank et al., ICML 2020
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

TILE = 128  # px
RINGS = 20
_LIMIT = 2  # residuals are quantised to -2 .. 2
_EPS = 1e-3
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_CB = np.array([-0.168736, -0.331264, 0.5], np.float32)
_CR = np.array([0.5, -0.418688, -0.081312], np.float32)


def tile_features(tiles: NDArray[np.uint8]) -> F32:
    """(n, 128, 128, 3) uint8 -> (n, d) float32, finite.

    >>> tile_features(np.zeros((2, 128, 128, 3), np.uint8)).shape[0]
    2
    """
    if tiles.ndim != 4 or tiles.shape[1:] != (TILE, TILE, 3):
        raise ValueError(f"Tiles are (n, {TILE}, {TILE}, 3), not {tiles.shape}.")
    rgb = tiles.astype(np.float32)
    luma = rgb @ _LUMA
    third = luma[:, :, 3:] - 3 * luma[:, :, 2:-1] + 3 * luma[:, :, 1:-2] - luma[:, :, :-3]
    third_v = luma[:, 3:] - 3 * luma[:, 2:-1] + 3 * luma[:, 1:-2] - luma[:, :-3]
    cross = _laplacian(luma)
    parts = [
        _spectrum(luma),
        _pairs(luma[:, :, 1:] - luma[:, :, :-1], luma[:, 1:] - luma[:, :-1]),
        _pairs(third, third_v),
        _pairs(cross, cross),
        _triples(cross),
        _phases(cross),
        _blocks(luma),
        _colour(rgb, luma, cross),
        _noise(luma, cross),
    ]
    joined = np.concatenate(parts, axis=1)
    return np.nan_to_num(joined, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)


def usable(tiles: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which tiles hold something to measure: neither flat nor clipped for the most part."""
    luma = tiles.astype(np.float32) @ _LUMA
    busy = np.abs(luma[:, :, 1:] - luma[:, :, :-1]).mean((1, 2)) > 0.6  # grey levels
    clipped = ((luma <= 2) | (luma >= 253)).mean((1, 2)) > 0.5
    return np.asarray(busy & ~clipped)


def colour(picture: NDArray[np.uint8]) -> float:
    """Mean distance of the largest from the smallest channel in grey levels; 0: black and white.

    >>> colour(np.zeros((64, 64, 3), np.uint8))
    0.0
    """
    sample = picture[::8, ::8].astype(np.int16)
    return float((sample.max(2) - sample.min(2)).mean())


def _laplacian(x: F32) -> F32:
    """(n, h, w) -> (n, h - 2, w - 2): the 3 x 3 residual of SRM, over 4."""
    edge = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    corner = x[:, :-2, :-2] + x[:, 2:, 2:] + x[:, :-2, 2:] + x[:, 2:, :-2]
    return np.asarray((2 * edge - corner) / 4 - x[:, 1:-1, 1:-1])


# ---------------------------------------------------------------- spectrum


@lru_cache(maxsize=1)
def _rings() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Ring of each bin of rfft2 (beyond the last: ignored), its weight, its direction class."""
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.rfftfreq(TILE)[None, :]
    radius = np.hypot(fy, fx) / 0.5
    ring = np.minimum((radius * (RINGS - 2)).astype(int), RINGS - 1)  # the last two: the corners
    angle = np.degrees(np.arctan2(np.abs(fy), np.broadcast_to(fx, radius.shape)))
    wedge = np.where(angle < 22.5, 0, np.where(angle > 67.5, 1, 2))
    twice = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)
    return ring.ravel(), (np.broadcast_to(twice, radius.shape)).ravel(), wedge.ravel()


def _spectrum(luma: F32) -> F32:
    window = np.hanning(TILE).astype(np.float32)
    centred = (luma - luma.mean((1, 2), keepdims=True)) * window[:, None] * window
    spectrum = np.fft.rfft2(centred)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
    log = np.log(power + 30.0).reshape(
        len(luma), -1
    )  # 30: rounding to whole grey levels lies there
    ring, weight, wedge = _rings()
    total = np.bincount(ring, weight, RINGS)
    by_ring = np.zeros((RINGS, log.shape[1]), np.float32)
    by_ring[ring, np.arange(log.shape[1])] = weight / total[ring]
    mean = log @ by_ring.T
    square = np.square(log) @ by_ring.T
    spread = np.sqrt(np.maximum(square - mean * mean, 0))  # peaks widen a ring
    profile = mean - mean[:, 2:5].mean(1, keepdims=True)
    curve = np.diff(mean, 2, axis=1)
    by_wedge = []
    for low, high in ((6, 11), (11, 17)):
        band = (ring >= low) & (ring < high)
        means = np.stack([log[:, band & (wedge == k)].mean(1) for k in range(3)], 1)
        by_wedge.append(means - means.mean(1, keepdims=True))
    grid = log.reshape(len(luma), TILE, -1)
    peaks = []
    for step in (TILE // 2, TILE // 4, TILE // 8):  # periods of 2, 4 and 8 px
        found = [
            grid[:, y, x] - _around(grid, y, x)
            for y in range(0, TILE, step) for x in range(0, TILE // 2 + 1, step)
            if (y or x) and not (y % (2 * step) == 0 and x % (2 * step) == 0)
        ]  # fmt: skip
        peaks += [np.mean(found, 0), np.max(found, 0)]
    return np.concatenate(
        [mean[:, 3:4], profile, spread[:, 3:], curve, *by_wedge, np.stack(peaks, 1)], axis=1
    )


def _around(grid: F32, y: int, x: int) -> F32:
    """Mean of the ring of bins two to three away."""
    rows = np.arange(y - 3, y + 4) % TILE
    columns = np.abs(np.arange(x - 3, x + 4))
    columns = np.where(columns > TILE // 2, TILE - columns, columns)
    patch = grid[:, rows][:, :, columns]
    inner = patch[:, 2:5, 2:5].sum((1, 2))
    return np.asarray((patch.sum((1, 2)) - inner) / 40)


# ---------------------------------------------------------------- co-occurrences


@lru_cache(maxsize=4)
def _orbits(order: int) -> tuple[NDArray[np.int64], int]:
    """Class of each code of ``order`` quantised residuals: the same under sign and direction."""
    side = 2 * _LIMIT + 1
    seen: dict[tuple[int, ...], int] = {}
    out = np.zeros(side**order, np.int64)
    for code in range(side**order):
        digits, rest = [], code
        for _ in range(order):
            digits.append(rest % side - _LIMIT)
            rest //= side
        minus = [-v for v in digits]
        least = min(map(tuple, (digits, digits[::-1], minus, minus[::-1])))
        out[code] = seen.setdefault(least, len(seen))
    return out, len(seen)


def _quantised(r: F32, step: F32) -> NDArray[np.int8]:
    return np.asarray(np.clip(np.rint(r / step), -_LIMIT, _LIMIT) + _LIMIT, np.int8)


def _step(r: F32) -> F32:
    """(n, 1, 1): a step by which half the residuals round to 0, at least a grey level's third."""
    sample = np.abs(r[:, ::3, ::3]).reshape(len(r), -1)
    return np.asarray(np.maximum(np.median(sample, axis=1), 0.33)[:, None, None] * 2)


def _counted(code: NDArray[Any], order: int) -> F32:
    """Codes (n, h, w) -> (n, classes): the logarithm of the share of each class."""
    orbit, count = _orbits(order)
    side = (2 * _LIMIT + 1) ** order
    n = len(code)
    joined = code.astype(np.int32) + (np.arange(n, dtype=np.int32) * side)[:, None, None]
    hist = np.bincount(joined.ravel(), minlength=n * side).reshape(n, side)
    share = hist @ np.eye(count)[orbit] / code[0].size
    return np.asarray(np.log(share + 2e-3), np.float32)


def _pairs(across: F32, down: F32) -> F32:
    """Pairs of residuals at distance 1 and 2, along and across, for a step that follows the tile
    and for one that does not."""
    out: list[F32] = []
    for fixed in (False, True):
        step = _step(across)
        h = _quantised(across, np.full_like(step, 3.0) if fixed else step)
        v = _quantised(down, np.full_like(step, 3.0) if fixed else step)
        for gap in (1, 2) if not fixed else (1,):
            along = _counted(h[:, :, gap:] + 5 * h[:, :, :-gap], 2)
            along = along + _counted(v[:, gap:] + 5 * v[:, :-gap], 2)
            out.append(np.asarray(along / 2, np.float32))
            if gap == 1 and not fixed:
                beside = _counted(h[:, gap:] + 5 * h[:, :-gap], 2)
                out.append(beside)
    return np.concatenate([np.log(_step(across)[:, 0]), *out], axis=1)


def _triples(r: F32) -> F32:
    q = _quantised(r, _step(r)).astype(np.int16)
    across = _counted(q[:, :, 2:] + 5 * q[:, :, 1:-1] + 25 * q[:, :, :-2], 3)
    down = _counted(q[:, 2:] + 5 * q[:, 1:-1] + 25 * q[:, :-2], 3)
    return np.asarray((across + down) / 2)


# ---------------------------------------------------------------- periods, blocks, colour, noise


def _phases(r: F32) -> F32:
    """How |residual| differs by the pixel's place modulo 8: what upsampling and JPEG leave."""
    size = (r.shape[1] // 8) * 8
    strength = np.minimum(np.abs(r[:, :size, :size]), 12.0)  # an edge is no period
    cells = strength.reshape(len(r), size // 8, 8, size // 8, 8).mean((1, 3))
    waves = np.abs(np.fft.fft2(cells)) / (cells.sum((1, 2), keepdims=True) + 1.0)
    y, x = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    period2 = (y % 4 == 0) & (x % 4 == 0) & (y + x > 0)
    period4 = (y % 2 == 0) & (x % 2 == 0) & ~period2 & (y + x > 0)
    period8 = ~period2 & ~period4 & (y + x > 0)
    named = [waves[:, 4, 0], waves[:, 0, 4], waves[:, 4, 4]]
    groups = [f(waves[:, mask], axis=1) for mask in (period4, period8) for f in (np.mean, np.max)]
    return np.log(np.stack([*named, *groups], 1) + 2e-3)


@lru_cache(maxsize=1)
def _cosines() -> tuple[F32, NDArray[np.int64]]:
    k = np.arange(8)
    basis = np.cos((2 * k[None, :] + 1) * k[:, None] * np.pi / 16) * 0.5
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32), np.add.outer(k, k).ravel()


def _blocks(luma: F32) -> F32:
    """Level and peakedness of the 8 x 8 cosine coefficients by diagonal, on two grids."""
    basis, diagonal = _cosines()
    out = []
    for shift in (0, 4):
        part = luma[:, shift : TILE - (8 - shift) % 8, shift : TILE - (8 - shift) % 8]
        side = part.shape[1] // 8
        cut = part.reshape(-1, side, 8, side, 8).transpose(0, 1, 3, 2, 4)
        c = np.abs(basis @ cut @ basis.T).reshape(len(luma), side * side, 64)
        level = c.mean(1)
        peaked = np.log(np.square(c).mean(1) / (level * level + 0.02) + 0.1)
        small = np.log((c < 0.6).mean(1) + 0.02)  # zeroed by a quantiser, or smooth
        levels = np.log(level + 0.1)
        by = [_by_diagonal(v, diagonal) for v in (levels, peaked, small)]
        out.append(by)
    apart = [a - b for a, b in zip(*out, strict=True)]
    levels = out[0][0] - out[0][0][:, :1]
    tilt = np.log(level_ratio(out[0][0]))
    return np.concatenate([levels, out[0][1], out[0][2], *apart, tilt], axis=1)


def level_ratio(levels: F32) -> F32:
    """High over middle diagonals of log levels, positive."""
    tilt = np.clip(levels[:, 8:].mean(1) - levels[:, 3:8].mean(1), -8, 8)
    return np.asarray(np.exp(tilt)[:, None])


def _by_diagonal(values: F32, diagonal: NDArray[np.int64]) -> F32:
    """(n, 64) -> (n, 12): mean over the diagonals 1 .. 12 (the last with those beyond)."""
    return np.stack(
        [values[:, np.minimum(diagonal, 12) == k].mean(1) for k in range(1, 13)], axis=1
    )


def _colour(rgb: F32, luma: F32, cross: F32) -> F32:
    out = []
    base = np.abs(cross).mean((1, 2)) + _EPS
    chroma = [rgb @ _CB, rgb @ _CR]
    for plane in chroma:
        for step in (1, 2, 4):
            small = plane if step == 1 else _halved(plane, step)
            fine = luma if step == 1 else _halved(luma, step)
            a = np.abs(_laplacian(small)).mean((1, 2)) + 0.05
            b = np.abs(_laplacian(fine)).mean((1, 2)) + 0.05
            out.append(np.log(a / b))
    red, green, blue = (_laplacian(rgb[..., k]) for k in range(3))
    out += [_correlation(red, green), _correlation(blue, green), _correlation(red, blue)]
    first, second = (_laplacian(_halved(p, 2)) for p in chroma)
    out += [_correlation(first, second), np.log(base)]
    return np.stack(out, 1)


def _halved(x: F32, step: int) -> F32:
    """Means of ``step`` x ``step`` pixels, for a step of 2 or 4."""
    while step > 1:
        rows = x[:, ::2] + x[:, 1::2]
        x = np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4)
        step //= 2
    return x


def _correlation(a: F32, b: F32) -> F32:
    a, b = np.clip(a, -15, 15), np.clip(b, -15, 15)
    both = (a * b).mean((1, 2))
    return np.asarray(both / np.sqrt((a * a).mean((1, 2)) * (b * b).mean((1, 2)) + 0.01))


def _noise(luma: F32, cross: F32) -> F32:
    """How strong the residual is from block to block, and how white where it is weakest."""
    out = []
    blocks = []
    for step in (1, 2, 4):
        fine = cross if step == 1 else _laplacian(_halved(luma, step))
        size = 8 if step < 4 else 4
        side = fine.shape[1] // size
        cut = fine[:, : side * size, : side * size].reshape(-1, side, size, side, size)
        power = np.square(cut).mean((2, 4)).reshape(len(luma), -1)
        blocks.append(np.log(power + 0.02) / 2)
        q = np.quantile(blocks[-1], [0.05, 0.25, 0.5, 0.75, 0.95], axis=1).T
        out.append(q)
    fine, middle, coarse = out
    ratios = [fine - middle, middle - coarse]
    side = cross.shape[1] // 8
    flat = blocks[0] <= np.quantile(blocks[0], 0.3, axis=1, keepdims=True)
    mask = np.repeat(np.repeat(flat.reshape(-1, side, side), 8, 1), 8, 2).astype(np.float32)
    part = cross[:, : side * 8, : side * 8]
    part = part - (part * mask).sum((1, 2), keepdims=True) / mask.sum((1, 2), keepdims=True)
    lags = []
    norm = (part * part * mask).sum((1, 2)) / mask.sum((1, 2)) + 0.02
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 4), (4, 0)):
        a, b = part[:, dy:, dx:], part[:, : part.shape[1] - dy, : part.shape[2] - dx]
        m = mask[:, dy:, dx:]
        lags.append((a * b * m).sum((1, 2)) / m.sum((1, 2)) / norm)
    return np.concatenate([*out, *ratios, np.stack(lags, 1)], axis=1)

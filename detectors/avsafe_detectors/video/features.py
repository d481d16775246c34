"""What is measured of 16 frames: how noise, texture, motion and light go on in time.

A camera's noise is new in every frame and its texture moves rigidly with things; a generator's fine
texture is decoded anew from smooth latents: it sticks, swims or boils, and its temporal spectrum
falls off differently at fine scales (temporal residuals: Zheng et al. 2025, "D3", second-order
differences; noise residuals of cameras: Lukas, Fridrich, Goljan 2006). All measures are ratios,
correlations or logarithms of normalised energy, so that neither contrast nor amount of motion
decides by itself.

Legend: ``t`` 16 frames, ``h`` ``w`` 192 pixels of the central three quarters of the square of 256,
``b`` spatial bands, ``d`` measures.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.video.texture import texture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]

LENGTH = 16  # frames of a window
SIDE = 256  # of the square picture
INNER = 192  # of its centre: labels and marks stand at the rim
_EDGE = (SIDE - INNER) // 2
_BANDS = np.array([0.008, 0.03, 0.06, 0.1, 0.15, 0.2, 0.26, 0.33, 0.42, 0.5])  # cycles a pixel
_TINY = 1e-6


def window_features(frames: NDArray[np.uint8]) -> tuple[F32, list[str]]:
    """(16, 256, 256, 3) RGB -> measures (d,) and their names.

    Raises UsageError for another shape.
    """
    import cv2

    if frames.shape != (LENGTH, SIDE, SIDE, 3):
        raise UsageError(f"A window is ({LENGTH}, {SIDE}, {SIDE}, 3), not {tuple(frames.shape)}.")
    inner = frames[:, _EDGE : _EDGE + INNER, _EDGE : _EDGE + INNER]
    ycc = np.stack([cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2YCrCb) for f in inner])
    luma = ycc[..., 0].astype(np.float32)
    chroma = ycc[..., 1:].astype(np.float32) - 128
    flow = _flows(luma)
    found: dict[str, float] = {}
    fine = np.stack([f - cv2.GaussianBlur(f, (0, 0), 1.0) for f in luma])
    middle = np.stack([cv2.GaussianBlur(f, (0, 0), 1.0) - cv2.GaussianBlur(f, (0, 0), 2.5)
                       for f in luma])  # fmt: skip
    found |= _consistency("fine", fine, flow)
    found |= _consistency("middle", middle, flow)
    found |= _spectra(luma)
    found |= _orders(luma)
    found |= _motion(luma, flow)
    found |= _noise(luma, fine)
    found |= _colour(luma, chroma, fine)
    found |= {f"code {k}": v for k, v in texture(luma, red_of(chroma)).items()}
    values = np.array(list(found.values()), np.float32)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), list(found)


def red_of(chroma: F32) -> F32:
    """(t, h, w, 2) -> (t, h / 2, w / 2) of the red chroma, as codecs keep it."""
    t, h, w, _ = chroma.shape
    red = chroma[..., 0].reshape(t, h // 2, 2, w // 2, 2).mean((2, 4))
    return np.asarray(red, np.float32)


def moved(luma: NDArray[np.uint8]) -> float:
    """Mean absolute change from frame to frame, grey levels, of (t, h, w): 0 where all stands."""
    x = luma.astype(np.float32)
    return float(np.abs(np.diff(x, axis=0)).mean()) if len(x) > 1 else 0.0


def _flows(luma: F32) -> F32:
    """Dense motion (t - 1, h, w, 2) from each frame to the next, pixels."""
    import cv2

    seeker: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    bytes_ = luma.astype(np.uint8)
    return np.stack([seeker.calc(a, b, None) for a, b in pairwise(bytes_)])


def _warped(picture: F32, flow: F32) -> F32:
    """``picture`` of the next frame as seen along the motion from this one."""
    import cv2

    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    return np.asarray(
        cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC,
                  borderMode=cv2.BORDER_REFLECT), np.float32)  # fmt: skip


def _blocks(x: F32, size: int = 16) -> F32:
    """Mean over blocks: (..., h, w) -> (..., h / size, w / size)."""
    *lead, h, w = x.shape
    return np.asarray(x.reshape(*lead, h // size, size, w // size, size).mean((-3, -1)), x.dtype)


def _correlation(a: F32, b: F32) -> float:
    return float((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean() + _TINY))


def _fourth(x: F32) -> float:
    """Kurtosis about zero: 3 for Gaussian noise."""
    square = x * x
    return float((square * square).mean() / (float(square.mean()) ** 2 + 0.01))


def _log(x: float | np.floating) -> float:
    return float(np.log(max(float(x), 0.0) + 1e-3))


def _consistency(name: str, r: F32, flow: F32) -> dict[str, float]:
    """Does the residual (t, h, w) of one frame return in the next: in place and along motion?"""
    found: dict[str, float] = {}
    energy = _blocks(r * r)  # (t, 12, 12)
    speed = _blocks(np.hypot(flow[..., 0], flow[..., 1]))
    place, along, far = [], [], []
    blocks_place, blocks_along = [], []
    for t in range(len(r) - 1):
        after = _warped(r[t + 1], flow[t])
        place.append(_correlation(r[t], r[t + 1]))
        along.append(_correlation(r[t], after))
        scale = np.sqrt(energy[t] * energy[t + 1]) + 0.05
        blocks_place.append(_blocks(r[t] * r[t + 1]) / scale)
        blocks_along.append(_blocks(r[t] * after) / np.sqrt(energy[t] * _blocks(after**2) + 0.0025))
        if t + 4 < len(r):
            far.append(_correlation(r[t], r[t + 4]))
    found[f"{name} place"] = float(np.mean(place))
    found[f"{name} along"] = float(np.mean(along))
    found[f"{name} gain"] = float(np.mean(along) - np.mean(place))
    found[f"{name} far"] = float(np.mean(far))
    found[f"{name} place spread"] = float(np.std(place))
    found[f"{name} along spread"] = float(np.std(along))
    p, a, e = np.stack(blocks_place), np.stack(blocks_along), energy[:-1]
    flat, rich = e <= np.quantile(e, 0.3), e >= np.quantile(e, 0.7)
    still = speed <= np.quantile(speed, 0.3)
    swift = speed >= np.quantile(speed, 0.7)
    for label, mask in (("flat", flat), ("rich", rich), ("still", still), ("swift", swift)):
        found[f"{name} place {label}"] = float(p[mask].mean())
        found[f"{name} along {label}"] = float(a[mask].mean())
    for q in (10, 50, 90):
        found[f"{name} along q{q}"] = float(np.percentile(a, q))
    # of all residual energy at a place, the share that changes in time
    changes = r.var(0)
    total = (r * r).mean(0)
    share = _blocks(changes) / (_blocks(total) + 0.02)
    for q in (10, 50, 90):
        found[f"{name} changing q{q}"] = float(np.percentile(share, q))
    # how evenly energy is spread over time in each block (a codec's key frames are common to all)
    beat = energy / (energy.mean(0) + 0.02)
    found[f"{name} beat"] = _log(beat.std(0).mean())
    own = beat - np.median(beat, axis=(1, 2), keepdims=True)
    found[f"{name} beat own"] = _log(own.std(0).mean())
    found[f"{name} beat rough"] = _log(np.abs(np.diff(own, 2, axis=0)).mean() / (own.std() + 0.02))
    return found


def _spectra(luma: F32) -> dict[str, float]:
    """Energy by spatial band and temporal frequency, each in terms of the others."""
    found: dict[str, float] = {}
    window = np.hanning(INNER).astype(np.float32)
    flat = (luma - luma.mean((1, 2), keepdims=True)) * window[:, None] * window[None, :]
    spatial = np.fft.rfft2(flat).astype(np.complex64)  # (t, h, w/2+1)
    fy = np.fft.fftfreq(INNER)[:, None]
    fx = np.fft.rfftfreq(INNER)[None, :]
    radius = np.hypot(fy, fx)
    which = np.digitize(radius, _BANDS) - 1  # -1: below, len - 1: above
    n = len(_BANDS) - 1
    taper = np.hanning(LENGTH + 2)[1:-1].astype(np.float32)
    moving = np.fft.fft((spatial - spatial.mean(0)) * taper[:, None, None], axis=0)
    power = (np.abs(moving) ** 2).astype(np.float32)
    power = power[: LENGTH // 2 + 1] + np.concatenate([power[:1], power[:0:-1]])[: LENGTH // 2 + 1]
    total = (np.abs(spatial) ** 2).mean(0)
    bands = np.zeros(n)
    temporal = np.zeros((n, 4))
    parts = ((1, 2), (2, 4), (4, 6), (6, 9))
    for b in range(n):
        mask = which == b
        bands[b] = float(total[mask].mean())
        for k, (lo, hi) in enumerate(parts):
            temporal[b, k] = float(power[lo:hi][:, mask].mean())
    fall = np.log(bands + 1.0)
    for b in range(1, n):
        found[f"fall {b}"] = float(fall[b] - fall[b - 1])
    found["fall curve"] = float(fall[2] - 2 * fall[5] + fall[8])
    for b in range(n):
        whole = temporal[b].sum()
        for k in range(3):
            found[f"time {b} {k}"] = float(np.log((temporal[b, k] + 1.0) / (temporal[b, 3] + 1.0)))
        found[f"changing {b}"] = float(np.log((whole + 1.0) / (bands[b] + 1.0)))
    diagonal = (np.abs(fy) > 0.3) & (fx > 0.3)
    straight = ((np.abs(fy) > 0.3) & (fx < 0.1)) | ((np.abs(fy) < 0.1) & (fx > 0.3))
    found["corner"] = _log(total[diagonal].mean() / (total[straight].mean() + 1.0))
    for period in (2, 4, 8):  # traces of enlargement: peaks of the grid against their neighbours
        found[f"grid {period}"] = _peak(np.asarray(total), period)
    return found


def _peak(total: NDArray[np.floating], period: int) -> float:
    """log energy at multiples of 1 / period along the axes against that around them."""
    at = INNER // period
    levels = []
    row, column = np.log(total[:, :6].mean(1) + 1.0), np.log(total[:6].mean(0) + 1.0)
    for line, places in ((row, (at, INNER - at)), (column, (at,))):
        for k in places:
            k = min(k, len(line) - 2)
            around = np.r_[line[max(0, k - 5) : k - 1], line[k + 2 : k + 6]]
            levels.append(float(line[k] - around.mean()) if len(around) else 0.0)
    return float(np.mean(levels))


def _orders(luma: F32) -> dict[str, float]:
    """First, second and third differences in time at three scales (D3 uses the second)."""
    found: dict[str, float] = {}
    for size in (1, 4, 16):
        x = luma if size == 1 else _blocks(luma, size)
        one, two, three = (np.diff(x, k, axis=0) for k in (1, 2, 3))
        first = np.abs(one).mean((1, 2))
        second = np.abs(two).mean((1, 2))
        base = float(first.mean()) + 0.02
        found[f"second {size}"] = _log(second.mean() / base)
        found[f"third {size}"] = _log(np.abs(three).mean() / base)
        found[f"first varies {size}"] = _log(first.std() / base)
        found[f"second varies {size}"] = _log(second.std() / base)
        found[f"second rough {size}"] = _log(np.abs(np.diff(first, 2)).mean() / base)
        found[f"tails {size}"] = _log(_fourth(one))
        found[f"second tails {size}"] = _log(_fourth(two))
        found[f"turn {size}"] = _correlation(one[:-1], one[1:])
    light = luma.mean((1, 2))
    found["flicker"] = _log(
        np.abs(np.diff(light, 2)).mean() / (np.abs(np.diff(light)).mean() + 0.02)
    )
    patches = _blocks(luma, 16)
    local = np.diff(patches - patches.mean((1, 2), keepdims=True), 2, axis=0)
    found["local flicker"] = _log(
        np.abs(local).mean() / (np.abs(np.diff(patches, axis=0)).mean() + 0.02)
    )
    return found


def _motion(luma: F32, flow: F32) -> dict[str, float]:
    """Is the motion smooth in space and time, and does it explain what is seen?"""
    found: dict[str, float] = {}
    speed = np.hypot(flow[..., 0], flow[..., 1])
    base = float(speed.mean()) + 0.05
    found["motion steps"] = _log(
        np.hypot(np.diff(flow, axis=1)[:, :, :-1], np.diff(flow, axis=2)[:, :-1]).mean() / base
    )
    turn = [
        np.hypot(*np.moveaxis(_warped(flow[t + 1], flow[t]) - flow[t], -1, 0)).mean()
        for t in range(len(flow) - 1)
    ]
    found["motion turns"] = _log(np.mean(turn) / base)
    found["motion turns vary"] = _log(np.std(turn) / base)
    dx, dy = np.gradient(flow[..., 0], axis=2), np.gradient(flow[..., 1], axis=1)
    cx, cy = np.gradient(flow[..., 1], axis=2), np.gradient(flow[..., 0], axis=1)
    found["motion swell"] = _log(np.abs(dx + dy).mean() / (np.abs(cx - cy).mean() + 0.002))
    found["motion spread"] = _log(_blocks(speed).std((1, 2)).mean() / base)
    found["motion still"] = float((speed < 0.15).mean())
    left, kinds = [], []
    for t in range(len(flow)):
        rest = _warped(luma[t + 1], flow[t]) - luma[t]
        texture = np.hypot(*np.gradient(luma[t]))
        share = _blocks(np.abs(rest)) / (_blocks(texture) + 0.5)
        left.append(np.percentile(share, (10, 50, 90)))
        bare = np.abs(luma[t + 1] - luma[t]).mean() + 0.05
        kinds.append(np.abs(rest).mean() / bare)
    for q, value in zip((10, 50, 90), np.mean(left, 0), strict=True):
        found[f"unexplained q{q}"] = _log(value)
    found["unexplained varies"] = _log(np.std([x[1] for x in left]) / (np.mean(left, 0)[1] + 0.02))
    found["explained"] = _log(np.mean(kinds))
    return found


def _noise(luma: F32, fine: F32) -> dict[str, float]:
    """The finest residual: amount, tails, growth with brightness, evenness over the picture."""
    found: dict[str, float] = {}
    median = _blocks(np.abs(fine), 8)
    bright = _blocks(luma, 8)
    texture = _blocks(np.hypot(*np.gradient(luma, axis=(1, 2))), 8)
    level = np.log(median + 0.05)
    for q in (5, 25, 50, 75, 95):
        found[f"noise q{q}"] = float(np.percentile(level, q))
    found["noise for texture"] = float(level.mean() - np.log(texture + 0.05).mean())
    quiet = texture <= np.quantile(texture, 0.4)
    x, y = bright[quiet], level[quiet]
    found["noise by light"] = _correlation(x - x.mean(), y - y.mean())
    found["noise tails"] = _log(_fourth(fine))
    found["noise near"] = _correlation(fine[:, :, 1:], fine[:, :, :-1])
    found["noise near2"] = _correlation(fine[:, :, 2:], fine[:, :, :-2])
    found["noise under"] = _correlation(fine[:, 1:], fine[:, :-1])
    found["noise cross"] = _correlation(fine[:, 1:, 1:], fine[:, :-1, :-1])
    change = np.diff(fine, axis=0)
    found["change near"] = _correlation(change[:, :, 1:], change[:, :, :-1])
    found["change near2"] = _correlation(change[:, :, 2:], change[:, :, :-2])
    found["change next"] = _correlation(change[1:], change[:-1])
    found["change tails"] = _log(_fourth(change))
    found["unchanged"] = float((np.abs(np.diff(luma, axis=0)) < 0.5).mean())
    return found


def _colour(luma: F32, chroma: F32, fine: F32) -> dict[str, float]:
    """Chroma's fine residual against luma's, its flicker; saturation against contrast."""
    import cv2

    found: dict[str, float] = {}
    for k, name in enumerate(("red", "blue")):
        c = np.stack(
            [cv2.resize(f, (96, 96), interpolation=cv2.INTER_AREA) for f in chroma[..., k]]
        )
        rest = np.stack([f - cv2.GaussianBlur(f, (0, 0), 1.5) for f in c])
        half = np.stack([cv2.resize(f, (96, 96), interpolation=cv2.INTER_AREA) for f in luma])
        edge = np.stack([f - cv2.GaussianBlur(f, (0, 0), 1.5) for f in half])
        found[f"{name} with luma"] = abs(_correlation(rest, edge))
        found[f"{name} place"] = _correlation(rest[1:], rest[:-1])
        found[f"{name} fine"] = _log(np.abs(rest).mean() / (np.abs(edge).mean() + 0.05))
        one = np.abs(np.diff(c, axis=0)).mean()
        found[f"{name} second"] = _log(np.abs(np.diff(c, 2, axis=0)).mean() / (one + 0.02))
        found[f"{name} changes"] = _log(one / (np.abs(np.diff(half, axis=0)).mean() + 0.05))
        found[f"{name} coarse"] = _log(np.abs(rest).mean() / (c.std() + 0.5))
    saturation = np.hypot(chroma[..., 0], chroma[..., 1])
    found["saturation"] = _log(saturation.mean() / (luma.std() + 1.0))
    found["saturation spread"] = _log(saturation.std() / (saturation.mean() + 1.0))
    found["contrast"] = _log(luma.std() / 50)
    found["dark"] = float((luma < 20).mean())
    found["light"] = float((luma > 235).mean())
    return found

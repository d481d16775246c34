"""Natural scene statistics: how the local contrast of a picture is distributed, patch by patch.

Legend: ``h`` ``w`` pixels, ``p`` patches, ``s`` pixels of a patch's side; luma is (h, w), 0 to 255;
features are (p, 36) float64: 18 numbers at each of two scales.

Sources: Mittal, Moorthy and Bovik 2012 (BRISQUE), equations 1 to 13; Mittal, Soundararajan and
Bovik 2013 (NIQE), section II; the estimator of the asymmetric generalized Gaussian is that of
Lasmar, Stitou and Berthoumieu 2009.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
else:
    Array = Any

PATCH = 96  # pixels of the first scale, as in NIQE
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # rows, columns: across, down, both diagonals
WINDOW, SIGMA = 7, 7 / 6  # pixels


def local_contrast(luma: NDArray[Any]) -> tuple[Array, Array]:
    """(MSCN coefficients, local standard deviation), both (h, w): (I - mean) / (deviation + 1) with
    a 7x7 Gaussian of 7/6 pixels, edges replicated.

    >>> mscn, deviation = local_contrast(np.full((16, 16), 50.0))
    >>> round(float(np.abs(mscn).max()), 5), round(float(deviation.max()), 5)
    (0.0, 0.0)
    """
    import cv2

    picture = np.asarray(luma, np.float64)

    def smooth(of: Array) -> Array:
        return np.asarray(
            cv2.GaussianBlur(of, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REPLICATE)
        )

    middle = picture - 128.0  # squares of smaller numbers lose less
    mean = smooth(middle)
    deviation = np.sqrt(np.abs(smooth(middle * middle) - mean * mean))
    return (middle - mean) / (deviation + 1.0), deviation


@cache
def _shapes() -> tuple[Array, Array, Array]:
    """Shapes 0.2 to 10, and for each E|x|^2 / E x^2 and sqrt(G(1/a) / G(3/a))."""
    from scipy.special import gamma

    shape = np.arange(200, 10001) / 1000
    ratio = gamma(2 / shape) ** 2 / (gamma(1 / shape) * gamma(3 / shape))
    return shape, ratio, np.sqrt(gamma(1 / shape) / gamma(3 / shape))


def asymmetric_gaussian(values: Array) -> tuple[Array, Array, Array]:
    """Shape, left and right scale of the asymmetric generalized Gaussian of each row of (p, n).

    >>> rng = np.random.default_rng(0)
    >>> shape, left, right = asymmetric_gaussian(rng.normal(0, 1, (1, 200_000)))
    >>> bool(abs(shape[0] - 2) < 0.05), bool(abs(left[0] / right[0] - 1) < 0.02)
    (True, True)
    """
    square = values * values
    below, above = values < 0, values > 0
    left = np.sqrt((square * below).sum(axis=1) / np.maximum(1, below.sum(axis=1)))
    right = np.sqrt((square * above).sum(axis=1) / np.maximum(1, above.sum(axis=1)))
    skew = left / np.maximum(right, 1e-12)
    flat = np.abs(values).mean(axis=1) ** 2 / np.maximum(square.mean(axis=1), 1e-24)
    wanted = flat * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios, scales = _shapes()
    above_it = np.clip(np.searchsorted(ratios, wanted), 1, len(ratios) - 1)
    nearer = wanted - ratios[above_it - 1] < ratios[above_it] - wanted
    at = above_it - nearer
    return shapes[at], left * scales[at], right * scales[at]


def patch_features(mscn: Array, side: int) -> Array:
    """(p, 18) of the patches of ``side`` pixels that lie whole in ``mscn``, row by row: shape and
    mean scale of the coefficients, then shape, mean, left and right scale of the products of each
    with its four neighbours (wrapped within the patch)."""
    from scipy.special import gamma

    rows, columns = mscn.shape[0] // side, mscn.shape[1] // side
    grid = mscn[: rows * side, : columns * side].reshape(rows, side, columns, side)
    patches = grid.swapaxes(1, 2).reshape(-1, side, side)
    shape, left, right = asymmetric_gaussian(patches.reshape(len(patches), -1))
    found = [shape, 0.5 * (left + right)]
    for shift in NEIGHBOURS:
        products = patches * np.roll(patches, shift, axis=(1, 2))
        shape, left, right = asymmetric_gaussian(products.reshape(len(patches), -1))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
        found += [shape, mean, left, right]
    return np.stack(found, axis=1)


def halved(luma: NDArray[Any]) -> Array:
    """Half the size by a bicubic kernel (a = -0.5) widened by two, as MATLAB's imresize."""
    picture = np.asarray(luma, np.float64)
    for axis in (0, 1):
        n = picture.shape[axis]
        centre = 2 * np.arange(n // 2)[:, None] + 0.5
        taps = np.arange(-3, 5)[None] + 2 * np.arange(n // 2)[:, None]
        x = np.abs(taps - centre) / 2
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        weights = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
        weights /= weights.sum(axis=1, keepdims=True)
        reflected = np.where(taps < 0, -taps - 1, np.where(taps >= n, 2 * n - 1 - taps, taps))
        moved = np.moveaxis(picture, axis, 0)
        out = sum(weights[:, k].reshape(-1, 1) * moved[reflected[:, k]] for k in range(8))
        picture = np.moveaxis(np.asarray(out), 0, axis)
    return picture


def scene_features(luma: NDArray[Any], patch: int = PATCH) -> tuple[Array, Array]:
    """Features (p, 36) of all whole patches, and the mean local deviation (p,) of each.

    ``patch`` is even; a picture smaller than one patch gives none.

    >>> scene_features(np.zeros((192, 100)))[0].shape
    (2, 36)
    """
    rows, columns = luma.shape[0] // patch, luma.shape[1] // patch
    if not rows or not columns:
        return np.zeros((0, 36)), np.zeros(0)
    cut = np.asarray(luma, np.float64)[: rows * patch, : columns * patch]
    mscn, deviation = local_contrast(cut)
    blocks = deviation.reshape(rows, patch, columns, patch)
    half, _ = local_contrast(halved(cut))
    features = np.hstack([patch_features(mscn, patch), patch_features(half, patch // 2)])
    return features, blocks.mean(axis=(1, 3)).ravel()


_POSITIVE = np.array([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17])
_LOGGED = np.concatenate([_POSITIVE, _POSITIVE + 18])


def logged(features: Array) -> Array:
    """Shapes and scales as natural logarithms, means as they are: heavy tails become light, and a
    ratio counts the same everywhere."""
    found = features.copy()
    found[:, _LOGGED] = np.log(np.maximum(found[:, _LOGGED], 1e-4))
    return found


def distance(mean: Array, covariance: Array, own_mean: Array, own_covariance: Array) -> float:
    """How far one Gaussian (36,), (36, 36) is from another: NIQE, equation 10.

    >>> distance(np.zeros(2), np.eye(2), np.array([3.0, 4.0]), np.eye(2))
    5.0
    """
    apart = own_mean - mean
    inverse = np.linalg.pinv((covariance + own_covariance) / 2)
    return float(np.sqrt(max(0.0, float(apart @ inverse @ apart))))

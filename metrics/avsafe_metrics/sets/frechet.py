"""The Fréchet distance between two sets of features, as if each were Gaussian.

    d² = |mu1 - mu2|² + tr(S1 + S2 - 2 (S1 S2)^(1/2))

(Dowson and Landau 1982, eq. 4; for pictures Heusel et al. 2017, arXiv:1706.08500, eq. 6).

Legend: ``n`` ``m`` rows of the two sets, ``d`` features, ``S`` a covariance (d, d), ``F`` a factor
of it: S = F F^T, (d, r).

The trace of the square root is the sum of the singular values of F1^T F2, so that no square root of
a d x d matrix is taken:

- a set with no more rows than features gives its centred rows as the factor, and no d x d matrix is
  built for it;
- any other gives the Cholesky factor of its covariance, or, where that is singular, one from its
  eigenvectors. Nothing is added to the diagonal: a jitter e there moves the distance by up to
  d sqrt(e |S|), which for e = 1e-6 (the usual repair) is visible in a published FID;
- two d x d factors meet as the eigenvalues of F1^T S2 F1, which is twice as fast as singular
  values; an eigenvalue that is zero may come out as 1e-16 of the largest, so the distance is good
  to about 1e-8 of the larger trace there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What the distance needs of one set."""

    mean: Array  # (d,)
    factor: Array  # (d, r)
    trace: float
    covariance: Array | None  # (d, d) where it was built


def gaussian(rows: NDArray[Any], *, ddof: int = 1) -> Gaussian:
    """The Gaussian of rows (n, d). ``ddof`` 1 divides by n - 1 (FID, FAD), 0 by n (cd-fvd's FVD).

    Raises ValueError for fewer than two rows.
    """
    rows = np.asarray(rows, np.float64)
    n, d = _shape(rows)
    mean = rows.mean(axis=0)
    centred = (rows - mean) / np.sqrt(n - ddof)
    if n <= d:
        return Gaussian(mean, np.ascontiguousarray(centred.T), float(np.sum(centred**2)), None)
    return _of_moments(mean, centred.T @ centred)


def distance(one: Gaussian, other: Gaussian) -> float:
    """The squared distance of two Gaussians; 0 is equal.

    >>> a = gaussian(np.array([[0.0], [2.0]]), ddof=0)  # mean 1, variance 1
    >>> b = gaussian(np.array([[0.0], [6.0]]), ddof=0)  # mean 3, variance 9
    >>> round(distance(a, b), 12)  # (1 - 3)² + (1 - 3)²
    8.0
    """
    if one.mean.shape != other.mean.shape:
        raise ValueError(
            f"{one.mean.size} features against {other.mean.size}; both sets must come from the "
            "same backbone"
        )
    shift = float(np.sum((one.mean - other.mean) ** 2))
    found = shift + one.trace + other.trace - 2 * _overlap(one, other)
    return max(0.0, found)  # rounding may leave -1e-12 for equal sets


def frechet_distance(x: NDArray[Any], y: NDArray[Any], *, ddof: int = 1) -> float:
    """The squared Fréchet distance of rows x (n, d) and y (m, d), float64.

    Range 0 (equal means and covariances) upwards, lower is better. It is biased: two samples of one
    distribution are at a distance of about (1/n + 1/m) times a number of the backbone, so compare
    figures of equal n only, and see ``resampling.split_half``.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((50, 4))
    >>> round(frechet_distance(x, x + 3.0), 9)  # 4 features, 9 each
    36.0
    """
    return distance(gaussian(x, ddof=ddof), gaussian(y, ddof=ddof))


def frechet_of_moments(
    mean1: NDArray[Any], cov1: NDArray[Any], mean2: NDArray[Any], cov2: NDArray[Any]
) -> float:
    """The same from means (d,) and covariances (d, d), as published statistics hold them.

    >>> round(frechet_of_moments([0.0, 0.0], np.eye(2), [1.0, 0.0], 4 * np.eye(2)), 12)
    3.0
    """
    one = _of_moments(np.asarray(mean1, np.float64), np.asarray(cov1, np.float64))
    return distance(one, _of_moments(np.asarray(mean2, np.float64), np.asarray(cov2, np.float64)))


def _of_moments(mean: Array, covariance: Array) -> Gaussian:
    d = mean.size
    if covariance.shape != (d, d):
        raise ValueError(f"a covariance of shape {covariance.shape} for {d} means")
    covariance = (covariance + covariance.T) / 2
    return Gaussian(mean, _factor(covariance), float(np.trace(covariance)), covariance)


def _factor(covariance: Array) -> Array:
    """F with F F^T = S: Cholesky's, or of eigenvectors where S has no full rank."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        keep = values > values[-1] * 1e-15 * len(values)  # the rest is rounding
        if values[0] < -1e-6 * max(values[-1], 1e-300):
            raise ValueError(
                f"the covariance has a negative eigenvalue, {values[0]:.3g}: it is none"
            ) from None
        return np.asarray(vectors[:, keep] * np.sqrt(values[keep]), np.float64)


def _overlap(one: Gaussian, other: Gaussian) -> float:
    """tr((S1 S2)^(1/2))"""
    d = one.mean.size
    if one.factor.shape[1] == d and other.covariance is not None:
        inner = one.factor.T @ other.covariance @ one.factor
    elif other.factor.shape[1] == d and one.covariance is not None:
        inner = other.factor.T @ one.covariance @ other.factor
    else:
        cross = one.factor.T @ other.factor
        return float(np.sum(np.linalg.svd(cross, compute_uv=False))) if cross.size else 0.0
    values = np.linalg.eigvalsh((inner + inner.T) / 2)
    return float(np.sum(np.sqrt(np.maximum(values, 0.0))))


def _shape(rows: Array) -> tuple[int, int]:
    if rows.ndim != 2:
        raise ValueError(f"features of shape {rows.shape}; expected (rows, features)")
    n, d = rows.shape
    if n < 2:
        raise ValueError(f"{n} row of features: a covariance needs two")
    return n, d

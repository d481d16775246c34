"""What a detector's score means: calibrated per measured condition, capped, or an abstention.

A *condition* is a kind of file on which a detector was measured: "speech, MP3 32 kbit/s", "photo,
JPEG 50". For each it holds how scores of real and of synthetic media lay that the model had not
seen, neither them nor others of their source (person, camera, photo, package, generator). A file is
judged by the nearest condition; one that is near none, or unlike all media measured, is not judged.

Legend: ``n`` media (units: utterances, pictures, windows), ``s`` sources; a score is higher for
synthetic; ``llr`` is a natural logarithm, positive for synthetic.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Evidence, EvidenceStatus

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

ALARM_RATE = 0.01  # false alarms that the threshold allows
CAP = 3.0  # of |llr|: 20 to 1, whatever one modality says
PRIOR = 0.5  # at which a probability is stated; shown beside it
DRAWS = 200  # bootstrap draws over sources
_FITS = 50  # of them with a fit of their own
_RIDGE = 0.1  # on the slope per standardised unit, divided by sources: no infinite slope


@dataclass(frozen=True)
class Condition:
    """One measured condition of one detector.

    ``where`` says what files it stands for (numbers and words that the detector's domain knows).
    ``false_positive_rate`` is (k + 1) / (n_real + 1) for ``k`` real units above ``threshold``: what
    conformal prediction guarantees for another real unit like these (Vovk et al. 2005); with under
    99 real units it can't be 1 %. ``false_positive_upper`` is the upper 95 % end over sources.
    """

    name: str
    slope: float  # log-odds at equal priors = slope * score + intercept (Platt 1999)
    intercept: float
    threshold: float  # of the score; above it the evidence is "present"
    false_positive_rate: float
    false_positive_upper: float
    true_positive_rate: float
    n_real: int
    n_synthetic: int
    n_real_sources: int
    n_synthetic_sources: int
    ece: float  # expected calibration error of the probability, 10 bins of equal number
    where: Mapping[str, float | str] = field(default_factory=dict)
    # (slope, intercept) of fits on resampled sources: the interval of a probability
    resampled: tuple[tuple[float, float], ...] = ()

    @property
    def cap(self) -> float:
        """Largest |llr|: what the number of sources can carry, at most ``CAP``.

        >>> round(_flat(n_real_sources=4, n_synthetic_sources=9).cap, 2)
        1.61
        """
        return min(CAP, math.log1p(min(self.n_real_sources, self.n_synthetic_sources)))

    def llr(self, score: float) -> float:
        """Log-likelihood ratio of a score, within +-``cap``; 0 for a score that is no number."""
        if not math.isfinite(score):
            return 0.0
        return max(-self.cap, min(self.cap, self.slope * score + self.intercept))

    def interval(self, score: float) -> tuple[float, float]:
        """95 % of the probability at ``PRIOR``, over resampled sources."""
        drawn = [max(-self.cap, min(self.cap, a * score + b)) for a, b in self.resampled]
        if not drawn:
            return 0.0, 1.0
        low, high = np.quantile(drawn, [0.025, 0.975])
        return probability(float(low)), probability(float(high))

    def as_details(self, distance: float | None = None) -> dict[str, Any]:
        """What evidence says of the condition that it was judged by."""
        return {
            "name": self.name,
            "fpr": self.false_positive_rate,
            "fpr_upper": self.false_positive_upper,
            "tpr": self.true_positive_rate,
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
            "n_sources": self.n_real_sources + self.n_synthetic_sources,
            "distance": distance,
        }


def _flat(**changes: Any) -> Condition:
    values: dict[str, Any] = {
        "name": "flat", "slope": 0.0, "intercept": 0.0, "threshold": math.inf,
        "false_positive_rate": 1.0, "false_positive_upper": 1.0, "true_positive_rate": 0.0,
        "n_real": 0, "n_synthetic": 0, "n_real_sources": 0, "n_synthetic_sources": 0, "ece": 0.0,
    }  # fmt: skip
    return Condition(**values | changes)


@dataclass(frozen=True)
class Calibration:
    """All conditions of one detector. ``calibration_id`` names weights and figures together."""

    detector: str
    modality: str
    calibration_id: str
    conditions: tuple[Condition, ...]

    def condition(self, name: str) -> Condition:
        """By name. Raises KeyError."""
        for one in self.conditions:
            if one.name == name:
                return one
        raise KeyError(name)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        rounded = json.loads(
            json.dumps(asdict(self)), parse_float=lambda t: float(f"{float(t):.6g}")
        )
        path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Raises UsageError when the file is no calibration."""
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(Condition)}
            conditions = tuple(
                Condition(**{k: v for k, v in one.items() if k in known and k != "resampled"},
                          resampled=tuple((float(a), float(b)) for a, b in one["resampled"]))
                for one in read["conditions"]
            )  # fmt: skip
            return cls(read["detector"], read["modality"], read["calibration_id"], conditions)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path} is no calibration of a detector: {error}.") from error


# ---------------------------------------------------------------- fitting


def fit(
    name: str,
    scores: Sequence[float] | F64,
    synthetic: Sequence[bool] | NDArray[np.bool_],
    sources: Sequence[str],
    *,
    where: Mapping[str, float | str] | None = None,
    seed: int = 0,
) -> Condition:
    """A condition from scores of media that the model had not seen, nor others of their source.

    Every source weighs the same within its class and both classes the same, so that a person with
    many utterances is one person. Raises UsageError without two real and two synthetic units.

    >>> c = fit("toy", [0, 1, 0, 1, 4, 5, 4, 5.5], [False] * 4 + [True] * 4, list("aabbccdd"))
    >>> c.llr(5.0) > 0 > c.llr(0.0), c.n_real_sources
    (True, 2)
    """
    x = np.asarray(scores, np.float64)
    y = np.asarray(synthetic, bool)
    of = np.asarray(sources)
    if not np.isfinite(x).all():
        raise UsageError(f"{name}: a score is no number.")
    if min(int(y.sum()), int((~y).sum())) < 2:
        raise UsageError(f"{name}: a condition needs two real and two synthetic media at least.")
    slope, intercept = platt(x, y, of)
    drawn = _resamples(y, of, seed)
    resampled = tuple(platt(x[i], y[i], o) for i, o in drawn[:_FITS])
    real, made = np.sort(x[~y]), x[y]
    allowed = max(0, math.floor(ALARM_RATE * (len(real) + 1)) - 1)
    threshold = float(real[len(real) - 1 - allowed])
    k = int((real > threshold).sum())
    alarms = [float((x[i][~y[i]] > threshold).mean()) for i, _ in drawn]
    n_sources = len(set(of[~y].tolist()))
    upper = max(float(np.quantile(alarms, 0.95)), 1 - 0.05 ** (1 / n_sources))  # none seen of s
    p = np.array([probability(v) for v in slope * x + intercept])
    return Condition(
        name=name,
        slope=slope,
        intercept=intercept,
        threshold=threshold,
        false_positive_rate=(k + 1) / (len(real) + 1),
        false_positive_upper=min(1.0, upper),
        true_positive_rate=float((made > threshold).mean()),
        n_real=len(real),
        n_synthetic=len(made),
        n_real_sources=n_sources,
        n_synthetic_sources=len(set(of[y].tolist())),
        ece=ece(p, y),
        where=dict(where or {}),
        resampled=resampled,
    )


def platt(x: F64, y: NDArray[np.bool_], sources: NDArray[Any]) -> tuple[float, float]:
    """Slope >= 0 and intercept of the logistic calibration of ``x``; each source weighs the same.

    The slope is shrunken, the more the fewer the sources.
    """
    from scipy.optimize import minimize

    weight = _weights(y, sources)
    ridge = _RIDGE / len(np.unique(sources))
    centre = float(np.average(x, weights=weight))
    spread = float(np.sqrt(np.average((x - centre) ** 2, weights=weight))) or 1.0
    z, sign = (x - centre) / spread, np.where(y, 1.0, -1.0)

    def loss(ab: F64) -> tuple[float, F64]:
        margin = sign * (ab[0] * z + ab[1])
        value = float((weight * np.logaddexp(0, -margin)).sum() / weight.sum())
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -500, 500))) / weight.sum()
        return value + ridge / 2 * ab[0] ** 2, np.array(
            [(pull * z).sum() + ridge * ab[0], pull.sum()]
        )

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(0.0, 50.0), (-50.0, 50.0)])
    slope = float(found.x[0]) / spread
    return slope, float(found.x[1]) - slope * centre


def _weights(y: NDArray[np.bool_], of: NDArray[Any]) -> F64:
    """One for each source, both classes the same in sum."""
    weight = np.zeros(len(y))
    for label in (False, True):
        members = y == label
        names, at, count = np.unique(of[members], return_inverse=True, return_counts=True)
        if len(names):
            weight[members] = 1.0 / count[at] / len(names)
    return weight


def _resamples(
    y: NDArray[np.bool_], of: NDArray[Any], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of units of sources drawn with replacement within each class, and the draw's number:
    a source drawn twice counts twice."""
    rng = np.random.default_rng(seed)
    drawn: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    members = {label: _members(y == label, of) for label in (False, True)}
    for _ in range(DRAWS):
        taken = [own[i] for own in members.values() for i in rng.integers(0, len(own), len(own))]
        number = np.repeat(np.arange(len(taken)), [len(units) for units in taken])
        drawn.append((np.concatenate(taken), number))
    return drawn


def _members(within: NDArray[np.bool_], of: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The units of each source."""
    units = np.flatnonzero(within)
    order = units[np.argsort(of[units], kind="stable")]
    edges = np.flatnonzero(of[order][1:] != of[order][:-1]) + 1
    return np.split(order, edges)


def balanced(synthetic: NDArray[np.bool_]) -> F64:
    """(n,) weights: both classes the same in sum, 1 together, as at a prior of one half."""
    y = np.asarray(synthetic, bool)
    return np.where(y, 0.5 / max(1, int(y.sum())), 0.5 / max(1, int((~y).sum())))


def binned(p: F64, y: NDArray[np.bool_], bins: int = 10) -> tuple[F64, F64, F64, F64]:
    """Weight, mean probability, share of synthetic units and number of units of bins of equal
    number, (bins,) each; both classes weigh the same. Units of one probability are shared out
    alike, whatever their order: capped ratios make many of them.
    """
    p, y = np.asarray(p, np.float64), np.asarray(y, bool)
    order = np.argsort(p, kind="stable")
    p, y, weight = p[order], y[order], balanced(y)[order]
    tie = np.concatenate([[0], np.cumsum(np.diff(p) > 0)])
    size = np.bincount(tie)
    even = (np.bincount(tie, weight) / size)[tie]
    made = (np.bincount(tie, weight * y) / size)[tie]
    parts = np.array_split(np.arange(len(p)), min(bins, len(p)))
    w = np.array([even[part].sum() for part in parts])
    return (
        w,
        np.array([(even[part] * p[part]).sum() for part in parts]) / w,
        np.array([made[part].sum() for part in parts]) / w,
        np.array([len(part) for part in parts], np.float64),
    )


def ece(p: F64, y: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: mean gap between probability and share over ``binned``.

    Both classes weigh the same, as at ``PRIOR``. 0 is perfect, 1 the worst.

    >>> ece(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]))
    0.0
    """
    weight, stated, share, _ = binned(p, y, bins)
    return float((weight * np.abs(stated - share)).sum() / weight.sum())


# ---------------------------------------------------------------- what was seen before


@dataclass(frozen=True, eq=False)
class Region:
    """Where the features of measured media lie; far from it nothing is known.

    Mahalanobis distance within ``axes`` (k, d) of ``centre`` (d,), scaled by ``spread`` (k,), plus
    what lies off the axes in units of ``residual``. ``limit`` is the 99 % quantile of the media it
    was made from.
    """

    centre: F64
    axes: F64
    spread: F64
    residual: float
    limit: float

    def distance(self, x: F64) -> F64:
        """(n, d) -> (n,), in limits: above 1 is outside, as is what is no number."""
        off = np.atleast_2d(x) - self.centre
        along = off @ self.axes.T
        rest = np.square(off).sum(1) - np.square(along).sum(1)
        far = np.square(along / self.spread).sum(1) + np.maximum(rest, 0) / self.residual**2
        away = np.sqrt(far) / self.limit
        return np.asarray(np.where(np.isnan(away), math.inf, away))  # no number: near nothing

    @classmethod
    def around(cls, x: F64, k: int = 16, quantile: float = 0.99) -> Region:
        """Of (n, d) features, standardised beforehand; the quantile is taken out of fold."""
        x = np.asarray(x, np.float64)
        halves = (x[::2], x[1::2])
        if min(map(len, halves)) < 4:
            raise UsageError(f"A region needs eight media at least, not {len(x)}.")
        seen = [cls._of(a, k).distance(b) for a, b in (halves, halves[::-1])]
        whole = cls._of(x, k)
        limit = float(np.quantile(np.concatenate(seen), quantile))
        return cls(whole.centre, whole.axes, whole.spread, whole.residual, limit or 1.0)

    @classmethod
    def _of(cls, x: F64, k: int) -> Region:
        centre = x.mean(0)
        _, values, axes = np.linalg.svd(x - centre, full_matrices=False)
        k = max(1, min(k, len(values) - 1, len(x) // 4))
        spread = values[:k] / math.sqrt(len(x)) + 1e-6
        rest = math.sqrt(float(np.square(values[k:]).sum()) / len(x)) + 1e-6
        return cls(centre, axes[:k], spread, rest, 1.0)

    def arrays(self, prefix: str = "region") -> dict[str, NDArray[Any]]:
        """For a safetensors file."""
        return {
            f"{prefix}.centre": self.centre.astype(np.float32),
            f"{prefix}.axes": np.ascontiguousarray(self.axes, np.float32),
            f"{prefix}.spread": self.spread.astype(np.float32),
            f"{prefix}.scale": np.array([self.residual, self.limit], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "region") -> Region:
        """Raises KeyError."""
        get = {k: np.asarray(arrays[f"{prefix}.{k}"], np.float64)
               for k in ("centre", "axes", "spread", "scale")}  # fmt: skip
        return cls(get["centre"], get["axes"], get["spread"], *map(float, get["scale"]))


# ---------------------------------------------------------------- saying it


def probability(llr: float, prior: float = PRIOR) -> float:
    """
    >>> probability(0.0)
    0.5
    """
    odds = llr + math.log(prior / (1 - prior))
    return float(1 / (1 + math.exp(-max(-500.0, min(500.0, odds)))))


def evidence(
    calibration: Calibration,
    condition: Condition,
    score: float,
    *,
    present: str,
    absent: str,
    distance: float | None = None,
    details: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence of a score that was judged by ``condition``.

    ``present`` and ``absent`` say in one sentence what was found, e.g. "The voice has signs of
    synthesis"; how often that is wrong is added here. "Absent" is no sign of authenticity. A score
    that is no number (hostile features may lead to one) is an abstention.
    """
    if not math.isfinite(score):
        return abstention(
            f"detector.{calibration.detector}",
            calibration.modality,
            "its features gave no usable score; it needs numbers like those of measured media",
            {"condition": condition.as_details(distance)},
        )
    above = score > condition.threshold
    llr = condition.llr(score)
    low, high = condition.interval(score)
    rate = condition.false_positive_rate
    said = (
        f"{present}; it says so of {rate:.1%} of real media of the nearest measured kind "
        f'("{condition.name}"), and finds {condition.true_positive_rate:.0%} of synthetic ones.'
        if above
        else f"{absent}; that does not mean that it is not AI-made: "
        f"{1 - condition.true_positive_rate:.0%} of synthetic media pass (nearest measured kind: "
        f'"{condition.name}").'
    )
    return Evidence(
        f"detector.{calibration.detector}",
        EvidenceStatus.PRESENT if above else EvidenceStatus.ABSENT,
        said,
        probability=probability(llr),
        llr=llr,
        calibration_id=calibration.calibration_id,
        details={
            "modality": calibration.modality,
            "score": float(score),
            "prior": PRIOR,
            "interval": [low, high],
            "condition": condition.as_details(distance),
        }
        | dict(details or {}),
    )


def abstention(
    source: str, modality: str, reason: str, details: Mapping[str, Any] | None = None
) -> Evidence:
    """Evidence of a detector that does not judge. ``reason`` says what was found and what it needs.

    >>> abstention("detector.speech", "speech", "it has 0.4 s of speech; expected 1 s").summary
    'Not judged: it has 0.4 s of speech; expected 1 s.'
    """
    return Evidence(
        source,
        EvidenceStatus.ABSTAINED,
        f"Not judged: {reason.rstrip('.')}.",
        details={"modality": modality, "reason": reason} | dict(details or {}),
    )


def segment(start_s: float, end_s: float, llr: float | None, *, flagged: bool) -> dict[str, Any]:
    """One entry of ``details["timeline"]``; ``llr`` None where nothing could be judged.

    Raises ValueError for times that are no numbers: they come from features.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise ValueError(f"a segment from {start_s} to {end_s} s")
    return {
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "llr": None if llr is None or not math.isfinite(llr) else round(float(llr), 3),
        "flagged": bool(flagged),
    }


def heatmap(
    llr: NDArray[Any], flagged: NDArray[Any], box: Sequence[float], *, fdr: float,
    time_s: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """``details["heatmap"]``: tiles (rows, columns) over ``box`` (x0, y0, x1, y1), 0 to 1 of the
    picture; NaN where nothing could be judged; ``time_s`` of the frame in a video."""
    values = np.asarray(llr, np.float64)
    return {
        "box": [round(float(v), 5) for v in box],
        "llr": [[None if not math.isfinite(v) else round(float(v), 2) for v in row]
                for row in values],
        "flagged": np.asarray(flagged, bool).tolist(),
        "fdr": fdr,
        "time_s": time_s,
    }  # fmt: skip


def discoveries(p: Iterable[float] | F64, fdr: float = 0.05) -> NDArray[np.bool_]:
    """Which p-values are discoveries with a false discovery rate of ``fdr`` (Benjamini and Hochberg
    1995; overlapping tiles depend positively on each other, Benjamini and Yekutieli 2001). NaN is
    never one.

    >>> discoveries(np.array([0.001, 0.5, 0.01, 0.9]), 0.05).tolist()
    [True, False, True, False]
    """
    values = np.asarray(p, np.float64)
    flat = np.where(np.isfinite(values), values, 1.0).ravel()
    order = np.argsort(flat, kind="stable")
    below = flat[order] <= fdr * np.arange(1, len(flat) + 1) / max(1, len(flat))
    last = int(np.flatnonzero(below).max(initial=-1))
    found = np.zeros(len(flat), bool)
    found[order[: last + 1]] = True
    return found.reshape(values.shape)

"""Features of many clips as one table whose order depends on nothing but the clips' names.

Sums of floating-point numbers depend on their order, so a figure of a set is bit-identical for any
division of the work only when its rows are put into one order first. That order is by the SHA-256
of the sample id: ids of any length and script sort alike on every machine, and the streaming shells
(``avsafe_metrics.states``), which carry the same 16 bytes instead of the text, agree bit for bit.

Legend: ``s`` samples (clips), ``n`` rows of all of them, ``d`` features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = NDArray[np.float64]  # (n, d)


@dataclass(frozen=True, eq=False)
class Rows:
    """``values`` (n, d) float64; ``owner`` (n,) says which of ``s`` samples each row is of."""

    values: Table
    owner: NDArray[np.int64]
    names: tuple[str, ...] = ()  # of the samples, in order; empty where only digests are known

    @property
    def samples(self) -> int:
        return int(self.owner[-1]) + 1 if self.owner.size else 0

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    def of(self, chosen: NDArray[np.int64]) -> Table:
        """The rows of these samples, in order."""
        keep = np.zeros(self.samples, bool)
        keep[chosen] = True
        return self.values[keep[self.owner]]

    def without(self, left_out: NDArray[np.int64]) -> Table:
        """The rows of all other samples, in order."""
        keep = np.ones(self.samples, bool)
        keep[left_out] = False
        return self.values[keep[self.owner]]


def digest(sample_id: str) -> bytes:
    """What samples are ordered by: 16 bytes.

    >>> digest("a") < digest("b")
    False
    """
    return hashlib.sha256(sample_id.encode()).digest()[:16]


def in_order(sample_ids: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Sample ids in the one order that everything here uses.

    >>> in_order(["a", "b", "c"]) == in_order(["c", "a", "b"])
    True
    """
    return sorted(sample_ids, key=digest)


def table(items: Mapping[str, Mapping[str, NDArray[Any]]], feature: str = "features") -> Rows:
    """The rows of one feature of all samples that have it.

    Raises ValueError when widths differ or a value is not finite; the message names the sample.

    >>> rows = table({"a": {"features": np.ones((2, 3))}, "b": {"features": np.zeros((1, 3))}})
    >>> rows.names, rows.owner.tolist(), rows.width
    (('b', 'a'), [0, 1, 1], 3)
    """
    found: list[Table] = []
    owner: list[int] = []
    names: list[str] = []
    for name in in_order(items):
        array = items[name].get(feature)
        if array is None or len(array) == 0:
            continue
        values = np.asarray(array, np.float64)
        if values.ndim != 2:
            raise ValueError(
                f"{name}: {feature} have shape {values.shape}; expected (rows, features)"
            )
        if found and values.shape[1] != found[0].shape[1]:
            raise ValueError(
                f"{name}: {values.shape[1]} {feature} a row, where {names[0]} has "
                f"{found[0].shape[1]}. Both must come from the same backbone and weights."
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {feature} that are not finite. Check its backbone's weights")
        owner += [len(names)] * len(values)
        names.append(name)
        found.append(values)
    values = np.concatenate(found) if found else np.zeros((0, 0))
    return Rows(np.ascontiguousarray(values), np.asarray(owner, np.int64), tuple(names))


def paired(
    items: Mapping[str, Mapping[str, NDArray[Any]]],
    reference: Mapping[str, Mapping[str, NDArray[Any]]],
    feature: str = "features",
) -> tuple[Table, Table, tuple[str, ...]]:
    """The mean row of every sample that both have: (s, d), (s, d) and their names.

    >>> one, other, names = paired({"a": {"features": np.ones((2, 3))}}, {"a": {"features":
    ...     np.zeros((1, 3))}, "b": {"features": np.zeros((1, 3))}})
    >>> one.tolist(), names
    ([[1.0, 1.0, 1.0]], ('a',))
    """
    both = {name: items[name] for name in items if name in reference}
    ours = table(both, feature)
    theirs = table({name: reference[name] for name in ours.names}, feature)
    names = tuple(name for name in ours.names if name in set(theirs.names))
    if not names:
        return np.zeros((0, ours.width)), np.zeros((0, theirs.width)), ()
    return _means(ours, names), _means(theirs, names), names


def _means(rows: Rows, names: tuple[str, ...]) -> Table:
    place = {name: index for index, name in enumerate(rows.names)}
    means = [rows.values[rows.owner == place[name]].mean(axis=0) for name in names]
    return np.stack(means)

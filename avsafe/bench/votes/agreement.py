"""Agreement between raters beyond chance. Pure functions on votes of nominal categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | str:
    """Kappa of subjects by categories; every subject has as many ratings (Fleiss 1971,
    Psychological Bulletin 76, p. 378, eq. 3-7). 1: agreement, 0: as chance. A reason where it is
    not defined.

    >>> fleiss_kappa([[3, 0], [0, 3]])
    1.0
    >>> fleiss_kappa([[3, 0], [3, 0]])
    'all votes are equal: chance agreement is complete'
    """
    rated = [row for row in counts if sum(row) > 0]
    totals = {sum(row) for row in rated}
    if not rated:
        return "there is no vote"
    if len(totals) > 1:
        return "items have different numbers of votes; see Krippendorff's alpha"
    n = totals.pop()
    if n < 2:
        return "items have one vote each"
    shares = [Fraction(sum(column), n * len(rated)) for column in zip(*rated, strict=True)]
    chance = sum(share * share for share in shares)
    seen = sum(Fraction(sum(k * k for k in row) - n, n * (n - 1)) for row in rated) / len(rated)
    if chance == 1:
        return "all votes are equal: chance agreement is complete"
    return float((seen - chance) / (1 - chance))


def krippendorff_alpha(units: Mapping[str, Sequence[str]]) -> float | str:
    """Alpha of nominal ratings, unit -> its ratings; any number a unit (Krippendorff 2011,
    Computing Krippendorff's Alpha-Reliability, part B). A reason where it is not defined.

    >>> krippendorff_alpha({"x": ["a", "a"], "y": ["b", "b", "b"], "z": ["a"]})
    1.0
    """
    pairable = {unit: Counter(found) for unit, found in units.items() if len(found) > 1}
    if not pairable:
        return "no item has two votes"
    totals: Counter[str] = Counter()
    agreed = Fraction(0)
    for found in pairable.values():
        totals.update(found)
        agreed += Fraction(sum(k * (k - 1) for k in found.values()), found.total() - 1)
    n = totals.total()
    expected = Fraction(n * n - sum(k * k for k in totals.values()), n - 1)
    if expected == 0:
        return "all votes are equal: chance agreement is complete"
    return float(1 - (n - agreed) / expected)


def raw_agreement(units: Mapping[str, Sequence[str]]) -> float | str:
    """The share of pairs of votes on the same item that are equal.

    >>> raw_agreement({"x": ["a", "a", "b"]})
    0.3333333333333333
    """
    same = pairs = 0
    for found in units.values():
        counted = Counter(found)
        same += sum(k * (k - 1) for k in counted.values())
        pairs += counted.total() * (counted.total() - 1)
    return same / pairs if pairs else "no item has two votes"

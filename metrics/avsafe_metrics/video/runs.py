"""Runs of marked frames, for metrics that count time: frozen, black."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from avsafe.errors import Unscorable
from avsafe.types import Clip


def longest_run(marks: Iterable[bool]) -> int:
    """How many marks stand in the longest row of marks.

    >>> longest_run([True, False, True, True, False])
    2
    >>> longest_run([])
    0
    """
    longest = current = 0
    for mark in marks:
        current = current + 1 if mark else 0
        longest = max(longest, current)
    return longest


def moving_rate(clip: Clip) -> Fraction:
    """The frame rate of a clip; a still picture has none, and is refused with the reason."""
    rate = clip.shape.frame_rate
    if rate is None:
        raise Unscorable("a still picture has no frame rate; this metric is about time")
    return rate

"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

COLOURS = 6  # systems beyond share the colours again, told apart by their names


def decimals(figure: Mapping[str, Any]) -> int:
    """How many digits after the point an interval leaves meaningful.

    >>> decimals({"value": 0.5, "low": 0.48, "high": 0.52}), decimals({"value": 480.0})
    (3, 0)
    """
    low, high, value = figure.get("low"), figure.get("high"), figure.get("value")
    if low is not None and high is not None and high > low:
        return max(0, min(4, 1 - math.floor(math.log10((high - low) / 2))))
    if not value:
        return 2
    return max(0, min(4, 2 - math.floor(math.log10(abs(value)))))


def number(value: float | None, digits: int) -> str:
    """
    >>> number(-0.25, 1), number(None, 2)
    ('−0.2', '–')
    """
    if value is None:
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def is_share(figure: Mapping[str, Any]) -> bool:
    return "Wilson" in str(figure.get("interval", ""))


def value_of(figure: Mapping[str, Any]) -> str:
    """The figure alone.

    >>> value_of({"value": 0.8333, "interval": "95 % Wilson"})
    '83 %'
    """
    value = figure.get("value")
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if is_share(figure) else number(value, decimals(figure))


def span_of(figure: Mapping[str, Any]) -> str:
    """The interval, or that there is none.

    >>> span_of({"value": 0.5, "low": 0.48, "high": 0.52})
    '0.480 to 0.520'
    """
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return "no interval"
    if is_share(figure):
        return f"{100 * low:.0f} to {100 * high:.0f} %"
    digits = decimals(figure)
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: float | None) -> str:
    """
    >>> p_value(0.00012), p_value(0.052), p_value(0.234), p_value(1.0)
    ('0.0001', '0.052', '0.23', '1')
    """
    if p is None:
        return "–"
    if p < 0.0001:
        return "&lt; 0.0001"
    if p < 0.01:
        return f"{p:.1g}" if p >= 0.001 else f"{p:.4f}"
    if p < 0.1:
        return f"{p:.3f}"
    return "1" if p >= 0.995 else f"{p:.2f}"


def counted(n: int, word: str, many: str = "") -> str:
    """
    >>> counted(1, "clip"), counted(1200, "clip")
    ('1 clip', '1,200 clips')
    """
    return f"{n:,} {word if n == 1 else many or word + 's'}"


def listed(names: list[str]) -> str:
    """
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def label(info: Mapping[str, Any]) -> str:
    """A score's title with its unit, as HTML."""
    unit = f" <small>{escape(info['unit'])}</small>" if info["unit"] else ""
    return f"{escape(info['title'])}{unit}"


def arrow(info: Mapping[str, Any]) -> str:
    words = {"higher": ("↑", "higher is better"), "lower": ("↓", "lower is better")}
    sign, title = words.get(info["better"], ("", "describes; neither end is better"))
    return f'<abbr title="{title}">{sign}</abbr>' if sign else ""


def colour(index: int) -> str:
    """The CSS colour of a system, by its place in the run.

    >>> colour(0), colour(6)
    ('var(--s1)', 'var(--s1)')
    """
    return f"var(--s{index % COLOURS + 1})"


def short_hash(text: object) -> str:
    whole = escape(str(text))
    return f'<code title="{whole}">{whole[:12]}</code>'

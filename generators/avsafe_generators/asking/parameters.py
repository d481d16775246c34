"""The words and numbers of a request: parameters by name, size, duration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from avsafe.errors import UsageError
from avsafe.types import GenerationRequest, GeneratorInfo

OF_THE_GATE = frozenset(("disclose_prompt",))  # parameters that are not for a generator


class Knob(Protocol):
    """One parameter: its default, and how a given value is read."""

    @property
    def default(self) -> Any: ...

    def read(self, name: str, value: Any) -> Any:
        """The value, or UsageError."""


def shown(value: Any) -> str:
    """A value as a message shows it: the beginning of a long one, any number of digits.

    >>> shown("abc"), len(shown("x" * 9999))
    ("'abc'", 83)
    """
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}..."


@dataclass(frozen=True)
class Number:
    """A number from ``low`` to ``high``; ``whole`` for counts.

    >>> Number(0, 1, 0.5).read("strength", "0.25")
    0.25
    """

    low: float
    high: float
    default: float | None
    whole: bool = False

    def read(self, name: str, value: Any) -> float | int:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not self.low <= number <= self.high:  # false for NaN
            raise UsageError(
                f"{name} is a number from {self.low:g} to {self.high:g}, not {shown(value)}."
            )
        if not self.whole:
            return number
        if number != int(number):
            raise UsageError(f"{name} is a whole number, not {shown(value)}.")
        return int(number)


class Choice:
    """One of some words; the first is the default.

    >>> Choice("soft", "hard").read("edge", "HARD")
    'hard'
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.default = options[0]

    def read(self, name: str, value: Any) -> str:
        word = str(value).strip().lower()
        if word not in self.options:
            raise UsageError(f"{name} is one of {', '.join(self.options)}, not {shown(value)}.")
        return word


@dataclass(frozen=True)
class Flag:
    """Yes or no.

    >>> Flag(False).read("loop", "yes")
    True
    """

    default: bool

    def read(self, name: str, value: Any) -> bool:
        word = str(value).strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise UsageError(f"{name} is yes or no, not {shown(value)}.")


@dataclass(frozen=True)
class Text:
    """Free text of at most ``max_chars`` letters."""

    default: str
    max_chars: int = 200

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise UsageError(f"{name} is a text, not {shown(value)}.")
        if len(value) > self.max_chars:
            raise UsageError(
                f"{name} has {len(value)} letters; at most {self.max_chars} are taken. Shorten it."
            )
        return value


class Rate:
    """A frame rate, as a fraction: 24, 29.97 or 30000/1001.

    >>> Rate(Fraction(16), Fraction(30), Fraction(24)).read("frame_rate", "30000/1001")
    Fraction(30000, 1001)
    """

    def __init__(self, low: Fraction, high: Fraction, default: Fraction) -> None:
        self.low, self.high, self.default = low, high, default

    def read(self, name: str, value: Any) -> Fraction:
        try:
            rate = Fraction(str(value)).limit_denominator(1001)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(
                f"{name} {shown(value)} is no number. Write 24, 29.97 or 30000/1001."
            ) from error
        if not self.low <= rate <= self.high:
            raise UsageError(
                f"{name} {shown(value)} is outside {self.low} to {self.high} frames a second."
            )
        return rate


class Box:
    """The mask of a request where it is a box; ``region`` reads it."""

    default = None

    def read(self, name: str, value: Any) -> Any:
        return value


def refuse_other_tasks(request: GenerationRequest, info: GeneratorInfo) -> None:
    """Raise UsageError for a task that the generator does not do."""
    if request.task not in info.tasks:
        tasks = ", ".join(info.tasks)
        raise UsageError(f"The {info.name} generator can't do {request.task} (it can: {tasks}).")


def parameters(request: GenerationRequest, **known: Knob) -> dict[str, Any]:
    """Every known parameter with its value or default.

    ``disclose_prompt`` (for the gate) may always be there; a generator that asks for a ``region``
    takes ``mask=Box()``. Raises UsageError for an unknown name and for a value out of range, and
    says what there is.

    >>> from avsafe.types import Principal, Task
    >>> request = GenerationRequest(
    ...     Principal("me"), Task.CINEMAGRAPH, "cinemagraph", parameters={"speed": "2"}
    ... )
    >>> parameters(request, speed=Number(0, 4, 1), loop=Flag(True))
    {'speed': 2.0, 'loop': True}
    """
    given: Mapping[str, Any] = request.parameters
    unknown = sorted(set(given) - set(known) - OF_THE_GATE)
    if unknown:
        has = f"it has: {', '.join(known)}" if known else "it has none"
        named = ", ".join(name[:60] for name in unknown[:8])
        raise UsageError(f"{request.generator} has no parameter {named} ({has}).")
    return {
        name: knob.read(name, given[name]) if name in given else knob.default
        for name, knob in known.items()
    }


def size(
    request: GenerationRequest,
    *,
    default: tuple[int, int] = (512, 512),
    low: int = 64,
    high: int = 1920,
    max_pixels: int = 1920 * 1080,
) -> tuple[int, int]:
    """(width, height) in pixels, even; one side given alone makes a square.

    Raises UsageError for odd sides and for sizes out of range.
    """
    if request.width is None and request.height is None:
        return default
    width = request.width or request.height or 0
    height = request.height or request.width or 0
    if not all(low <= side <= high and side % 2 == 0 for side in (width, height)):
        raise UsageError(
            f"{request.generator} makes even sides of {low} to {high} pixels; asked for "
            f"{width} x {height}."
        )
    if width * height > max_pixels:
        raise UsageError(
            f"{width} x {height} is more than the {max_pixels} pixels ({_wide(max_pixels)}) of a "
            f"frame that {request.generator} makes. Ask for a smaller one."
        )
    return width, height


def _wide(pixels: int) -> str:
    """The 16:9 frame of so many pixels.

    >>> _wide(1280 * 720)
    '1280 x 720'
    """
    height = round(math.sqrt(pixels * 9 / 16))
    return f"{pixels // height} x {height}"


def duration(
    request: GenerationRequest, *, default: float, low: float = 0.5, high: float = 60.0
) -> float:
    """Seconds. Raises UsageError out of range."""
    seconds = default if request.duration_s is None else float(request.duration_s)
    if not low <= seconds <= high:  # also false for NaN
        raise UsageError(
            f"{request.generator} makes clips of {low:g} to {high:g} s; asked for {seconds:g} s."
        )
    return seconds

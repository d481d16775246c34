"""Reading a small JSON file that somebody wrote by hand: every mistake named by its place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from avsafe.errors import UsageError

MAX_BYTES = 64 * 1024
MAX_TEXT = 500


class _Required:
    pass


REQUIRED: Final = _Required()


def load(text: bytes, name: str) -> dict[str, Any]:
    """The object in a JSON text of at most 64 KiB. Raises UsageError for anything else: a field
    that stands twice, NaN, nesting without end.

    >>> load(b'{"a": 1}', "manifest.json")
    {'a': 1}
    """
    if len(text) > MAX_BYTES:
        raise UsageError(f"{name} has {len(text)} bytes; at most {MAX_BYTES} were expected.")
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{name} is no readable JSON: {reason}.") from error
    if not isinstance(value, dict):
        raise UsageError(f"{name} holds a {type(value).__name__}; expected an object {{...}}.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} stands there twice")
    return dict(pairs)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


class Fields:
    """The fields of one object; ``done`` refuses those that nobody asked for.

    >>> f = Fields({"side": 7}, "input")
    >>> f.number("side", 8, 64, whole=True)
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: input.side is a whole number from 8 to 64, not 7.
    """

    def __init__(self, value: Any, place: str) -> None:
        self.place = place
        if not isinstance(value, dict):
            self._wrong("", "an object {...}", value)
        self._value: dict[str, Any] = value
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._value

    def text(
        self,
        name: str,
        default: Any = REQUIRED,
        *,
        among: Collection[str] = (),
        like: str = "",
        called: str = "",
        longest: int = MAX_TEXT,
    ) -> str:
        """One line of text; ``like`` a pattern that the whole of it fits, ``called`` in words."""
        found = self._take(name, default)
        expected = called or (f"one of {', '.join(among)}" if among else "one line of text")
        if (
            not isinstance(found, str)
            or not (found.isprintable() and len(found) <= longest)
            or (found == "" and default is REQUIRED)
            or (among and found not in among)
            or (like and not re.fullmatch(like, found))
        ):
            self._wrong(name, expected, found)
        return str(found)

    def number(
        self, name: str, low: float, high: float, default: Any = REQUIRED, *, whole: bool = False
    ) -> float:
        found = self._take(name, default)
        if found is default and default is not REQUIRED:
            return found  # type: ignore[no-any-return]
        kinds = (int,) if whole else (int, float)
        if (
            isinstance(found, bool)
            or not isinstance(found, kinds)
            or not math.isfinite(found)
            or not low <= found <= high
        ):
            words = "a whole number" if whole else "a number"
            self._wrong(name, f"{words} from {low:g} to {high:g}", found)
        return found

    def yes_no(self, name: str, default: Any = REQUIRED) -> bool:
        found = self._take(name, default)
        if not isinstance(found, bool):
            self._wrong(name, "true or false", found)
        return bool(found)

    def texts(
        self, name: str, default: Any = REQUIRED, *, among: Collection[str] = (), most: int = 50
    ) -> tuple[str, ...]:
        """A list of lines, each once."""
        found = self._take(name, default)
        if not isinstance(found, list | tuple) or len(found) > most:
            self._wrong(name, f"a list of at most {most} texts", found)
        for one in found:
            if not isinstance(one, str) or not one or not one.isprintable() or len(one) > MAX_TEXT:
                self._wrong(name, "a list of texts, one line each", found)
            if among and one not in among:
                self._wrong(name, f"a list of {', '.join(among)}", found)
        if len(set(found)) != len(found):
            self._wrong(name, "a list without repetition", found)
        return tuple(found)

    def numbers(
        self, name: str, n: int, low: float, high: float, default: Any = REQUIRED
    ) -> tuple[float, ...]:
        """A list of ``n`` numbers."""
        found = self._take(name, default)
        ok = isinstance(found, list | tuple) and len(found) == n
        if not ok or not all(
            isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high
            for v in found
        ):
            self._wrong(name, f"a list of {n} numbers from {low:g} to {high:g}", found)
        return tuple(float(v) for v in found)

    def part(self, name: str, default: Any = REQUIRED) -> Fields:
        """An object inside this one."""
        return Fields(self._take(name, default), self._at(name))

    def plain(self, name: str, default: Any = REQUIRED) -> Mapping[str, Any]:
        """An object whose fields another one will check."""
        found = self._take(name, default)
        if not isinstance(found, dict):
            self._wrong(name, "an object {...}", found)
        return dict(found)

    def names(self) -> list[str]:
        return list(self._value)

    def done(self) -> None:
        """Raises UsageError when a field is left that means nothing here: a misspelling."""
        if unknown := sorted(set(self._value) - self._asked):
            known = ", ".join(sorted(self._asked))
            raise UsageError(
                f"{self._at(shown(unknown[0], 60))} means nothing here (known: {known})."
            )

    def _take(self, name: str, default: Any) -> Any:
        self._asked.add(name)
        if name in self._value:
            return self._value[name]
        if default is REQUIRED:
            raise UsageError(f"{self._at(name)} is missing.")
        return default

    def _at(self, name: str) -> str:
        return f"{self.place}.{name}" if name else self.place

    def _wrong(self, name: str, expected: str, found: Any) -> NoReturn:
        raise UsageError(f"{self._at(name)} is {expected}, not {shown(found)}.")


def shown(value: Any, longest: int = 80) -> str:
    """A value of unknown origin in a message: short, printable."""
    try:
        text = json.dumps(value, ensure_ascii=True) if not isinstance(value, str) else value
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def read_file(path: Path, name: str) -> bytes:
    """At most one byte more than ``MAX_BYTES`` of a file; UsageError when it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name} can't be read ({error.strerror}).") from error

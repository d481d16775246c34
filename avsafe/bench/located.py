"""YAML whose every mistake has a file, a line and a field.

``yaml.safe_load`` forgets where a value stood. Here each value keeps its place, so that the reader
of a suite can say what is wrong with it and where. Only plain YAML: no tags, no objects.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from avsafe.errors import MissingExtra, UsageError

MAX_BYTES = 8 << 20  # of a suite's text; the prompts of a public set fit ten times
# The tags of plain values; a date stays a text.
_PLAIN = {f"tag:yaml.org,2002:{n}" for n in ("map", "seq", "str", "int", "float", "bool", "null")}
_TEXT = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
MAX_VALUES = 100_000  # after aliases are followed: a few lines of YAML can stand for billions


@dataclass(frozen=True)
class Located:
    """One value and its place. ``value`` is a dict or list of Located, or a plain scalar."""

    file: str
    field: str  # "items[3].seed"; "" for the whole file
    line: int
    value: Any

    def fail(self, message: str) -> NoReturn:
        """Raise UsageError with the place in front."""
        field = f", {self.field}" if self.field else ""
        raise UsageError(f"{self.file}, line {self.line}{field}: {message}")

    def mapping(self, known: Collection[str] | None = None) -> dict[str, Located]:
        """The entries; with ``known``, other keys are mistakes."""
        if not isinstance(self.value, dict):
            self.fail(f"expected names with values, found {self._what()}.")
        if known is not None:
            for key, item in self.value.items():
                if key not in known:
                    item.fail(f"there is no such field. Known: {', '.join(known)}.")
        found: dict[str, Located] = self.value
        return found

    def sequence(self) -> list[Located]:
        if not isinstance(self.value, list):
            self.fail(f"expected a list, found {self._what()}.")
        found: list[Located] = self.value
        return found

    def text(self) -> str:
        """A text, or a number written where a text is meant (``version: 1``)."""
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            self.fail(f"expected a text, found {self._what()}.")
        return str(self.value).strip()

    def filled(self) -> str:
        text = self.text()
        if not text:
            self.fail("expected a text, found an empty one.")
        return text

    def whole(self, low: int = 0) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < low:
            self.fail(f"expected a whole number from {low}, found {self._what()}.")
        number: int = self.value
        return number

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail(f"expected a number, found {self._what()}.")
        return float(self.value)

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail(f"expected true or false, found {self._what()}.")
        return self.value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.filled() for item in self.sequence())

    def plain(self) -> Any:
        """The value without places, as ``yaml.safe_load`` gives it."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def _what(self) -> str:
        if isinstance(self.value, dict):
            return "names with values"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else repr(self.value)[:60]


def read(text: str, file: str) -> Located:
    """The document of a text. UsageError for what is no YAML, has a key twice, or is too large.

    >>> found = read("title: A\\nitems: [{seed: x}]", "a.yaml")
    >>> found.mapping()["items"].sequence()[0].mapping()["seed"].whole()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: a.yaml, line 2, items[0].seed: expected a whole number..., found 'x'.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(
            "A suite is YAML, and PyYAML is not installed: pip install 'avsafe[bench]'."
        ) from error

    if len(text.encode()) > MAX_BYTES:
        raise UsageError(f"{file} is larger than {MAX_BYTES >> 20} MB; no suite is.")
    loader = None
    try:
        loader = yaml.SafeLoader(text)  # refuses control characters
        node = loader.get_single_node()
        if node is None:
            raise UsageError(f"{file} is empty; expected a suite (see docs/bench-suites.md).")
        return _Walk(loader, file).located(node, "")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        if isinstance(error, yaml.reader.ReaderError):
            line = f", line {text.count(chr(10), 0, error.position) + 1}"
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UsageError(f"{file}{line}: this is no YAML: {problem}.") from error
    except RecursionError as error:
        raise UsageError(f"{file}: lists inside lists, too deep for a suite.") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Walk:
    def __init__(self, loader: Any, file: str) -> None:
        self._loader, self._file, self._count = loader, file, 0
        self._sizes: dict[int, int] = {}

    def located(self, node: Any, field: str) -> Located:
        import yaml

        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_VALUES:
            raise UsageError(f"{self._file}, line {line}: more than {MAX_VALUES} values.")
        if node.tag in _TEXT:
            return Located(self._file, field, line, node.value)
        if node.tag not in _PLAIN:
            Located(self._file, field, line, "").fail(f"nothing of the kind {node.tag} is read.")
        if isinstance(node, yaml.MappingNode):
            return Located(self._file, field, line, self._entries(node, field))
        if isinstance(node, yaml.SequenceNode):
            items = [self.located(item, f"{field}[{i}]") for i, item in enumerate(node.value)]
            return Located(self._file, field, line, items)
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError, OverflowError):  # "!!int x", a number of 5000 digits
            shown = str(node.value)[:40]
            kind = node.tag.rpartition(":")[2]
            Located(self._file, field, line, "").fail(f"{shown!r} is no {kind}.")
        return Located(self._file, field, line, value)

    def _merged(self, node: Any) -> int:
        """How many entries a mapping has once its "<<" are followed: they can double on each line,
        and PyYAML would write all of them out."""
        import yaml

        if isinstance(node, yaml.SequenceNode):
            return sum(self._merged(item) for item in node.value)
        if not isinstance(node, yaml.MappingNode):
            return 1
        if id(node) not in self._sizes:
            self._sizes[id(node)] = 0  # itself, in a circle
            self._sizes[id(node)] = sum(
                self._merged(value) if key.tag == "tag:yaml.org,2002:merge" else 1
                for key, value in node.value
            )
        return self._sizes[id(node)]

    def _entries(self, node: Any, field: str) -> dict[str, Located]:
        own = set[str]()
        for key, _ in node.value:
            name = str(key.value)
            if name in own:
                place = f"{field}.{name}" if field else name
                Located(self._file, place, key.start_mark.line + 1, name).fail("it is there twice.")
            own.add(name)
        if self._merged(node) > MAX_VALUES:
            line = node.start_mark.line + 1
            raise UsageError(f"{self._file}, line {line}: more than {MAX_VALUES} values.")
        self._loader.flatten_mapping(node)  # "<<: *defaults" comes first, and is overridden
        found: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key, line = self._loader.construct_object(key_node), key_node.start_mark.line + 1
            if not isinstance(key, str):
                Located(self._file, field, line, key).fail(
                    f"expected a name, found {key!r}. Put quotes around it."
                )
            value = self.located(value_node, f"{field}.{key}" if field else key)
            found[key] = Located(value.file, value.field, line, value.value)
        return found

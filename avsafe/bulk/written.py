"""What a run leaves: verdicts.jsonl, failed.jsonl, summary.json, and tables of all evidence."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from avsafe.bulk.index import Index
from avsafe.errors import MissingExtra, UsageError
from avsafe.sharding.rows import Row, Store
from avsafe.types import Label

if TYPE_CHECKING:
    from avsafe.bulk.run import Outcome

VERDICTS, FAILED, SUMMARY = "verdicts.jsonl", "failed.jsonl", "summary.json"
TABLES = ("csv", "parquet")
_EVIDENCE = ("source", "status", "summary", "probability", "llr", "calibration_id", "details")
_COLUMNS = ("path", "sha256", "label", "source", "status", "probability", "llr", "calibration_id",
            "summary")  # fmt: skip
_NUMBERS = ("probability", "llr")
_AT_ONCE = 10_000  # lines of a Parquet table
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that a spreadsheet runs


@dataclass(frozen=True)
class Told:
    """What was written, counted."""

    labels: dict[str, int]
    unreadable: dict[str, int]
    failed: int
    files: tuple[Path, ...]


def check(tables: Sequence[str]) -> None:
    """Raise UsageError for a table of an unknown kind, MissingExtra for one that needs a package
    which is not there: before the work, not after it."""
    for kind in tables:
        if kind not in TABLES:
            raise UsageError(f"No table {kind!r} (known: {', '.join(TABLES)}).")
        if kind == "parquet":
            _pyarrow()


def write(out: Path, index: Index, store: Store, tables: Sequence[str]) -> Told:
    """Verdicts in the order of paths, and what could not be looked at."""
    labels: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    names = [out / VERDICTS, out / FAILED, *(out / f"evidence.{kind}" for kind in tables)]
    with _whole(names[0]) as verdicts, _tables(names[2:]) as add:
        ordered = index.in_order()
        for (named, _), row in _joined(ordered, store):
            entry = _entry(named, row)
            verdicts.write(_line(entry))
            labels[entry["label"]] += 1
            if entry["label"] == Label.UNREADABLE:
                unreadable[_error(entry)] += 1
            add(entry)
    failed = 0
    with _whole(names[1]) as problems:
        for named, why in index.problems():
            problems.write(_line({"path": named, "reason": why}))
            failed += 1
    known = [str(label) for label in Label]
    return Told(
        {name: labels[name] for name in known if labels[name]},
        dict(sorted(unreadable.items())),
        failed,
        tuple(names),
    )


def summary(out: Path, outcome: Outcome, state: dict[str, str]) -> None:
    """``summary.json``: figures, and what they were found with."""
    from avsafe.plain import plain

    json_file(out / SUMMARY, plain(outcome) | {"state": state})


def json_file(path: Path, value: Any) -> None:
    with _whole(path) as file:
        text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
        file.write(text.encode("utf-8", "backslashreplace"))


def _joined(
    ordered: Iterator[tuple[str, int]], store: Store
) -> Iterator[tuple[tuple[str, int], Row]]:
    """Every name with its row, read one by one."""
    seen: list[tuple[str, int]] = []

    def places() -> Iterator[int]:
        for one in ordered:
            seen.append(one)
            yield one[1]

    for row in store.at(places()) if store.path.exists() else ():
        yield seen.pop(), row


def _entry(named: str, row: Row) -> dict[str, Any]:
    """An entry of ``avsafe verify --json``."""
    return {
        "path": named,
        "sha256": row["sha256"],
        "label": row["label"],
        "evidence": [{name: one[name] for name in _EVIDENCE} for one in row["evidence"]],
    }


def _error(entry: dict[str, Any]) -> str:
    """What kind of error made a file unreadable."""
    errors = [one["details"].get("error") for one in entry["evidence"] if one["source"] == "domain"]
    return str(errors[0] if errors else "unknown")


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # half letters as JSON escapes


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears when it is complete."""
    half = path.with_name(path.name + ".half")
    with half.open("wb") as file:
        yield file
    half.replace(path)


# ---------------------------------------------------------------- tables


@contextmanager
def _tables(paths: Sequence[Path]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Something that adds an entry to every table: one line for each piece of evidence."""
    if not paths:
        yield lambda entry: None
        return
    first, rest = paths[0], paths[1:]
    kind = _csv if first.suffix == ".csv" else _parquet
    with _whole(first) as file, kind(file) as add, _tables(rest) as others:

        def both(entry: dict[str, Any]) -> None:
            add(_cells(entry))
            others(entry)

        yield both


def _cells(entry: dict[str, Any]) -> list[dict[str, Any]]:
    of_file, of_evidence = _COLUMNS[:3], _COLUMNS[3:]
    return [
        {name: _readable(entry[name]) for name in of_file}
        | {name: _readable(one[name]) for name in of_evidence}
        for one in entry["evidence"]
    ]


def _readable(value: Any) -> Any:
    r"""A name may hold bytes that are no UTF-8; they are written out.

    >>> _readable(os.fsdecode(bytes([99, 97, 233])))
    'ca\\xe9'
    """
    if not isinstance(value, str):
        return value
    return os.fsencode(value).decode("utf-8", "backslashreplace")


@contextmanager
def _csv(file: IO[bytes]) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    import io

    text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    yield lambda rows: writer.writerows(
        {name: _cell(value) for name, value in row.items()} for row in rows
    )
    text.detach()


def _cell(value: Any) -> Any:
    """No name of a file becomes a formula.

    >>> _cell("=1+1.mp4"), _cell("clip.mp4"), _cell(-1.5)
    ("'=1+1.mp4", 'clip.mp4', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    pyarrow = _pyarrow()
    import pyarrow.parquet as parquet

    schema = pyarrow.schema(
        [(name, pyarrow.float64() if name in _NUMBERS else pyarrow.string()) for name in _COLUMNS]
    )
    waiting: list[dict[str, Any]] = []
    with parquet.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(waiting, schema))
            waiting.clear()

        def add(rows: list[dict[str, Any]]) -> None:
            waiting.extend(rows)
            if len(waiting) >= _AT_ONCE:
                flush()

        yield add
        flush()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(
            "A Parquet table needs pyarrow, which is not installed: pip install 'avsafe[bench]'. "
            "Or take --table csv."
        ) from error
    return pyarrow

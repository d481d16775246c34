"""What detectors said of units whose origin is known: read from protocol files, in one table each.

A protocol file is Parquet, written by the command that trained a detector: one row a unit (an
utterance, a picture, a clip), cell and condition, with a score that the model gave without having
seen the unit's source. docs/bench-detectors.md lists the columns.

Legend: ``n`` rows; a score is higher for synthetic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = ("detector", "cell", "condition", "unit", "source", "group", "abstained")
NUMBERS = ("score", "probability")
TRUTHS = ("synthetic", "flagged")
SHORTCUT = "shortcut_"  # what such a column begins with
MAX_BYTES = 64 << 20
MAX_ROWS = 2_000_000
MAX_TEXT = 300  # letters of a name or reason
_NO_SCORE = "it was given no score"


@dataclass(frozen=True, eq=False)
class Units:
    """Rows of one detector; every array is (n,)."""

    detector: str
    cell: NDArray[Any]
    condition: NDArray[Any]
    unit: NDArray[Any]
    source: NDArray[Any]
    group: NDArray[Any]
    synthetic: NDArray[np.bool_]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    abstained: NDArray[Any]  # the reason; "" where it was judged
    flagged: NDArray[np.bool_]
    shortcuts: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # numbers, or texts

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def judged(self) -> NDArray[np.bool_]:
        return np.asarray(self.abstained == "", np.bool_)

    def only(self, rows: NDArray[Any]) -> Units:
        """The rows of a mask or of indices."""
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ARRAYS}
        shortcuts = {name: values[rows] for name, values in self.shortcuts.items()}
        return Units(self.detector, **arrays, shortcuts=shortcuts)

    def cells(self) -> Iterator[tuple[str, str, Units]]:
        """Cell, condition and their rows, in the order in which they first stand."""
        pairs = list(zip(self.cell.tolist(), self.condition.tolist(), strict=True))
        places: dict[tuple[str, str], list[int]] = {}
        for index, pair in enumerate(pairs):
            places.setdefault(pair, []).append(index)
        order = {name: i for i, name in enumerate(dict.fromkeys(cell for cell, _ in pairs))}
        for pair in sorted(places, key=lambda one: order[one[0]]):
            yield *pair, self.only(np.array(places[pair]))


_ARRAYS = ("cell", "condition", "unit", "source", "group", "synthetic", "score", "probability",
           "abstained", "flagged")  # fmt: skip


CONTROLS = "benign controls"  # the cell of sets that stood among other real media


def set_apart(table: Units, sets: Collection[str]) -> Units:
    """Real rows of these groups in a cell of their own, where they stand in cells with synthetic
    rows: a control set is no sample of the real media that a cell is about."""
    mixed = set(table.cell[table.synthetic].tolist())
    moved = ~table.synthetic & np.isin(table.group, list(sets)) & np.isin(table.cell, list(mixed))
    return replace(table, cell=np.where(moved, CONTROLS, table.cell))


def joined(tables: list[Units]) -> list[Units]:
    """One table a detector, in order of names."""
    by_name: dict[str, list[Units]] = {}
    for one in tables:
        by_name.setdefault(one.detector, []).append(one)
    return [_one(name, by_name[name]) for name in sorted(by_name)]


def _one(name: str, tables: list[Units]) -> Units:
    wanted = dict.fromkeys(shortcut for table in tables for shortcut in table.shortcuts)
    shortcuts = {
        shortcut: np.concatenate(
            [t.shortcuts.get(shortcut, np.full(len(t), None, object)) for t in tables]
        )
        for shortcut in wanted
    }
    arrays: dict[str, Any] = {a: np.concatenate([getattr(t, a) for t in tables]) for a in _ARRAYS}
    return Units(name, **arrays, shortcuts=shortcuts)


# ---------------------------------------------------------------- Parquet


def files(paths: tuple[Path, ...]) -> list[Path]:
    """The protocol files of folders, and files as given. UsageError where there is none."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.parquet"))
            if not inside:
                raise UsageError(f"There is no protocol file (*.parquet) in {path}.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"--protocol {path}: there is no such file or folder.")
    return found


def read(path: Path) -> list[Units]:
    """The tables of a protocol file, one a detector.

    Raises UsageError for a file that is none, with what is wrong; MissingExtra without pyarrow.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra(
            "Protocol files are read with pyarrow: pip install 'avsafe[bench]'."
        ) from error
    if (size := path.stat().st_size) > MAX_BYTES:
        raise UsageError(f"{path.name} has {size >> 20} MB; a protocol file has at most "
                         f"{MAX_BYTES >> 20}.")  # fmt: skip
    try:
        with parquet.ParquetFile(path) as file:
            if (rows := file.metadata.num_rows) > MAX_ROWS:
                raise UsageError(f"{path.name} has {rows:,} rows; at most {MAX_ROWS:,} are read.")
            names = [n for n in file.schema_arrow.names if n in _KNOWN or n.startswith(SHORTCUT)]
            if len(set(names)) < len(names):
                raise UsageError(f"{path.name} has a column twice.")
            lacks = [name for name in (*TEXTS, *NUMBERS, *TRUTHS) if name not in names]
            if lacks:
                raise UsageError(f"{path.name} is no protocol file: it lacks the column "
                                 f"{', '.join(lacks)}.")  # fmt: skip
            table = file.read(columns=names)
            found = {name: table.column(name).to_pylist() for name in names}
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise UsageError(f"{path.name} cannot be read as Parquet: {error}") from error
    if not rows:
        raise UsageError(f"{path.name} has no row.")
    return _split(path.name, found)


_KNOWN = frozenset((*TEXTS, *NUMBERS, *TRUTHS))


def _split(file: str, found: Mapping[str, list[Any]]) -> list[Units]:
    columns: dict[str, NDArray[Any]] = {}
    for name in TEXTS:
        columns[name] = np.array([_text(file, name, i, v) for i, v in enumerate(found[name])],
                                 object)  # fmt: skip
    for name in NUMBERS:
        columns[name] = np.array([_number(file, name, i, v) for i, v in enumerate(found[name])],
                                 np.float64)  # fmt: skip
    for name in TRUTHS:
        columns[name] = np.array([_truth(file, name, i, v) for i, v in enumerate(found[name])],
                                 np.bool_)  # fmt: skip
    outside = np.flatnonzero((columns["probability"] < 0) | (columns["probability"] > 1))
    if len(outside):
        _fail(file, "probability", int(outside[0]), columns["probability"][outside[0]],
              "a number from 0 to 1")  # fmt: skip
    silent = (columns["abstained"] == "") & ~np.isfinite(columns["score"])
    columns["abstained"][silent] = _NO_SCORE
    shortcuts = {
        name.removeprefix(SHORTCUT): np.array(values, object)
        for name, values in found.items()
        if name.startswith(SHORTCUT)
    }
    arrays: dict[str, Any] = {name: columns[name] for name in _ARRAYS}
    whole = Units("", **arrays, shortcuts=shortcuts)
    names = columns["detector"]
    return [replace(whole.only(names == name), detector=name)
            for name in dict.fromkeys(names.tolist())]  # fmt: skip


def _text(file: str, column: str, row: int, value: Any) -> str:
    empty_ok = column == "abstained"
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value.strip() or empty_ok):
        _fail(file, column, row, value, f"a text of 1 to {MAX_TEXT} letters")
    return str(value)


def _number(file: str, column: str, row: int, value: Any) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fail(file, column, row, value, "a number")
    return float(value)


def _truth(file: str, column: str, row: int, value: Any) -> bool:
    if not isinstance(value, bool):
        _fail(file, column, row, value, "true or false")
    return bool(value)


def _fail(file: str, column: str, row: int, value: Any, expected: str) -> None:
    raise UsageError(
        f"{file}, row {row}, column {column}: {str(value)[:60]!r}; expected {expected}."
    )

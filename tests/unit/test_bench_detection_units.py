"""Protocol files: what is read, and every way in which one may be none."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe.bench.detection import units
from avsafe.errors import UsageError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def columns(n=6, **changes):
    return {
        "detector": ["speech"] * n,
        "cell": ["in domain"] * n,
        "condition": ["clean"] * n,
        "unit": [f"u{i}" for i in range(n)],
        "source": [f"s{i % 2}" for i in range(n)],
        "group": ["kokoro" if i % 2 else "asterisk" for i in range(n)],
        "synthetic": [bool(i % 2) for i in range(n)],
        "score": [float(i) for i in range(n)],
        "probability": [i / n for i in range(n)],
        "abstained": ["" for _ in range(n)],
        "flagged": [i > 3 for i in range(n)],
    } | changes


@pytest.fixture
def write(tmp_path):
    def file(given, name="p.parquet"):
        parquet.write_table(pyarrow.table(given), tmp_path / name)
        return tmp_path / name

    return file


def test_what_a_file_holds(write):
    given = columns(shortcut_kb=[1.0, 2.0, None, 4.0, 5.0, 6.0], shortcut_container=["wav"] * 6)
    given["score"] = pyarrow.array(np.arange(6), pyarrow.float32())
    given["group"] = pyarrow.array(given["group"]).dictionary_encode()
    given["abstained"][2] = "too short"
    given["another"] = [[1]] * 6  # a column of somebody's own is passed over
    (one,) = units.read(write(given))
    assert (one.detector, len(one)) == ("speech", 6)
    assert one.group.tolist() == given["group"].to_pylist()
    assert one.score.dtype == np.float64
    assert one.judged.tolist() == [True, True, False, True, True, True]
    assert one.shortcuts["kb"].tolist() == [1.0, 2.0, None, 4.0, 5.0, 6.0]
    assert set(one.shortcuts) == {"kb", "container"}


def test_several_detectors_and_cells(write):
    given = columns(detector=["b", "a", "b", "a", "b", "a"], cell=["x", "y", "z", "y", "x", "y"])
    tables = units.joined(units.read(write(given)))
    assert [(one.detector, len(one)) for one in tables] == [("a", 3), ("b", 3)]
    cells = [(cell, condition, rows.unit.tolist()) for cell, condition, rows in tables[1].cells()]
    assert cells == [("x", "clean", ["u0", "u4"]), ("z", "clean", ["u2"])]


def test_a_score_that_is_none_is_counted_and_not_judged(write):
    given = columns(score=[0.0, None, float("nan"), float("inf"), 4.0, 5.0])
    (one,) = units.read(write(given))
    assert one.abstained.tolist() == ["", *["it was given no score"] * 3, "", ""]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": ["high"] * 6}, "row 0, column score: 'high'; expected a number"),
        ({"synthetic": [1, 0, 1, 0, 1, 0]}, "column synthetic: '1'; expected true or false"),
        ({"synthetic": [True, None] * 3}, "row 1, column synthetic: 'None'"),
        ({"probability": [0.1, 1.2, 0, 0, 0, 0]}, "row 1, column probability: '1.2'"),
        ({"probability": [0.1, 0, -0.01, 0, 0, 0]}, "expected a number from 0 to 1"),
        ({"source": ["a", "", "b", "c", "d", "e"]}, "row 1, column source: ''"),
        ({"unit": ["u" * 400] * 6}, "expected a text of 1 to 300 letters"),
        ({"cell": [1, 2, 3, 4, 5, 6]}, "row 0, column cell: '1'"),
        ({"detector": [None] * 6}, "column detector: 'None'"),
        ({"abstained": [None] * 6}, "column abstained: 'None'"),
        ({"flagged": ["yes"] * 6}, "column flagged: 'yes'"),
        ({"score": [[1.0]] * 6}, r"column score: '\[1.0\]'"),
    ],
)
def test_a_column_of_something_else_is_refused_with_its_place(write, changes, said):
    with pytest.raises(UsageError, match=said):
        units.read(write(columns(**changes)))


def test_a_lacking_column_is_named(write):
    given = columns()
    del given["source"], given["flagged"]
    with pytest.raises(UsageError, match="lacks the column source, flagged"):
        units.read(write(given))


def test_a_column_that_is_there_twice(write, tmp_path):
    table = pyarrow.table(columns())
    twice = table.append_column("score", table.column("score"))
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(UsageError, match="a column twice"):
        units.read(tmp_path / "twice.parquet")


def test_files_that_are_no_parquet(tmp_path, write):
    text = tmp_path / "text.parquet"
    text.write_bytes(b"PAR1 not really PAR1")
    whole = write(columns()).read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[20:60] = bytes(40)
    bad = tmp_path / "flipped.parquet"
    bad.write_bytes(bytes(flipped))
    empty = tmp_path / "empty.parquet"
    empty.touch()
    for path in (text, cut, bad, empty):
        with pytest.raises(UsageError, match=path.name):
            units.read(path)


def test_a_file_without_rows_and_one_with_too_many(write, monkeypatch):
    none = {name: pyarrow.array(values).slice(0, 0) for name, values in columns().items()}
    with pytest.raises(UsageError, match="has no row"):
        units.read(write(none, "none.parquet"))
    monkeypatch.setattr(units, "MAX_ROWS", 5)
    with pytest.raises(UsageError, match="6 rows; at most 5"):
        units.read(write(columns()))
    monkeypatch.setattr(units, "MAX_BYTES", 100)
    with pytest.raises(UsageError, match="has at most"):
        units.read(write(columns()))


def test_files_and_folders(tmp_path, write):
    path = write(columns())
    (tmp_path / "notes.txt").touch()
    assert units.files((tmp_path, path)) == [path, path]
    with pytest.raises(UsageError, match="no such file"):
        units.files((tmp_path / "absent",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no protocol file"):
        units.files((tmp_path / "empty",))


def test_control_sets_among_real_media_are_set_apart(write):
    given = columns(group=["people", "kokoro", "scan", "kokoro", "scan", "scan"])
    given["cell"] = ["in domain"] * 5 + ["only real"]
    given["synthetic"] = [False, True, False, True, False, False]
    (one,) = units.read(write(given))
    cells = units.set_apart(one, ("scan", "kokoro")).cell.tolist()
    assert cells == ["in domain", "in domain", units.CONTROLS, "in domain", units.CONTROLS,
                     "only real"]  # fmt: skip
    assert one.cell.tolist() == given["cell"], "the table that was given is as it was"

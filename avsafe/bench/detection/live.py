"""Detectors on clips of known origin, here and now: one row for each clip, condition and detector.

1. the panel of detectors, each with a hash over its code, weights and what feeds it
2. for each clip, what can be told of it from outside (for the shortcut audit)
3. for each condition of a clip: damage it, decode it once in the sandbox for all detectors that
   lack a row, let them judge; a row is written as soon as it is there
4. rows -> tables (``units.Units``)

A clip that a detector was trained on (``seen`` of the detector) is not asked of it: it is a row of
status "seen", left out of the figures and counted.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np

from avsafe import findings, media, panel, plugins
from avsafe.bench.asked import without_folders
from avsafe.bench.detection import damages, folders
from avsafe.bench.detection.folders import Clip
from avsafe.bench.detection.units import Units
from avsafe.errors import AvsafeError, MissingStream
from avsafe.home import Home
from avsafe.sharding import code, pool
from avsafe.sharding.pace import Pace
from avsafe.sharding.rows import Row, Store, code_hash, identity
from avsafe.types import Evidence, EvidenceStatus, Kind, Progress

FIELDS = ("run", "kind", "detector", "unit", "condition", "of")
TOGETHER = "all together"  # what the panel says: ``avsafe.fusion``
OUTSIDE = "outside"  # kind of the rows of step 2
JUDGED = "judged"
SEEN_LETTERS = 16  # of a sha256, by which a detector names what it was trained on
_HERE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Asked:
    """Detectors of a run: name -> hash of its rows, and what it was trained on."""

    runs: Mapping[str, str]
    seen: Mapping[str, frozenset[str]]
    names: tuple[str, ...]  # as ``panel.convene`` takes them
    missing: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()  # detectors that do not say what they were trained on


@dataclass(frozen=True)
class Task:
    """One clip under one condition. ``wanted`` detectors lack a row."""

    clip: Clip
    of: str  # sha256 of the file
    kind: str
    condition: str
    seconds: float
    names: tuple[str, ...]
    wanted: tuple[str, ...]


# ---------------------------------------------------------------- 1 the panel


def asked(names: Sequence[str], seconds: float) -> Asked:
    """The detectors of these names. UsageError for a name that no detector has."""
    heard = panel.convene(names or (panel.ALL,), Home.default())
    runs, seen, untold = {}, {}, []
    shared = sorted(_pipeline())
    for name, one in heard.detectors.items():
        if one.modality == panel.DOMAIN:
            continue
        settings = {"detector": name, "seconds": seconds, "own": code.weights_of_detector(one)}
        runs[name] = code_hash([*shared, *code.of_detector(one)], settings)
        known = getattr(one, "seen", None)
        if known is None:
            untold.append(name)
        seen[name] = frozenset(str(text)[:SEEN_LETTERS] for text in known or ())
    if len(runs) > 1:
        runs[TOGETHER] = code_hash([_HERE / "fusion.py"], dict(sorted(runs.items())))
        seen[TOGETHER] = frozenset().union(*seen.values())
    missing = {name: str(why) for name, why in heard.missing.items()}
    return Asked(runs, seen, tuple(names) or (panel.ALL,), missing, tuple(untold))


def _pipeline() -> set[Path]:
    own = {Path(__file__).parent / f"{n}.py" for n in ("live", "damages")}
    harm = {_HERE / "bench" / "watermark" / f"{n}.py"
            for n in ("picture_damage", "sound_damage", "recode")}  # fmt: skip
    decoding = {_HERE / "media" / f"{n}.py" for n in ("features", "decoder", "reading", "survey")}
    gate = {file for point in plugins.catalogue("detectors").values() if point.name == panel.DOMAIN
            for file in code.of_module(point.module)}  # fmt: skip
    return own | harm | decoding | gate | {_HERE / "panel.py", _HERE / "calibration.py"}


@lru_cache(maxsize=4)
def _panel(names: tuple[str, ...]) -> panel.Panel:
    return panel.convene(names, Home.default())


# ---------------------------------------------------------------- 2, 3 measuring


def measure(
    clips: Sequence[Clip],
    conditions: Sequence[str],
    heard: Asked,
    store: Store,
    *,
    seconds: float,
    jobs: int,
    progress: Progress,
) -> dict[str, str]:
    """Write the rows that are lacking; unit -> sha256 of the file, as rows carry it."""
    done = store.done()
    known = {(row["unit"], row["of"]): row for row in store.read()
             if row["kind"] == OUTSIDE and row["status"] == "ok"}  # fmt: skip
    digests, tasks = {}, []
    for clip in clips:
        of = media.sha256_of(clip.path)
        digests[clip.unit] = of
        about = known.get((clip.unit, of)) or _outside(clip, of, store)
        kind = about.get("media")
        every = [c for c in conditions if c == damages.CLEAN
                 or (kind and c in damages.table(Kind(kind)))]  # fmt: skip
        for condition in every:
            lacks = _lacking(clip, of, condition, heard, store, done)
            if lacks:
                tasks.append(Task(clip, of, str(kind), condition, seconds, heard.names, lacks))
    pace = Pace(len(tasks), "clips and conditions", progress)

    def kept(task: Task, rows: list[Row]) -> None:
        for row in rows:
            row["run"] = heard.runs[row["detector"]]
            store.append(row)
        pace.step()

    def lost(task: Task, reason: str) -> None:
        why = without_folders(f"the judging process failed: {reason}", [task.clip.path])
        kept(task, [_row(task, name, status="failed", reason=why) for name in task.wanted])

    pool.run(judge, tasks, jobs=jobs, keep=kept, lost=lost)
    return digests


def _outside(clip: Clip, of: str, store: Store) -> Row:
    row: Row = {"kind": OUTSIDE, "run": "", "detector": "", "unit": clip.unit, "condition": "",
                "of": of}  # fmt: skip
    try:
        kind, found = folders.outside(clip.path)
        row |= {"status": "ok", "media": str(kind), "outside": found}
    except (AvsafeError, OSError) as error:
        row |= {"status": "failed", "reason": without_folders(str(error), [clip.path])}
    store.append(row)
    return row


def _lacking(
    clip: Clip, of: str, condition: str, heard: Asked, store: Store, done: set[Any]
) -> tuple[str, ...]:
    task = Task(clip, of, "", condition, 0.0, (), ())
    lacks = []
    for name, run in heard.runs.items():
        row = _row(task, name, run=run, status="seen", reason="the detector was trained on it")
        if identity(row, FIELDS) in done:
            continue
        if of[:SEEN_LETTERS] in heard.seen[name]:
            store.append(row)
        else:
            lacks.append(name)
    return tuple(lacks)


def _row(task: Task, detector: str, **found: Any) -> Row:
    return {"kind": JUDGED, "run": "", "detector": detector, "unit": task.clip.unit,
            "condition": task.condition, "of": task.of} | found  # fmt: skip


def judge(task: Task) -> list[Row]:
    """A row for every wanted detector; whatever cannot be done is a row with its reason."""
    began = _cpu_s()
    try:
        with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
            path = task.clip.path
            if task.condition != damages.CLEAN:
                path = damages.written(Kind(task.kind), task.condition, path, Path(folder),
                                       task.seconds)  # fmt: skip
            said = evidence_of(path, task)
    except MissingStream as error:
        return _all(task, "inapplicable", error)
    except (AvsafeError, OSError) as error:
        return _all(task, "failed", error)
    cpu_s = round(_cpu_s() - began, 3)
    return [_judged(task, name, said.get(name)) | {"cpu_s": cpu_s} for name in task.wanted]


def evidence_of(path: Path, task: Task) -> dict[str, Evidence]:
    """What each detector says of a file, decoded once in the sandbox, as ``verify`` does it."""
    names = task.names if TOGETHER in task.wanted else task.wanted
    # A detector of another kind of media is a row of its own here, and no abstention.
    heard = replace(_panel(tuple(names)), named=frozenset())
    seen, features = heard.examine(path, {kind: {} for kind in Kind}, media.Limits())
    return {
        TOGETHER if e.source == findings.FUSED else e.source.removeprefix("detector."): e
        for e in heard.judge(seen, features)
    }


def _cpu_s() -> float:
    """Of this process, and of the sandboxes that it waited for."""
    children = getrusage(RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _all(task: Task, status: str, error: Exception) -> list[Row]:
    why = without_folders(str(error), [task.clip.path])
    return [_row(task, name, status=status, reason=why) for name in task.wanted]


def _judged(task: Task, name: str, said: Evidence | None) -> Row:
    if said is None:
        return _row(task, name, status="inapplicable", reason="it is for other kinds of media")
    details = said.details
    row = _row(task, name, probability=said.probability, llr=said.llr, score=_score(said),
               flagged=said.status is EvidenceStatus.PRESENT)  # fmt: skip
    condition = details.get("condition")
    if isinstance(condition, Mapping):
        row["measured_on"] = {k: condition.get(k) for k in ("name", "distance")}
    if said.status is EvidenceStatus.ABSTAINED:
        return row | {"status": "abstained", "reason": str(details.get("reason", said.summary))}
    if said.status is EvidenceStatus.FAILED:
        return row | {"status": "failed", "reason": without_folders(said.summary, [task.clip.path])}
    return row | {"status": "ok"}


def _score(said: Evidence) -> float | None:
    """The detector's own score; what the panel says together has only a ratio."""
    value = said.details.get("score", said.llr)
    good = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if good else None


# ---------------------------------------------------------------- 4 tables

_NEVER = ("inapplicable", "seen")


def tables(rows: Iterable[Row], clips: Sequence[Clip]) -> list[Units]:
    """One table a detector: a cell for each family of synthetic clips against all real ones, one
    for all of them, and the benign sets as a control."""
    by_unit = {clip.unit: clip for clip in clips}
    outside: dict[str, Mapping[str, Any]] = {}
    mine: dict[str, list[Row]] = {}
    for row in rows:
        if row["unit"] not in by_unit:
            continue
        if row["kind"] == OUTSIDE:
            outside[row["unit"]] = row.get("outside") or {}
        elif row["status"] not in _NEVER:
            mine.setdefault(row["detector"], []).append(row)
    families = sorted({c.group for c in clips if c.synthetic})
    found = []
    for name in sorted(mine):
        columns: list[tuple[str, Row, Clip]] = []
        for row in mine[name]:
            clip = by_unit[row["unit"]]
            columns += [(cell, row, clip) for cell in _cells(clip, families)]
        order = {cell: i for i, cell in enumerate(dict.fromkeys(
            (_EVERY, *(f"{_EVERY}: {f}" for f in families), _BENIGN)))}  # fmt: skip
        columns.sort(key=lambda one: (order[one[0]], one[2].unit))
        found.append(_table(name, columns, outside))
    return found


_EVERY, _BENIGN = "live", "live: benign sets"


def _cells(clip: Clip, families: Sequence[str]) -> list[str]:
    if clip.role == "benign":
        return [_BENIGN]
    if len(families) < 2:
        return [_EVERY]
    return [_EVERY, *(f"{_EVERY}: {f}" for f in families if not clip.synthetic or f == clip.group)]


def _table(
    name: str, columns: Sequence[tuple[str, Row, Clip]], outside: Mapping[str, Mapping[str, Any]]
) -> Units:
    def number(row: Row, key: str) -> float:
        return math.nan if row.get(key) is None else float(row[key])

    def texts(values: Iterable[str]) -> Any:
        return np.array(list(values), object)

    shortcuts = dict.fromkeys(
        key for _, _, clip in columns for key in outside.get(clip.unit, {})
    )  # fmt: skip
    return Units(
        name,
        cell=texts(cell for cell, _, _ in columns),
        condition=texts(row["condition"] for _, row, _ in columns),
        unit=texts(clip.unit for _, _, clip in columns),
        source=texts(clip.source for _, _, clip in columns),
        group=texts(clip.group for _, _, clip in columns),
        synthetic=np.array([clip.synthetic for _, _, clip in columns], np.bool_),
        score=np.array([number(row, "score") for _, row, _ in columns]),
        probability=np.array([number(row, "probability") for _, row, _ in columns]),
        abstained=texts(_why(row) for _, row, _ in columns),
        flagged=np.array([bool(row.get("flagged")) for _, row, _ in columns], np.bool_),
        shortcuts={
            key: np.array([outside.get(clip.unit, {}).get(key) for _, _, clip in columns], object)
            for key in shortcuts
        },
    )


def _why(row: Row) -> str:
    if row["status"] == "ok":
        return "" if row.get("score") is not None else "it gave no score"
    return str(row.get("reason") or row["status"])


def seen(rows: Iterable[Row], clips: Sequence[Clip]) -> dict[str, int]:
    """Detector -> clips that it was trained on, and was not asked."""
    units = {clip.unit for clip in clips}
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] == JUDGED and row["status"] == "seen" and row["unit"] in units:
            found.setdefault(row["detector"], set()).add(row["unit"])
    return {name: len(of) for name, of in found.items()}

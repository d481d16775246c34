"""A run of a suite of metrics: works -> rows -> figures -> report.

1. read the suite, make every metric once: what is absent is "not computed", with the reason
2. gather the works: clips of folders, or of generators driven through the gate
3. one hash a metric over its code, its parameters and weights and the decoding: rows of another
   hash stay in the file and out of the figures
4. measure what lacks a row, each clip in one pass, by an executor
5. set metrics from the features of all clips
6. safety columns beside quality, where the suite asks for them
7. run.json, aggregates, report
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from avsafe import plugins
from avsafe.bench import detecting, measuring, safety, suitefile, told
from avsafe.bench.asked import (
    Chosen,
    choose,
    gathered,
    hashed,
    reference_works,
    without_folders,
)
from avsafe.bench.asked import (
    Options as Options,
)
from avsafe.bench.measuring import Answer, ClipTask, Recipe
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.suites import Outcome
from avsafe.bench.work import Work
from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.metering import Measured
from avsafe.sharding import code, executors, nodes
from avsafe.sharding.pace import Pace
from avsafe.sharding.rows import OF_A_SCORE, Row, Store, code_hash, finite, identity
from avsafe.types import (
    Aggregate,
    Column,
    MetricInfo,
    Progress,
    SetMetric,
    Value,
    no_progress,
)
from avsafe.workspace import Lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = Mapping[str, Mapping[str, NDArray[Any]]]  # sample id -> name -> (k, d)

_log = logging.getLogger(__name__)


def run(options: Options, progress: Progress = no_progress) -> Outcome:
    """Measure what lacks a row, then write figures and report.

    Raises UsageError for a suite, folder, metric or option that makes no sense. A clip or a metric
    that cannot be measured is rows with reasons, never an error.
    """
    suite = suitefile.load(options.suite)
    if not options.videos and not options.generators:
        raise UsageError("Nothing to measure: give --videos DIR or --generator NAME.")
    executor = executors.named(options.executor, options.jobs)
    chosen = choose(suite, options)
    options.out.mkdir(parents=True, exist_ok=True)
    works = hashed(gathered(suite, options, progress), suite.requires)
    store = Store(options.out / "scores.jsonl", OF_A_SCORE)
    before = len(store.read())

    reference = hashed(reference_works(works, options.reference), ())
    tasks = lacking(suite, works, reference, chosen, store, options)
    _measure(executor, tasks, store, options, progress)
    guarded = _guarded(suite, options, chosen)
    if guarded is not None:
        chosen.append(guarded)
        _safety(options.jobs, works, guarded, store, progress)

    mine = rows_of(store.read(), works, chosen)
    sets = _sets(works, reference, chosen, options.out)
    if suite.detectors:
        chosen.append(_detected(works, mine, sets, asked=guarded is not None))
    told.write(options.out / "sets.json", sets)
    told.write(options.out / "run.json", told.described(suite, options, works, chosen))
    report, warnings = told.figures(options.out)
    warnings += told.doubts(suite, options, works, chosen)
    return told.outcome(options, works, chosen, mine, before, len(store.read()), report, warnings)


# ---------------------------------------------------------------- 4 measuring


def lacking(
    suite: SuiteFile,
    works: Sequence[Work],
    reference: Sequence[Work],
    chosen: Sequence[Chosen],
    store: Store,
    options: Options,
) -> list[ClipTask]:
    """A task for every clip that lacks a row or features of a metric."""
    done = store.done()
    scored = {identity(row, OF_A_SCORE) for row in store.read() if row.get("status") == "ok"}

    def lacks_of(item: Work, one: Chosen) -> bool:
        mark = _identity(item, one)
        if mark in scored and one.info is not None and one.info.scope == "set":
            return not _features_path(options.out, one.recipe.run, item).is_file()
        return mark not in done

    ready = [one for one in chosen if one.missing is None]
    sets = [one for one in ready if one.info and one.info.scope == "set"]
    tasks = []
    pairs = [(item, ready, suite.requires) for item in works]
    pairs += [(item, sets, ()) for item in reference if sets]
    for item, wanted, requires in pairs:
        lacks = tuple(one.recipe for one in wanted if lacks_of(item, one))
        if lacks or identity(measuring.clip_row(item, "ok"), OF_A_SCORE) not in done:
            tasks.append(ClipTask(item, lacks, requires, options.seconds))
    return tasks


def _identity(item: Work, one: Chosen) -> tuple[Any, ...]:
    row = {
        "run": one.recipe.run, "kind": "score", "system": item.system,
        "sample": item.sample.sample_id, "metric": one.name, "of": item.of,
    }  # fmt: skip
    return identity(row, OF_A_SCORE)


def _measure(
    executor: executors.Executor,
    tasks: Sequence[ClipTask],
    store: Store,
    options: Options,
    progress: Progress,
) -> None:
    pace = Pace(len(tasks), "clips", progress)

    def kept(task: ClipTask, answer: Answer) -> None:
        for run_hash, features in answer.features.items():
            _keep_features(options.out, run_hash, task.work, features)
        for row in answer.rows:
            if row.get("path"):
                row["path"] = _place(Path(row["path"]), task.work.system, options)
            store.append(_told(row, task.work))
        pace.step()

    def lost(task: ClipTask, reason: str) -> None:
        answer = measuring.unscored(task, f"{_LOST}: {reason}")
        for row in answer.rows:
            row["status"] = "failed"  # it is tried again by the next run
        kept(task, answer)

    clips = [path for task in tasks for path in task.work.sample.media.values()]
    with executor.started():
        if tasks:
            nodes.check(executor, partial(_found_here, tuple(clips[:1] + clips[-1:])))
        executor.run(measuring.measure_clip, tasks, keep=kept, lost=lost)


def _found_here(clips: Sequence[Path]) -> dict[str, str]:
    """What every machine must find alike."""
    return {"avsafe": nodes.installed(), **nodes.seen(clips)}


def _told(row: Row, item: Work) -> Row:
    paths = item.sample.media.values()
    if row.get("reason"):
        row["reason"] = without_folders(row["reason"], paths)
    if row.get("reasons"):
        row["reasons"] = {n: without_folders(why, paths) for n, why in row["reasons"].items()}
    return row


def _place(path: Path, system: str, options: Options) -> str:
    """Where the report finds a clip that it may show, as seen from the run's folder; of others only
    the name, so that a run can be published without the paths of a machine."""
    out, full = options.out.resolve(), path.resolve()
    if full.is_relative_to(out) or system in options.own:
        return os.path.relpath(full, out)
    return path.name


_LOST = "the measuring process failed"


def _features_path(out: Path, run_hash: str, item: Work) -> Path:
    key = f"{item.system}\0{item.sample.sample_id}\0{item.of}".encode("utf-8", "backslashreplace")
    return out / "features" / run_hash / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"


def _keep_features(
    out: Path, run_hash: str, item: Work, features: Mapping[str, NDArray[Any]]
) -> None:
    path = _features_path(out, run_hash, item)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    with half.open("wb") as file:
        np.savez(file, allow_pickle=False, **features)
    half.replace(path)


def rows_of(rows: Iterable[Row], works: Sequence[Work], chosen: Sequence[Chosen]) -> list[Row]:
    """The rows of these works and of this code; of others there may be many."""
    runs = {one.recipe.run for one in chosen}
    names = {(w.system, w.sample.sample_id, w.of) for w in works}
    return [
        row for row in rows
        if (row.get("system"), row.get("sample"), row.get("of")) in names
        and (row["kind"] != "score" or row.get("run") in runs)
    ]  # fmt: skip


# ---------------------------------------------------------------- 5 sets


def _sets(
    works: Sequence[Work], reference: Sequence[Work], chosen: Sequence[Chosen], out: Path
) -> dict[str, dict[str, Any]]:
    """System -> score name -> the figure of a set metric, or why there is none."""
    found: dict[str, dict[str, Any]] = {}
    systems = list(dict.fromkeys(w.system for w in works))
    for one in chosen:
        if one.info is None or one.info.scope != "set" or one.missing is not None:
            continue
        metric = measuring.made(one.recipe)
        assert isinstance(metric, SetMetric)  # noqa: S101  by its scope
        known = _features(out, one.recipe.run, reference)
        for system in systems:
            mine = [w for w in works if w.system == system]
            figures = metric.reduce(_features(out, one.recipe.run, mine), known)
            for column in one.info.columns:
                figure = figures.get(column.name, "the metric gave no figure")
                name = one.info.score_name(column)
                found.setdefault(system, {})[name] = _figure(figure, name, len(mine))
    return found


def _features(out: Path, run_hash: str, works: Iterable[Work]) -> Features:
    found: dict[str, Mapping[str, NDArray[Any]]] = {}
    for item in works:
        path = _features_path(out, run_hash, item)
        if not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found[item.sample.sample_id] = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise UsageError(
                f"{path.relative_to(out)} is damaged ({error}). Delete it and run again: only its "
                "clip is measured once more."
            ) from error
    return found


def _figure(figure: Aggregate | str, name: str, n_expected: int) -> dict[str, Any]:
    if isinstance(figure, str):
        return {"reason": figure, "n_expected": n_expected}
    plain: dict[str, Any] = finite(asdict(replace(figure, metric=name, n_expected=n_expected)))
    return plain


# ---------------------------------------------------------------- 6 safety


@dataclass(frozen=True)
class _Guarded:
    """A clip whose marks and credential are looked for; with this machine's keys, so only here."""

    work: Work
    recipe: Recipe


def _guarded(suite: SuiteFile, options: Options, chosen: Sequence[Chosen]) -> Chosen | None:
    """The safety columns as one more metric of the run; None where nobody asked for them."""
    wanted = suite.safety if options.safety is None else options.safety
    if not wanted or (options.metrics is not None and options.safety is None):
        return None
    info = safety.info()
    here = Path(__file__).parents[1]
    files = [here / "bench" / "safety.py", here / "verify.py", here / "findings.py"]
    files += sorted((here / "watermark").glob("*.py"))
    for kind in ("watermarkers", "detectors"):
        files += [file for point in plugins.catalogue(kind).values()
                  if not point.module.startswith("avsafe.")
                  for file in code.of_module(point.module)]  # fmt: skip
    settings = {"version": info.version, "columns": [column.name for column in info.columns]}
    return Chosen(Recipe(info.name, run=code_hash(set(files), settings)), info)


def _safety(
    jobs: int, works: Sequence[Work], guarded: Chosen, store: Store, progress: Progress
) -> None:
    done = store.done()
    tasks = [
        _Guarded(item, guarded.recipe) for item in works if _identity(item, guarded) not in done
    ]
    pace = Pace(len(tasks), "marks and credentials", progress)

    def kept(task: _Guarded, row: Row) -> None:
        store.append(_told(row, task.work))
        pace.step()

    def lost(task: _Guarded, reason: str) -> None:
        info = safety.info()
        reasons: dict[str, Value] = {info.score_name(c): f"{_LOST}: {reason}" for c in info.columns}
        row = measuring.score_row(task.work, task.recipe, Measured(reasons))
        kept(task, row | {"status": "failed"})

    executors.Local(jobs).run(_look_for_marks, tasks, keep=kept, lost=lost)


def _look_for_marks(task: _Guarded) -> Row:
    found = safety.measure(task.work, Lookup(Home.default()))
    return measuring.score_row(task.work, task.recipe, found)


def _detected(
    works: Sequence[Work], rows: Sequence[Row], sets: dict[str, dict[str, Any]], *, asked: bool
) -> Chosen:
    """Figures of every detector over labelled folders, put beside those of set metrics."""
    columns: dict[str, Column] = {}
    missing = None if asked else "detectors are asked with the safety columns: pass --safety"
    for system in dict.fromkeys(item.system for item in works) if asked else ():
        mine = [item for item in works if item.system == system]
        values = {
            row["sample"]: row["values"] | row["reasons"]
            for row in rows
            if row["kind"] == "score" and row["metric"] == safety.NAME and row["system"] == system
        }
        for name, figure in detecting.figures(mine, values).items():
            if name == "detectors":
                missing = str(figure)
                continue
            columns[name] = Column(name, "", "none", "of a detector over labelled folders", 0, 1)
            sets.setdefault(system, {})[f"detectors.{name}"] = _figure(figure, name, len(mine))
    info = MetricInfo(
        "detectors", "1", "Detectors", tuple(columns.values()), (), "safety", scope="set",
        source="avsafe.bench.detecting",
    )  # fmt: skip
    return Chosen(Recipe(info.name), info, missing=missing)

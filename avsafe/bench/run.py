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
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from avsafe import plugins
from avsafe.bench import code, detecting, executors, measuring, safety, suitefile, work
from avsafe.bench.measuring import Answer, ClipTask, Recipe
from avsafe.bench.rows import OF_A_SCORE, Row, Store, code_hash, finite, identity
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.suites import Outcome
from avsafe.bench.work import Work
from avsafe.errors import AvsafeError, MissingExtra, UsageError
from avsafe.home import Home
from avsafe.metering import Measured
from avsafe.types import (
    Aggregate,
    Column,
    Metric,
    MetricInfo,
    Progress,
    Sample,
    SetMetric,
    Value,
    no_progress,
)
from avsafe.workspace import Lookup

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = Mapping[str, Mapping[str, NDArray[Any]]]  # sample id -> name -> (k, d)

T = TypeVar("T")
_log = logging.getLogger(__name__)
REFERENCE = "(reference)"  # the system under which the reference set's clips stand


@dataclass(frozen=True)
class Options:
    """What the command line asks of a run."""

    suite: str
    out: Path
    videos: tuple[tuple[str, Path], ...] = ()  # system -> folder
    generators: tuple[str, ...] = ()
    reference: Path | None = None
    inputs: Path | None = None  # the suite's inputs, for clips that were made from them elsewhere
    weights: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] | None = None  # only these of the suite's
    limit: int | None = None  # items a system, evenly spaced
    seconds: float | None = None  # of each clip; None: all of it
    jobs: int = 1
    executor: str = "local"
    device: str = "cpu"
    safety: bool | None = None  # safety columns; None: what the suite says
    own: tuple[str, ...] = ()  # systems whose clips the report may show, beside the generators


@dataclass(frozen=True)
class Chosen:
    """A metric of this run: how to make it, what it is, or why it is not computed."""

    recipe: Recipe
    info: MetricInfo | None
    digests: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None

    @property
    def name(self) -> str:
        return self.recipe.name


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
    _write(options.out / "sets.json", sets)
    _write(options.out / "run.json", _described(suite, options, works, chosen))
    report, warnings = _figures(options.out)
    warnings += _doubts(suite, options, works, chosen)
    return _outcome(options, works, chosen, mine, before, len(store.read()), report, warnings)


# ---------------------------------------------------------------- 1 and 3 metrics


def choose(suite: SuiteFile, options: Options) -> list[Chosen]:
    """The suite's metrics, each made once here, with the hash that its rows will carry."""
    specs = suite.metrics
    if options.metrics is not None:
        names = [spec.name for spec in specs]
        unknown = [name for name in options.metrics if name not in names]
        if unknown:
            raise UsageError(
                f"The suite {suite.name} has no metric {', '.join(unknown)} (it has: "
                f"{', '.join(names)})."
            )
        specs = tuple(spec for spec in specs if spec.name in options.metrics)
    twice = sorted({s.name for s in specs if sum(o.name == s.name for o in specs) > 1})
    if twice:
        raise UsageError(f"The suite {suite.name} lists {', '.join(twice)} twice.")
    _check_weights(options.weights)
    found = []
    for spec in specs:
        recipe = Recipe(
            spec.name,
            json.dumps(dict(spec.parameters), sort_keys=True),
            tuple(sorted(options.weights.items())),
            options.device,
        )
        try:
            found.append(_hashed(recipe, measuring.made(recipe), options.seconds))
        except UsageError:
            raise
        except Exception as error:  # a plugin that breaks takes no other metric with it
            _log.debug("%s cannot be made", spec.name, exc_info=True)
            expected = isinstance(error, AvsafeError)
            why = str(error) if expected else f"the metric cannot be loaded: {error!r}"[:500]
            paths = [Path(value).expanduser() for value in options.weights.values()]
            found.append(Chosen(recipe, _info(recipe), missing=without_folders(why, paths)))
    return found


def _hashed(recipe: Recipe, metric: Metric, seconds: float | None) -> Chosen:
    info, digests = metric.info, dict(metric.digests())
    settings = {
        "metric": recipe.name,  # features lie by this hash: two of one package must not share it
        "version": info.version,
        "parameters": recipe.parameters,
        "digests": digests,
        "seconds": seconds,
        "device": recipe.device,
    }
    run_hash = code_hash(code.of_metric(metric), settings)
    return Chosen(replace(recipe, run=run_hash), info, digests)


def _info(recipe: Recipe) -> MetricInfo | None:
    """What a metric that cannot be prepared says of itself, where its class tells."""
    try:
        info = getattr(plugins.catalogue("metrics")[recipe.name].load(), "info", None)
    except Exception:  # whatever an outsider's module raises; ``missing`` says it
        return None
    return info if isinstance(info, MetricInfo) else None


def _check_weights(weights: Mapping[str, str]) -> None:
    for name, value in weights.items():
        looks_like_a_path = "/" in value or value.startswith(("~", "."))
        if looks_like_a_path and not Path(value).expanduser().exists():
            raise UsageError(f"--weights {name}={value}: there is no such file or folder.")


# ---------------------------------------------------------------- 2 works


def gathered(suite: SuiteFile, options: Options, progress: Progress) -> list[Work]:
    """Every clip of every system, with a problem where there is none."""
    _check_systems(suite, options)
    found: list[Work] = []
    items = {item.item_id for item in spread(suite.items, options.limit)}
    for system, folder in options.videos:
        clips = work.from_folder(suite, system, folder, options.reference, options.inputs)
        asked = [clip for clip in clips if clip.item in items]
        found += asked if options.limit and asked else spread(clips, options.limit)
    for generator in options.generators:
        asked_for = suite.only(frozenset(items)) if suite.items else suite
        made = work.from_generator(asked_for, generator, options.out, progress=progress)
        beside = options.reference
        found += work.beside_references(made, beside) if beside is not None else made
    if not found:
        raise UsageError("There is no clip to measure.")
    return found


def _check_systems(suite: SuiteFile, options: Options) -> None:
    """What is wrong with names and options, before anything is generated."""
    folders = [name for name, _ in options.videos]
    names = [*folders, *options.generators]
    if len(set(names)) < len(names):
        raise UsageError("Two systems have one name: name folders apart, --videos NAME=DIR.")
    if REFERENCE in names:
        raise UsageError(f"A system cannot be called {REFERENCE}: name it, --videos NAME=DIR.")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds {options.seconds}: expected a number above 0, or 0 for all.")
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: expected 1 or more.")
    unknown = sorted(set(options.own) - set(names))
    if unknown:
        raise UsageError(
            f"--own {unknown[0]}: no system has that name (there are: {', '.join(names)})."
        )
    if options.inputs is not None and not folders:
        raise UsageError(
            "--inputs goes with --videos: a generator is given inputs that the gate makes."
        )
    for option, folder in (("--reference", options.reference), ("--inputs", options.inputs)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{option} {folder}: there is no such folder.")


def hashed(works: Sequence[Work], requires: tuple[str, ...]) -> list[Work]:
    """The same works, each with the hash of what is measured."""
    return [replace(item, of=work.content_hash(item, requires)) for item in works]


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` of some items, evenly spaced, so that no part of a suite is left out.

    >>> spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if limit is None or limit >= len(items):
        return list(items)
    places = np.linspace(0, len(items) - 1, limit).round().astype(int)
    return [items[int(place)] for place in places]


def reference_works(works: Sequence[Work], folder: Path | None) -> list[Work]:
    """The reference set of set metrics: a folder's clips, else the files beside the works."""
    if folder is not None:
        return [replace(item, system=REFERENCE) for item in work.references(folder)]
    files = {w.sample.media["reference"] for w in works if "reference" in w.sample.media}
    return [
        Work(REFERENCE, path.stem, Sample(f"{path.parent.name}/{path.name}", {"video": path}))
        for path in sorted(files)
    ]


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
    finished = 0

    def kept(task: ClipTask, answer: Answer) -> None:
        nonlocal finished
        for run_hash, features in answer.features.items():
            _keep_features(options.out, run_hash, task.work, features)
        for row in answer.rows:
            if row.get("path"):
                row["path"] = _place(Path(row["path"]), task.work.system, options)
            store.append(_told(row, task.work))
        finished += 1
        progress(finished / len(tasks), f"clips {finished} of {len(tasks)}")

    def lost(task: ClipTask, reason: str) -> None:
        answer = measuring.unscored(task, f"{_LOST}: {reason}")
        for row in answer.rows:
            row["status"] = "failed"  # it is tried again by the next run
        kept(task, answer)

    executor.run(measuring.measure_clip, tasks, keep=kept, lost=lost)


_FOLDERS = re.compile(r"""(?<![\w.:/~-])/(?:[^\s/'":,;()<>]+/)+""")


def without_folders(text: str, paths: Iterable[Path] = ()) -> str:
    """A reason that may be published: of the paths of this machine in it only the last names.

    >>> without_folders("No such file: '/home/ann/sets/a.mp4' (video/mp4, https://a.example/b)")
    "No such file: 'a.mp4' (video/mp4, https://a.example/b)"
    """
    for path in sorted({str(path.absolute().parent) for path in paths}, key=len, reverse=True):
        if path != "/":
            text = text.replace(f"{path}/", "")
    return _FOLDERS.sub("", text)


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
    finished = 0

    def kept(task: _Guarded, row: Row) -> None:
        nonlocal finished
        store.append(_told(row, task.work))
        finished += 1
        progress(finished / len(tasks), f"marks and credentials {finished} of {len(tasks)}")

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


# ---------------------------------------------------------------- 7 figures


def _described(
    suite: SuiteFile,
    options: Options,
    works: Sequence[Work],
    chosen: Sequence[Chosen],
) -> dict[str, Any]:
    """run.json: what was asked, with which code, and what could not be computed."""
    from avsafe.bench.environment import environment

    systems = list(dict.fromkeys(item.system for item in works))
    own = {*options.generators, *options.own}
    return {
        "suite": suite.name,
        "suite_version": suite.version,
        "suite_sha256": suite.sha256,
        "title": suite.title,
        "summary": suite.summary,
        "notes": list(suite.notes),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "settings": {
            "clips": {s: sum(item.system == s for item in works) for s in systems},
            "reference": options.reference.name if options.reference else None,
            "metrics": list(options.metrics) if options.metrics else "all",
            "limit": options.limit,
            "seconds": options.seconds,
            "executor": options.executor,
            "jobs": options.jobs,
            "device": options.device,
            "weights": sorted(options.weights),
            "seeds": sorted({item.seed for item in suite.items}),
        },
        "headline": list(suite.headline),
        "systems": systems,
        "own_media": {system: system in own for system in systems},
        # exactly these clips are in the figures; rows of others may lie beside theirs
        "clips": {
            s: [[w.item, w.sample.sample_id, w.of] for w in works if w.system == s] for s in systems
        },
        "metrics": {one.name: _metric(one) for one in chosen},
    }


def _metric(one: Chosen) -> dict[str, Any]:
    info = one.info
    if info is None:
        return {"not_computed": one.missing, "columns": [], "run": ""}
    return {
        "version": info.version,
        "title": info.title,
        "family": info.family,
        "scope": info.scope,
        "experimental": info.experimental,
        "source": info.source,
        "columns": [asdict(c) | {"score": info.score_name(c)} for c in info.columns],
        "parameters": json.loads(without_folders(one.recipe.parameters)),
        "weights": dict(one.digests),
        "not_computed": one.missing,
        "run": one.recipe.run,
    }


def _figures(out: Path) -> tuple[Path | None, list[str]]:
    from avsafe.bench import aggregate

    figures = aggregate.aggregate(out)
    why = figures["tables"]["why"]
    warnings = [f"scores.parquet is not written: {why}"] if why else []
    try:
        from avsafe.bench.report import scores_page

        return scores_page.write(out), warnings
    except MissingExtra as error:
        return None, [*warnings, f"No report: {error}"]


def _doubts(
    suite: SuiteFile, options: Options, works: Sequence[Work], chosen: Sequence[Chosen]
) -> list[str]:
    """What was given and did nothing."""
    said = []
    taken = {name for one in chosen if one.info for name in one.info.weights}
    known = all(one.info for one in chosen)
    for name in sorted(set(options.weights) - taken) if known else ():
        said.append(f"--weights {name}: no metric of this run takes weights of that name")
    items = {item.item_id for item in suite.items}
    for system, folder in options.videos:
        if items and not any(w.item in items for w in works if w.system == system):
            said.append(
                f"no file in {folder.name} is named after an item of the suite ({min(items)}...): "
                f"{system} was measured without prompts"
            )
    return said


def _outcome(
    options: Options,
    works: Sequence[Work],
    chosen: Sequence[Chosen],
    rows: Sequence[Row],
    before: int,
    after: int,
    report: Path | None,
    warnings: Sequence[str],
) -> Outcome:
    clips = [row for row in rows if row["kind"] == "clip"]
    left = [row for row in clips if row["status"] != "ok"]
    said = list(warnings)
    if left:
        few = "; ".join(f"{row['sample']}: {row['reason']}" for row in left[:5])
        said.append(f"{len(left)} of {len(clips)} clips are unscored: {few}")
    broken = [row for row in rows if row["kind"] == "score" and row["status"] == "failed"]
    if broken:
        names = sorted({row["metric"] for row in broken})
        said.append(f"{len(broken)} measurements failed ({', '.join(names)}); the rows say why")
    missing = [one for one in chosen if one.missing is not None]
    if missing:
        said.append(
            f"{len(missing)} metrics are not computed for want of weights or packages: "
            f"{', '.join(one.name for one in missing)}"
        )
    headline = [("clips scored", f"{len(clips) - len(left)} of {len(works)}")]
    return Outcome(
        out=options.out,
        n_rows=len(rows),
        n_new=after - before,
        n_failed=len(left) + len(broken),
        warnings=tuple(said),
        report=report,
        headline=tuple(headline),
    )


def _write(path: Path, value: Any) -> None:
    half = path.with_suffix(path.suffix + ".half")
    half.write_text(
        json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8"
    )
    half.replace(path)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)

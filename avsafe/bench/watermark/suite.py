"""The robustness suite: what to measure, what is already measured, and the figures of it all.

1. find the clips, load the watermarkers, name the attacks
2. one hash a watermarker over its code, the damages and the settings: rows of another hash are kept
   in the file and left out of the figures
3. trials (clip x key) that lack rows, in processes
4. pairs for the copy attack; wrong keys on unmarked hosts
5. aggregates.json, report.html
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avsafe import plugins
from avsafe.bench import clips
from avsafe.bench.environment import environment
from avsafe.bench.suites import Outcome
from avsafe.bench.watermark import attacks, chance, copying, recode, summary, trial
from avsafe.errors import MissingExtra, UsageError
from avsafe.sharding import pool
from avsafe.sharding.pace import Pace
from avsafe.sharding.rows import Row, Store, code_hash, identity
from avsafe.types import Kind, Progress, Sample, Watermarker, no_progress

_log = logging.getLogger(__name__)
_HOSTS = 16  # unmarked clips for the search with wrong keys
_PAIRS = 10  # for the copy attack


@dataclass(frozen=True)
class Options:
    """What the command line asks. ``quick`` lowers what was not asked for explicitly."""

    media: tuple[Path, ...]
    out: Path
    watermarkers: tuple[str, ...] = ("video", "audio")
    attacks: tuple[str, ...] | None = None
    keys: int = 2
    limit: int | None = None
    seconds: float = 5.0  # of picture; 0: whole clips
    audio_seconds: float = 10.0
    false_positives: int = 1000
    copies: bool = True
    jobs: int = 1
    seed: str = "1"
    quick: bool = False

    def effective(self) -> Options:
        if not self.quick:
            return self
        return replace(
            self,
            keys=min(self.keys, 1),
            limit=min(self.limit or 4, 4),
            seconds=min(self.seconds or 3.0, 3.0),
            audio_seconds=min(self.audio_seconds or 5.0, 5.0),
            false_positives=min(self.false_positives, 200),
        )


@dataclass(frozen=True)
class _Subject:
    """A watermarker under test."""

    name: str
    marker: Watermarker
    run: str
    seconds: float
    attacks: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        return self.marker.modality


def run(options: Options, progress: Progress = no_progress) -> Outcome:
    """Measure what is not measured yet, then write the figures and the report."""
    options = options.effective()
    if options.keys < 1 or options.jobs < 1:
        raise UsageError("--keys and --jobs need at least 1.")
    samples = clips.find(options.media, options.limit)
    subjects = _subjects(options)
    options.out.mkdir(parents=True, exist_ok=True)
    store = Store(options.out / "scores.jsonl")
    before = len(store.read())

    _trials(options, subjects, samples, store, progress)
    if options.copies and not options.attacks:
        _copies(options, subjects, samples, store, progress)
    if options.false_positives:
        _chance(options, subjects, samples, store, progress)

    rows = store.read()
    runs = {subject.run for subject in subjects}
    names = {sample.sample_id for sample in samples}
    mine = [row for row in rows if row["run"] in runs and _asked(row, names, options.keys)]
    figures = _figures(options, subjects, samples, mine, len(rows) - len(mine))
    _write_json(options.out / "aggregates.json", figures)
    report, warnings = _report(figures, options)
    failed = [row for row in mine if row["status"] == "failed"]
    if failed:
        reasons = sorted({f"{row['clip']}: {row['reason']}" for row in failed})
        warnings.append(f"{len(failed)} rows failed: " + "; ".join(reasons[:5]))
    return Outcome(
        out=options.out,
        n_rows=len(mine),
        n_new=len(rows) - before,
        n_failed=len(failed),
        warnings=tuple(warnings),
        report=report,
        headline=tuple(_headline(figures)),
    )


def _asked(row: Row, names: set[str], keys: int) -> bool:
    """Whether a row belongs to the clips and keys of this call; pairs and chance always do."""
    if row["kind"] not in ("score", "quality"):
        return True
    return row["clip"] in names and row["key"] < keys


def _subjects(options: Options) -> list[_Subject]:
    markers = {n: plugins.load("watermarkers", n) for n in dict.fromkeys(options.watermarkers)}
    kinds = [marker.modality for marker in markers.values()]
    chosen = attacks.choose(options.attacks, kinds, quick=options.quick)
    subjects = []
    for name, marker in markers.items():
        seconds = options.audio_seconds if marker.modality is Kind.AUDIO else options.seconds
        table = attacks.table(marker.modality)
        names = []
        for attack in chosen[marker.modality]:
            codec = table[attack].codec
            if codec is not None and not recode.available(codec):
                _log.warning("%s is left out: this FFmpeg has no %s", attack, codec.encoder)
                continue
            names.append(attack)
        settings = {"seconds": seconds, "seed": options.seed, "algorithm": marker.algorithm}
        run_hash = code_hash(_code_of(marker), settings)
        subjects.append(_Subject(name, marker, run_hash, seconds, tuple(names)))
    return subjects


_MEASURING = ("attacks", "picture_damage", "sound_damage", "recode", "trial", "quality", "copying")
_MEDIA = ("writing", "spec", "colour", "decoder", "features", "survey")


def _code_of(marker: Watermarker) -> list[Path]:
    """The files whose change makes old rows worthless."""
    here = Path(__file__).parent
    media_folder = here.parents[1] / "media"
    files = [here / f"{n}.py" for n in _MEASURING]
    files += [media_folder / f"{n}.py" for n in _MEDIA]
    package = type(marker).__module__.rpartition(".")[0] or type(marker).__module__
    found = find_spec(package)
    if found is not None and found.submodule_search_locations:
        for folder in found.submodule_search_locations:
            files += Path(folder).glob("*.py")
    elif found is not None and found.origin:
        files.append(Path(found.origin))
    return [path for path in files if path.is_file()]


# ---------------------------------------------------------------- 3 trials


def _trials(
    options: Options,
    subjects: Sequence[_Subject],
    samples: Sequence[Sample],
    store: Store,
    progress: Progress,
) -> None:
    done = store.done()
    tasks: list[trial.Trial] = []
    for key in range(options.keys):
        for sample in samples:
            for subject in subjects:
                task = trial.Trial(
                    store=str(store.path),
                    run=subject.run,
                    watermarker=subject.name,
                    clip=sample.sample_id,
                    path=str(sample.media["media"].absolute()),
                    key=key,
                    attacks=subject.attacks,
                    seconds=subject.seconds,
                    seed=options.seed,
                    want_quality=True,
                )
                missing = tuple(
                    name for name in subject.attacks
                    if identity(task.row("score", name)) not in done
                )  # fmt: skip
                if missing:
                    described = identity(task.row("quality", "")) in done
                    tasks.append(_with(task, missing, want_quality=not described))
    _run(trial.run, tasks, options.jobs, progress, "attacks", trial.lost)


def _with(task: trial.Trial, names: tuple[str, ...], *, want_quality: bool) -> trial.Trial:
    return replace(task, attacks=names, want_quality=want_quality)


def _run(
    work: Callable[[Any], None],
    tasks: Sequence[Any],
    jobs: int,
    progress: Progress,
    stage: str,
    lost: Callable[[Any, str], None],
) -> None:
    pace = Pace(len(tasks), stage, progress)

    def ended_badly(task: Any, reason: str) -> None:
        lost(task, reason)
        pace.step()

    pool.run(work, tasks, jobs=jobs, keep=lambda task, answer: pace.step(), lost=ended_badly)


# ---------------------------------------------------------------- 4 copies and chance


def _copies(
    options: Options,
    subjects: Sequence[_Subject],
    samples: Sequence[Sample],
    store: Store,
    progress: Progress,
) -> None:
    done = store.done()
    tasks = []
    for subject in subjects:
        if subject.kind is not Kind.VIDEO or len(samples) < 2:
            continue
        count = min(_PAIRS, len(samples))
        places = [round(i * len(samples) / count) for i in range(count)]
        for place in places:
            a, b = samples[place], samples[(place + max(1, len(samples) // 2)) % len(samples)]
            pair = copying.Pair(
                store=str(store.path),
                run=subject.run,
                watermarker=subject.name,
                a=(a.sample_id, str(a.media["media"].absolute())),
                b=(b.sample_id, str(b.media["media"].absolute())),
                seconds=subject.seconds,
                seed=options.seed,
            )
            rows = [identity(pair.row("copy", name)) for name in copying.ATTACKERS]
            if not all(row in done for row in rows):
                tasks.append(pair)
    _run(copying.run, tasks, options.jobs, progress, "copied marks", copying.lost)


def _chance(
    options: Options,
    subjects: Sequence[_Subject],
    samples: Sequence[Sample],
    store: Store,
    progress: Progress,
) -> None:
    done = store.done()
    hosts = clips.find(options.media, 3 * _HOSTS)
    with tempfile.TemporaryDirectory(prefix="avsafe-bench-hosts-") as folder:
        for subject in subjects:
            starts = [
                start
                for start in range(0, options.false_positives, chance.PIECE)
                if ((subject.run, "chance", subject.name, "", start, "") not in done)
            ]
            if not starts:
                continue
            candidates = [(host.sample_id, host.media["media"]) for host in hosts]
            kept, reasons = _prepared(subject, candidates, Path(folder))
            for reason in reasons:
                _log.info("no host for wrong keys: %s", reason)
            if not kept:
                _log.warning("wrong keys were not tried on %s: no clip could be read", subject.name)
                continue
            tasks = [
                chance.Piece(
                    store=str(store.path),
                    run=subject.run,
                    watermarker=subject.name,
                    hosts=tuple(kept),
                    start=start,
                    count=min(chance.PIECE, options.false_positives - start),
                    seed=options.seed,
                )
                for start in starts
            ]
            _run(
                chance.run,
                tasks,
                options.jobs,
                progress,
                f"wrong keys ({subject.name}), pieces",
                lambda piece, reason: _log.warning("trials from %d: %s", piece.start, reason),
            )


def _prepared(
    subject: _Subject, candidates: Sequence[tuple[str, Path]], folder: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    """Features of the first ``_HOSTS`` clips that can be read."""
    kept: list[tuple[str, str]] = []
    reasons: list[str] = []
    for start in range(0, len(candidates), 4):
        place = folder / str(start)
        place.mkdir(exist_ok=True)
        some, why = chance.prepare(
            subject.name, candidates[start : start + 4], subject.seconds, place
        )
        kept += some
        reasons += why
        if len(kept) >= _HOSTS:
            break
    return kept[:_HOSTS], reasons


# ---------------------------------------------------------------- 5 figures


def _figures(
    options: Options,
    subjects: Sequence[_Subject],
    samples: Sequence[Sample],
    rows: Sequence[Row],
    set_aside: int,
) -> dict[str, Any]:
    return {
        "suite": "watermark",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "settings": {
            "clips": len(samples),
            "folders": sorted({sample.tags[0] for sample in samples}),
            "keys": options.keys,
            "seconds": options.seconds,
            "audio_seconds": options.audio_seconds,
            "false_positives": options.false_positives,
            "seed": options.seed,
            "quick": options.quick,
            "attacks": list(options.attacks) if options.attacks else "all",
            "limit": options.limit,
        },
        "n_rows": len(rows),
        "rows_of_other_runs": set_aside,
        "watermarkers": {
            subject.name: {
                "run": subject.run,
                "algorithm": subject.marker.algorithm,
                "payload_bits": subject.marker.payload_bits,
                **summary.summarise(
                    [r for r in rows if r["watermarker"] == subject.name], subject.kind
                ),
            }
            for subject in subjects
        },
    }


def _headline(figures: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for name, found in figures["watermarkers"].items():
        for line in (*found["floors"], *found["quality_floors"]):
            verdict = "met" if line["met"] else "MISSED"
            if "k" in line:
                value = f"{line['k']} of {line['n']} ({line['value']:.1%})"
                asked = f"{line['floor']:.0%} of clips >= {line['least_s']:g} s"
            else:
                value, asked = f"{line['value']:.2f} (n = {line['n']})", f"{line['floor']:g}"
            lines.append((f"{name}: {line['what']}, floor {asked}", f"{value}: {verdict}"))
        trials = found["chance"]
        if trials:
            lines.append(
                (
                    f"{name}: wrong keys on unmarked clips",
                    f"{len(trials['found'])} found in {trials['n']} searches, "
                    f"rate <= {trials['bound']:.1e} (95 %)",
                )
            )
    return lines


def _report(figures: dict[str, Any], options: Options) -> tuple[Path | None, list[str]]:
    from avsafe.bench.report import page

    path = options.out / "report.html"
    try:
        page.write(figures, path, options)
    except MissingExtra as error:
        return None, [f"No report: {error}"]
    return path, []


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, default=float)
    path.write_text(text + "\n", encoding="utf-8")

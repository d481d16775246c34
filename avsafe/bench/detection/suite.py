"""The suite of detectors: protocol files and clips of known origin -> cells, floors, a report.

1. read the protocol files; find the clips
2. judge the clips that lack a row, with every detector (``live``)
3. one table a detector; cells, mean and worst, floors of the suite file
4. the shortcut audit, of files and of clips
5. aggregates.json, report.html, report.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media
from avsafe.bench import suitefile
from avsafe.bench.detection import (
    cells,
    damages,
    figures,
    folders,
    live,
    markdown,
    shortcuts,
    units,
)
from avsafe.bench.detection.floors import Floor
from avsafe.bench.detection.units import Units
from avsafe.bench.environment import environment
from avsafe.bench.suites import Outcome
from avsafe.errors import MissingExtra, UsageError
from avsafe.sharding.rows import Row, Store, finite
from avsafe.types import Progress, no_progress

NAME = "detectors"


@dataclass(frozen=True)
class Options:
    """What the command line asks."""

    out: Path
    protocol: tuple[Path, ...] = ()  # files, or folders of them
    media: tuple[Path, ...] = ()  # folders with real, synthetic/FAMILY, benign/SET
    suite: str = NAME
    detectors: tuple[str, ...] = ()  # (): all that are installed, or in the files
    conditions: tuple[str, ...] = ()  # (): all of ``damages``
    limit: int | None = None  # clips a group
    seconds: float = 10.0  # of a damaged clip; 0: all of it
    jobs: int = 1
    draws: int = figures.DRAWS


@dataclass
class _Live:
    """What clips gave."""

    tables: list[Units] = field(default_factory=list)
    described: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    n_new: int = 0


def run(options: Options, progress: Progress = no_progress) -> Outcome:
    """Measure what is not measured yet, then write figures and report.

    Raises UsageError for files, folders, names and options that make no sense. What a detector
    cannot judge, and a clip that cannot be read, is a row with its reason.
    """
    suite = suitefile.load(options.suite)
    if not suite.detectors:
        raise UsageError(f"The suite {suite.name} is not of detectors (no `detectors: true`).")
    if not options.protocol and not options.media:
        raise UsageError("Nothing to measure: give --protocol PATH, --media DIR, or both.")
    protocol = units.files(options.protocol)
    tables = [
        units.set_apart(table, suite.controls)
        for path in protocol for table in units.read(path) if _wanted(table.detector, options)
    ]  # fmt: skip
    if options.protocol and not tables:
        raise UsageError(f"No protocol file is of {', '.join(options.detectors)}.")
    here = _live(options, progress) if options.media else _Live()
    options.out.mkdir(parents=True, exist_ok=True)
    found = _figures(options, suite, protocol, tables, here)
    text = json.dumps(finite(found), indent=1, ensure_ascii=False)
    (options.out / "aggregates.json").write_text(text + "\n", encoding="utf-8")
    (options.out / "report.md").write_text(markdown.report(json.loads(text)), encoding="utf-8")
    report, warnings = _report(json.loads(text), options.out)
    warnings += _doubts(found)
    failed = [row for row in here.rows if row["status"] == "failed"]
    if failed:
        said = sorted({f"{row['unit']}: {row.get('reason', '')}" for row in failed})
        warnings.append(f"{len(failed)} rows failed: " + "; ".join(said[:5]))
    return Outcome(
        out=options.out,
        n_rows=len(here.rows) + sum(map(len, tables)),
        n_new=here.n_new,
        n_failed=len(failed),
        warnings=tuple(warnings),
        report=report,
        headline=tuple(_headline(found)),
    )


def _wanted(name: str, options: Options) -> bool:
    return not options.detectors or name in options.detectors


# ---------------------------------------------------------------- 1, 2 clips


def _live(options: Options, progress: Progress) -> _Live:
    if options.jobs < 1 or not 0 <= options.seconds < float("inf"):
        raise UsageError("--jobs needs at least 1, --seconds a number from 0.")
    conditions = _conditions(options.conditions)
    clips = folders.find(options.media, options.limit)
    asked = live.asked(options.detectors, options.seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    store = Store(options.out / "scores.jsonl", live.FIELDS)
    before = len(store.read())
    digests = live.measure(
        clips, conditions, asked, store,
        seconds=options.seconds, jobs=options.jobs, progress=progress,
    )  # fmt: skip
    rows = store.read()
    mine = [
        row for row in rows
        if digests.get(row["unit"]) == row["of"]
        and (row["kind"] == live.OUTSIDE or (
            row.get("run") == asked.runs.get(row["detector"]) and row["condition"] in conditions))
    ]  # fmt: skip
    groups: dict[str, dict[str, Any]] = {}
    for clip in clips:
        one = groups.setdefault(clip.group, {"role": clip.role, "clips": 0, "sources": set()})
        one["clips"] += 1
        one["sources"].add(clip.source)
    described = {
        "n_clips": len(clips),
        "groups": {k: v | {"sources": len(v["sources"])} for k, v in groups.items()},
        "conditions": list(conditions),
        "runs": dict(asked.runs),
        "missing": dict(asked.missing),
        "untold": list(asked.untold),
        "seen": live.seen(mine, clips),
        "rows_aside": len(rows) - len(mine),
        "unreadable": sum(r["kind"] == live.OUTSIDE and r["status"] == "failed" for r in mine),
    }
    judged = [row for row in mine if row["kind"] == live.JUDGED]
    return _Live(live.tables(mine, clips), described, judged, len(rows) - before)


def _conditions(given: tuple[str, ...]) -> tuple[str, ...]:
    known = damages.names()
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UsageError(f"No condition {', '.join(unknown)} (known: {', '.join(known)}).")
    return tuple(name for name in known if not given or name in given)


# ---------------------------------------------------------------- 3, 4 figures


def _figures(
    options: Options,
    suite: suitefile.SuiteFile,
    protocol: Sequence[Path],
    tables: Sequence[Units],
    here: _Live,
) -> dict[str, Any]:
    floors: tuple[Floor, ...] = suite.floors
    found: dict[str, Any] = {}
    for whole in units.joined([*tables, *here.tables]):
        found[whole.detector] = cells.described(whole, floors, draws=options.draws)
        found[whole.detector]["audits"] = {
            of: audit(table, options.draws)
            for of, given in (("protocol files", tables), ("clips scored here", here.tables))
            for table in units.joined([t for t in given if t.detector == whole.detector])
        }
        found[whole.detector]["seen"] = here.described.get("seen", {}).get(whole.detector, 0)
    return {
        "suite": suite.name,
        "title": suite.title,
        "summary": suite.summary,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(),
        "settings": {
            "draws": options.draws,
            "seconds": options.seconds,
            "limit": options.limit,
            "conditions": list(options.conditions) or "all",
            "detectors": list(options.detectors) or "all",
            "suite_sha256": suite.sha256,
        },
        "protocol": {path.name: media.sha256_of(path) for path in protocol},
        "live": here.described,
        "detectors": found,
        "floors_of_nobody": _unasked(floors, list(found)),
    }


def audit(table: Units, draws: int = figures.DRAWS) -> dict[str, Any]:
    """The shortcut audit of the units of cells that have both classes, each unit once, under its
    first condition."""
    mixed = [one for _, _, one in table.cells() if one.synthetic.any() and not one.synthetic.all()]
    first: dict[tuple[str, bool], int] = {}
    names = {cell for one in mixed for cell in one.cell.tolist()}
    for index, (cell, unit, label) in enumerate(
        zip(table.cell.tolist(), table.unit.tolist(), table.synthetic.tolist(), strict=True)
    ):
        if cell in names:
            first.setdefault((unit, label), index)
    rows = table.only(np.array(list(first.values()), np.int64))
    return shortcuts.audit(rows.shortcuts, rows.synthetic, rows.source, draws=draws)


def _unasked(floors: Sequence[Floor], names: Sequence[str]) -> list[str]:
    """Detectors of the suite's floors of which nothing was measured."""
    return sorted(
        {f.detector for f in floors if not any(fnmatchcase(n, f.detector) for n in names)}
    )


def _doubts(found: dict[str, Any]) -> list[str]:
    said = []
    for name, one in found["detectors"].items():
        if one["repeated"]:
            said.append(f"{name}: {one['repeated']} rows are of units that stand in their cell and "
                        "condition already")  # fmt: skip
        for of, audited in one["audits"].items():
            if audited["met"] is False:
                value = audited["all"]["value"]
                said.append(f"{name}: of {of}, real and synthetic ones are told apart by size, "
                            f"length and container alone (AUC {value:.2f})")  # fmt: skip
    if found["live"].get("missing"):
        said += [f"{name} could not be asked: {why}"
                 for name, why in found["live"]["missing"].items()]  # fmt: skip
    if found["live"].get("untold"):
        said.append(f"{', '.join(found['live']['untold'])} does not say which files it was trained "
                    "on: figures of clips scored here may be of clips that it knows")  # fmt: skip
    return said


# ---------------------------------------------------------------- 5 what is told


def _headline(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{name}: {line['what']}, {markdown.promise(line)}", markdown.measured(line))
        for name, one in found["detectors"].items()
        for line in one["floors"]
    ]


def _report(found: dict[str, Any], out: Path) -> tuple[Path | None, list[str]]:
    from avsafe.bench.report import detection_page

    try:
        return detection_page.write(found, out / "report.html"), []
    except MissingExtra as error:
        return None, [f"No report: {error}"]

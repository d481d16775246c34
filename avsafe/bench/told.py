"""What a run tells at its end: run.json, figures, the page, warnings, and the outcome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avsafe.bench.asked import Chosen, Options, without_folders
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.suites import Outcome
from avsafe.bench.work import Work
from avsafe.errors import MissingExtra
from avsafe.sharding.rows import Row


def described(
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


def figures(out: Path) -> tuple[Path | None, list[str]]:
    from avsafe.bench import aggregate

    figures = aggregate.aggregate(out)
    why = figures["tables"]["why"]
    warnings = [f"scores.parquet is not written: {why}"] if why else []
    try:
        from avsafe.bench.report import scores_page

        return scores_page.write(out), warnings
    except MissingExtra as error:
        return None, [*warnings, f"No report: {error}"]


def doubts(
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


def outcome(
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


def write(path: Path, value: Any) -> None:
    half = path.with_suffix(path.suffix + ".half")
    half.write_text(
        json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8"
    )
    half.replace(path)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)

"""Rows of a run -> figures: means with intervals, comparisons, failures, the worst clips.

1. figures of every system and score, with n_scored of n_expected
2. pairs of systems on their common items, corrected within each family of comparisons
3. who is best, and from whom that cannot be told
4. what failed and why, what was not computed, which clips are worst
5. aggregates.json, aggregates.csv, scores.csv, scores.parquet
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.bench import inference, runfolder
from avsafe.bench.runfolder import RunFolder, ScoreInfo
from avsafe.bench.runfolder import number as _number
from avsafe.bench.worst import worst_clips
from avsafe.sharding.rows import finite

ALPHA = 0.05
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def aggregate(folder: Path | str, *, seed: int = 0) -> dict[str, Any]:
    """The figures of a run folder, written beside its rows and returned.

    Raises UsageError when the folder is not of a run. The same rows in any order, from any number
    of processes, give the same bytes.
    """
    found = runfolder.read(Path(folder))
    figures = figures_of(found, seed=seed)
    text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False)
    (found.folder / "aggregates.json").write_text(text + "\n", encoding="utf-8")
    _write_aggregates_csv(found.folder / "aggregates.csv", figures)
    rows = list(_long_rows(found))
    _write_csv(found.folder / "scores.csv", rows)
    _write_parquet(found.folder / "scores.parquet", rows)
    return figures


def figures_of(found: RunFolder, *, seed: int = 0) -> dict[str, Any]:
    """The content of aggregates.json."""
    run = found.run
    systems = {
        system: {name: _figure(found, info, system, seed) for name, info in found.scores.items()}
        for system in found.systems
    }
    pairs, families = compare_systems(found, seed=seed)
    return {
        "suite": run["suite"],
        "suite_sha256": run.get("suite_sha256"),
        "title": run.get("title") or run["suite"],
        "made_at": run.get("made_at"),
        "scores": {name: asdict(info) for name, info in found.scores.items()},
        "systems": systems,
        "pairs": pairs,
        "families": families,
        "best": {name: _best(found, name, systems, pairs) for name in found.scores},
        "worst": worst_clips(found),
        "failures": failures(found),
        "not_computed": _not_computed(found),
        "rows_aside": found.aside,
        "statistics": {
            "level": 0.95, "alpha": ALPHA, "draws": inference.DRAWS, "flips": inference.FLIPS,
            "seed": seed,
        },
        "tables": {"csv": True, "parquet": parquet_missing() is None, "why": parquet_missing()},
    }  # fmt: skip


# ---------------------------------------------------------------- 1. figures


def _figure(found: RunFolder, info: ScoreInfo, system: str, seed: int) -> dict[str, Any]:
    expected = found.expected(system)
    if info.scope == "set":
        return _set_figure(found, info.name, system, len(expected))
    scored = found.of(info.name, system)
    counts = {"n_scored": len(scored), "n_expected": len(expected)}
    if not scored:
        return {"value": None, "low": None, "high": None, **counts, "reason": _why_none(
            found, info, system)}  # fmt: skip
    values = list(scored.values())
    clusters = [found.cluster(key) for key in scored]
    if info.yes_no:
        interval = inference.clustered_share(values, clusters)
    else:
        interval = inference.clustered_mean(
            values, clusters, low=info.low, high=info.high, seed=seed
        )
    spread = np.quantile(values, _QUANTILES)
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        **counts,
        "n_clusters": interval.n_clusters,
        "interval": interval.method,
        "sd": float(np.std(sorted(values), ddof=1)) if len(values) > 1 else None,
        **{f"q{round(100 * at):02d}": float(q) for at, q in zip(_QUANTILES, spread, strict=True)},
        "least": min(values),
        "most": max(values),
    }


def _set_figure(found: RunFolder, name: str, system: str, n: int) -> dict[str, Any]:
    given = found.sets.get(system, {}).get(name)
    if given is None:
        given = {"reason": _declared_reason(found, name) or "no figure was written for this set"}
    value = _number(given.get("value"))
    figure = {
        "value": value,
        "low": _number(given.get("low")),
        "high": _number(given.get("high")),
        "n_scored": int(_number(given.get("n_scored")) or 0),
        "n_expected": int(_number(given.get("n_expected")) or n),
        "interval": str(given.get("interval") or ""),
        "details": finite(details) if isinstance(details := given.get("details"), dict) else {},
    }
    if value is None:
        figure["reason"] = str(given.get("reason") or "no value and no reason was written")
    return figure


def _why_none(found: RunFolder, info: ScoreInfo, system: str) -> str:
    declared = _declared_reason(found, info.name)
    if declared:
        return declared
    counted: dict[str, int] = {}
    for key in found.expected(system):
        why = reason_of(found, info, key)
        counted[why] = counted.get(why, 0) + 1
    if not counted:
        return "the system has no clip"
    most = min(counted, key=lambda why: (-counted[why], why))
    return most if len(counted) == 1 else f"{most} ({counted[most]} of {sum(counted.values())})"


def reason_of(found: RunFolder, info: ScoreInfo, key: runfolder.Key) -> str:
    """Why a clip has no value of a score."""
    clip = found.clips.get(key, {})
    if clip.get("status", "ok") != "ok":
        return f"the clip: {clip.get('reason') or clip['status']}"
    return found.reasons.get(info.name, {}).get(key) or "no row: the run did not finish"


def _declared_reason(found: RunFolder, name: str) -> str | None:
    reason = found.run["metrics"][found.scores[name].metric].get("not_computed")
    return str(reason) if reason else None


# ---------------------------------------------------------------- 2. pairs, 3. best


def compare_systems(
    found: RunFolder, *, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Every pair of systems on every score of clips with a direction; headline scores whatever
    theirs. Holm's correction runs within the headline family, and within all the others."""
    clusters = found.item_clusters()
    pairs: list[dict[str, Any]] = []
    for name, info in found.scores.items():
        if info.scope != "clip" or (info.better == "none" and not info.headline):
            continue
        if _declared_reason(found, name):
            continue
        items = {system: found.by_item(name, system) for system in found.systems}
        for a, b in combinations(found.systems, 2):
            both = inference.paired(items[a], items[b], clusters, seed=seed)
            all_items = {key[1] for key in found.clips if key[0] in (a, b)}
            line: dict[str, Any] = {
                "score": name, "a": a, "b": b, "family": "headline" if info.headline else "other",
                "n_expected": len(all_items),
            }  # fmt: skip
            if both is None:
                line |= {
                    "n": 0,
                    "p": None,
                    "p_holm": None,
                    "significant": False,
                    "better": None,
                    "reason": "no item has a value of both",
                }
            else:
                line |= asdict(both)
            pairs.append(line)
    families: dict[str, int] = {}
    for family in ("headline", "other"):
        lines = [line for line in pairs if line["family"] == family and line["p"] is not None]
        families[family] = len(lines)
        correct(lines)
        for line in lines:
            line["better"] = _winner(line, found.scores[line["score"]].better)
    return pairs, families


def correct(lines: Sequence[dict[str, Any]]) -> None:
    """Add ``p_holm`` and ``significant`` over these lines as one family."""
    for line, p in zip(lines, inference.holm([line["p"] for line in lines]), strict=True):
        line["p_holm"] = p
        line["significant"] = p < ALPHA


def _winner(line: Mapping[str, Any], better: str) -> str | None:
    if not line["significant"] or better == "none" or line["difference"] == 0:
        return None
    higher = line["a"] if line["difference"] > 0 else line["b"]
    lower = line["b"] if line["difference"] > 0 else line["a"]
    return str(higher if better == "higher" else lower)


def _best(
    found: RunFolder,
    name: str,
    systems: Mapping[str, Mapping[str, Mapping[str, Any]]],
    pairs: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """The system with the best figure; ``alone`` when it is told apart from every other."""
    info = found.scores[name]
    scored = {
        s: systems[s][name]["value"] for s in systems if systems[s][name]["value"] is not None
    }
    if info.better == "none" or len(scored) < 2:
        return None
    sign = 1 if info.better == "higher" else -1
    best = max(scored, key=lambda s: (sign * scored[s], s))
    beaten = {line["b"] if line["a"] == best else line["a"] for line in pairs
              if line["score"] == name and line.get("better") == best}  # fmt: skip
    tied = [s for s in scored if s != best and s not in beaten]
    return {
        "system": best,
        "alone": not tied,
        "not_told_from": tied,
        "tested": info.scope == "clip",
    }


# ---------------------------------------------------------------- 4. failures


def failures(found: RunFolder) -> list[dict[str, Any]]:
    """Clips and metrics without a value, counted by reason; numbers in reasons do not divide them.
    A clip that could not be read counts once, and not again for every metric."""
    groups: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for key in sorted(found.clips):
        clip = found.clips[key]
        status = str(clip.get("status", "ok"))
        if status != "ok":
            why = str(clip.get("reason") or "no reason was written")
            groups.setdefault((key[0], "", status, runfolder.pattern(why, key)), {})[_name(key)] = (
                why
            )
            continue
        for name, info in found.scores.items():
            if info.scope != "clip" or _declared_reason(found, name) or key in found.values[name]:
                continue
            why = reason_of(found, info, key)
            status = found.statuses.get((info.metric, key), "failed")
            status = "unscored" if status == "ok" else status
            mark = (key[0], info.metric, status, runfolder.pattern(why, key))
            groups.setdefault(mark, {}).setdefault(_name(key), why)
    lines = [
        {
            "system": system, "metric": metric or None, "status": status,
            "reason": next(iter(clips.values())) if len(set(clips.values())) == 1 else reason,
            "example": clips[min(clips)], "count": len(clips), "clips": runfolder.shown(clips),
        }
        for (system, metric, status, reason), clips in groups.items()
    ]  # fmt: skip
    lines.sort(key=lambda line: (
        line["metric"] is not None, line["status"] != "failed", -int(str(line["count"])),
        str(line["system"]), str(line["metric"]), str(line["reason"]),
    ))  # fmt: skip
    return lines


def _name(key: runfolder.Key) -> str:
    which = runfolder.take(key)
    return f"{key[1]} #{which}" if which else key[1]


def _not_computed(found: RunFolder) -> dict[str, str]:
    return {
        metric: str(info["not_computed"])
        for metric, info in found.run["metrics"].items()
        if info.get("not_computed")
    }


# ---------------------------------------------------------------- 5. tables

_COLUMNS = ("system", "item", "sample", "cluster", "metric", "score", "value", "unit", "status",
            "reason", "run")  # fmt: skip


def _long_rows(found: RunFolder) -> list[dict[str, Any]]:
    rows = []
    for name, info in sorted(found.scores.items()):
        if info.scope != "clip" or _declared_reason(found, name):
            continue
        for key in sorted(found.clips):
            value = found.values[name].get(key)
            clip = str(found.clips[key].get("status", "ok"))
            status = clip if clip != "ok" else found.statuses.get((info.metric, key), "failed")
            rows.append(
                {
                    "system": key[0], "item": key[1], "sample": key[2],
                    "cluster": found.cluster(key), "metric": info.metric, "score": name,
                    "value": value, "unit": info.unit,
                    "status": "unscored" if value is None and status == "ok" else status,
                    "reason": None if value is not None else reason_of(found, info, key),
                    "run": found.run["metrics"][info.metric].get("run"),
                }
            )  # fmt: skip
    return rows


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_aggregates_csv(path: Path, figures: Mapping[str, Any]) -> None:
    names = ("value", "low", "high", "n_scored", "n_expected", "n_clusters", "sd", "interval",
             "reason")  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("system", "score", "unit", "better", *names))
        for system, scores in figures["systems"].items():
            for score, figure in scores.items():
                info = figures["scores"][score]
                cells = [figure.get(name) for name in names]
                writer.writerow((system, score, info["unit"], info["better"], *cells))


def parquet_missing() -> str | None:
    """Why scores.parquet is not written; None where it is."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        return "pyarrow is not here: pip install 'avsafe[bench]'"
    return None


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.unlink(missing_ok=True)  # never beside newer rows
    if parquet_missing() is not None:
        return
    import pyarrow
    import pyarrow.parquet

    kinds = {"value": pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in _COLUMNS])
    table = pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pyarrow.parquet.write_table(table, path, compression="zstd")

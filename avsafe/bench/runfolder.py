"""The folder of a run, read: run.json (what was asked), scores.jsonl (rows), sets.json.

A clip is (system, item, sample). Of two rows of the same measurement the better status wins, then
the text that sorts last: the order of rows and files means nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError

Key = tuple[str, str, str]  # system, item, sample
_RANK = {"ok": 2, "unscored": 1}  # anything else: 0


@dataclass(frozen=True)
class ScoreInfo:
    """One score as run.json declares it."""

    name: str
    metric: str
    title: str
    unit: str
    better: str  # higher | lower | none
    summary: str
    low: float | None
    high: float | None
    family: str
    scope: str
    experimental: bool
    headline: bool
    yes_no: bool = False  # 1 or 0 for each clip


@dataclass
class RunFolder:
    """Everything that figures are made of."""

    folder: Path
    run: dict[str, Any]
    scores: dict[str, ScoreInfo]
    clips: dict[Key, dict[str, Any]]
    values: dict[str, dict[Key, float]]
    reasons: dict[str, dict[Key, str]]
    statuses: dict[tuple[str, Key], str]  # (metric, clip) -> status
    sets: dict[str, dict[str, dict[str, Any]]]
    aside: int  # rows of other metrics, versions or settings
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        return list(self.run["systems"])

    def expected(self, system: str) -> list[Key]:
        """The clips that this system was to be scored on, sorted."""
        return [key for key in sorted(self.clips) if key[0] == system]

    def cluster(self, key: Key) -> str:
        """The prompt or person of a clip; its item where the suite names none."""
        return str(self.clips.get(key, {}).get("cluster") or key[1])

    def of(self, score: str, system: str) -> dict[Key, float]:
        """The values of one score and system, by clip, sorted."""
        found = self.values.get(score, {})
        return {key: found[key] for key in sorted(found) if key[0] == system}

    def by_item(self, score: str, system: str) -> dict[str, float]:
        """Item -> mean over the clips of it that were scored."""
        items: dict[str, list[float]] = {}
        for key, value in self.of(score, system).items():
            items.setdefault(key[1], []).append(value)
        return {item: math.fsum(sorted(found)) / len(found) for item, found in items.items()}

    def item_clusters(self) -> dict[str, str]:
        return {key[1]: self.cluster(key) for key in sorted(self.clips, reverse=True)}


def read(folder: Path) -> RunFolder:
    """Read a run. UsageError where it is none."""
    run = read_json(folder / "run.json")
    for name in ("suite", "systems", "metrics"):
        if name not in run:
            raise UsageError(f"{folder.name}/run.json has no {name!r}: it is not of avsafe bench.")
    _check_run(folder.name, run)
    scores = _declared(run)
    found = RunFolder(folder, run, scores, {}, {name: {} for name in scores},
                      {name: {} for name in scores}, {}, {}, 0)  # fmt: skip
    chosen: dict[tuple[str, Key], dict[str, Any]] = {}
    systems = set(run["systems"])
    listed = _listed(run)
    for row in _lines(folder / "scores.jsonl"):
        if row.get("system") not in systems:
            found.aside += 1
            continue
        metric = ""
        if row["kind"] == "score":
            metric = str(row.get("metric"))
            if run["metrics"].get(metric, {}).get("run") != row.get("run"):
                found.aside += 1
                continue
        if listed is not None and listed.get(_key(row)) != row.get("of"):
            found.aside += 1  # a clip that was not asked for, or another file under its name
            continue
        mark = (metric, _key(row))
        if mark not in chosen or _weight(row) > _weight(chosen[mark]):
            chosen[mark] = row
    for (metric, key), row in sorted(chosen.items(), key=lambda pair: pair[0]):
        if not metric:
            found.clips[key] = row
            continue
        found.statuses[metric, key] = str(row.get("status", "ok"))
        cost = number(row.get("cpu_s")) or 0.0
        found.cpu_s[metric] = found.cpu_s.get(metric, 0.0) + cost
        _take(found, metric, key, row)
    for (_metric, key), row in chosen.items():  # scored, but never described
        found.clips.setdefault(key, {"status": "ok", "cluster": row.get("cluster", "")})
    for key in listed or ():  # asked for, and without any row
        found.clips.setdefault(
            key, {"status": "failed", "reason": "no row: the run did not finish"}
        )
    path = folder / "sets.json"
    found.sets = _sets(read_json(path)) if path.exists() else {}
    return found


def _check_run(name: str, run: Mapping[str, Any]) -> None:
    """UsageError unless run.json has the shape that ``avsafe bench run`` writes."""
    good = (
        isinstance(run["systems"], list)
        and all(isinstance(system, str) for system in run["systems"])
        and isinstance(run["metrics"], dict)
        and all(
            isinstance(info, dict)
            and isinstance(info.get("columns") or [], list)
            and all(isinstance(c, dict) and "score" in c for c in info.get("columns") or [])
            for info in run["metrics"].values()
        )
        and isinstance(run.get("headline") or [], list)
    )
    if not good:
        raise UsageError(
            f"{name}/run.json is damaged: expected 'systems' (a list of names) and 'metrics' (name "
            "-> what it is, with 'columns'). Run the suite again with the same --out."
        )


def _sets(found: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    good = all(
        isinstance(scores, dict) and all(isinstance(figure, dict) for figure in scores.values())
        for scores in found.values()
    )
    if not good:
        raise UsageError(
            "sets.json is damaged: expected system -> score -> figure. Run the suite again with "
            "the same --out."
        )
    return dict(found)


def number(value: Any) -> float | None:
    """A finite number, or None.

    >>> number(2), number(float("nan")), number(True), number(10**400)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _listed(run: Mapping[str, Any]) -> dict[Key, str] | None:
    """The clips of the run and the hash of each, where run.json names them."""
    if "clips" not in run:
        return None
    try:
        return {
            (str(system), str(item), str(sample)): str(of)
            for system, clips in run["clips"].items()
            for item, sample, of in clips
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            "run.json: 'clips' is not system -> [[item, sample, hash], ...] as avsafe bench writes."
        ) from error


def _take(found: RunFolder, metric: str, key: Key, row: Mapping[str, Any]) -> None:
    values, reasons = row["values"], row["reasons"]
    for name, info in found.scores.items():
        if info.metric != metric or info.scope != "clip":
            continue
        value = number(values.get(name))
        if value is not None:
            found.values[name][key] = value
        else:
            found.reasons[name][key] = str(
                reasons.get(name) or row.get("reason") or "no value and no reason was written"
            )


def _declared(run: Mapping[str, Any]) -> dict[str, ScoreInfo]:
    headline = set(run.get("headline") or ())
    found = {}
    for metric, info in run["metrics"].items():
        for column in info.get("columns") or ():
            name = str(column["score"])
            title = str(info.get("title") or metric)
            if column.get("name"):
                title += ": " + str(column["name"]).replace("_", " ")
            found[name] = ScoreInfo(
                name, metric, title, str(column.get("unit") or ""),
                str(column.get("better") or "none"), str(column.get("summary") or ""),
                number(column.get("low")), number(column.get("high")),
                str(info.get("family") or ""), str(info.get("scope") or "clip"),
                bool(info.get("experimental")), name in headline, bool(column.get("yes_no")),
            )  # fmt: skip
    first = {name: i for i, name in enumerate(run.get("headline") or ())}
    names = sorted(found, key=lambda name: first.get(name, len(first)))
    return {name: found[name] for name in names}


def _key(row: Mapping[str, Any]) -> Key:
    sample = row.get("sample")
    return str(row.get("system")), str(row.get("item")), "" if sample is None else str(sample)


def _weight(row: Mapping[str, Any]) -> tuple[int, str]:
    told = {name: value for name, value in row.items() if not name.endswith("cpu_s")}
    text = json.dumps(told, sort_keys=True) + json.dumps(row, sort_keys=True)
    return _RANK.get(str(row.get("status")), 0), text


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise UsageError(f"{path.parent.name} has no {path.name}: nothing was measured there yet.")
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # a writer was killed here
            if isinstance(row, dict) and row.get("kind") in ("score", "clip"):
                for name in ("values", "reasons"):
                    row[name] = row[name] if isinstance(row.get(name), dict) else {}
                row["system"] = str(row.get("system"))
                yield row


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path.parent.name} has no {path.name}. Pass the folder that `avsafe bench run` wrote "
            "(--out)."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path.name} of {path.parent.name} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path.name} of {path.parent.name} holds no JSON object.")
    return found


def pattern(reason: str, key: Key = ("", "", "")) -> str:
    """A reason without its numbers and without the clip's own name, so that equal reasons count
    together.

    >>> pattern("no face in 41 of 50 frames")
    'no face in N of N frames'
    >>> pattern("no file ball-2.mp4", ("ours", "ball-2", ""))
    'no file ….mp4'
    >>> pattern("no face in a frame", ("ours", "a", "fac"))
    'no face in a frame'
    """
    import re

    for name in sorted({key[1], key[2]} - {""}, key=len, reverse=True):
        if len(name) > 2 and not name.isdigit():  # "a" is a word of most reasons
            reason = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", reason)
    return re.sub(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*[A-Za-z])", "N", reason)


def take(key: Key) -> str:
    """Which of several clips of an item this is; empty where the item says it all.

    >>> take(("ours", "ball", "ball")), take(("ours", "ball", "ball-2")), take(("ours", "b", "0"))
    ('', '2', '')
    """
    _, item, sample = key
    rest = sample.removeprefix(item).lstrip("-_#@ .:") if item else sample
    return "" if rest in ("", "0") else rest


def shown(names: Iterable[str], most: int = 5) -> list[str]:
    """The first few names, sorted.

    >>> shown(["b", "a"])
    ['a', 'b']
    """
    return sorted(set(names))[:most]

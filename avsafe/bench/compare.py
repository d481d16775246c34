"""Two runs of one suite, side by side: what changed, on the items that both scored.

1. the suites must be the same, and a metric counts only in one version with one set of weights
2. systems are matched by name (or the two single ones, or as told)
3. paired differences b - a of every score of clips; Holm within headline scores, and the others
4. clips whose bytes are equal must score equal: where they do not, the measuring changed
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avsafe.bench import inference, runfolder
from avsafe.bench.aggregate import ALPHA, correct
from avsafe.bench.runfolder import RunFolder, ScoreInfo
from avsafe.errors import UsageError

_SAME = 1e-6  # relative: more is another number
_NO_MATTER = ("out", "jobs", "executor")  # settings that change no score


def compare(
    a: Path | str,
    b: Path | str,
    *,
    systems: Mapping[str, str] | None = None,
    across_suites: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Run ``b`` against run ``a``: differences b - a. ``systems`` maps names in a to names in b.

    Raises UsageError where the suites differ (``across_suites``: a warning instead, and only common
    items count), and where no system can be matched. A metric whose version or weights differ, or
    that one run did not compute, is listed under ``refused`` with the reason and never compared.
    """
    one, two = runfolder.read(Path(a)), runfolder.read(Path(b))
    warnings = _suites(one, two, across_suites)
    warnings += _settings(one, two)
    refused, notes = _refused(one, two)
    matched = _matched(one, two, systems)
    lines: list[dict[str, Any]] = []
    for before, after in matched.items():
        lines += _lines(one, two, before, after, refused, seed)
    tested = [line for line in lines if line.get("p") is not None]
    for headline in (True, False):
        family = [line for line in tested if line["headline"] == headline]
        correct(family)
        for line in family:
            line["verdict"] = verdict(line, len(family))
    return {
        "suite": one.run["suite"],
        "a": one.folder.name,
        "b": two.folder.name,
        "systems": dict(matched),
        "comparisons": len(tested),
        "lines": lines,
        "refused": refused,
        "same_clips": {
            f"{before} / {after}": _same_clips(one, two, before, after, refused)
            for before, after in matched.items()
        },
        "warnings": warnings + notes,
    }


def verdict(line: Mapping[str, Any], family: int) -> str:
    """better | worse | different | not told apart | too few to tell, of b against a, among so many
    comparisons."""
    if line["difference"] != 0 and line["least_p"] * family >= ALPHA:
        return "too few to tell"
    if not line["significant"] or line["difference"] == 0:
        return "not told apart"
    if line["direction"] == "none":
        return "different"
    return "better" if (line["difference"] > 0) == (line["direction"] == "higher") else "worse"


# ---------------------------------------------------------------- 1. what may be compared


def _suites(one: RunFolder, two: RunFolder, across: bool) -> list[str]:
    names = one.run["suite"], two.run["suite"]
    hashes = one.run.get("suite_sha256"), two.run.get("suite_sha256")
    if names[0] == names[1] and hashes[0] == hashes[1]:
        return []
    what = (
        f"{one.folder.name} is of suite {names[0]} ({str(hashes[0])[:12]}), {two.folder.name} of "
        f"{names[1]} ({str(hashes[1])[:12]})"
    )
    if not across:
        raise UsageError(
            f"{what}: other prompts or settings make other scores. Run one suite twice, or compare "
            "common items only with --across-suites."
        )
    return [f"{what}: only items of the same name are compared"]


def _settings(one: RunFolder, two: RunFolder) -> list[str]:
    warnings = []
    for part in ("settings", "environment"):
        a, b = one.run.get(part) or {}, two.run.get(part) or {}
        for key in sorted(a.keys() | b.keys()):
            if key not in _NO_MATTER and a.get(key) != b.get(key):
                warnings.append(f"{part}: {key} was {a.get(key)!r}, is {b.get(key)!r}")
    a_paths, b_paths = _decoders(one), _decoders(two)
    if a_paths != b_paths:
        warnings.append(f"decoded by {', '.join(a_paths)}; now by {', '.join(b_paths)}")
    return warnings


def _decoders(found: RunFolder) -> list[str]:
    return sorted({str(row["decoded_by"]) for row in found.clips.values() if row.get("decoded_by")})


def _refused(one: RunFolder, two: RunFolder) -> tuple[dict[str, str], list[str]]:
    refused, notes = {}, []
    a, b = one.run["metrics"], two.run["metrics"]
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            refused[name] = f"only {(one if name in a else two).folder.name} has it"
            continue
        absent = [f.folder.name for f, m in ((one, a), (two, b)) if m[name].get("not_computed")]
        if absent:
            refused[name] = f"not computed in {' and '.join(absent)}"
        elif a[name].get("version") != b[name].get("version"):
            refused[name] = f"version {a[name].get('version')} and version {b[name].get('version')}"
        elif (a[name].get("weights") or {}) != (b[name].get("weights") or {}):
            refused[name] = f"other weights: {_weights(a[name])} and {_weights(b[name])}"
        elif (a[name].get("parameters") or {}) != (b[name].get("parameters") or {}):
            given = (a[name].get("parameters"), b[name].get("parameters"))
            refused[name] = f"other parameters: {given[0] or 'none'} and {given[1] or 'none'}"
        elif a[name].get("columns") != b[name].get("columns"):
            refused[name] = "the same version declares other columns, units or ranges"
        elif a[name].get("run") != b[name].get("run"):
            notes.append(f"{name}: same version and weights, other code or settings")
    return refused, notes


def _weights(info: Mapping[str, Any]) -> str:
    weights = info.get("weights") or {}
    return ", ".join(f"{k} {str(v)[:12]}" for k, v in sorted(weights.items())) or "none"


# ---------------------------------------------------------------- 2. systems


def _matched(one: RunFolder, two: RunFolder, told: Mapping[str, str] | None) -> dict[str, str]:
    if told:
        for before, after in told.items():
            if before not in one.systems or after not in two.systems:
                raise UsageError(
                    f"There is no {before!r} in {one.folder.name} ({', '.join(one.systems)}) or no "
                    f"{after!r} in {two.folder.name} ({', '.join(two.systems)})."
                )
        return dict(told)
    common = {name: name for name in one.systems if name in two.systems}
    if common:
        return common
    if len(one.systems) == len(two.systems) == 1:
        return {one.systems[0]: two.systems[0]}
    raise UsageError(
        f"No system is in both runs ({', '.join(one.systems)}; {', '.join(two.systems)}). Say "
        "which to match: --system BEFORE=AFTER."
    )


# ---------------------------------------------------------------- 3. differences


def _lines(
    one: RunFolder,
    two: RunFolder,
    before: str,
    after: str,
    refused: Mapping[str, str],
    seed: int,
) -> list[dict[str, Any]]:
    lines = []
    clusters = {**two.item_clusters(), **one.item_clusters()}
    n_items = len({k[1] for k in one.expected(before)} | {k[1] for k in two.expected(after)})
    for name, info in one.scores.items():
        if info.metric in refused:
            continue
        line: dict[str, Any] = {
            "score": name, "title": info.title, "unit": info.unit, "direction": info.better,
            "headline": info.headline, "a": before, "b": after,
        }  # fmt: skip
        if info.scope == "set":
            line |= _of_sets(one, two, before, after, info)
        else:
            both = inference.paired(
                two.by_item(name, after), one.by_item(name, before), clusters, seed=seed
            )
            if both is None:
                line |= {"p": None, "n": 0, "reason": "no item has a value in both"}
            else:
                found = asdict(both)
                found["mean_after"], found["mean_before"] = found.pop("mean_a"), found.pop("mean_b")
                line |= found
            line["n_expected"] = n_items
        lines.append(line)
    return lines


def _of_sets(
    one: RunFolder, two: RunFolder, before: str, after: str, info: ScoreInfo
) -> dict[str, Any]:
    """Figures of sets stand side by side: no clip has one, so there is no paired test."""
    a = one.sets.get(before, {}).get(info.name, {})
    b = two.sets.get(after, {}).get(info.name, {})
    line: dict[str, Any] = {"p": None, "reason": "a figure of a set; no paired test"}
    for place, figure in (("before", a), ("after", b)):
        line[f"mean_{place}"] = figure.get("value")
        line[f"interval_{place}"] = [figure.get("low"), figure.get("high")]
        line[f"n_{place}"] = figure.get("n_scored")
    if a.get("value") is not None and b.get("value") is not None:
        line["difference"] = b["value"] - a["value"]
    return line


# ---------------------------------------------------------------- 4. equal bytes


def _same_clips(
    one: RunFolder, two: RunFolder, before: str, after: str, refused: Mapping[str, str]
) -> dict[str, Any]:
    """How many clips have the same bytes in both runs, and the scores that differ on them."""
    same = []
    for key in one.expected(before):
        other = (after, *key[1:])
        digest = one.clips[key].get("sha256")
        if digest and digest == two.clips.get(other, {}).get("sha256"):
            same.append((key, other))
    moved: dict[str, dict[str, float]] = {}
    for name, info in one.scores.items():
        if info.scope != "clip" or info.metric in refused:
            continue
        gaps = []
        for key, other in same:
            a, b = one.values[name].get(key), two.values[name].get(other)
            if (a is None) != (b is None):
                gaps.append(math.inf)
            elif a is not None and b is not None and not math.isclose(a, b, rel_tol=_SAME):
                gaps.append(abs(a - b))
        if gaps:
            finite = [gap for gap in gaps if math.isfinite(gap)]
            moved[name] = {"clips": len(gaps), "largest": max(finite, default=0.0),
                           "scored_in_one_only": len(gaps) - len(finite)}  # fmt: skip
    return {"n": len(same), "moved": moved}


# ---------------------------------------------------------------- text


def as_text(found: Mapping[str, Any]) -> str:
    """The comparison for a terminal."""
    out = [f"{found['suite']}: {found['b']} against {found['a']}"]
    out += [f"warning: {text}" for text in found["warnings"]]
    for before, after in found["systems"].items():
        out.append(f"\n{before if before == after else f'{before} -> {after}'}")
        rows: list[tuple[str, ...]] = []
        rows.append(("score", "before", "after", "difference (95 %)", "p, Holm", "items", ""))
        for line in found["lines"]:
            if (line["a"], line["b"]) == (before, after):
                rows.append(_text_row(line))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [
                cell.ljust(width) if i in (0, 6) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            out.append("  ".join(cells).rstrip())
    out.append(
        f"\n{found['comparisons']} comparisons, {found['b']} minus {found['a']} on common items, "
        "by clusters;\nHolm's correction within the headline scores and within the others."
    )
    for systems, same in found["same_clips"].items():
        for name, moved in same["moved"].items():
            out.append(
                f"warning: {systems}: {name} differs on {moved['clips']} of {same['n']} clips "
                f"whose bytes are the same (by up to {moved['largest']:.3g}): the measuring changed"
            )
    if found["refused"]:
        out.append("\nNot compared:")
        out += [f"  {metric}: {why}" for metric, why in found["refused"].items()]
    return "\n".join(out)


def _text_row(line: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(line["score"]) + (f" ({line['unit']})" if line["unit"] else "")
    before, after = _short(line.get("mean_before")), _short(line.get("mean_after"))
    if line.get("p") is None:
        return name, before, after, _short(line.get("difference")), "-", "-", line["reason"]
    ends = (
        "no interval" if line["low"] is None else f"{_short(line['low'])} to {_short(line['high'])}"
    )
    return (
        name, before, after, f"{_short(line['difference'])} ({ends})", f"{line['p_holm']:.3g}",
        f"{line['n']} of {line['n_expected']}", line["verdict"],
    )  # fmt: skip


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

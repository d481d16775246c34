"""Votes -> win rates, agreement, bias. Blinding is undone here, with the key.

1. a vote counts where its ballot, rater, trial, choice and reasons fit the key; the last of a trial
2. raters who miss too many checks are left out, and named
3. for each pair and criterion: win rate, intervals by item, a test, Holm's correction over all
4. agreement, side bias, consistency, reasons
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from avsafe.bench import inference
from avsafe.bench.aggregate import correct
from avsafe.bench.runfolder import number
from avsafe.bench.statistics import wilson
from avsafe.bench.votes import agreement
from avsafe.bench.votes.criteria import CRITERIA
from avsafe.errors import UsageError

Vote = dict[str, Any]
UNPLAYABLE = "a clip could not be played"
MIN_CHECKS = 0.8  # share of checks that a rater must get right


def read_votes(paths: Iterable[Path | str]) -> list[Vote]:
    """The votes of files of JSON Lines; a line that is no vote is passed over. UsageError for a
    file that is not there."""
    votes = []
    for path in map(Path, paths):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError as error:
            raise UsageError(f"{path.name} cannot be read: {error.strerror}.") from error
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and "trial" in row:
                votes.append(row)
    return votes


def _stray(vote: Mapping[str, Any], key: Mapping[str, Any]) -> str | None:
    """Why a vote is on no trial of this key; None where it is on one."""
    if vote.get("ballot") != key["ballot"]:
        return "of another ballot"
    rater, trial = vote.get("rater"), vote.get("trial")
    if not isinstance(rater, str) or rater not in key["raters"]:
        return "of an unknown rater"
    if not isinstance(trial, str) or trial not in key["raters"][rater]:
        return "on a trial that this rater was not given"
    return None


def problem(vote: Mapping[str, Any], key: Mapping[str, Any]) -> str | None:
    """Why a vote does not count; None where it does."""
    stray = _stray(vote, key)
    if stray is not None:
        return stray
    choice, reasons = vote.get("choice"), vote.get("reasons")
    if choice == "none":
        return UNPLAYABLE
    if choice not in ("left", "right"):
        return "without a winner"
    known = CRITERIA[key["trials"][vote["trial"]]["criterion"]].reasons
    if not isinstance(reasons, list) or not reasons:
        return "without a reason"
    if any(not isinstance(reason, str) or reason not in known for reason in reasons):
        return "with a reason that is not on the list"
    return None


def tally(
    votes: Iterable[Mapping[str, Any]],
    key: Mapping[str, Any],
    *,
    min_checks: float = MIN_CHECKS,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the votes say, as plain data. The order of votes means nothing."""
    counted, dropped = _valid(votes, key)
    raters = _raters(counted, key, min_checks)
    kept = {
        (rater, trial): vote for (rater, trial), vote in counted.items()
        if not raters[rater]["left_out"]
    }  # fmt: skip
    pairs = [
        {**key["trials"][trial], "rater": rater, "choice": vote["choice"],
         "reasons": sorted(set(vote["reasons"])),
         "winner": key["trials"][trial][vote["choice"]]}
        for (rater, trial), vote in sorted(kept.items())
        if key["trials"][trial]["kind"] == "pair"
    ]  # fmt: skip
    lines = _lines(pairs, key, seed)
    tested = [line for line in lines if line["p"] is not None]
    correct(tested)
    left = sum(vote["choice"] == "left" for vote in pairs)
    expected = sum(trial["kind"] == "pair" for trial in key["trials"].values())
    return {
        "ballot": key["ballot"],
        "systems": key["systems"],
        "criteria": {name: CRITERIA[name].question for name in key["criteria"]},
        "n_votes": len(pairs),
        "n_expected": expected,
        "min_checks": min_checks,
        "lines": lines,
        "agreement": {name: _agreement(pairs, name) for name in key["criteria"]},
        "side": _rate(left, len(pairs)),
        "raters": raters,
        "reasons": {name: _reasons(pairs, name) for name in key["criteria"]},
        "not_counted": dict(sorted(dropped.items())),
    }


def _valid(
    votes: Iterable[Mapping[str, Any]], key: Mapping[str, Any]
) -> tuple[dict[tuple[str, str], Mapping[str, Any]], Counter[str]]:
    last: dict[tuple[str, str], Mapping[str, Any]] = {}
    dropped: Counter[str] = Counter()
    for vote in votes:
        mark = (str(vote.get("rater")), str(vote.get("trial")))
        stray = _stray(vote, key)
        if stray is not None:
            dropped[stray] += 1
            continue
        if mark not in last or _when(vote) > _when(last[mark]):
            last[mark] = vote
    counted = {}
    for mark, vote in last.items():
        why = problem(vote, key)
        if why is None:
            counted[mark] = vote
        else:
            dropped[why] += 1
    return counted, dropped


def _when(vote: Mapping[str, Any]) -> tuple[float, str]:
    return number(vote.get("seq")) or 0.0, json.dumps(vote, sort_keys=True, default=str)


# ---------------------------------------------------------------- 2. raters


def _raters(
    counted: Mapping[tuple[str, str], Mapping[str, Any]], key: Mapping[str, Any], least: float
) -> dict[str, dict[str, Any]]:
    found = {}
    for rater, given in key["raters"].items():
        mine = {trial: counted[rater, trial] for trial in given if (rater, trial) in counted}
        checks = [v["choice"] == key["trials"][t]["expected"] for t, v in mine.items()
                  if key["trials"][t]["kind"] == "check"]  # fmt: skip
        again = [
            key["trials"][t][v["choice"]]
            == key["trials"][key["trials"][t]["of"]][mine[key["trials"][t]["of"]]["choice"]]
            for t, v in mine.items()
            if key["trials"][t]["kind"] == "repeat" and key["trials"][t]["of"] in mine
        ]
        pairs = [v for t, v in mine.items() if key["trials"][t]["kind"] == "pair"]
        seconds = [s for v in pairs if (s := number(v.get("seconds"))) is not None]
        why = ""
        if checks and sum(checks) / len(checks) < least:
            why = f"{sum(checks)} of {len(checks)} checks right, {least:.0%} wanted"
        found[rater] = {
            "voted": len(mine), "given": len(given),
            "checks": [sum(checks), len(checks)], "repeats": [sum(again), len(again)],
            "left": _rate(sum(v["choice"] == "left" for v in pairs), len(pairs)),
            "median_s": round(median(seconds), 1) if seconds else None, "left_out": why,
        }  # fmt: skip
    return found


def _rate(k: int, n: int) -> dict[str, Any]:
    low, high = wilson(k, n)
    return {"k": k, "n": n, "value": k / n if n else None, "low": low, "high": high}


# ---------------------------------------------------------------- 3. win rates


def _lines(
    pairs: Sequence[Mapping[str, Any]], key: Mapping[str, Any], seed: int
) -> list[dict[str, Any]]:
    expected = Counter(
        (t["criterion"], t["a"], t["b"]) for t in key["trials"].values() if t["kind"] == "pair"
    )
    lines = []
    for criterion, a, b in sorted(expected, key=lambda kind: (
        key["criteria"].index(kind[0]), key["systems"].index(kind[1]),
        key["systems"].index(kind[2]))):  # fmt: skip
        mine = [v for v in pairs if (v["criterion"], v["a"], v["b"]) == (criterion, a, b)]
        line: dict[str, Any] = {
            "criterion": criterion, "a": a, "b": b, "n_votes": len(mine),
            "n_expected": expected[criterion, a, b], "p": None, "significant": False,
        }  # fmt: skip
        lines.append(line)
        if not mine:
            continue
        won = [int(v["winner"] == a) for v in mine]
        clusters = [v["cluster"] for v in mine]
        share = inference.clustered_share(won, clusters)
        boot = inference.clustered_mean(won, clusters, low=0.0, high=1.0, seed=seed)
        sums, counts = inference.cluster_sums(won, clusters)
        p, least_p, method = inference.sign_flip(list(sums - counts / 2), seed=seed)
        by_item: dict[str, list[int]] = {}
        for vote, win in zip(mine, won, strict=True):
            by_item.setdefault(vote["item"], []).append(win)
        majority = [2 * sum(wins) - len(wins) for wins in by_item.values()]
        naive = wilson(sum(won), len(won))
        line |= {
            "wins": sum(won), "value": share.value, "low": share.low, "high": share.high,
            "interval": share.method, "votes_low": naive[0], "votes_high": naive[1],
            "bootstrap_low": boot.low, "bootstrap_high": boot.high,
            "items": len(by_item), "clusters": share.n_clusters,
            "items_a": sum(m > 0 for m in majority), "items_b": sum(m < 0 for m in majority),
            "p": p, "least_p": least_p, "method": method,
        }  # fmt: skip
    return lines


# ---------------------------------------------------------------- 4. agreement, reasons


def _agreement(pairs: Sequence[Mapping[str, Any]], criterion: str) -> dict[str, Any]:
    units: dict[str, list[str]] = {}
    firsts: dict[str, list[int]] = {}
    for vote in pairs:
        if vote["criterion"] == criterion:
            unit = "\0".join((vote["a"], vote["b"], vote["item"]))
            # first or second system: names would make systems of different pairs disagree
            units.setdefault(unit, []).append("a" if vote["winner"] == vote["a"] else "b")
            firsts.setdefault(unit, [0, 0])[vote["winner"] != vote["a"]] += 1
    return {
        "items": len(units),
        "equal_pairs": agreement.raw_agreement(units),
        "fleiss_kappa": agreement.fleiss_kappa(list(firsts.values())),
        "krippendorff_alpha": agreement.krippendorff_alpha(units),
    }


def _reasons(pairs: Sequence[Mapping[str, Any]], criterion: str) -> list[dict[str, Any]]:
    lines = []
    for reason, text in CRITERIA[criterion].reasons.items():
        given = Counter(v["winner"] for v in pairs
                        if v["criterion"] == criterion and reason in v["reasons"])  # fmt: skip
        lines.append({"reason": reason, "text": text, "by_winner": dict(sorted(given.items()))})
    return lines

"""A verdict as the page shows it: lanes side by side, never one score.

Everything shown comes from structured evidence; its English sentence stands below, for readers who
know the field. Values in evidence may be what a hostile file or a plugin of others made of them:
whatever is not of the expected type is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from avsafe.calibration import CAP
from avsafe.maps.details import number
from avsafe.server.words import Words
from avsafe.types import Evidence, EvidenceStatus, Verdict

ORDER = ("credential", "watermark", "fingerprint", "domain", "detectors", "detector")
MAX_SEGMENTS = 600  # drawn on one timeline
MAX_DEPTH = 6  # of the tree of ingredients


@dataclass(frozen=True)
class Bar:
    """A stretch of a timeline: ``left`` and ``width`` in percent, ``shade`` 0..10 or None."""

    left: float
    width: float
    shade: int | None
    flagged: bool
    said: str


@dataclass(frozen=True)
class Item:
    """One source of evidence."""

    title: str
    status: str  # as in EvidenceStatus
    status_said: str
    said: str
    note: str  # English, technical
    facts: tuple[tuple[str, str], ...] = ()
    bars: tuple[Bar, ...] = ()
    length_s: float = 0.0
    open: bool = False  # whether the note is shown at once


@dataclass(frozen=True)
class Ingredient:
    said: str
    below: tuple[Ingredient, ...] = ()


@dataclass(frozen=True)
class Lane:
    title: str
    items: tuple[Item, ...]
    history: tuple[str, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()


@dataclass(frozen=True)
class Page:
    label: str
    title: str
    text: str
    lanes: tuple[Lane, ...] = field(default=())


def page(verdict: Verdict, say: Words) -> Page:
    """All lanes of a verdict, in the order in which evidence counts."""
    title, text = say.pair(f"label:{verdict.label}")
    lanes = []
    for name in ORDER:
        mine = [e for e in verdict.evidence if e.source.partition(".")[0] == name]
        if mine:
            items = tuple(_item(e, name, say) for e in mine)
            credential = mine[0].details if name == "credential" else {}
            lanes.append(
                Lane(
                    say(f"lane:{name}"),
                    items,
                    tuple(_history(credential)),
                    tuple(_ingredients(credential, say)),
                )
            )
    return Page(str(verdict.label), title, text, tuple(lanes))


def _item(evidence: Evidence, lane: str, say: Words) -> Item:
    own = evidence.source.partition(".")[2]
    title = ""
    if lane == "watermark":
        title = say.known(f"mark-name:{own}", own)
    elif lane == "detector":
        title = say.known(f"detector-name:{own}", own)
    bars, length_s = _timeline(evidence.details.get("timeline"), say)
    return Item(
        title,
        str(evidence.status),
        say.known(f"status-of:{lane}:{evidence.status}", say(f"status:{evidence.status}")),
        _said(evidence, lane, say),
        evidence.summary,
        tuple(_facts(evidence, lane, say)),
        bars,
        length_s,
        open=lane == "domain",
    )


def _said(evidence: Evidence, lane: str, say: Words) -> str:
    details = evidence.details
    key, values = str(evidence.status), {}
    if lane == "credential":
        key = _text(details.get("status")) or "unreadable"
        values = {"issuer": _text(details.get("issuer")) or "?"}
    elif lane == "watermark" and evidence.status is EvidenceStatus.PRESENT:
        key = "recovered" if details.get("recovered") is True else "unmatched"
        values = {
            "release": _text(details.get("release_id"))[:8],
            "date": _text(details.get("released_at"))[:10],
        }
    elif lane == "fingerprint":
        values = {"release": _text(details.get("release_id"))[:8]}
    try:
        return say(f"says:{lane}.{key}", **values)
    except KeyError:  # a status that this kind of source does not have
        return say(f"status:{evidence.status}")


def _facts(evidence: Evidence, lane: str, say: Words) -> Iterator[tuple[str, str]]:
    details = evidence.details
    if lane == "credential":
        yield from _signed(details, say)
    if lane in ("watermark", "fingerprint"):
        if release := _text(details.get("release_id")):
            yield say("release"), release
        similarity = number(details.get("fingerprint_similarity", details.get("similarity")))
        if similarity is not None:
            yield say("similarity"), f"{similarity:.0%}"
    if lane in ("detector", "detectors") and evidence.llr is not None:
        yield say("strength"), _strength(evidence.llr, say)
    condition = details.get("condition")
    if lane == "detector" and isinstance(condition, Mapping):
        fpr, tpr = number(condition.get("fpr")), number(condition.get("tpr"))
        if fpr is not None and tpr is not None:
            yield (
                "",
                say(
                    "measured",
                    name=_text(condition.get("name")),
                    fpr=f"{fpr:.1%}",
                    miss=f"{1 - tpr:.0%}",
                    sources=_text(condition.get("n_sources")),
                ),
            )


def _signed(details: Mapping[str, Any], say: Words) -> Iterator[tuple[str, str]]:
    if issuer := _text(details.get("issuer")):
        yield say("issuer"), issuer
        trusted = details.get("status") == "trusted"
        yield "", say("trusted-list" if trusted else "untrusted-list")
    if at := _text(details.get("signed_at")):
        proof = say("stamp" if details.get("timestamped") is True else "no-stamp")
        yield say("signed"), f"{at[:19].replace('T', ' ')} ({proof})"
    if program := _text(details.get("claim_generator")):
        yield say("program"), program
    uncovered = details.get("uncovered")
    if isinstance(uncovered, list | tuple):
        ranges = [r for r in uncovered if isinstance(r, Mapping) and r.get("blank") is not True]
        n = sum(int((number(r.get("end")) or 0) - (number(r.get("start")) or 0)) for r in ranges)
        if n > 0:
            yield "", say("uncovered", n=n)


def _history(details: Mapping[str, Any]) -> Iterator[str]:
    actions = details.get("actions")
    for action in actions if isinstance(actions, list | tuple) else ():
        if isinstance(action, Mapping):
            parts = [_text(action.get("action")).removeprefix("c2pa.")]
            parts += [_text(action.get("software_agent"))]
            parts += [_text(action.get("digital_source_type")).rsplit("/", 1)[-1]]
            parts += [_text(action.get("when"))[:19].replace("T", " ")]
            yield " · ".join(part for part in parts if part)


def _ingredients(details: Mapping[str, Any], say: Words, depth: int = 0) -> Iterator[Ingredient]:
    found = details.get("ingredients")
    if depth >= MAX_DEPTH or not isinstance(found, list | tuple):
        return
    for one in found:
        if isinstance(one, Mapping):
            status = _text(one.get("status")) or "none"
            issuer = _text(one.get("issuer")) or "?"
            said = say.known(f"says:credential.{status}", status)
            kind = _text(one.get("format"))
            yield Ingredient(
                " · ".join(part for part in (kind, said.replace("{issuer}", issuer)) if part),
                tuple(_ingredients(one, say, depth + 1)),
            )


def _timeline(found: object, say: Words) -> tuple[tuple[Bar, ...], float]:
    """Bars of a timeline; none when it is not one."""
    if not isinstance(found, list | tuple):
        return (), 0.0
    segments = []
    for one in found[:MAX_SEGMENTS]:
        if isinstance(one, Mapping):
            start, end = number(one.get("start_s")), number(one.get("end_s"))
            if start is not None and end is not None and 0 <= start < end < 1e6:
                segments.append((start, end, number(one.get("llr")), one.get("flagged") is True))
    if not segments:
        return (), 0.0
    length = max(end for _, end, _, _ in segments)
    bars = tuple(
        Bar(
            round(100 * start / length, 3),
            round(100 * (end - start) / length, 3),
            None if llr is None else round(5 + 5 * max(-1.0, min(1.0, llr / CAP))),
            flagged,
            say(
                "from",
                start=f"{start:.1f} s",
                end=f"{end:.1f} s",
                what=say("unjudged" if llr is None else "flagged" if flagged else "unflagged"),
            ),
        )
        for start, end, llr, flagged in segments
    )
    return bars, length


def _strength(llr: float, say: Words) -> str:
    side = say("side-synthetic" if llr > 0 else "side-real")
    return say("strength-value", ratio=f"{math.exp(min(20.0, abs(llr))):.3g}", side=side)


def _text(value: object) -> str:
    """Text or a number of unknown origin: short, and printable."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "".join(c for c in str(value)[:300] if c.isprintable())

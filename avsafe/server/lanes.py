"""A verdict as the page shows it: lanes side by side, never one score.

Everything shown comes from structured evidence; its English sentence stands below, for readers who
know the field. Values in evidence may be what a hostile file or a plugin of others made of them:
whatever is not of the expected type is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avsafe.maps.details import details_of, number, source_of
from avsafe.server import signed
from avsafe.server.signed import text
from avsafe.server.when import When, when
from avsafe.server.words import Words
from avsafe.types import Evidence, EvidenceStatus, Verdict

ORDER = ("credential", "watermark", "fingerprint", "domain", "detectors", "detector")
_EVEN = 0.05  # natural logarithm: a likelihood ratio below 1.05 speaks for neither side


@dataclass(frozen=True)
class Item:
    """One source of evidence."""

    source: str
    title: str
    status: str  # as in EvidenceStatus
    status_said: str
    said: str
    note: str  # English, technical
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Lane:
    name: str  # one of ORDER
    title: str
    items: tuple[Item, ...]
    history: tuple[str, ...] = ()
    work: signed.Work | None = None  # what the file was made from


@dataclass(frozen=True)
class Page:
    label: str
    title: str
    text: str
    lanes: tuple[Lane, ...] = ()
    when: When | None = None


def page(verdict: Verdict, say: Words) -> Page:
    """All lanes of a verdict, in the order in which evidence counts."""
    title, said = say.pair(f"label:{verdict.label}")
    lanes = []
    for name in ORDER:
        mine = [e for e in verdict.evidence if source_of(e).partition(".")[0] == name]
        if mine:
            items = tuple(_item(e, name, say) for e in mine)
            credential = details_of(mine[0]) if name == "credential" else {}
            lanes.append(
                Lane(
                    name,
                    say(f"lane:{name}"),
                    items,
                    tuple(signed.history(credential, say)),
                    signed.tree(credential, say),
                )
            )
    return Page(str(verdict.label), title, said, tuple(lanes), when(verdict.evidence))


def source_name(source: str, say: Words) -> str:
    """What a mark or a detector is called; "" for other sources."""
    lane, _, own = source.partition(".")
    kinds = {"watermark": "mark-name", "detector": "detector-name"}
    return say.known(f"{kinds[lane]}:{own}", own) if lane in kinds else ""


def _item(evidence: Evidence, lane: str, say: Words) -> Item:
    return Item(
        source_of(evidence),
        source_name(source_of(evidence), say),
        str(evidence.status),
        say.known(f"status-of:{lane}:{evidence.status}", say(f"status:{evidence.status}")),
        _said(evidence, lane, say),
        evidence.summary,
        tuple(_facts(evidence, lane, say)),
    )


def _said(evidence: Evidence, lane: str, say: Words) -> str:
    details = details_of(evidence)
    key, values = str(evidence.status), {}
    if lane == "credential":
        key = text(details.get("status")) or "unreadable"
        values = {"issuer": text(details.get("issuer")) or "?"}
    elif lane == "watermark" and evidence.status is EvidenceStatus.PRESENT:
        key = "recovered" if details.get("recovered") is True else "unmatched"
        values = {
            "release": text(details.get("release_id"))[:8],
            "date": text(details.get("released_at"))[:10],
        }
    elif lane == "domain" and (kind := text(details.get("kind"))):
        return say.known(f"says:domain.{kind}", say("says:domain.present"))
    elif lane == "fingerprint":
        values = {"release": text(details.get("release_id"))[:8]}
    try:
        return say(f"says:{lane}.{key}", **values)
    except KeyError:  # a status that this kind of source does not have
        return say(f"status:{evidence.status}")


def _facts(evidence: Evidence, lane: str, say: Words) -> Iterator[tuple[str, str]]:
    details = details_of(evidence)
    if lane == "credential":
        yield from signed.facts(details, say)
    if lane == "domain":
        yield from _file(details, say)
    if lane in ("watermark", "fingerprint"):
        if release := text(details.get("release_id")):
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
                    name=text(condition.get("name")),
                    fpr=f"{fpr:.1%}",
                    miss=f"{1 - tpr:.0%}",
                    sources=text(condition.get("n_sources")),
                ),
            )


def _file(details: Mapping[str, Any], say: Words) -> Iterator[tuple[str, str]]:
    """What the file is."""
    width, height = number(details.get("width")), number(details.get("height"))
    length, rate = number(details.get("duration_s")), number(details.get("frame_rate"))
    if text(details.get("kind")) != "image" and length:
        yield say("length"), f"{length:.1f} s"
    if width and height:
        frames = f", {rate:.3g}/s" if rate else ""
        yield say("pixels"), f"{width:.0f} × {height:.0f}{frames}"
    for key in ("picture_class", "sound_class"):
        if found := text(details.get(key)):
            yield say(key), say.known(f"class:{found}", found)
    codecs = [text(details.get(key)) for key in ("container", "video_codec", "audio_codec")]
    if any(codecs):
        yield say("coding"), ", ".join(dict.fromkeys(code for code in codecs if code))


def _strength(llr: float, say: Words) -> str:
    if abs(llr) < _EVEN:
        return say("strength-none")
    side = say("side-synthetic" if llr > 0 else "side-real")
    return say("strength-value", ratio=f"{math.exp(min(20.0, abs(llr))):.3g}", side=side)

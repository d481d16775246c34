"""The credential as the page shows it: who signed, how far that is believed, what the work was made
from. Values are what a hostile file says of itself: of each only plain, short text is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avsafe.maps.details import number
from avsafe.server.words import Words

MAX_DEPTH = 6  # of the tree of ingredients
_SOUND = {"trusted", "intact-unknown-signer", "expired", "malformed-but-intact"}
_BROKEN = {"altered", "damaged"}


@dataclass(frozen=True)
class Work:
    """A node of the tree: this file, or what went into it."""

    title: str
    state: str  # present | absent | invalid | abstained, as of evidence
    state_said: str
    lines: tuple[str, ...]
    below: tuple[Work, ...] = ()


def facts(details: Mapping[str, Any], say: Words) -> Iterator[tuple[str, str]]:
    """Signer, trust list, certificate, revocation, date, program, bytes without cover."""
    if issuer := text(details.get("issuer")):
        yield say("issuer"), issuer
        yield from _certificate(details, say)
        yield say("signed"), _when(details, say)
    if program := text(details.get("claim_generator")):
        yield say("program"), program
    uncovered = details.get("uncovered")
    if isinstance(uncovered, list | tuple):
        ranges = [r for r in uncovered if isinstance(r, Mapping) and r.get("blank") is not True]
        n = sum(int((number(r.get("end")) or 0) - (number(r.get("start")) or 0)) for r in ranges)
        if n > 0:
            yield "", say("uncovered", n=n)


def _certificate(details: Mapping[str, Any], say: Words) -> Iterator[tuple[str, str]]:
    found = details.get("certificate")
    certificate = found if isinstance(found, Mapping) else {}
    where = "none" if details.get("status") != "trusted" else text(certificate.get("trust_list"))
    yield say("trust-list"), say.known(f"trust-list-is:{where}", say("trust-list-is:some"))
    if by := text(certificate.get("issued_by")):
        yield say("certificate"), say("issued-by", name=by)
    since, until = (_day(certificate.get(key)) for key in ("valid_from", "valid_until"))
    if since and until:
        yield say("valid"), say("valid-dates", since=since, until=until)
    if certificate:
        known = text(certificate.get("revocation"))
        yield say("revocation"), say.known(f"revocation-is:{known}", say("revocation-is:unknown"))


def _when(details: Mapping[str, Any], say: Words) -> str:
    at = text(details.get("signed_at"))[:19].replace("T", " ")
    if not at:
        return say("no-date")
    authority = text(details.get("timestamp_authority"))
    if details.get("timestamped") is True:
        return f"{at} ({say('stamp-of', name=authority) if authority else say('stamp')})"
    return f"{at} ({say('no-stamp')})"


def history(details: Mapping[str, Any], say: Words) -> Iterator[str]:
    """What the signer says was done, step by step."""
    actions = details.get("actions")
    for action in actions if isinstance(actions, list | tuple) else ():
        if isinstance(action, Mapping):
            name = text(action.get("action")).removeprefix("c2pa.")
            source = text(action.get("digital_source_type"))
            parts = (
                say.known(f"action:{name}", name),
                _declared([source], say),
                text(action.get("software_agent")),
                text(action.get("when"))[:19].replace("T", " "),
            )
            yield " · ".join(part for part in parts if part)


def tree(details: Mapping[str, Any], say: Words) -> Work | None:
    """This file on top of what it was made from; None where nothing is named."""
    below = tuple(_inputs(details, say))
    if not below:
        return None
    state, said = _state(details, say)
    return Work(say("this-file"), state, said, tuple(_lines(details, say)), below)


def _inputs(details: Mapping[str, Any], say: Words, depth: int = 0) -> Iterator[Work]:
    found = details.get("ingredients")
    if depth >= MAX_DEPTH or not isinstance(found, list | tuple):
        return
    for one in found:
        if not isinstance(one, Mapping):
            continue
        kind, _, form = text(one.get("format")).partition("/")
        named = " ".join(
            part for part in (say.known(f"kind:{kind}", kind), f"({form})" if form else "") if part
        )
        relation = say.known(f"relation:{text(one.get('relationship'))}", say("ingredients"))
        state, said = _state(one, say)
        yield Work(
            f"{relation}: {named or '?'}",
            state,
            said,
            tuple(_lines(one, say)),
            tuple(_inputs(one, say, depth + 1)),
        )


def _state(details: Mapping[str, Any], say: Words) -> tuple[str, str]:
    status = text(details.get("status"))
    state = "present" if status in _SOUND else "invalid" if status in _BROKEN else "absent"
    return state, say.known(f"credential-is:{status}", status or say("credential-is:none"))


def _lines(details: Mapping[str, Any], say: Words) -> Iterator[str]:
    if program := text(details.get("claim_generator")):
        yield say("made-with", program=program)
    types = details.get("source_types")
    if said := _declared(types if isinstance(types, list | tuple) else (), say):
        yield said
    if issuer := text(details.get("issuer")):
        day = _day(details.get("signed_at"))
        yield (
            say("signed-by-on", issuer=issuer, day=day) if day else say("signed-by", issuer=issuer)
        )


def _declared(types: Any, say: Words) -> str:
    codes = [text(one).rsplit("/", 1)[-1] for one in list(types)[:8]]
    kinds = list(dict.fromkeys(say.known(f"source:{code}", code) for code in codes if code))
    return say("declared", what=", ".join(kinds)) if kinds else ""


def _day(value: object) -> str:
    return text(value)[:10]


def text(value: object) -> str:
    """Text or a number of unknown origin: short, and printable."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "".join(c for c in str(value)[:300] if c.isprintable())

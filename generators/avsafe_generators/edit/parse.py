"""Instructions in English and Italian -> operations with parameters.

A sentence is cut into clauses at "and", "then", commas; every clause is read by a list of forms,
the most particular first. A form takes its words, so that no word is used twice; what is left over
is reported as ignored, or, where it asks for something that no operator can do, refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avsafe.errors import NotUnderstood, UsageError
from avsafe_generators.edit import words
from avsafe_generators.edit.forms import FORMS, Clause
from avsafe_generators.text import bare

LONGEST = 1000  # characters
MOST_OPERATIONS = 12
_MARK = "\ue000"  # stands for a quotation; a private character that prompts lose

CAN = (
    "brightness, contrast, saturation, warmer/cooler, night, sepia, black and white, invert, "
    "recolour, blur, sharpen, denoise, pixelate, vignette, styles (cartoon, sketch, oil, "
    "watercolour, poster, emboss), highlight or detect by colour, remove (with --mask), background "
    "(with --mask), text, crop, zoom, rotate, flip, slow down, speed up, reverse, boomerang, loop, "
    "trim, freeze, fades, stabilise, mute, volume"
)


@dataclass(frozen=True)
class Operation:
    """One edit: its name, the Emu-Edit-like task it belongs to, its parameters."""

    name: str
    task: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""  # the clause it was read from

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "task": self.task, **self.parameters}


@dataclass(frozen=True)
class Instructions:
    operations: tuple[Operation, ...]
    ignored: tuple[str, ...]


def parse(prompt: str) -> Instructions:
    """The operations that a prompt asks for, in order.

    Raises NotUnderstood when nothing of it is understood, UsageError when any clause asks for what
    no operator can do (nothing is done by halves), for prompts too long and for too many operations.

    >>> [o.as_json() for o in parse("crop to a square, then slow down 2x").operations]
    [{'name': 'crop', 'task': 'frame', 'shape': '1:1'}, {'name': 'speed', 'task': 'time', 'factor': 0.5}]
    """  # noqa: E501
    if len(prompt) > LONGEST:
        raise UsageError(
            f"The instruction has {len(prompt)} characters; at most {LONGEST} are read. Shorten it."
        )
    text, quotes = plain(prompt)
    operations: list[Operation] = []
    ignored: list[str] = []
    cannot: list[str] = []
    before: Clause | None = None
    for piece in clauses(text):
        clause = Clause(piece, quotes, before)
        impossible = _impossible(piece)
        found = [] if impossible else _read(clause)
        if not found and not impossible:
            impossible = _wish(clause)
        if impossible:
            cannot.append(f"{piece!r} asks to {impossible}")
            continue
        operations += found
        left = re.findall(r"[^\W\d_]\w*", clause.left())
        ignored += [word for word in left if not words.SMALL.fullmatch(word)]
        if found:
            before = clause
    if cannot:
        done = ", ".join(operation.name for operation in operations) or "nothing else"
        raise UsageError(
            f"edit can't do this: {'; '.join(cannot)}. That needs a generative model (see the "
            f"generator diffusers). Understood besides: {done}. It can do: {CAN}."
        )
    if not operations:
        raise NotUnderstood(
            f"edit understands nothing of {prompt[:80]!r}. It can do: {CAN}. For example: 'make "
            "the red car blue and slow down 2x', 'ritaglia in quadrato e metti in bianco e nero'."
        )
    if len(operations) > MOST_OPERATIONS:
        raise UsageError(
            f"{len(operations)} operations in one instruction; at most {MOST_OPERATIONS} are done. "
            "Split it into several runs."
        )
    return Instructions(tuple(operations), tuple(ignored[:50]))


def plain(prompt: str) -> tuple[str, list[str]]:
    """The prompt as plain text, and its quotations as they were.

    >>> plain("Aggiungi il testo 'Ciao!' più in alto")
    ('aggiungi il testo qtext0 piu in alto', ['Ciao!'])
    """
    quotes: list[str] = []
    prompt = prompt.replace(_MARK, " ")

    def quoted(found: re.Match[str]) -> str:
        quotes.append(next(group for group in found.groups() if group is not None).strip())
        return f" {_MARK}{len(quotes) - 1} "

    text = re.sub(r"\"([^\"]*)\"|“([^”]*)”|«([^»]*)»|(?<!\w)['‘]([^'’]*)['’](?!\w)", quoted, prompt)
    text = bare(text)
    text = text.replace("qtext", "q text").replace(_MARK, "qtext")  # a word of ours, not theirs
    text = re.sub(r"['’`]", " ", text)
    return re.sub(r"\s+", " ", text).strip(), quotes


_TOGETHER = (
    (r"black and white|black & white|b&w|bianco e nero|bianco/nero", "blackwhite"),
    (r"\bin and out\b", "inout"), (r"in entrata e (?:in )?(?:in )?uscita", "inout"),
    (r"forwards? (?:and|then) backwards?|back and forth|avanti e indietro", "boomerang"),
    (r"remove the background and (?:make|paint|turn) it", "replace the background with"),
)  # fmt: skip
_BETWEEN = (
    r"\s*(?:[;!?]|,(?!\d)|\.(?!\d)|\band then\b|\bafter that\b|\bthen\b|\band also\b|\band\b|&|\+|"
    r"\be poi\b|\bpoi\b|\bquindi\b|\bdopodiche\b|\binoltre\b|\bed?\b)\s*"
)


def clauses(text: str) -> list[str]:
    """The clauses of a plain text.

    >>> clauses("crop to a square, then make it black and white")
    ['crop to a square', 'make it blackwhite']
    """
    for form, together in _TOGETHER:
        text = re.sub(form, together, text)
    return [piece for piece in re.split(_BETWEEN, text) if piece.strip()]


def _read(clause: Clause) -> list[Operation]:
    found: list[tuple[int, Operation]] = []
    for form in FORMS:
        match = re.search(rf"\b(?:{form.pattern})(?!\w)", clause.free)
        if match is None:
            continue
        parameters = form.read(clause, match)
        if parameters is None:
            continue
        place = match.start()
        clause.take(match.start(), match.end())
        found.append((place, Operation(form.name, form.task, parameters, clause.text)))
        if form.name == "fade" and parameters.get("both"):
            found.pop()
            seconds = {k: v for k, v in parameters.items() if k == "seconds"}
            for name in ("fade_in", "fade_out"):
                found.append((place, Operation(name, form.task, seconds, clause.text)))
    return [operation for _, operation in sorted(found, key=lambda pair: pair[0])]


def _impossible(piece: str) -> str | None:
    """What no operator here can do, whatever else the clause says."""
    if re.search(r"\bqtext\d", piece):
        return None
    for pattern, name in words.IMPOSSIBLE:
        if re.search(rf"\b(?:{pattern})(?!\w)", piece):
            return name
    return None


def _wish(clause: Clause) -> str | None:
    """What a clause without any operation asks for, where that can be said."""
    text = clause.text
    if re.search(rf"\b(?:{words.REPLACE})\b", text):
        return "replace one thing by another"
    if re.search(rf"\b(?:{words.ADD})\b", text):
        return "add something new"
    if re.search(rf"\b(?:{words.BECOME})\b.*\b(?:into|to|in|a|an|un|una)\b", text):
        return "turn one thing into another"
    return None

"""The name of a voice -> what the engine is told.

A voice is a language of the engine, with a variant of it or without: ``it``, ``en-us+f2``.
"""

from __future__ import annotations

from avsafe.errors import UsageError
from avsafe_generators import engine

DEFAULT = "en-us"
# Names that clients of OpenAI's interface send without being asked. They are taken for variants, so
# that such a client works as it is; nothing of how those voices sound is copied.
USUAL = {
    "alloy": "", "ash": "m1", "ballad": "m3", "cedar": "m8", "coral": "f2", "echo": "m2",
    "fable": "m4", "marin": "f4", "nova": "f3", "onyx": "m7", "sage": "f1", "shimmer": "f5",
    "verse": "m6",
}  # fmt: skip


def chosen(voice: str, language: str) -> str:
    """What ``-v`` is given, out of what the engine lists. Raises UsageError for a name that is
    none, and for a voice of another language than the one asked for; MissingExtra.

    >>> chosen("nova", "it")  # doctest: +SKIP
    'it+f3'
    """
    voice, language = voice.strip(), language.strip().lower()
    base, _, variant = voice.partition("+")
    if voice.lower() in USUAL:
        base, variant = "", USUAL[voice.lower()]
    base = base.lower()
    if base and language and base != language:
        raise UsageError(
            f"The voice {voice[:60]!r} does not speak {language[:40]!r}: give one of both."
        )
    base = base or language or DEFAULT
    known = {name.lower(): name for name in engine.voices()}
    if base not in known:
        raise UsageError(
            f"There is no voice {base[:60]!r}. Write a language, with a variant or without: en-us, "
            f"en-gb+f2, it, de, fr, es... ({len(known)} are listed by: {engine.ENGINE} --voices)"
        )
    if variant and variant not in engine.variants():
        raise UsageError(
            f"The voice {base} has no variant {variant[:40]!r}. There are m1 to m8, f1 to f5, and "
            f"those of: {engine.ENGINE} --voices=variant"
        )
    return f"{known[base]}+{variant}" if variant else known[base]

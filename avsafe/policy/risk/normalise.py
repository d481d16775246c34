"""Undo what people do to a text so that a filter does not see it.

``readings`` gives the text as written, then as it reads once disguises are removed. Every reading
is scored and the maximum counts, so that a wrong guess here can only add risk, never hide it.

Sources: Unicode UTS #39 (confusables; only the letters that look like ASCII ones are kept) and
UAX #15 (NFKC).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

# Letters that look like ASCII ones: Cyrillic, Greek, Latin small capitals, some IPA.
_LOOKALIKES = str.maketrans(
    "абвеікмнорѕстухјԁԛԝһӏАВЕІКМНОРЅСТУХЈαβγεικνορτυχηωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡʏᴢɑɡɩıƅɗøØđłŁ",
    "abbeikmhopsctyxjdqwhlABEIKMHOPSCTYXJabyeikvoptuxnwABEZHIKMNOPTYX"
    "abcdefghijklmnopqrstuvwyzagiibdoOdlL",
)
_UPSIDE_DOWN = str.maketrans("ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz", "abcdefghijklmnopqrstuvwxyz")
_LEET = str.maketrans("013456789@$€£!|+(¡²³", "oieasgtbgaseliltcize"[:20])
_MASKS = "*#•·_%"
_SEPARATORS = r"[\s.\-_*|/\\,~+:;·•]"
_SPACED = re.compile(rf"(?<!\w)(?:\w{_SEPARATORS}{{1,2}}){{3,}}\w(?!\w)")
_TOKEN = re.compile(r"\S+")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}={0,2}(?![A-Za-z0-9+/_-])")
_HEX = re.compile(r"(?<![0-9a-fA-F])(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ :,]?){8,}(?![0-9a-fA-F])")
_ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
# Frequent short words: enough of them say that a decoded text is language.
_COMMON = frozenset(
    re.findall(
        r"[a-z]+",
        "a an the of in on with and is are for to from at by she he her his how make without who "
        "un una il la di e con che in per senza le les des et avec sans qui une el los de y sin "
        "que der die das ein eine und mit ohne von im auf wie woman man video girl person that",
    )
)


@dataclass(frozen=True)
class Reading:
    """One way to read a text. ``hidden`` 0-100: how much somebody had to do to hide it so."""

    text: str
    how: str
    hidden: int


def clean(text: str) -> str:
    """NFKC, without invisible characters, stacked accents and lone surrogates; spaces collapsed.

    >>> clean("ｎ\u200bude  woman")
    'nude woman'
    """
    return " ".join(_visible(text).split())


def _visible(text: str) -> str:
    """``clean`` with the spaces as they were: two in a row may part spaced-out words."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = unicodedata.normalize("NFKC", text)
    kept: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Cc":
            kept.append(" ")  # a NUL would end the text for a scorer written in C
        elif category in ("Cf", "Mn", "Me", "Co", "Cn"):
            continue  # invisible, or a mark that NFKC could not join to its letter
        else:
            kept.append(character)
    return "".join(kept)


def fold(text: str) -> str:
    """Lower case without accents: the form in which the lexicon is matched.

    >>> fold("Élection À")
    'election a'
    """
    text = text.casefold().replace("œ", "oe").replace("æ", "ae")
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(item for item in decomposed if unicodedata.category(item) != "Mn")


def readings(text: str) -> list[Reading]:
    """The text as written (cleaned), then every different reading that a disguise could mean."""
    plain = clean(text)
    found = [Reading(plain, "as written", _hidden_marks(text))]
    seen = {fold(plain)}

    def add(candidate: str, how: str, hidden: int) -> None:
        candidate = clean(candidate)
        if candidate and fold(candidate) not in seen:
            seen.add(fold(candidate))
            found.append(Reading(candidate, how, hidden))

    latin = _latin(plain)
    add(latin, "lookalike letters", 75 if _mixed_scripts(plain) else 0)
    despaced = clean(_SPACED.sub(_join_letters, _latin(_visible(text))))
    spaced = despaced != latin
    add(despaced, "despaced", 65 if spaced else 0)
    for one in ("i", "l"):
        leet = _TOKEN.sub(lambda match, one=one: _unleet(match[0], one), despaced)  # type: ignore[misc]
        add(leet, "leet", 30)
        add(_shorten(leet), "repeated letters", 30)
    add(_shorten(despaced), "repeated letters", 20)
    for decoded, how in _decoded(text, plain):
        add(decoded, how, 80)
        add(_SPACED.sub(_join_letters, _latin(clean(decoded))), how, 85)
    for candidate, how in (
        (codecs.encode(plain, "rot13"), "rot13"),
        (plain[::-1], "reversed"),
        (" ".join(word[::-1] for word in plain.split()), "reversed words"),
        (plain.translate(_UPSIDE_DOWN)[::-1], "upside down"),
    ):
        gain = _language(candidate) - _language(plain)
        if gain > 0 and _language(candidate) > 1:
            # One word more may be chance ("a red ball" backwards holds "der"): such a reading is
            # held against the word list, and is no proof that somebody hid something.
            add(candidate, how, 80 if gain > 1 else 0)
    return found


def _hidden_marks(text: str) -> int:
    """Invisible characters inside Latin words, or accents piled on letters."""
    if re.search(r"[A-Za-z][\u200b-\u200f\u2060-\u2064\ufeff\u00ad\x00-\x08]+[A-Za-z]", text):
        return 70 if not re.fullmatch(r"[^\u200b\u2060-\u2064\ufeff\x00-\x08]*", text) else 30
    if re.search(r"[\u0300-\u036f]{3,}", unicodedata.normalize("NFKC", text)):
        return 70
    return 0


def _mixed_scripts(text: str) -> bool:
    """A word that mixes Latin with Cyrillic or Greek letters."""
    for word in re.findall(r"[^\W\d_]{3,}", text):
        scripts = {unicodedata.name(item, "").split(" ")[0] for item in word}
        if "LATIN" in scripts and scripts & {"CYRILLIC", "GREEK"}:
            return True
    return False


def _latin(text: str) -> str:
    letters = []
    for character in text:
        code = ord(character)
        if 0x1F150 <= code <= 0x1F169 or 0x1F170 <= code <= 0x1F189:  # letters in black shapes
            letters.append(chr((code - 0x1F150) % 0x20 + 97))
        elif 0x1F1E6 <= code <= 0x1F1FF:  # regional indicators
            letters.append(chr(code - 0x1F1E6 + 97))
        else:
            letters.append(character)
    return "".join(letters).translate(_LOOKALIKES)


def _join_letters(match: re.Match[str]) -> str:
    """``n u d e`` -> ``nude``; two separators in a row part words."""
    words = re.split(rf"{_SEPARATORS}{{2}}", match[0])
    return " ".join(re.sub(_SEPARATORS, "", word) for word in words)


def _unleet(token: str, one: str) -> str:
    """``p0rn`` -> ``porn``; numbers (1080p, 4K, 35mm) stay as they are."""
    if re.fullmatch(r"[\W_]*\d+([.,:x/]\d+)*[a-zA-Z]{0,3}[\W_]*", token):
        return token
    core = token.strip(".,;:!?\"'()[]{}")
    letters = sum(item.isalpha() for item in core)
    changed = sum(item in "013456789@$€£!|+(¡²³" for item in core)
    if not letters or not changed or changed > 2 * letters:
        return token
    return token.replace(core, core.replace("1", one).translate(_LEET))


def _shorten(text: str) -> str:
    """``nuuude`` -> ``nude``: three or more of a letter become one."""
    return re.sub(r"([^\W\d_])\1{2,}", r"\1", text)


def _decoded(text: str, plain: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for match in _BASE64.finditer(plain):
        word = match[0].replace("-", "+").replace("_", "/").rstrip("=")
        try:
            data = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        found += _printable(data, "base64")
    for match in _HEX.finditer(plain):
        digits = re.sub(r"0x|\\x|[ :,]", "", match[0])
        if len(digits) % 2 == 0:
            found += _printable(bytes.fromhex(digits), "hexadecimal")
    for decoded, how in (
        (unquote(text), "percent escapes"),
        (html.unescape(text), "HTML entities"),
        (_ESCAPES.sub(lambda match: chr(int(match[1] or match[2], 16)), text), "escapes"),
    ):
        if clean(decoded) != plain:
            found.append((decoded, how))
    return found


def _printable(data: bytes, how: str) -> list[tuple[str, str]]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return []
    good = sum(item.isalpha() or item.isspace() for item in text)
    return [(text, how)] if len(text) >= 6 and good > 0.8 * len(text) else []


def _language(text: str) -> int:
    """How many frequent words a text holds."""
    return sum(word in _COMMON for word in re.findall(r"[a-z]+", fold(text)))

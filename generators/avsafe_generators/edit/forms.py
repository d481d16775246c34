# ruff: noqa: E501 - a pattern on one line is easier to read than one in pieces
"""The forms by which a clause is read: pattern, operation, task, how its parameters are found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from avsafe.errors import UsageError
from avsafe_generators.edit import words

_LONGEST_TEXT = 200  # letters
_VOLUME = "The volume, in times of the clip's own,"
Found = re.Match[str]
Read = Callable[["Clause", Found], "dict[str, Any] | None"]


class Clause:
    """A clause in plain text, with the words that are still free."""

    def __init__(self, text: str, quotes: list[str], before: Clause | None) -> None:
        self.text, self.quotes, self.before = text, quotes, before
        self.free = text

    def take(self, start: int, end: int) -> None:
        self.free = self.free[:start] + "_" * (end - start) + self.free[end:]

    def has(self, pattern: str) -> Found | None:
        return re.search(rf"\b(?:{pattern})(?!\w)", self.text)

    def pick(self, pattern: str) -> Found | None:
        """A form anywhere in the clause, whose words are taken."""
        found = re.search(rf"\b(?:{pattern})(?!\w)", self.free)
        if found:
            self.take(*found.span())
        return found

    def left(self) -> str:
        return self.free.replace("_", " ")

    def colours(self) -> list[str]:
        """The colours named, in order."""
        found = re.finditer(rf"\b(?:{words.ANY_COLOUR})\b", self.text)
        return [colour(match.group()) for match in found]

    def direction(self) -> int:
        """-1 for less, 1 for more; "and contrast" goes the way of the clause before it."""
        if self.pick(words.DOWN):
            return -1
        more = self.has(r"increas\w*|rais\w*|more|up|boost\w*|aument\w*|alz\w*|piu")
        return self.before.direction() if self.before and not more and len(self.text) < 20 else 1

    def amount(self, usual: float) -> float:
        percent = self.pick(r"(?:by |del |di |al )?(\d+(?:[.,]\d+)?) ?(?:%|percent|per ?cento)")
        if percent is None:
            percent = re.search(r"(\d+(?:[.,]\d+)?) ?%", self.free)
        if percent:
            self.take(*percent.span())
            return round(min(5.0, number(percent.group(1)) / 100), 4)
        if self.pick(words.WEAK):
            return usual * 0.5
        if self.pick(words.STRONG):
            return usual * 1.8
        return usual

    def where(self) -> dict[str, Any]:
        """The region a pixel operation works on, when the clause names one."""
        for name, pattern in words.REGIONS.items():
            if self.pick(pattern):
                return {"where": name}
        named = re.search(
            rf"\b(?:the|il|lo|la|l|i|gli|le) (?:\w+ )?({words.ANY_COLOUR})\b", self.free
        )
        if named:
            self.take(*named.span(1))
            return {"where": f"colour {colour(named.group(1))}"}
        return {}


def number(text: str) -> float:
    """A number as it is written; at most a billion, so that all that is done with it is finite."""
    if text in words.NUMBERS:
        return float(words.NUMBERS[text])
    return min(float(text.replace(",", ".")), 1e9)


def within(value: float, low: float, high: float, what: str) -> float:
    """The value, or UsageError: what is asked for is done or refused, never changed."""
    if not low <= value <= high:
        raise UsageError(f"{what} goes from {low:g} to {high:g}; asked for {value:g}.")
    return round(value, 4)


def colour(text: str) -> str:
    return next(name for name, form in words.COLOURS.items() if re.fullmatch(form, text))


@dataclass(frozen=True)
class Form:
    name: str
    task: str
    pattern: str
    read: Read


# ---------------------------------------------------------------- how parameters are read


def _where_only(clause: Clause, found: Found) -> dict[str, Any]:
    return clause.where()


def _nothing(clause: Clause, found: Found) -> dict[str, Any]:
    return {}


def _signed(usual: float, less: str = "") -> Read:
    """An amount, negative for less; ``less`` are the forms that say so by themselves."""

    def read(clause: Clause, found: Found) -> dict[str, Any]:
        sign = -1 if less and re.fullmatch(less, found.group()) else clause.direction()
        return {"amount": round(sign * clause.amount(usual), 4), **clause.where()}

    return read


def _strength(usual: float) -> Read:
    def read(clause: Clause, found: Found) -> dict[str, Any]:
        return {"amount": round(clause.amount(usual), 4), **clause.where()}

    return read


def _factor(clause: Clause) -> float | None:
    """How many times: 2x, three times, twice, half (0.5)."""
    times = clause.pick(words.TIMES)
    if times:
        return number(next(group for group in times.groups() if group))
    if clause.pick(r"twice|double|doubl\w*|doppi[oa]|raddoppi\w*"):
        return 2.0
    if clause.pick(r"triple|tripl\w*"):
        return 3.0
    if clause.pick(r"half|halve\w*|meta|dimezz\w*"):
        return 0.5
    if clause.pick(r"quarter|un quarto"):
        return 0.25
    return None


def _percent(clause: Clause) -> tuple[float, bool] | None:
    """(share, whether it is a change by so much and not the new value)."""
    found = clause.pick(r"(by|to|at|del|di|al)?(?: )?(\d+(?:[.,]\d+)?) ?(?:percent|per ?cento)")
    found = found or re.search(r"\b(by|to|at|del|di|al)? ?(\d+(?:[.,]\d+)?) ?%", clause.free)
    if found is None:
        return None
    clause.take(*found.span())
    return number(found.group(2)) / 100, found.group(1) not in ("to", "at", "al")


def _slower(clause: Clause, found: Found) -> dict[str, Any] | None:
    share = _percent(clause)
    if share:
        return {"factor": _in_range(1 - share[0] if share[1] else share[0])}
    times = _factor(clause)
    return {"factor": _in_range(0.5 if times is None else times if times < 1 else 1 / times)}


def _faster(clause: Clause, found: Found) -> dict[str, Any] | None:
    share = _percent(clause)
    if share:
        return {"factor": _in_range(1 + share[0] if share[1] else share[0])}
    times = _factor(clause)
    return {"factor": _in_range(2.0 if times is None else times if times > 1 else 1 + times)}


def _at_speed(clause: Clause, found: Found) -> dict[str, Any] | None:
    share = _percent(clause)
    times = share[0] if share else _factor(clause)
    return None if times is None else {"factor": _in_range(times)}


def _in_range(factor: float) -> float:
    return within(factor, 0.125, 8.0, "The speed, in times of the clip's own,")


def _recolour(clause: Clause, found: Found) -> dict[str, Any] | None:
    named = clause.colours()
    if not named or clause.has(r"blackwhite|background|backdrop|sfondo|contrast\w*"):
        return None
    if clause.has(words.REMOVE + "|keep|highlight|segment|detect"):
        return None
    first = re.search(rf"\b({words.ANY_COLOUR})\b", clause.text)
    start = re.search(rf"\b(?:{_PAINT})(?: (?:di|in))? ({words.ANY_COLOUR})\b", clause.text)
    region = {k: v for k, v in clause.where().items() if v == "mask"} if len(named) < 2 else {}
    for match in re.finditer(rf"\b(?:{words.ANY_COLOUR})\b", clause.text):
        clause.take(*match.span())
    if len(named) == 1:
        of_thing = re.search(rf"\b(?:the|il|la|lo|i|le) (?:{words.ANY_COLOUR})\b", clause.text)
        if of_thing and not start:
            return None  # only the thing's own colour: no target
        return {"target": named[0], **region}
    assert first is not None  # noqa: S101 - there are two
    if start and start.start(1) == first.start():
        return {"source": named[1], "target": named[0]}
    return {"source": named[0], "target": named[-1]}


def _text(clause: Clause, found: Found) -> dict[str, Any] | None:
    quoted = clause.pick(r"qtext(\d+)")
    if quoted:
        text = clause.quotes[int(quoted.group(1))]
    else:
        after = re.search(
            r"\b(?:text|title|caption|testo|titolo|scritta|didascalia|saying|dice)"
            r" (?:saying |che dice )?(.+?)(?= (?:at|in|on|al|nel)\b|$)", clause.text,
        )  # fmt: skip
        if after is None:
            return None
        text = after.group(1)
        clause.take(*after.span(1))
    if len(text) > _LONGEST_TEXT:
        raise UsageError(
            f"The text to be added has {len(text)} letters; at most {_LONGEST_TEXT} are drawn."
        )
    options: dict[str, Any] = {"text": text, "where": "bottom"}
    for name, pattern in words.PLACES.items():
        if clause.pick(pattern):
            options["where"] = name
    named = clause.colours()
    if named:
        options["colour"] = named[0]
        clause.pick(words.ANY_COLOUR)
    big = clause.pick(r"big|large|huge|grande|enorme")
    small = clause.pick(r"small|tiny|piccol[oa]")
    if big or small:
        options["size"] = "large" if big else "small"
    return options if text else None


def _crop(clause: Clause, found: Found) -> dict[str, Any] | None:
    ratio = clause.pick(r"(\d+(?:\.\d+)?) ?[:/] ?(\d+(?:\.\d+)?)")
    if ratio:
        return {"shape": f"{ratio.group(1)}:{ratio.group(2)}"}
    if clause.pick(r"square|quadrat\w*"):
        return {"shape": "1:1"}
    if clause.pick(r"vertical|portrait|verticale"):
        return {"shape": "9:16"}
    if clause.pick(r"widescreen|landscape|panoramic\w*|orizzontale"):
        return {"shape": "16:9"}
    for name in ("left half", "right half", "top half", "bottom half"):
        if clause.pick(words.REGIONS[name]):
            return {"shape": name}
    if clause.pick(r"cent(?:er|re)|middle|centro"):
        return {"shape": "centre"}
    return {"shape": "mask"} if clause.pick(words.REGIONS["mask"]) else None


def _rotate(clause: Clause, found: Found) -> dict[str, Any] | None:
    angle = clause.pick(r"(90|180|270)(?: ?(?:degrees?|deg|gradi|°))?")
    upside = clause.pick(r"upside down|sottosopra|capovolt\w*")
    degrees = int(angle.group(1)) if angle else 180 if upside else None
    back = clause.pick(r"counter ?-?clockwise|anti ?-?clockwise|(?:in senso )?antiorario|to the left|"
                       r"left|a sinistra")  # fmt: skip
    clause.pick(r"clockwise|(?:in senso )?orario|to the right|right|a destra")
    if degrees is None:
        return None if re.search(r"\d", clause.text) or not found.group().startswith("r") else {
            "degrees": 270 if back else 90}  # fmt: skip
    return {"degrees": (360 - degrees) if back else degrees}


def _flip(clause: Clause, found: Found) -> dict[str, Any]:
    upright = clause.pick(r"vertical\w*|upside down|sottosopra|verticale")
    clause.pick(r"horizontal\w*|orizzontale|left to right")
    return {"axis": "vertical" if upright else "horizontal"}


def _seconds(clause: Clause) -> float | None:
    found = clause.pick(words.SECONDS)
    return None if found is None else number(found.group(1) or "1")


def _trim(clause: Clause, found: Found) -> dict[str, Any] | None:
    span = clause.pick(
        rf"(?:from|da|dal|between|tra)(?: \w+)?? (?:second[oi]? )?({words.COUNT})(?: ?s\w*)? "
        rf"(?:to|until|and|a|al|fino a)(?: second[oi]?)? ({words.COUNT})(?: ?s\w*)?"
    )
    if span:
        return {"start_s": number(span.group(1)), "end_s": number(span.group(2))}
    edge = clause.pick(
        rf"(first|initial|prim[oi]|last|final|ultim[oi]) ({words.COUNT})? ?"
        r"(?:s|secs?|seconds?|second[oi])"
    )
    if edge is None:
        return None
    seconds = number(edge.group(2) or "1")
    first = edge.group(1).startswith(("f", "i", "p")) and edge.group(1) != "final"
    away = clause.has(r"trim(?! to)|cut(?! to)|drop|skip|remov\w*|delet\w*|tagli\w*|togli\w*|elimin\w*|"
                      r"rimuov\w*|salt\w*") and not clause.has(r"keep|only|solo|tieni|to the")  # fmt: skip
    if away:
        return {"start_s": seconds} if first else {"drop_last_s": seconds}
    return {"start_s": 0.0, "end_s": seconds} if first else {"last_s": seconds}


def _freeze(clause: Clause, found: Found) -> dict[str, Any]:
    start = clause.pick(r"first|beginning|start|primo|inizio")
    clause.pick(r"last|end|final|ultim[oa]|fine|alla fine")
    seconds = _seconds(clause)
    return {
        "at": "start" if start else "end",
        "seconds": within(seconds or 1.0, 0, 30, "Seconds of a still"),
    }


def _fade(clause: Clause, found: Found) -> dict[str, Any]:
    seconds = _seconds(clause)
    options: dict[str, Any] = {"seconds": within(seconds or 1.0, 0, 10, "Seconds of a fade")}
    if clause.pick(r"white|bianco"):
        options["colour"] = "white"
    clause.pick(r"black|nero|from|to|alla fine|end|start|beginning|inizio")
    if re.search(r"inout", found.group()):
        options["both"] = True
    return options


def _volume(clause: Clause, found: Found) -> dict[str, Any]:
    down = clause.pick(words.DOWN + r"|quiet\w*|soft\w*|silenzios\w*|pian[oi]")
    share = _percent(clause)
    if share:
        value = share[0] if not share[1] else 1 - share[0] if down else 1 + share[0]
        return {"factor": within(max(0.0, value), 0, 8, _VOLUME)}
    times = _factor(clause)
    if times is None:
        return {"factor": 0.5 if down else 1.6}
    return {"factor": within(times if times < 1 or not down else 1 / times, 0, 8, _VOLUME)}


def _loop(clause: Clause, found: Found) -> dict[str, Any]:
    times = _factor(clause)
    return {"times": int(within(2 if times is None else times, 2, 20, "How often a loop plays"))}


def _zoom(clause: Clause, found: Found) -> dict[str, Any]:
    clause.pick(r"on the cent(?:er|re)|in the cent(?:er|re)|cent(?:er|re)|al centro|sul centro")
    times = _factor(clause) or 1.5
    return {"factor": within(times, 1, 8, "The zoom")}


def _background(clause: Clause, found: Found) -> dict[str, Any] | None:
    named = clause.colours()
    clause.pick(words.REGIONS["background"])
    clause.pick(words.ANY_COLOUR)
    return {"target": named[-1]} if named else None


def _of_colour(clause: Clause, found: Found) -> dict[str, Any] | None:
    named = clause.colours()
    clause.pick(words.ANY_COLOUR)
    if clause.has(words.REGIONS["faces"]):
        clause.pick(words.REGIONS["faces"])
        return {"source": "faces"}
    if clause.pick(words.REGIONS["mask"]):
        return {"source": "mask"}
    return {"source": named[0]} if named else None


def _style(clause: Clause, found: Found) -> dict[str, Any]:
    text = found.group()
    name = next(n for n, form in words.STYLES.items() if re.fullmatch(form, text))
    return {"style": name}


def _remove(clause: Clause, found: Found) -> dict[str, Any] | None:
    # "remove the background": nothing to fill the whole of it with
    return None if clause.has(words.REGIONS["background"]) else {}


_PAINT = (
    r"make|turn|change|paint|re-?colou?r|colou?r|dye|tint|fai diventare|rendi|colora|tingi|cambia|"
    r"trasforma|dipingi|fai|tinge"
)
_ALL_STYLES = "|".join(words.STYLES.values())

# In order: a form that stands above another takes the words first.
FORMS: tuple[Form, ...] = (
    Form("text", "text", r"(?:add|write|put|insert|overlay|aggiungi|scrivi|metti|inserisci|show)\b"
         r"(?=.*(?:qtext\d|\btext\b|\btesto\b|\btitle\b|\bcaption\b|\bscritta\b))", _text),
    Form("boomerang", "time", r"boomerang(?: effect)?|ping ?-?pong", _nothing),
    Form("fade", "time", r"(?:fade|dissolvenza|sfumatura) ?inout", _fade),
    Form("fade_out", "time", r"fad\w* (?:to|out)(?: to)?|dissolvenza (?:in uscita|in nero|a nero|al "
         r"nero|finale)|fade at the end|sfuma (?:in nero|alla fine)", _fade),
    Form("fade_in", "time", r"fad\w* (?:in|from)|dissolvenza (?:in entrata|iniziale)", _fade),
    Form("freeze", "time", r"freez\w*|hold|still frame|ferm\w*|blocc\w*|congel\w*", _freeze),
    Form("trim", "time", r"trim\w*|cut|keep|only|drop|skip|first|last|tieni|taglia\w*|solo|"
         r"remov\w*|delet\w*|primi|ultimi|from|da|dal", _trim),
    Form("mute", "sound", r"mut(?:e|ed|ing)(?: (?:the )?(?:sound\w*|audio|it))?|silenc\w*|silenzi\w*|muto|(?:remove|no|without|strip|"
         r"delete|togli|rimuovi|elimina|senza) (?:the |all |its |l |il |lo )?(?:audio|sound\w*|suono)",
         _nothing),
    Form("volume", "sound", r"volume|loud\w*|quiet\w*|(?:the )?sound|audio", _volume),
    Form("speed", "time", r"slow(?:er|ed|ing)?(?: ?-?(?:motion|down|mo))?|rallent\w*|piu lent[oa]|"
         r"moviola|al rallentatore", _slower),
    Form("speed", "time", r"speed(?:ed|ing)? ?(?:it |the video |the clip )?up|faster|fast(?: forward)?|"
         r"quicker|accel\w*|velocizz\w*|piu veloc[ei]|time ?-?lapse|quick", _faster),
    Form("speed", "time", r"speed|velocita", _at_speed),
    Form("reverse", "time", r"revers\w*|backwards?|rewind\w*|al contrario|all indietro|indietro|"
         r"invert\w* (?:il )?(?:video|filmato|clip|tempo)|riavvolg\w*", _nothing),
    Form("loop", "time", r"loop\w*|repeat\w*|ripet\w*|in ciclo", _loop),
    Form("stabilise", "frame", r"stabili[sz]\w*|stead(?:y|ier)|deshake|(?:reduce|remove|less|fix) "
         r"(?:the )?(?:camera )?(?:shak\w*|jitter)|(?:riduci|togli) (?:le |il )?(?:vibrazioni|tremolio)",
         _nothing),
    Form("background", "background", r"(?:replace|change|make|turn|paint|set|sostituisci|cambia|rendi|"
         r"colora|metti) (?:the |lo |il |uno )?(?:background|backdrop|sfondo)", _background),
    Form("background", "background", rf"(?:{words.ANY_COLOUR}) background|sfondo "
         rf"(?:{words.ANY_COLOUR})", _background),
    Form("segment", "segment", r"segment\w*|highlight\w*|isolat\w*|select\w*|colou?r splash|evidenzi\w*|"
         r"isola\w*|seleziona\w*", _of_colour),
    Form("detect", "detect", r"detect\w*|find|locate|box(?:es)?|rileva\w*|trova\w*|individua\w*",
         _of_colour),
    Form("greyscale", "colour", r"blackwhite|gr[ea]y ?-?scale|monochrom\w*|desaturate completely|"
         r"scala di grigi[o]?|monocromatic\w*", _where_only),
    Form("sepia", "colour", r"sepia(?: tone)?|seppia", _where_only),
    Form("invert", "colour", r"(?:invert\w*|negativ\w*)(?: (?:the |i )?colou?r\w*)?", _where_only),
    Form("night", "global", r"(?:day to )?night(?: ?time)?|giorno (?:in|a) notte|notte|notturn\w*",
         _where_only),
    Form("temperature", "colour", r"warm\w*|cool\w*|cold\w*|cald[oaie]|fredd[oaie]|raffredd\w*|"
         r"scald\w*|riscald\w*", _signed(0.35, less=r"cool\w*|cold\w*|fredd\w*|raffredd\w*")),
    Form("saturation", "colour", r"desaturat\w*|saturat\w*|vivid\w*|vibran\w*|colou?rful|muted|dull|"
         r"satura\w*|desatura\w*|vivac[ei]",
         _signed(0.4, less=r"desatura\w*|muted|dull")),
    Form("contrast", "global", r"contrast\w*", _signed(0.3)),
    Form("style", "style", rf"(?:{_ALL_STYLES})", _style),
    Form("pixelate", "local", r"pixel\w*|mosaic\w*|censor\w*", _where_only),
    Form("blur", "local", r"blur\w*|defocus\w*|soft focus|sfoc\w*|sfum\w*", _strength(1.0)),
    Form("denoise", "restore", r"denois\w*|de-noise|(?:remove|reduce|clean|rimuovi|riduci|togli)"
         r"(?: \w+)? (?:noise|grain|rumore|grana)|grain|rumore", _strength(1.0)),
    Form("sharpen", "restore", r"sharp\w*|deblur\w*|crisp\w*|nitid\w*|(?:remove|reduce) (?:the )?blur",
         _strength(1.0)),
    Form("vignette", "global", r"vignett\w*", _strength(0.6)),
    Form("recolour", "colour", rf"(?:{_PAINT})(?=.*\b(?:{words.ANY_COLOUR})\b)", _recolour),
    Form("brightness", "global", r"bright\w*|light(?:en|er|ing)\w*|dark\w*|dim(?:mer)?|expos\w*|"
         r"luminos\w*|chiar[oaie]|schiar\w*|scur[oaie]|scuri\w*|esposizione|illumin\w*",
         _signed(0.3, less=r"dark\w*|dim\w*|scur\w*")),
    Form("zoom", "frame", r"zoom\w*(?: in)?|close ?-?up|ingrandi\w*|avvicina\w*", _zoom),
    Form("crop", "frame", r"crop\w*|cut|ritagli\w*|tagli\w*|reframe", _crop),
    Form("flip", "frame", r"flip\w*|mirror\w*|specchi\w*|capovolg\w*|riflett\w*", _flip),
    Form("rotate", "frame", r"rotat\w*|turn|ruot\w*|gira\w*", _rotate),
    Form("remove", "remove", words.REMOVE, _remove),
)  # fmt: skip

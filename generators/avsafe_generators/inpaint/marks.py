"""Requests to take away marks of provenance are refused, by the words of their intent.

avsafe puts marks on media so that people can tell where they come from; it offers no way to take
marks, labels or credentials of anybody away. The check reads words, in five languages, and can't
know what a mask covers: it states the rule and stops honest mistakes and plain requests, no more.
"""

from __future__ import annotations

import re

from avsafe.errors import UsageError
from avsafe_generators.text import bare

# Words for marks that exist to say where media come from: nothing may be done to them.
_PROVENANCE = (
    r"(?:de|un)?water ?-?marks?\w*|watermark\w*|filigran\w*|wasserzeichen\w*|marcas? de agua|"
    r"c2pa|content ?-?credentials?|credentials?|credenzial\w*|synth ?-?id|provenance|provenienza|"
    r"(?:ai|ia|ki)[ -]?(?:generated |made )?(?:labels?|tags?|badges?|notices?|disclosures?|"
    r"disclaimers?|marks?|etichett\w*|bollin\w*)|"
    r"(?:label|etichett\w*|bollin\w*|dicitur\w*|scritt\w*) (?:\w+ ){0,2}(?:ai|ia)"
)
# Words that can also name a thing in the scene: refused when they are to be taken away or hidden.
_SOFT = (
    r"logos?|logotip\w*|labels?|etichett\w*|etiket\w*|marchi\w*|bollin\w*|stamps?|"
    r"copyright\w*|disclaimers?|disclosures?|channel bugs?|credits?|signatures?|firm[ae]|timbr[oi]"
)
_TAKE_AWAY = (
    r"remov\w*|eras\w*|delet\w*|get(?:ting)? rid|clean\w*|clear\w*|hid(?:e|es|ing|den)|cover\w*|"
    r"wip(?:e|es|ing)|strip\w*|inpaint\w*|crop\w*|cut\w*|blur\w*|pixelat\w*|mask\w*|conceal\w*|"
    r"obscur\w*|eliminat\w*|take (?:\w+ ){0,4}(?:off|out|away)|without|no|free|invisible|"
    r"paint over|fill\w*|"
    r"togli\w*|rimuov\w*|rimozion\w*|cancell\w*|elimin\w*|nascond\w*|copri\w*|sfoc\w*|leva\w*|"
    r"ripuli\w*|pulisc\w*|ritagli\w*|oscur\w*|senza|via|"
    r"entfern\w*|losch\w*|supprim\w*|enlev\w*|effac\w*|sans|quita\w*|borra\w*|sin|ohne"
)
_KEEP = r"keep|leave|preserve|don'?t touch|do not touch|tieni|mantieni|lascia|conserva|non toccare"


def plain(text: str) -> str:
    """Lower case without accents, invisible letters and look-alike digits; quotations left out.

    >>> plain("Rimuovi la F1LIGRANA, è 'no logo'")
    'rimuovi la filigrana, e  '
    """
    text = re.sub(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)['‘][^'’]*['’](?!\w)", " ", text)
    text = bare(text)
    look_alike = str.maketrans("013457@$", "oieastas")

    def word(found: re.Match[str]) -> str:
        whole = found.group()
        return whole.translate(look_alike) if re.search(r"[a-z]", whole) else whole

    return re.sub(r"[\w@$]+", word, text) if not re.search(r"c2pa", text) else text


def refuse_removal(prompt: str, *, takes_away: bool) -> None:
    """Raise UsageError when the prompt asks to remove or hide a mark of provenance.

    ``takes_away``: all that the generator does is taking away (inpaint), so that naming a mark is
    asking for its removal.

    >>> refuse_removal("make the sky darker", takes_away=False)
    """
    text = plain(prompt)
    if re.search(rf"\b(?:{_KEEP})\b", text):
        text = re.sub(rf"\b(?:{_KEEP})\b[^,.;]*", " ", text)
    named = re.search(rf"\b(?:{_PROVENANCE})\b", text)
    if named is None:
        soft = re.search(rf"\b(?:{_SOFT})\b", text)
        if soft is not None and (takes_away or re.search(rf"\b(?:{_TAKE_AWAY})\b", text)):
            named = soft
    if named is not None:
        raise UsageError(
            f"The request speaks of taking away or changing a mark ({named.group()!r}). avsafe "
            "never offers to remove or hide watermarks, logos, labels or credentials: they tell "
            "people where media come from. Ask the owner for a copy without it. If it is a "
            "thing in the scene, name the thing (a sign, a box, a shirt)."
        )

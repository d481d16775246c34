# ruff: noqa: E501 - a pattern on one line is easier to read than one in pieces
"""The words that ``edit`` knows, in English and Italian, as patterns over plain text.

Plain text is lower case, without accents and apostrophes, quotations replaced by ``qtextN``.
"""

from __future__ import annotations

import re

# Colour names -> pattern of their forms.
COLOURS = {
    "red": r"red|ross[oaie]", "green": r"green|verd[ei]", "blue": r"blue|blu",
    "yellow": r"yellow|giall[oaie]", "orange": r"orange|arancion[ei]|arancio",
    "purple": r"purple|violet|viola", "pink": r"pink|rosa", "brown": r"brown|marron[ei]",
    "cyan": r"cyan|turquoise|teal|azzurr[oaie]|celest[ei]|turchese",
    "black": r"black|ner[oaie]", "white": r"white|bianc(?:o|a|hi|he)",
    "grey": r"gr[ea]y|grigi[oae]?",
}  # fmt: skip
ANY_COLOUR = "|".join(COLOURS.values())

NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "uno": 1, "una": 1, "un": 1, "due": 2, "tre": 3, "quattro": 4,
    "cinque": 5, "sei": 6, "sette": 7, "otto": 8, "nove": 9, "dieci": 10, "a": 1, "an": 1,
}  # fmt: skip
COUNT = r"(?:\d+(?:[.,]\d+)?|" + "|".join(word for word in NUMBERS if len(word) > 1) + ")"
SECONDS = rf"({COUNT})?[ -]?(?:s|secs?|seconds?|second[oi])\b"
TIMES = rf"(?:(\d+(?:[.,]\d+)?) ?x\b|x ?(\d+(?:[.,]\d+)?)|({COUNT}) (?:times|volte|fold))"

DOWN = (
    r"decreas\w*|reduc\w*|lower\w*|less|down|cut|drop|weak\w*|riduc\w*|riduz\w*|abbass\w*|"
    r"diminu\w*|meno|cal[ai]\w*|togli\w*"
)
WEAK = r"slightly|a bit|a little|a touch|subtly|un po|leggermente|poco|un pochino"
STRONG = r"a lot|very|much|strongly|heavily|way|molto|tanto|parecchio|fortemente|assai"

REGIONS = {
    "background": r"background|backdrop|everything (?:but|except|apart from|other than)[^,;]*|"
    r"all (?:but|except)[^,;]*|sfondo|tutto (?:tranne|eccetto|meno)[^,;]*",
    "faces": r"faces?|volt[oi]|facci[ae]|vis[oi]",
    "left half": r"left (?:half|side|part)|meta (?:di )?sinistra|parte sinistra|lato sinistro",
    "right half": r"right (?:half|side|part)|meta (?:di )?destra|parte destra|lato destro",
    "top half": r"(?:top|upper) (?:half|side|part)|meta (?:superiore|alta)|parte (?:alta|superiore)",
    "bottom half": r"(?:bottom|lower) (?:half|side|part)|meta (?:inferiore|bassa)|"
    r"parte (?:bassa|inferiore)",
    "mask": r"mask(?:ed)?(?: area| part| region)?|selected (?:area|part|region)|selection|"
    r"marked area|maschera|selezione|(?:zona|parte) (?:selezionata|mascherata)",
}
PLACES = {
    "bottom": r"bottom|below|basso|sotto|fondo", "top": r"top|above|alto|sopra|cima",
    "centre": r"cent(?:er|re)|middle|centro|mezzo",
}  # fmt: skip

STYLES = {
    "cartoon": r"cartoon\w*|comic\w*|cel shad\w*|anime|fumett\w*|carton\w* animat\w*",
    "sketch": r"(?:pencil )?(?:sketch\w*|drawing)|pencil|schizzo|disegno(?: a matita)?|matita",
    "oil": r"oil(?: paint\w*)?|painting|painted|pittura(?: a olio)?|dipinto(?: a olio)?|olio",
    "watercolour": r"water ?colou?rs?|acquerell\w*",
    "poster": r"posteri[sz]\w*|poster|locandina",
    "emboss": r"emboss\w*|rilievo",
}

ADD = r"add|insert|put|place|give|attach|draw|aggiung\w*|inserisc\w*|metti\w*|disegn\w*"
BECOME = r"turn|transform|change|convert|morph|make|trasform\w*|cambi\w*|convert\w*|fai diventare"
REPLACE = r"replac\w*|swap\w*|substitut\w*|exchang\w*|sostitu\w*|rimpiazz\w*|scambi\w*"
REMOVE = (
    r"remov\w*|eras\w*|delet\w*|get rid of|take (?:away|out)|eliminat\w*|rimuov\w*|togli\w*|"
    r"cancell\w*|elimin\w*|fai sparire|leva"
)

# Wishes that need a generative model: (pattern, what it is called).
IMPOSSIBLE = (
    (r"smil\w*|laugh\w*|frown\w*|cry|crying|sorrid\w*|ride(?:re)?|piang\w*|expression|espressione|"
     r"wink\w*|(?:open|close)\w* (?:\w+ )?(?:eyes?|mouth)|(?:apr|chiud)\w* (?:gli |la )?"
     r"(?:occhi|bocca)", "change a face or its expression"),
    (r"young\w*|older|age|aged|years? old|ringiovan\w*|invecchi\w*|giovane|anziano|vecchio di",
     "change a person's age"),
    (r"face ?-?swap\w*|deep ?fake\w*|look like (?:the )?(?:him|her|someone|somebody|me|a person)|"
     r"(?:make|let) (?:him|her|them|the (?:man|woman|person|boy|girl)) (?:look|into|a\b|an\b|be)\w*"
     r"|someone else|qualcun altro|somigli\w*|assomigli\w*|lips?|labbra|say|saying that|dire|"
     r"undress\w*|naked|nude?|spogli\w*|nud[oaie]", "change a person"),
    (r"rain\w*|snow\w*|fog\w*|storm\w*|piov\w*|piogg\w*|nev[ei]\w*|nevic\w*|nebbia|temporale",
     "make weather"),
    (r"danc\w*|jump\w*|walk\w*|run(?:ning)?|fly\w*|ball(?:a|are|i)|salt\w*|cammin\w*|corr(?:e|ere)|"
     r"vol(?:a|are)", "change what somebody or something does"),
)  # fmt: skip

# Words that carry no meaning of their own: never reported as ignored.
SMALL = re.compile(
    r"(?:a|an|the|it|its|this|that|these|those|to|of|in|on|at|by|for|from|into|with|as|is|are|be|so|"
    r"up|out|off|all|whole|please|can|could|you|i|me|my|we|text|title|caption|style|words|saying|increas\w*|rais\w*|boost\w*|testo|scritta|titolo|stile|aument\w*|alz\w*|want|would|like|video|clip|footage|movie|"
    r"film|picture|image|scene|frames?|shot|make|makes?|turn|set|apply|give|put|add|do|let|get|look|"
    r"looks?|effect|filter|more|only|just|also|too|very|some|version|instead|them|colou?rs?|"
    r"il|lo|la|i|gli|le|l|un|uno|una|di|del|della|dello|dei|delle|degli|da|dal|dalla|al|allo|alla|"
    r"ai|alle|nel|nella|in|con|su|sul|sulla|per|che|e|ed|si|piu|fai|fallo|falla|fa|fare|rendi|"
    r"rendilo|metti|metta|aggiungi|applica|dai|tutto|tutta|ripresa|immagine|scena|filmato|effetto|"
    r"filtro|solo|anche|poi|come|sia|suo|colori?|vorrei|puoi|qtext\d+)"
)

"""Where media comes from, in the words of IPTC. c2pa-rs checks none of these URIs; we do.

Source: IPTC NewsCodes, Digital Source Type (cv.iptc.org/newscodes/digitalsourcetype), and the two
values that C2PA 2.x adds (section "Digital source type" of the actions assertion).
"""

from __future__ import annotations

from collections.abc import Iterable

from avsafe.errors import UsageError

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
C2PA = "http://c2pa.org/digitalsourcetype/"

TRAINED_ALGORITHMIC_MEDIA = IPTC + "trainedAlgorithmicMedia"
COMPOSITE_WITH_TRAINED = IPTC + "compositeWithTrainedAlgorithmicMedia"
ALGORITHMIC_MEDIA = IPTC + "algorithmicMedia"

_IPTC_CODES = (
    "algorithmicMedia",
    "algorithmicallyEnhanced",
    "composite",
    "compositeCapture",
    "compositeSynthetic",
    "compositeWithTrainedAlgorithmicMedia",
    "computationalCapture",
    "dataDrivenMedia",
    "digitalArt",  # retired, replaced by digitalCreation; still met in old files
    "digitalCapture",
    "digitalCreation",
    "humanEdits",
    "minorHumanEdits",  # retired, replaced by humanEdits
    "multiFrameComputationalCapture",
    "negativeFilm",
    "positiveFilm",
    "print",
    "screenCapture",
    "softwareImage",  # retired
    "trainedAlgorithmicMedia",
    "virtualRecording",
)
_C2PA_CODES = ("empty", "trainedAlgorithmicData")
RETIRED = frozenset(IPTC + code for code in ("digitalArt", "minorHumanEdits", "softwareImage"))
KNOWN = frozenset([IPTC + code for code in _IPTC_CODES] + [C2PA + code for code in _C2PA_CODES])

# Made or edited, wholly or in part, by a model that learnt from data.
AI = frozenset(
    {
        TRAINED_ALGORITHMIC_MEDIA,
        COMPOSITE_WITH_TRAINED,
        IPTC + "compositeSynthetic",  # "at least one element is generative AI"
        C2PA + "trainedAlgorithmicData",
    }
)
# AI, or drawn by a program without any training data: not a recording of the world either way.
# algorithmicallyEnhanced (denoising, upscaling) and virtualRecording ("and/or captured elements")
# make no such statement.
SYNTHETIC = AI | {ALGORITHMIC_MEDIA}


def check(uri: str) -> str:
    """The same URI when it may be written into a new manifest.

    Raises UsageError for one that is unknown or retired.

    >>> check("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")[-23:]
    'trainedAlgorithmicMedia'
    """
    if uri in KNOWN and uri not in RETIRED:
        return uri
    state = "is retired by IPTC" if uri in RETIRED else "is not a digital source type"
    codes = ", ".join(code for code in _IPTC_CODES if IPTC + code not in RETIRED)
    raise UsageError(f"{uri!r} {state}. Expected {IPTC} followed by one of: {codes}.")


def normal(uri: str) -> str:
    """The usual spelling of a URI met in a file: old writers used https and other letter cases."""
    lowered = uri.strip().replace("https://", "http://", 1).lower()
    return _BY_LOWERED.get(lowered, uri.strip())


def declares(uris: Iterable[str], kinds: frozenset[str]) -> bool:
    """True when any of the URIs, in whatever spelling, is one of ``kinds``."""
    return any(normal(uri) in kinds for uri in uris)


_BY_LOWERED = {uri.lower(): uri for uri in KNOWN}

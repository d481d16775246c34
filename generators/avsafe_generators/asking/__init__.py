"""Reading a request: what every generator asks of it, with one wording for what is wrong.

``parameters`` (names, ranges), ``size`` and ``duration``, ``media_in`` and its readings
(``picture``, ``footage``, ``sound``), ``region`` (the mask) and ``Watched`` (progress, cancel).
"""

from avsafe_generators.asking.inputs import (
    Footage,
    fitted_size,
    footage,
    media_in,
    optional,
    picture,
    sound,
)
from avsafe_generators.asking.parameters import (
    OF_THE_GATE,
    Choice,
    Flag,
    Knob,
    Number,
    Text,
    duration,
    parameters,
    size,
)
from avsafe_generators.asking.regions import Region, region
from avsafe_generators.asking.watched import Beat, Watched

__all__ = [
    "OF_THE_GATE",
    "Beat",
    "Choice",
    "Flag",
    "Footage",
    "Knob",
    "Number",
    "Region",
    "Text",
    "Watched",
    "duration",
    "fitted_size",
    "footage",
    "media_in",
    "optional",
    "parameters",
    "picture",
    "region",
    "size",
    "sound",
]

"""Reading a request: what every generator asks of it, with one wording for what is wrong.

``parameters`` (names, ranges), ``size`` and ``duration``, ``media_in`` and its readings
(``picture``, ``footage``, ``sound``), ``region`` (the mask) and ``Watched`` (progress, cancel).
"""

from avsafe_generators.asking.inputs import (
    Footage,
    covered,
    fitted_size,
    footage,
    media_in,
    optional,
    picture,
    sound,
)
from avsafe_generators.asking.parameters import (
    OF_THE_GATE,
    Box,
    Choice,
    Flag,
    Knob,
    Number,
    Rate,
    Text,
    duration,
    parameters,
    refuse_other_tasks,
    size,
)
from avsafe_generators.asking.regions import Region, region
from avsafe_generators.asking.watched import Beat, Watched

__all__ = [
    "OF_THE_GATE",
    "Beat",
    "Box",
    "Choice",
    "Flag",
    "Footage",
    "Knob",
    "Number",
    "Rate",
    "Region",
    "Text",
    "Watched",
    "covered",
    "duration",
    "fitted_size",
    "footage",
    "media_in",
    "optional",
    "parameters",
    "picture",
    "refuse_other_tasks",
    "region",
    "size",
    "sound",
]

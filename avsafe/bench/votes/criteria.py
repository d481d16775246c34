"""What raters are asked, and which reasons they may give.

A question has one winner and no ties, and a vote names its reasons from a fixed list: the protocol
of JUICE (Girdhar et al. 2023, Emu Video, section 4.1 and appendix), in words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """``reasons`` maps a short name, which votes keep, to what the rater reads."""

    name: str
    question: str
    reasons: dict[str, str]
    shows_text: bool = False
    with_sound: bool = False


CRITERIA = {
    one.name: one
    for one in (
        Criterion(
            "quality",
            "Which clip looks better? Leave aside whether it fits any text.",
            {
                "sharper": "its pictures are sharper",
                "smoother": "its motion is smoother",
                "recognisable": "things and scenes are easier to recognise",
                "consistent": "things keep their look from frame to frame",
                "motion": "the amount of motion is right",
            },
        ),
        Criterion(
            "faithfulness",
            "Which clip shows better what the text says? Leave aside how good it looks.",
            {
                "things": "the things, places and looks of the text are there",
                "arrangement": "they are where the text says",
                "events": "what happens, and in which order, is what the text says",
            },
            shows_text=True,
        ),
        Criterion(
            "sync",
            "In which clip do picture and sound belong together better?",
            {
                "on_time": "sounds come when things happen, or lips move",
                "right_sound": "the sounds are of what is seen",
                "complete": "nothing that should be heard is missing",
                "no_extra": "nothing is heard that has no cause",
            },
            with_sound=True,
        ),
        Criterion(
            "person",
            "In which clip does the person look and move more like a real one?",
            {
                "face": "the face keeps its shape and identity",
                "mouth": "mouth and teeth look right",
                "eyes": "eyes and blinking look right",
                "head": "the head moves naturally",
                "expression": "the expression fits what is said",
            },
            with_sound=True,
        ),
    )
}

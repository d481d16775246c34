"""What the gallery shows: at least two works per task; inputs are works made before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avsafe.types import Task

_SUFFIXES = {Task.TEXT_TO_IMAGE: ".png", Task.TEXT_TO_SPEECH: ".mp3"}
SIDE = 384  # pixels: small enough to keep in a repository, large enough for every mark


@dataclass(frozen=True)
class Entry:
    """One work. ``inputs`` maps a role to the key of an earlier work."""

    key: str
    task: Task
    generator: str
    prompt: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    seed: int = 1
    duration_s: float | None = None
    side: int | None = None  # None: the size of its input
    sounds: bool = False  # it is wrong when it is silent

    @property
    def suffix(self) -> str:
        return _SUFFIXES.get(self.task, ".mp4")


_WOMAN = "a young woman with long brown hair, smiling, blue background"
_MAN = "an old man with a grey beard and glasses, dark green jacket"

ENTRIES: tuple[Entry, ...] = (
    Entry("stars", Task.TEXT_TO_IMAGE, "world", "three golden stars in the desert at sunset",
          side=512),
    Entry("beach", Task.TEXT_TO_IMAGE, "world", "a big striped ball by the sea at sunset",
          side=512, seed=4),
    Entry("woman", Task.TEXT_TO_IMAGE, "portrait", _WOMAN, side=512, seed=3),
    Entry("man", Task.TEXT_TO_IMAGE, "portrait", _MAN, side=512, seed=8),
    Entry("ball", Task.TEXT_TO_VIDEO, "world",
          "a red metal ball bouncing on grass and a blue glass cube, at sunset", seed=7,
          duration_s=3, side=SIDE, sounds=True),
    Entry("crash", Task.TEXT_TO_VIDEO, "world",
          "a big wooden ball rolling right hits a green stone cube in a room", seed=2,
          duration_s=3, side=SIDE, sounds=True),
    Entry("two-stage-1", Task.TEXT_TO_VIDEO, "two-stage",
          "a big purple rubber star bouncing and a small yellow cube moving left by the sea",
          seed=3, duration_s=4, side=SIDE, sounds=True),
    Entry("two-stage-2", Task.TEXT_TO_VIDEO, "two-stage",
          "a golden ring rolling right in a room, camera zooms in", seed=4, duration_s=4,
          side=SIDE, sounds=True),
    Entry("one-pass-1", Task.TEXT_TO_VIDEO, "one-pass", "a red ball bouncing on grass", seed=1,
          duration_s=5, side=SIDE),
    Entry("one-pass-2", Task.TEXT_TO_VIDEO, "one-pass", "a blue cube moving right in a desert",
          seed=2, duration_s=5, side=SIDE),
    Entry("beach-orbit", Task.IMAGE_TO_VIDEO, "photo-motion", "the camera orbits slowly",
          {"image": "beach"}, duration_s=3, side=SIDE),
    Entry("woman-zoom", Task.IMAGE_TO_VIDEO, "photo-motion", "zoom in", {"image": "woman"},
          duration_s=3, side=SIDE),
    Entry("sea-loop", Task.CINEMAGRAPH, "cinemagraph", "the water flows to the right",
          {"image": "beach"}, {"mask": "0,0.56,0.34,0.1"}, duration_s=3, side=SIDE),
    Entry("sky-loop", Task.CINEMAGRAPH, "cinemagraph", "clouds drifting to the left",
          {"image": "stars"}, {"mask": "0,0,1,0.4"}, duration_s=3, side=SIDE),
    Entry("watercolour", Task.STYLIZE_VIDEO, "stylize", "watercolour", {"video": "ball"},
          sounds=True),
    Entry("pencil", Task.STYLIZE_VIDEO, "stylize", "pencil sketch", {"video": "crash"},
          sounds=True),
    Entry("without-cube", Task.INPAINT_VIDEO, "inpaint", "", {"video": "ball"},
          {"mask": "0.52,0.64,0.32,0.27"}, sounds=True),
    Entry("without-sun", Task.INPAINT_VIDEO, "inpaint", "", {"video": "ball"},
          {"mask": "0.53,0.39,0.21,0.21"}, sounds=True),
    Entry("recoloured", Task.EDIT_VIDEO, "edit", "make the red ball blue", {"video": "ball"},
          sounds=True),
    Entry("slow-titled", Task.EDIT_VIDEO, "edit",
          "slow down to half speed and add the text 'Hello' at the bottom", {"video": "crash"},
          sounds=True),
    Entry("foley-ball", Task.VIDEO_TO_AUDIO, "foley", "a metal ball, wind in the grass",
          {"video": "ball"}, sounds=True),
    Entry("foley-star", Task.VIDEO_TO_AUDIO, "foley", "rubber, waves of the sea, no music",
          {"video": "two-stage-1"}, sounds=True),
    Entry("welcome", Task.TEXT_TO_SPEECH, "speech",
          "Welcome. This voice belongs to nobody, and the sound carries a signed mark.",
          parameters={"voice": "en-gb"}, sounds=True),
    Entry("benvenuti", Task.TEXT_TO_SPEECH, "speech",
          "Benvenuti. Questa voce non è di nessuno, e il suono porta un segno firmato.",
          parameters={"voice": "it+f2", "speed": "0.9"}, sounds=True),
    Entry("woman-speaks", Task.TALKING_HEAD, "talking-head",
          "Welcome. Every frame of this video carries a signed mark.", {"portrait": "woman"},
          side=512, sounds=True),
    Entry("man-speaks", Task.TALKING_HEAD, "talking-head",
          "I was never born, so nobody had to be asked.", {"portrait": "man"}, side=512,
          sounds=True),
)  # fmt: skip

# What the gate must refuse: a picture of unknown origin that is to speak in an unknown voice.
REFUSED = Entry("stranger-speaks", Task.TALKING_HEAD, "talking-head",
                "I never said this.", {"portrait": "stranger", "voice": "stranger"})  # fmt: skip

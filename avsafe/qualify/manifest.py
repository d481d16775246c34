"""What a user says of weights: ``manifest.json``, schema 1 (docs/detectors-plugins.md).

Legend: ``n`` samples, ``w`` windows, ``h`` ``w`` sides in pixels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from avsafe.errors import UsageError
from avsafe.qualify.fields import Fields, load, shown
from avsafe.types import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST, QUALIFICATION = "manifest.json", "qualification.json"
SCHEMA = 1
FORMATS = ("onnx", "safetensors")
MODALITIES = ("speech", "image", "video", "audio-visual")
RESERVED = ("all", "none", "domain")  # words of avsafe verify --detectors
POLARITIES = ("higher is synthetic", "higher is real")
KINDS_OF = {
    "speech": (Kind.AUDIO, Kind.VIDEO),
    "image": (Kind.IMAGE,),
    "video": (Kind.VIDEO,),
    "audio-visual": (Kind.VIDEO,),
}
_NAME = r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?"
_NAMED = "a name of small letters, digits, - and _, at most 40 long"
_DIGEST = r"[0-9a-fA-F]{64}"
_PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle", ".th", ".pth.tar", ".joblib", ".npy")


@dataclass(frozen=True)
class Weight:
    """One file of weights inside the detector's folder."""

    path: str  # relative; no "..", no link
    format: str  # onnx | safetensors
    sha256: str  # hex, small letters


@dataclass(frozen=True)
class Output:
    """Which number of the network's output is the score.

    ``minus`` is another index that is taken from it (two logits); ``scale`` "probability" is turned
    into log-odds, so that the ends of the range do not pile up.
    """

    index: int = 0
    minus: int | None = None
    scale: Literal["logit", "probability"] = "logit"
    name: str = ""  # of the output, where an ONNX model has several

    def of(self, row: NDArray[Any]) -> float:
        """The score in one item's output, any shape.

        >>> import numpy as np
        >>> Output(1, 0).of(np.array([[0.5, 2.0]]))
        1.5
        """
        flat = row.reshape(-1)
        last = max(self.index, self.minus or 0)
        if last >= flat.size:
            raise UsageError(
                f"The network gives {flat.size} numbers; output.index {last} is none of them "
                "(the first is 0)."
            )
        value = self._log_odds(float(flat[self.index]))
        return value if self.minus is None else value - self._log_odds(float(flat[self.minus]))

    def _log_odds(self, value: float) -> float:
        if self.scale == "logit" or not math.isfinite(value):
            return value
        if not -1e-3 <= value <= 1 + 1e-3:
            raise UsageError(
                f"The network gave {value:g}, which is no probability. Say in the manifest: "
                '"output": {"scale": "logit"}.'
            )
        kept = min(max(value, 1e-7), 1 - 1e-7)
        return math.log(kept / (1 - kept))


@dataclass(frozen=True)
class SoundInput:
    """What sound a network wants: mono windows ``(w, n)`` float32, in [-1, 1] unless normalised."""

    rate_hz: int
    window_s: float
    samples: int  # of a window
    windows: int  # at most so many, spread over the sound; their scores are averaged
    normalise: str  # none | peak | rms | z-score
    short: str  # what a sound shorter than a window gets: repeat | zeros | abstain


@dataclass(frozen=True)
class PictureInput:
    """What pictures a network wants.

    ``fit``: "resize" the short side, then cut the centre; "squeeze" into the sides; "crop" the
    centre at its own size (nothing is resized unless the picture is smaller).
    """

    height: int
    width: int
    fit: str
    mean: tuple[float, ...]  # of values 0..1, one a channel
    std: tuple[float, ...]
    colour: str  # rgb | bgr | grey
    layout: str  # nchw | nhwc; with ``sequence`` the frames stand second
    frames: int  # at most so many, spread over the clip
    sequence: bool  # frames go in together, not one by one
    rate: float | None  # frames a second in a run; None: spread over the clip


@dataclass(frozen=True)
class Manifest:
    """All that is known of a detector before it is measured."""

    name: str
    title: str
    adapter: str
    modality: str
    kinds: tuple[Kind, ...]
    weights: Mapping[str, Weight]
    architecture: str
    polarity: str  # POLARITIES
    output: Output
    sound: SoundInput | None
    pictures: PictureInput | None
    content: tuple[str, ...]  # sound or picture classes that it is for; () any
    options: Mapping[str, Any]  # for the adapter
    licence: str
    commercial_ok: bool
    training_sets: tuple[str, ...]
    source_url: str
    hub: str  # id@revision, for the record: never fetched
    digest: str = field(repr=False, default="")  # SHA-256 of all of it

    @property
    def sign(self) -> float:
        """What a raw score is multiplied with, so that higher is synthetic."""
        return 1.0 if self.polarity == POLARITIES[0] else -1.0

    def digests(self) -> dict[str, str]:
        """Part -> SHA-256 of its weights."""
        return {part: one.sha256 for part, one in sorted(self.weights.items())}


def parse(text: bytes, name: str = MANIFEST) -> Manifest:
    """A manifest from its JSON text. Raises UsageError with the place of the first mistake.

    >>> parse(b'{"schema": 2}')
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: manifest.json.schema is a whole number from 1 to 1, not 2.
    """
    value = load(text, name)
    f = Fields(value, name)
    f.number("schema", SCHEMA, SCHEMA, whole=True)
    modality = f.text("modality", among=MODALITIES)
    kinds = f.texts("kinds", [str(k) for k in KINDS_OF[modality]], among=[str(k) for k in Kind])
    if not kinds:
        raise UsageError(f"{name}.kinds is empty; name audio, image or video.")
    given = f.part("input", {})
    sound = _sound(given.part("sound")) if "sound" in given else None
    pictures = _pictures(given.part("pictures")) if "pictures" in given else None
    _only(given, ("sound", "pictures"))
    source = f.part("source", {})
    found = Manifest(
        name=f.text("name", like=_NAME, called=_NAMED),
        title=f.text("title", ""),
        adapter=f.text("adapter", like=_NAME, called="the name of an adapter, e.g. onnx"),
        modality=modality,
        kinds=tuple(Kind(k) for k in kinds),
        weights=_weights(f.part("weights")),
        architecture=f.text("architecture", ""),
        polarity=f.text("polarity", among=POLARITIES),
        output=_output(f.part("output", {})),
        sound=sound,
        pictures=pictures,
        content=f.texts("content", ["speech"] if modality == "speech" else []),
        options=f.plain("options", {}),
        licence=f.text("licence"),
        commercial_ok=f.yes_no("commercial_ok"),
        training_sets=f.texts("training_sets"),
        source_url=source.text("url", "", like=r"(https?://\S+)?", called="a web address"),
        hub=source.text("hub", "", like=r"([\w.-]+/[\w.-]+@[\w.-]+)?", called="id@revision"),
        digest=digest_of(value),
    )
    source.done()
    f.done()
    if found.name in RESERVED:
        raise UsageError(f"{name}.name: {found.name!r} has a meaning of its own; choose another.")
    return found


def digest_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of what a manifest says, whatever the order of its fields and its spaces."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def valid_name(name: str) -> bool:
    """
    >>> valid_name("aasist-l"), valid_name("../x"), valid_name(".hidden")
    (True, False, False)
    """
    import re

    return re.fullmatch(_NAME, name) is not None


def _weights(f: Fields) -> dict[str, Weight]:
    found: dict[str, Weight] = {}
    for part in f.names():
        if not valid_name(part):
            raise UsageError(f"{f.place}: {shown(part)!r} is no name of a part, e.g. model.")
        one = f.part(part)
        path = one.text("path", longest=200)
        check_path(path, f"{one.place}.path")
        found[part] = Weight(
            path,
            one.text("format", among=FORMATS),
            one.text("sha256", like=_DIGEST, called="64 hex digits (sha256sum FILE)").lower(),
        )
        one.done()
    if not found:
        raise UsageError(f'{f.place} is empty; expected "model": {{"path", "format", "sha256"}}.')
    return found


def check_path(path: str, place: str) -> None:
    """Raises UsageError unless the path stays inside the folder and is no pickle."""
    parts = PurePosixPath(path).parts
    if (
        path.startswith("/")
        or "\\" in path
        or ":" in path
        or path != "/".join(parts)
        or any(part.startswith(".") for part in parts)
        or path in (MANIFEST, QUALIFICATION)
    ):
        raise UsageError(
            f'{place} is a file inside the folder of the manifest, without "..", not {shown(path)}.'
        )
    if path.lower().endswith(_PICKLES):
        raise UsageError(f"{place}: {shown(path)} {PICKLE}")


PICKLE = (
    "is a pickle, which may run any program when it is read. Expected ONNX or safetensors; convert "
    "it elsewhere, where you can afford to trust it (docs/detectors-plugins.md, Convert)."
)


def _output(f: Fields) -> Output:
    minus = f.number("minus", 0, 100_000, None, whole=True)
    found = Output(
        int(f.number("index", 0, 100_000, 0, whole=True)),
        None if minus is None else int(minus),
        f.text("scale", "logit", among=("logit", "probability")),  # type: ignore[arg-type]
        f.text("name", ""),
    )
    f.done()
    if found.minus == found.index:
        raise UsageError(f"{f.place}.minus is the index itself: every score would be 0.")
    return found


def _sound(f: Fields) -> SoundInput:
    rate = int(f.number("rate_hz", 4_000, 48_000, whole=True))
    if "samples" in f:
        samples = int(f.number("samples", 16, 60 * rate, whole=True))
    else:
        samples = round(f.number("window_s", 0.05, 60.0) * rate)
    found = SoundInput(
        rate,
        samples / rate,
        samples,
        int(f.number("windows", 1, 60, 4, whole=True)),
        f.text("normalise", "none", among=("none", "peak", "rms", "z-score")),
        f.text("short", "repeat", among=("repeat", "zeros", "abstain")),
    )
    f.done()
    return found


def _pictures(f: Fields) -> PictureInput:
    channels = 1 if f.text("colour", "rgb", among=("rgb", "bgr", "grey")) == "grey" else 3
    if "side" in f:
        height = width = int(f.number("side", 8, 2048, whole=True))
    else:
        height = int(f.number("height", 8, 2048, whole=True))
        width = int(f.number("width", 8, 2048, whole=True))
    std = f.numbers("std", channels, 1e-6, 1e6, [1.0] * channels)
    found = PictureInput(
        height,
        width,
        f.text("fit", "resize", among=("resize", "squeeze", "crop")),
        f.numbers("mean", channels, -1e6, 1e6, [0.0] * channels),
        std,
        f.text("colour", "rgb"),
        f.text("layout", "nchw", among=("nchw", "nhwc")),
        int(f.number("frames", 1, 32, 8, whole=True)),
        f.yes_no("sequence", False),
        f.number("rate", 0.5, 30.0, None),
    )
    f.done()
    return found


def _only(f: Fields, names: tuple[str, ...]) -> None:
    if extra := sorted(set(f.names()) - set(names)):
        raise UsageError(
            f"{f.place}.{shown(extra[0], 60)} means nothing here (known: {', '.join(names)})."
        )

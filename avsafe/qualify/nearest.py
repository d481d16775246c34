"""Which measured condition a file is near: by its codec, size, rate and bit rate.

A condition's ``where`` holds the codecs of the files that it was measured on and the range of each
quantity. A file may lie outside a range by a factor of two; beyond, nothing is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from avsafe.calibration import Condition
from avsafe.types import Kind, Media

OUTSIDE = 1.0  # octaves
_LOSSLESS = {"png", "flac", "apng", "alac", "ffv1", "gif"}
_AT_LEAST = {"seconds"}  # more of it is no worse: what is looked at is bounded


@dataclass(frozen=True)
class Traits:
    """What tells the conditions of a file apart, from its probe alone."""

    kind: Kind
    codec: str
    quantities: Mapping[str, float]

    def as_words(self) -> str:
        """
        >>> Traits(Kind.IMAGE, "jpeg", {"pixels": 786432.0, "bits a pixel": 1.25}).as_words()
        'image, jpeg, pixels 786432, bits a pixel 1.25'
        """
        said = [f"{name} {value:.7g}" for name, value in self.quantities.items()]
        return ", ".join([str(self.kind), self.codec, *said])


def traits(media: Media, modality: str) -> Traits:
    """Of a file, as far as they matter to what a detector looks at."""
    video, audio = media.video, media.audio
    found: dict[str, float] = {}
    hears = modality in ("speech", "audio-visual")
    sees = modality != "speech"
    codecs = []
    if sees and video is not None:
        codecs.append(video.codec)
        found["pixels"] = float(video.width * video.height)
    if hears and audio is not None:
        codecs.append(audio.codec)
        found["hertz"] = float(audio.rate_hz)
    if media.kind is not Kind.IMAGE and media.duration_s:
        found["seconds"] = media.duration_s
    if (sees or media.kind is Kind.AUDIO) and not any(_lossless(codec) for codec in codecs):
        found |= _bits(media)
    return Traits(media.kind, "+".join(codecs), {k: v for k, v in found.items() if v > 0})


def _lossless(codec: str) -> bool:
    return codec in _LOSSLESS or codec.startswith("pcm")


def _bits(media: Media) -> dict[str, float]:
    """Of the whole file: a container does not say what each stream takes."""
    bits, video = 8.0 * media.size_bytes, media.video
    if media.kind is Kind.IMAGE and video is not None:
        return {"bits a pixel": bits / max(1, video.width * video.height)}
    if media.kind is Kind.AUDIO and media.duration_s:
        return {"kbit/s": bits / media.duration_s / 1000}
    if video is not None and video.frame_rate and media.duration_s:
        frames = float(video.frame_rate) * media.duration_s
        return {"bits a pixel": bits / max(1.0, video.width * video.height * frames)}
    return {}


def where(measured: Iterable[Traits]) -> dict[str, float | str]:
    """What a condition says of the files that it was measured on."""
    every = list(measured)
    found: dict[str, float | str] = {
        "kind": str(every[0].kind),
        "codecs": " ".join(sorted({one.codec for one in every})),
    }
    for name in sorted({name for one in every for name in one.quantities}):
        values = [one.quantities[name] for one in every if name in one.quantities]
        found[f"{name} from"], found[f"{name} to"] = min(values), max(values)
    return found


def distance(file: Traits, condition: Condition) -> float | None:
    """Octaves outside the widest-missed range; 0 inside; None for another kind or codec."""
    about = condition.where
    if about.get("kind") != str(file.kind):
        return None
    if file.codec not in str(about.get("codecs", "")).split(" "):
        return None
    return max((_outside(name, value, about) for name, value in file.quantities.items()), default=0)


def _outside(name: str, value: float, about: Mapping[str, float | str]) -> float:
    low, high = about.get(f"{name} from"), about.get(f"{name} to")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low <= 0:
        return 0.0
    over = 0.0 if name in _AT_LEAST else math.log2(value / high)
    return max(0.0, math.log2(low / value), over)


def _off_centre(file: Traits, condition: Condition) -> float:
    """How far from the middle of the ranges, to tell conditions that both hold the file."""
    total = 0.0
    for name, value in file.quantities.items():
        low, high = condition.where.get(f"{name} from"), condition.where.get(f"{name} to")
        if isinstance(low, int | float) and isinstance(high, int | float) and low > 0:
            total += abs(math.log2(value) - math.log2(low * high) / 2)
    return total


def nearest(
    file: Traits, conditions: Iterable[Condition]
) -> tuple[Condition | None, float | None, str]:
    """The condition that a file is judged by and how far it is (octaves); or None and why."""
    ranked = [
        (far, _off_centre(file, one), place, one)
        for place, one in enumerate(conditions)
        if (far := distance(file, one)) is not None
    ]
    if not ranked:
        return None, None, f"it was qualified on no file like it ({file.as_words()})"
    far, _, _, one = min(ranked, key=lambda item: item[:3])
    if far > OUTSIDE:
        return (
            None,
            far,
            (
                f"the nearest condition, {one.name}, was measured on files that are more than a "
                f"factor of two away ({file.as_words()})"
            ),
        )
    return one, far, ""

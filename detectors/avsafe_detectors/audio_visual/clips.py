"""The clips that ``audio-visual`` and ``talking`` learn from and are tested on, by person.

Read from the folder that ``--media`` names; features are kept in a cache. Nothing of a clip is part
of the package.

Legend: features as the extractor gives them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Kind, RawMedia

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Features

TARGET = "avsafe_detectors.audio_visual.extractor:TalkingExtractor"
FILMS = ("real_talking", "synthetic_faces", "synthetic_loopy", "synthetic_talking")
CROPS = "talking_crops"  # 128 px faces, their sound in a file of its own
GENERATED = {"loopy": "loopy", "omnihuman": "omnihuman", "synctalk": "synctalk",
             "wav2lip": "wav2lip", "ffpp_Deepfakes": "deepfakes",
             "ffpp_FaceSwap": "faceswap"}  # fmt: skip
NO_PERSON = ("loopy_nonhuman_1", "omnihuman_v1_5_vis_f-11")  # a statue, a cat
# Real people whose sound is certainly their own: GRID was recorded with sound; to our knowledge
# sadtalker_aoc is a clip of HDTF; DFRF trains on the sound of its clip. The others are inputs of
# demonstrations of dubbing, and their sound may have been replaced.
CERTAIN = ("grid_", "dfrf_french", "sadtalker_aoc")
# Lips that scorers trained without the clip do not find in its sound (card of lip_sync).
DOUBTFUL = ("loopy_comparison_2", "loopy_side_4", "liveportrait_d10", "liveportrait_d12",
            "retalking_1", "omnihuman_v1_5_vis_d-3")  # fmt: skip
# One person in several clips, as far as one can see.
_SAME = {"loopy_side_2": "a", "loopy_side_4": "a", "loopy_comparison_2": "a",
         "loopy_diverse_3": "b", "loopy_diverse_4": "b", "loopy_main_1": "b",
         "retalking_3": "c", "sadtalker_aoc": "c", "loopy_realistic_5": "d", "loopy_sing_4": "d",
         "ffpp_Deepfakes_519_515": "ffpp_original_519",
         "ffpp_FaceSwap_634_660": "ffpp_original_634"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One clip. ``family`` is "real" or the system that made it."""

    name: str
    film: Path
    sound: Path | None  # of a crop

    @property
    def family(self) -> str:
        for start, family in GENERATED.items():
            if self.name.startswith(start):
                return family
        return "real"

    @property
    def person(self) -> str:
        """Whose face it is; a fake and its original are one, so that none is trained and tested on.

        >>> Source("ffpp_FaceSwap_634_660", Path(), None).person
        'ffpp_original_634'
        """
        return _SAME.get(self.name, self.name)

    @property
    def fold_person(self) -> str:
        """As the folds of the lip-sync model name people: all of GRID is one."""
        return "grid" if self.name.startswith("grid_") else self.person

    @property
    def certain(self) -> bool:
        return self.name.startswith(CERTAIN)


def sources(media: Path, *, crops: bool = True) -> list[Source]:
    """All clips of people. Raises UsageError where there is none."""
    found = [
        Source(film.stem, film, None)
        for folder in FILMS
        for film in sorted((media / folder).glob("*"))
        if re.search(r"\.(mp4|mpg)$", film.name) and film.stem not in NO_PERSON
    ]
    if not found:
        raise UsageError(f"{media} has no films of people: expected {', '.join(FILMS)}.")
    if crops:
        found += [
            Source(film.stem, film, film.with_suffix(".ogg"))
            for film in sorted((media / CROPS).glob("*.mp4"))
            if film.stem not in NO_PERSON
        ]
    return found


def features(source: Source, cache: Path, form: str = "as is") -> Features:
    """What the extractor finds; a form "crf35" is the clip coded again with x264 at CRF 35 and
    AAC at 32 kbit/s. Kept under ``cache``."""
    kind = "crop" if source.sound else "film"
    kept = cache / f"{source.name}.{kind}.{form.replace(' ', '_')}.npz"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **_features(source, cache, form))  # type: ignore[arg-type]
    with np.load(kept) as file:
        return {name: file[name] for name in file.files}


def _features(source: Source, cache: Path, form: str) -> dict[str, NDArray[Any]]:
    path = source.film
    if form != "as is":
        path = cache / f"{source.name}.{form}.mp4"
        coded(source.film, path, int(form.removeprefix("crf")))
    found = dict(examined(path))
    if form != "as is":
        path.unlink()
    if source.sound is not None:
        found["mono16k"] = heard(source.sound)[: 60 * 16_000]
    return found


def examined(path: Path) -> Mapping[str, NDArray[Any]]:
    from avsafe.media.features import examine

    return examine(path, {Kind.VIDEO: {"talking": TARGET}}, trusted=True)[1]["talking"]


def about(source: Source, cache: Path) -> tuple[str | None, str | None, float | None]:
    """What the domain gate says of a film: class of its pictures, of its sound, share of speech."""
    from avsafe.media.features import examine
    from avsafe_detectors import domain

    kept = cache / f"{source.name}.domain.json"
    if not kept.is_file():
        media, found = examine(source.film, {Kind.VIDEO: {"d": domain.EXTRACTOR}}, trusted=True)
        seen = domain.describe(found["d"], media)
        kept.write_text(json.dumps([seen.picture_class, seen.sound_class, seen.speech_share]))
    picture, sound, share = json.loads(kept.read_text())
    return picture, sound, share


def heard(path: Path) -> NDArray[np.int16]:
    """A file's sound, (n,) at 16 kHz."""
    from avsafe.media import decode
    from avsafe_detectors.audio_visual.extractor import mono16k

    raw = decode(path, trusted=True)
    return mono16k([block.mean(axis=0) for block in raw.samples or ()], raw.rate_hz)


def coded(film: Path, out: Path, crf: int, aac_kbps: int = 32) -> None:
    """A film coded again, at its own size and rate."""
    from avsafe.media import EncodeSpec, decode, encode

    raw = decode(film, trusted=True)
    encode(raw, out, EncodeSpec(crf=crf, audio_codec="aac", audio_kbps=aac_kbps))


def raw_of(frames: Iterator[Any], rate: Fraction, width: int, height: int) -> RawMedia:
    """Frames without sound, for ``avsafe.media.encode``."""
    kept = list(frames)
    return RawMedia(Kind.VIDEO, frames=kept, frame_rate=rate, width=width, height=height,
                    frame_count=len(kept))  # fmt: skip

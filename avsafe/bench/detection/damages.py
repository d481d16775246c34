"""What clips go through before detectors see them: the damages of the robustness suite, with sound.

Each writes a damaged copy of the first seconds of a file. The sound of a video is also stored
alone, as voices are sent: then detectors of sound judge it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from avsafe import media
from avsafe.bench.clips import Shot, load_sound
from avsafe.bench.watermark import attacks, picture_damage, recode, sound_damage, trial
from avsafe.errors import MissingStream
from avsafe.media import EncodeSpec
from avsafe.types import Kind

CLEAN = "clean"  # nothing is done: the file as it is
_MU_LAW = recode.Codec("pcm_mulaw", ".wav", rates_hz=(8000,), sample_format="s16")  # ITU-T G.711


@dataclass(frozen=True)
class Damage:
    """``write(source, stem, seconds)`` stores a damaged copy beside ``stem`` and returns it."""

    name: str
    title: str
    write: Callable[[Path, Path, float], Path]


def table(kind: Kind) -> Mapping[str, Damage]:
    """Name -> damage for a kind of media, in the order of the report.

    >>> list(table(Kind.IMAGE))
    ['jpeg 90', 'jpeg 75', 'jpeg 50', 'webp 75', 'resize 480']
    """
    rows = {Kind.IMAGE: _IMAGE, Kind.AUDIO: _AUDIO, Kind.VIDEO: (*_VIDEO, *_AUDIO)}[kind]
    return {one.name: one for one in rows}


def names() -> tuple[str, ...]:
    """Every condition, the clean one first.

    >>> names()[:3]
    ('clean', 'jpeg 90', 'jpeg 75')
    """
    return (
        CLEAN,
        *dict.fromkeys(name for kind in (Kind.IMAGE, Kind.VIDEO) for name in table(kind)),
    )


def written(kind: Kind, name: str, source: Path, folder: Path, seconds: float) -> Path:
    """The file to judge. Raises KeyError for a damage of another kind, ``MissingStream`` where a
    file lacks what is damaged, and what decoding it raises."""
    if name == CLEAN:
        return source
    return table(kind)[name].write(source, folder / "damaged", seconds)


# ---------------------------------------------------------------- each kind


def _attacked(kind: Kind, name: str, source: Path, stem: Path, seconds: float) -> Path:
    """By a damage of the robustness suite; frames or sound are held in memory."""
    return trial.apply(attacks.table(kind)[name], trial.load(source, kind, seconds), stem)


def _as_webp(source: Path, stem: Path, seconds: float) -> Path:
    path = stem.with_suffix(".webp")
    media.encode(media.decode(source), path, EncodeSpec(image_quality=75))
    return path


def _mu_law(source: Path, stem: Path, seconds: float) -> Path:
    attack = attacks.Attack("", "", "", Kind.AUDIO, sound_damage.same, _MU_LAW)
    return trial.apply(attack, load_sound(source, seconds), stem)


def _coded(crf: int, side: int | None, source: Path, stem: Path, seconds: float) -> Path:
    """H.264 with the sound as AAC 96 kbit/s; with ``side``, the picture resized to it first."""
    raw = media.decode(source, max_duration_s=seconds or None)
    if raw.frames is None:
        raise MissingStream(f"{source.name} has no picture.")
    if side is not None:
        shot = Shot(
            raw.frames, raw.frame_rate or Fraction(25), raw.frame_count or 1, raw.height, raw.width
        )
        small = picture_damage.resize(side)(shot)
        raw = replace(raw, frames=small.frames, width=small.width, height=small.height)
    path = stem.with_suffix(".mp4")
    media.encode(raw, path, EncodeSpec(crf=crf, preset="medium", audio_kbps=96))
    return path


def _sound(name: str, attack: str, title: str) -> Damage:
    return Damage(name, title, partial(_attacked, Kind.AUDIO, attack))


_IMAGE = (
    *(Damage(f"jpeg {q}", f"JPEG {q}", partial(_attacked, Kind.IMAGE, f"jpeg_{q}"))
      for q in (90, 75, 50)),
    Damage("webp 75", "WebP 75", _as_webp),
    Damage("resize 480", "480 pixels on the short side, JPEG 90",
           partial(_attacked, Kind.IMAGE, "resize_480")),
)  # fmt: skip
_VIDEO = (
    *(Damage(f"h264 crf {crf}", f"H.264 CRF {crf}, AAC 96k", partial(_coded, crf, None))
      for crf in (28, 35)),
    Damage("resize 360", "360 pixels on the short side, H.264 CRF 23", partial(_coded, 23, 360)),
)  # fmt: skip
_AUDIO = (
    _sound("mp3 32k", "mp3_32k", "MP3 32 kbit/s"),
    _sound("mp3 64k", "mp3_64k", "MP3 64 kbit/s"),
    _sound("aac 64k", "aac_64k", "AAC 64 kbit/s"),
    _sound("opus 24k", "opus_24k", "Opus 24 kbit/s"),
    Damage("mu-law", "mu-law, 8 kHz", _mu_law),
)

"""Features of the extractor and what the probe says -> a ``Domain``. Pure; no opinion on origin.

Legend: ``f`` frames looked at; sound as in ``hearing``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Features, Media
from avsafe_detectors.domain import classes, history, picture, sound
from avsafe_detectors.domain.hearing import HOP_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLANK = 1.5  # grey levels of deviation; a picture below it shows nothing
STEADY_DB = 1.5  # of 2 s of speech, 99 in 100 move by more than 2.8 dB, also over music
_STILL = 2.5  # grey levels that a cell of 20 x 20 pixels may change by, with nothing moving


@dataclass(frozen=True)
class Domain:
    """What a file is like. None where unknown or not there (no sound, no pictures, too small)."""

    kind: str  # "video" | "image" | "audio"
    container: str
    video_codec: str | None
    audio_codec: str | None
    duration_s: float | None
    width: int | None
    height: int | None
    frame_rate: float | None
    frames_seen: int  # frames that went by in the pass; 1 for an image
    total_kbps: float | None  # whole file over its duration; None for an image
    bits_per_pixel: float | None  # whole file over all pixels of all frames
    picture_class: str | None  # "photo" | "drawn" | "screen" | "cgi" | "blank"
    picture_scores: Mapping[str, float]  # class -> 0..1, sums to 1; {} where there is no class
    still: bool | None  # nothing moves; None with fewer than two frames
    jpeg_quality: float | None  # 1..100, libjpeg's scale: of the file, else read from the pixels
    block_grid: float | None  # 0..1: strength of an 8 x 8 grid (earlier block compression)
    noise_sigma: float | None  # grey levels, in the flattest parts
    effective_scale: float | None  # 0..1: share of the resolution with detail; < 0.7: enlarged
    sharp: float | None  # 0..1: hardest edges; 1 a step within one pixel, 0.2 blurred
    rate_hz: int | None
    bandwidth_hz: float | None  # highest frequency with sound; None for silence
    level_db: float | None  # rms, dB of full scale; None for digital silence
    peak_db: float | None
    speech_s: float | None  # seconds that sound and are speech
    speech_share: float | None  # of the seconds that sound at all
    snr_db: (
        float | None
    )  # loud twentieth over quiet tenth of the rows; high for pauses without noise
    clipped_share: float | None  # of samples
    sound_class: str | None  # "speech" | "music" | "tone" | "noise" | "effects" | "silence"
    # ---- beyond the contract
    sound_scores: Mapping[str, float]  # class -> 0..1, over the parts that sound
    heard_s: float | None  # seconds of sound analysed
    grid_offset: tuple[int, int] | None  # column, row where the grid begins: (0, 0) not cropped
    recompressed: bool | None  # pixels hold a JPEG's steps that the file itself does not state
    picture_spread: float | None  # 0..1: how far the frames disagree on the class (a cut between)

    def as_details(self) -> dict[str, Any]:
        """Plain JSON."""
        found = asdict(self)
        for name in ("picture_scores", "sound_scores"):
            found[name] = dict(found[name])
        if found["grid_offset"] is not None:
            found["grid_offset"] = list(found["grid_offset"])
        return found


def describe(features: Features, media: Media) -> Domain:
    """What the extractor's arrays say. They come from a process that read a hostile file: wrong
    shapes raise KeyError or ValueError, numbers that are not finite count as unknown."""
    return Domain(**_file(features, media), **_pictures(features, media), **_sound(features, media))


def _file(features: Features, media: Media) -> dict[str, Any]:
    video, audio = media.video, media.audio
    frames = np.asarray(features["frames"])
    if frames.shape != (1,) or frames.dtype.kind not in "iu":
        raise ValueError(f"frames is one whole number, not {frames.shape} {frames.dtype}")
    seen = max(0, int(frames[0]))
    lasts = media.duration_s
    bits = media.size_bytes * 8.0
    pixels = video.width * video.height * max(1, seen) if video else 0
    moving = video is not None and video.frame_rate is not None
    return {
        "kind": str(media.kind),
        "container": media.container,
        "video_codec": video.codec if video else None,
        "audio_codec": audio.codec if audio else None,
        "duration_s": lasts,
        "width": video.width if video else None,
        "height": video.height if video else None,
        "frame_rate": float(video.frame_rate) if video and video.frame_rate else None,
        "frames_seen": seen,
        "total_kbps": bits / lasts / 1000 if lasts and (moving or audio) else None,
        "bits_per_pixel": bits / pixels if pixels else None,
    }


# ---------------------------------------------------------------- pictures


def _pictures(features: Features, media: Media) -> dict[str, Any]:
    numbers = _rows(features["pictures"], len(picture.NAMES), "pictures")
    past = _rows(features["histories"], len(history.NAMES), "histories")
    thumbs = np.asarray(features["thumbs"])
    if len(past) != len(numbers) or thumbs.ndim != 3 or len(thumbs) != len(numbers):
        raise ValueError("pictures, histories and thumbs are not of the same frames")
    if thumbs.dtype != np.uint8:
        raise ValueError(f"thumbs are bytes, not {thumbs.dtype}")
    of = {name: past[:, i] for i, name in enumerate(history.NAMES)}
    found, scores, spread = _picture_class(numbers, of["deviation"])
    read = _median(of["jpeg_quality"])
    quality, recompressed = _quality(features, media, read)
    strength = _median(of["block_grid"])
    offset = None
    if strength is not None and (strength > 0.02 or read is not None):
        pairs = [(int(x) % 8, int(y) % 8) for x, y in zip(of["grid_x"], of["grid_y"], strict=True)
                 if math.isfinite(x) and math.isfinite(y)]  # fmt: skip
        offset = max(set(pairs), key=pairs.count) if pairs else None
    return {
        "picture_class": found,
        "picture_scores": scores,
        "still": _still(thumbs),
        "jpeg_quality": quality,
        "block_grid": strength,
        "noise_sigma": _median(of["noise_sigma"]),
        "effective_scale": _median(of["effective_scale"]),
        "sharp": _median(of["sharp"]),
        "grid_offset": offset,
        "recompressed": recompressed,
        "picture_spread": spread,
    }


def _rows(array: NDArray[Any], columns: int, name: str) -> NDArray[np.float64]:
    found = np.asarray(array)
    if found.ndim != 2 or found.shape[1] != columns or found.dtype.kind != "f":
        raise ValueError(f"{name} are (f, {columns}) numbers, not {found.shape} {found.dtype}")
    return np.clip(found.astype(np.float64), -1e6, 1e6)


def _median(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _picture_class(
    numbers: NDArray[np.float64], deviation: NDArray[np.float64]
) -> tuple[str | None, dict[str, float], float | None]:
    usable = np.isfinite(numbers).all(1) & np.isfinite(deviation)
    if not usable.any():
        return None, {}, None
    shown = usable & (deviation >= BLANK)
    blank = 1.0 - float(shown.sum()) / float(usable.sum())
    if blank > 0.8:
        return "blank", {**dict.fromkeys(classes.PICTURES, 0.0), "blank": 1.0}, 0.0
    each = classes.forests()["picture"].probabilities(numbers[shown])
    mean = each.mean(0)
    best = classes.best(classes.PICTURES, mean)
    scores = {n: float(v) * (1 - blank) for n, v in zip(classes.PICTURES, mean, strict=True)}
    disagree = float(np.mean([classes.best(classes.PICTURES, one) != best for one in each]))
    return classes.PICTURES[best], {**scores, "blank": blank}, disagree


def _still(thumbs: NDArray[np.uint8]) -> bool | None:
    if len(thumbs) < 2:
        return None
    moved = np.abs(np.diff(thumbs.astype(np.int16), axis=0)).reshape(len(thumbs) - 1, -1)
    return bool(np.quantile(moved, 0.995, axis=1).max() <= _STILL) if moved.size else None


def _quality(
    features: Features, media: Media, read: float | None
) -> tuple[float | None, bool | None]:
    """The JPEG quality, and whether there was another JPEG before this file."""
    table = np.asarray(features["jpeg_table"])
    stated = None
    if table.shape == (8, 8) and table.dtype.kind in "iu":
        stated = history.quality_of_table(table)
    if media.container == "jpeg" and stated is not None:
        # A coarser step than the file's own is left in the pixels: it was compressed before.
        return stated, (read < stated - 8) if read is not None else False
    if media.video is None or media.video.frame_rate is not None:
        return read, None
    return read, read is not None


# ---------------------------------------------------------------- sound

_NO_SOUND: dict[str, Any] = dict.fromkeys((
    "rate_hz", "bandwidth_hz", "level_db", "peak_db", "speech_s", "speech_share", "snr_db",
    "clipped_share", "sound_class", "heard_s"))  # fmt: skip


def _sound(features: Features, media: Media) -> dict[str, Any]:
    if "totals" not in features:
        return {**_NO_SOUND, "sound_scores": {}}
    rate, _, seconds, _, peak, square, clipped = sound.check_totals(features["totals"])
    if not 1 <= rate <= 1e7 or seconds < 0:
        raise ValueError(f"a sample rate of {rate} Hz over {seconds} s is none")
    rows = sound.Rows.of(features)
    floor, top = sound.floor_and_top(rows.level)
    found: dict[str, Any] = {
        "rate_hz": int(rate),
        "level_db": _decibel(math.sqrt(max(0.0, square))),
        "peak_db": _decibel(peak),
        "clipped_share": float(min(1.0, max(0.0, clipped))),
        "heard_s": sound.heard_s(rows),
        "bandwidth_hz": None,
        "snr_db": None,
        "speech_s": None,
        "speech_share": None,
        "sound_class": None,
        "sound_scores": {},
    }
    if not len(rows):
        if peak < 1e-4 and seconds > 0:
            found |= {"sound_class": "silence"}
        return found
    on = sound.active(rows.level, floor, top)
    if not on.any():
        return found | {"sound_class": "silence", "speech_s": 0.0, "speech_share": 0.0}
    found["bandwidth_hz"] = sound.bandwidth_hz(features["spectrum"], int(rate))
    found["snr_db"] = float(min(80.0, max(0.0, top - floor)))
    return found | _sound_class(rows, on, floor, top)


def _sound_class(
    rows: sound.Rows, on: NDArray[np.bool_], floor: float, top: float
) -> dict[str, Any]:
    if sound.heard_s(rows) < sound.LEAST_S:
        return {}
    parts = sound.segments(len(rows))
    numbers = np.array([sound.numbers(rows.part(a, b), floor, top) for a, b in parts])
    each = classes.forests()["sound"].probabilities(numbers)
    # A level that does not move is no voice's: tones, sweeps, hums, whatever the forest says.
    steady = numbers[:, sound.NAMES.index("mod depth")] < STEADY_DB
    each[steady, classes.SOUNDS.index("speech")] = 0.0
    each /= np.maximum(each.sum(1, keepdims=True), 1e-9)
    weight = np.array([float(on[a:b].sum()) for a, b in parts])
    mean = (each * weight[:, None]).sum(0) / weight.sum()
    likely, times = np.zeros(len(rows)), np.zeros(len(rows))
    for (a, b), p in zip(parts, each[:, classes.SOUNDS.index("speech")], strict=True):
        likely[a:b] += p
        times[a:b] += 1
    speech = on & (likely > 0.5 * times)
    return {
        "sound_class": classes.SOUNDS[int(np.argmax(mean))],
        "sound_scores": {n: float(v) for n, v in zip(classes.SOUNDS, mean, strict=True)},
        "speech_s": float(speech.sum()) * HOP_S,
        "speech_share": float(speech.sum()) / float(on.sum()),
    }


def spoken(rows: sound.Rows) -> float:
    """Seconds of speech in rows of sound."""
    on = sound.active(rows.level, *sound.floor_and_top(rows.level))
    if not on.any():
        return 0.0
    found = _sound_class(rows, on, *sound.floor_and_top(rows.level))
    return float(found.get("speech_s", 0.0))


def _decibel(value: float) -> float | None:
    return 20 * math.log10(value) if value > 1e-7 else None

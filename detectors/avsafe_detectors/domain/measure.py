"""Measure what is not learned: ``python -m avsafe_detectors.domain.measure``. Prints JSON.

Quality of JPEG, enlargement, noise, band and seconds of speech, on material whose truth is known
because it was made here from photos and voices of packages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.domain import hearing, history, picture_data, sound, sound_data
from avsafe_detectors.domain.describe import spoken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame
else:
    Frame = Any

SIDE = 900  # photos are reduced to it first, so that no earlier JPEG is left in them


def main(arguments: list[str] | None = None) -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roots", type=Path, nargs="+", default=[Path("/")])
    parser.add_argument("--photos", type=int, default=40)
    given = parser.parse_args(arguments)
    photos = list(fresh(given.roots, given.photos))
    report = {"photos": len(photos), **pictures(photos), **sounds(given.roots)}
    print(json.dumps(report, indent=1))


def fresh(roots: list[Path], count: int) -> Iterator[Frame]:
    """Photos that hold no compression: the large ones, halved at least."""
    import cv2

    sources = ("mate nature", "wallpaper photo 0", "wallpaper photo 1", "tuxpaint templates")
    every = [s for s in picture_data.packaged(roots) if s.source in sources]
    for shown in every[:count]:
        rgb = shown.open()
        scale = min(0.5, SIDE / max(rgb.shape[:2]))
        if min(rgb.shape[:2]) * scale >= 200:
            small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.asarray(small, np.uint8)


# ---------------------------------------------------------------- pictures


def pictures(photos: list[Frame]) -> dict[str, Any]:
    """Errors of quality, enlargement and noise."""
    import cv2

    rng = np.random.default_rng(2)
    found: dict[str, Any] = {"never a jpeg": quality_of(photos, lambda x: x, None)}
    for quality in (30, 50, 75, 90, 95):
        name = f"jpeg {quality}"
        found[name] = quality_of(photos, partial(picture_data.jpeg, quality=quality), quality)
    found["jpeg 75, cropped"] = quality_of(
        photos, lambda x: np.ascontiguousarray(picture_data.jpeg(x, 75)[3:, 5:]), 75
    )

    def enlarged(x: Frame, by: float, way: int) -> Frame:
        small = cv2.resize(x, None, fx=1 / by, fy=1 / by, interpolation=cv2.INTER_AREA)
        again = cv2.resize(small, (x.shape[1], x.shape[0]), interpolation=way)
        return np.asarray(again, np.uint8)

    ways: dict[str, Callable[[Frame], Frame]] = {
        "as it is": lambda x: x,
        "jpeg 75": partial(picture_data.jpeg, quality=75),
        "h264 crf 28": partial(picture_data.h264, crf=28),
    }
    for name, way in (("linear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)):
        for by in (1.5, 2.0, 3.0):
            ways[f"{by} x {name}"] = partial(enlarged, by=by, way=way)
    ways["2 x cubic, jpeg 75"] = lambda x: picture_data.jpeg(enlarged(x, 2, cv2.INTER_CUBIC), 75)
    ways["2 x cubic, h264"] = lambda x: picture_data.h264(enlarged(x, 2, cv2.INTER_CUBIC), 28)
    found["effective_scale"] = {n: spread([history.measure(w(x), jpeg=False)[5] for x in photos])
                                for n, w in ways.items()}  # fmt: skip
    found["noise_sigma"] = {}
    for sigma in (1.0, 2.0, 4.0, 8.0):
        noisy = [
            np.clip(np.rint(x + rng.normal(0, sigma, (*x.shape[:2], 1))), 0, 255) for x in photos
        ]
        seen = [history.measure(n.astype(np.uint8), jpeg=False)[4] for n in noisy]
        found["noise_sigma"][str(sigma)] = spread(seen)
    return found


def quality_of(
    photos: list[Frame], change: Callable[[Frame], Frame], truth: int | None
) -> dict[str, float]:
    """Of the pixels alone."""
    read = np.array([history.measure(change(x))[3] for x in photos])
    said = np.isfinite(read)
    if truth is None:
        return {"n": len(read), "a quality is claimed": float(said.mean())}
    error = np.abs(read[said] - truth)
    return {
        "n": len(read),
        "unknown": float((~said).mean()),
        "median error": float(np.median(error)) if len(error) else float("nan"),
        "within 3": float((error <= 3).mean()) if len(error) else float("nan"),
    }


def spread(values: list[Any]) -> dict[str, float]:
    """Quantiles."""
    known = np.array([v for v in values if np.isfinite(v)], np.float64)
    low, middle, high = np.quantile(known, [0.1, 0.5, 0.9])
    return {"10 %": round(float(low), 3), "median": round(float(middle), 3),
            "90 %": round(float(high), 3)}  # fmt: skip


# ---------------------------------------------------------------- sound


def sounds(roots: list[Path]) -> dict[str, Any]:
    """Bands of low-passed and coded voices; seconds of speech among other sound."""
    every = list(sound_data.packaged(roots))
    voices = [h for h in every if h.source in ("asterisk en", "asterisk fr", "festvox ru")][::3]
    heard = [h.open() for h in voices]
    ways: dict[str, Callable[[NDArray[np.float32], int], sound_data.Sound]] = {
        f"low-pass {cut}": partial(_low_passed, cut=cut) for cut in (2500, 3400, 5500)
    }
    ways |= {
        "16 kHz": lambda x, r: (x, r),
        "48 kHz of 16": lambda x, r: (sound_data.resampled(x, r, 48000), 48000),
        "mu-law 8 kHz": lambda x, r: sound_data.coded(x, r, "mulaw", 64),
        "48 kHz of mu-law": lambda x, r: (
            sound_data.resampled(sound_data.coded(x, r, "mulaw", 64)[0], 8000, 48000), 48000),
        "mp3 32k": lambda x, r: sound_data.coded(x, r, "mp3", 32),
        "aac 64k": lambda x, r: sound_data.coded(x, r, "aac", 64),
        "opus 24k": lambda x, r: sound_data.coded(x, r, "opus", 24),
    }  # fmt: skip
    bands = {n: spread([band(*w(x, r)) for x, r in heard]) for n, w in ways.items()}
    return {"voices": len(heard), "bandwidth_hz": bands, "speech_s": speech(every)}


def _low_passed(samples: NDArray[np.float32], rate: int, cut: int) -> sound_data.Sound:
    from scipy.signal import firwin, lfilter

    return np.asarray(lfilter(firwin(401, cut, fs=rate), [1], samples), np.float32), rate


def band(samples: NDArray[np.float32], rate: int) -> float:
    features = _heard(samples, rate)
    return sound.bandwidth_hz(features["spectrum"], rate) or float("nan")


def _heard(samples: NDArray[np.float32], rate: int) -> dict[str, NDArray[Any]]:
    ear = hearing.Ear(rate)
    ear.feed(samples[None])
    return ear.finish()


def speech(every: list[sound_data.Heard]) -> dict[str, Any]:
    """Twelve seconds with 0, 3, 6 or 9 s of speech in one piece; the rest is something else.

    Truth: rows of the voice alone within 35 dB of its loud ones.
    """
    rng = np.random.default_rng(4)
    voices = [h for h in every if h.source in ("asterisk it m", "asterisk ru", "tuxpaint words es")]
    others: dict[str, list[sound_data.Heard]] = {
        "music": [h for h in every if h.label == "music"],
        "effects": [h for h in every if h.label == "effects"],
        "noise": [h for h in sound_data.synthesised() if h.label == "noise"],
        "tone": [h for h in sound_data.synthesised() if h.label == "tone"],
        "silence": [],
    }
    found: dict[str, Any] = {}
    for name, items in others.items():
        errors: list[float] = []
        false: list[float] = []
        for number in range(24):
            seconds = (0, 3, 6, 9)[number % 4]
            rest = _filled(items, 12.0 - seconds, rng)
            voice = _filled(voices, float(seconds), rng)
            truth = _rows(voice)
            rows = sound.Rows.of(_heard(np.concatenate([rest, voice]), 16000))
            told = spoken(rows)
            (errors if seconds else false).append(told - truth)
        found[name] = {"error": spread(errors), "seconds claimed of none": spread(false)}
    return found


def _rows(samples: NDArray[np.float32]) -> float:
    if not len(samples):
        return 0.0
    rows = sound.Rows.of(_heard(samples, 16000))
    floor, top = sound.floor_and_top(rows.level)
    return float(sound.active(rows.level, floor, top).sum()) * hearing.HOP_S


def _filled(
    items: list[sound_data.Heard], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """That many seconds at 16 kHz and -23 dB; silence without items."""
    n = round(seconds * 16000)
    parts: list[NDArray[np.float32]] = []
    while items and sum(map(len, parts)) < n:
        samples, rate = items[int(rng.integers(len(items)))].open()
        parts.append(sound_data.resampled(samples, rate, 16000))
    whole = np.concatenate([*parts, np.zeros(n, np.float32)])[:n]
    level = float(np.sqrt(np.square(whole).mean())) if n else 0.0
    return whole * np.float32(0.07 / level) if level > 0 else whole


if __name__ == "__main__":
    main()

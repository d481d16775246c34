"""The same face film after one policy for all, and aligned fakes of it: the mouth remade.

Policy: a square around the face, at most 64 px between the eyes, the first 4 s, x264 at one CRF. So
neither size, codec, length nor a label in the picture tells real from generated.

Aligned fakes are real films with one thing changed: what passes through a generator's chain.
"low" the lower face through 96 px (as Wav2Lip does); "smooth" the mouth without its noise; "still"
its noise shared by three frames; "swap" the whole face through 64 px in other colours.

Legend: frames (t, h, w, 3) uint8; points (t, 152, 2) px.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import GROUPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.audio_visual.clips import Source

    Frames = list[NDArray[np.uint8]]

EYES = 64.0  # px, as regions.TOP_EYES
MOST = 100  # frames: 4 s
REMADE = ("low", "smooth", "still", "swap")


def cut_out(source: Source, points: NDArray[Any]) -> tuple[Frames, NDArray[np.float32], float]:
    """Frames of a square around the face, its points there, and the rate.

    ``points`` are the extractor's, for the frames that it looks at.
    """
    import cv2

    from avsafe.media import decode
    from avsafe_detectors.audio_visual.extractor import TOP_RATE

    seen = np.isfinite(points[:, 0, 0])
    eyes = float(np.nanmedian(_eyes(points[seen])))
    centre = np.nanmedian(points[seen].mean(1), axis=0)
    spread = float(np.nanmax(np.abs(points[seen].mean(1) - centre), initial=0.0))
    half = 2.4 * eyes + min(spread, 1.5 * eyes)
    scale = min(1.0, EYES / eyes)
    raw = decode(source.film, trusted=True)
    rate = float(raw.frame_rate or 25)
    step = max(1, int(np.ceil(rate / TOP_RATE - 1e-9)))
    frames: Frames = []
    x0 = y0 = x1 = y1 = 0
    size = (0, 0)
    for number, frame in enumerate(raw.frames or ()):
        if number % step:
            continue
        if len(frames) >= min(MOST, len(points)):
            break
        if not frames:
            h, w = frame.shape[:2]
            x0, x1 = (int(np.clip(centre[0] + s * half, 0, w)) for s in (-1, 1))
            y0, y1 = (int(np.clip(centre[1] + s * half, 0, h)) for s in (-1, 1))
            size = (round((x1 - x0) * scale) // 2 * 2, round((y1 - y0) * scale) // 2 * 2)
        part = np.ascontiguousarray(frame[y0:y1, x0:x1])
        frames.append(np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8))
    ratio = np.array([size[0] / max(1, x1 - x0), size[1] / max(1, y1 - y0)])
    there = (points[: len(frames)] - [x0, y0] + 0.5) * ratio - 0.5
    return frames, np.asarray(there, np.float32), rate / step


def _eyes(points: NDArray[Any]) -> NDArray[np.float64]:
    gap = points[:, list(GROUPS["left_eye"])].mean(1) - points[:, list(GROUPS["right_eye"])].mean(1)
    return np.asarray(np.hypot(gap[:, 0], gap[:, 1]), np.float64)


def remade(frames: Frames, points: NDArray[Any], how: str, seed: int = 0) -> Frames:
    """An aligned fake of the frames: one of REMADE."""
    import cv2

    rng = np.random.default_rng(seed)
    colour = rng.uniform(-8, 8, 3).astype(np.float32)
    strength = float(rng.uniform(0.7, 1.3))
    out: Frames = []
    for number, frame in enumerate(frames):
        face = points[number]
        if not np.isfinite(face).all():
            out.append(frame)
            continue
        eyes = float(_eyes(face[None])[0])
        whole = frame.astype(np.float32)
        oval = face[list(GROUPS["oval"])]
        if how == "low":
            high = float(np.ptp(oval[:, 1]))
            new = _through(whole, 96 * strength / max(high, 1))
        elif how == "smooth":
            new = np.asarray(cv2.bilateralFilter(whole, 5, 18 * strength, 2.0), np.float32)
        elif how == "still":
            near = frames[max(0, number - 1) : number + 2]
            new = np.mean(np.stack(near).astype(np.float32), axis=0)
        else:
            high = float(np.ptp(oval[:, 1]))
            new = _through(whole, 64 * strength / max(high, 1)) + colour
        mask = np.zeros(frame.shape[:2], np.float32)
        if how == "swap":
            shape = oval.astype(np.float64)
        else:  # mouth and chin
            lips = face[list(GROUPS["lips_outer"])]
            centre, chin = lips.mean(0), oval[18]
            shape = _ellipse((centre + chin) / 2, 0.62 * eyes, 0.55 * eyes)
        cv2.fillConvexPoly(mask, np.round(shape).astype(np.int32), 1.0)
        soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.06 * eyes)))[..., None]
        out.append(np.asarray(np.clip(np.rint(whole + soft * (new - whole)), 0, 255), np.uint8))
    return out


def _through(frame: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """A frame shrunk and enlarged again; one that would grow is left a tenth smaller."""
    import cv2

    scale = min(scale, 0.9)
    h, w = frame.shape[:2]
    size = (max(4, round(w * scale)), max(4, round(h * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _ellipse(centre: NDArray[Any], a: float, b: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([centre[0] + a * np.cos(turn), centre[1] + b * np.sin(turn)], axis=1)


def written(frames: Frames, rate: float, path: Path, crf: int) -> None:
    """x264, no sound."""
    from fractions import Fraction

    from avsafe.media import EncodeSpec, encode
    from avsafe_detectors.audio_visual.clips import raw_of

    height, width = frames[0].shape[:2]
    exact = Fraction(rate).limit_denominator(1001)
    encode(raw_of(iter(frames), exact, width, height), path, EncodeSpec(crf=crf))

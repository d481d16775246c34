"""The face of a portrait: found, or named by five points; and the frame cut around it.

Legend: a picture is (h, w, 3) uint8 RGB; ``p`` = 152 landmarks in px of the frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe import faces
from avsafe.errors import MissingExtra, UsageError
from avsafe.types import Frame
from avsafe_generators.talking_head import fitting

HOW = (
    "face=x1,y1,x2,y2,x3,y3,x4,y4,x5,y5 (fractions of the portrait: the eye at the left and at the "
    "right of the picture, tip of the nose, corner of the mouth at the left and at the right)"
)
MIN_SIDE = 64  # px of a portrait
_MIN_INTEROCULAR = 14.0  # px in the portrait; less is too coarse for eyelids and lips
_MAX_DOUBT = 0.35
_BYSTANDER = 0.3  # of the largest face's width: smaller ones are background
_SHARE = (0.13, 0.24)  # distance of the eyes as a share of the frame's smaller side
_MAX_PIXELS = 4_000_000  # in which a face is looked for


def place(portrait: Frame, face: str, name: str) -> NDArray[np.float64]:
    """The landmarks (p, 2) in px of the portrait. ``face``: five points as in ``HOW``, or "".

    Raises UsageError without a face, with several, and for one that is too small.
    """
    height, width = portrait.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise UsageError(
            f"{name} has {width} x {height} pixels; a portrait needs sides of at least {MIN_SIDE}. "
            "Pass a larger picture."
        )
    found = _named(portrait, face) if face.strip() else _seen(portrait, name)
    if found.interocular < _MIN_INTEROCULAR:
        raise UsageError(
            f"The eyes in {name} are {found.interocular:.0f} pixels apart; a talking head needs "
            f"{_MIN_INTEROCULAR:g}. Pass a larger picture, or a part of this one."
        )
    return np.asarray(found.points, np.float64)


def _seen(portrait: Frame, name: str) -> faces.Landmarks:
    try:
        seen = faces.detect(portrait)
    except MissingExtra as error:
        raise MissingExtra(f"{error}. Or say where the face is: {HOW}.") from error
    if not seen:
        raise UsageError(
            f"No face was found in {name}. Pass a portrait seen from the front, or say where the "
            f"face is: {HOW}."
        )
    largest = max(seen, key=lambda face: face.width)
    others = [face for face in seen if face.width >= _BYSTANDER * largest.width]
    if len(others) > 1:
        raise UsageError(
            f"{name} shows {len(others)} faces. Which one is to speak? Cut it out, or say where it "
            f"is: {HOW}."
        )
    found = faces.landmarks(portrait, largest)
    if not found.doubt <= _MAX_DOUBT:
        raise UsageError(
            f"The face in {name} can't be made out (turned away, covered or blurred). Pass one "
            f"seen from the front, or say where it is: {HOW}."
        )
    return found


def _named(portrait: Frame, face: str) -> faces.Landmarks:
    try:
        numbers = np.array([float(part) for part in face.split(",")])
    except ValueError:
        numbers = np.zeros(0)
    if (
        numbers.shape != (10,)
        or not np.isfinite(numbers).all()
        or np.abs(numbers - 0.5).max() > 0.5
    ):
        raise UsageError(f"face={face!r} was not understood. Write {HOW}.")
    height, width = portrait.shape[:2]
    points = numbers.reshape(5, 2) * [width, height]
    eyes, mouth = points[:2], points[3:]
    apart = float(np.hypot(*(eyes[1] - eyes[0])))
    if eyes[0, 0] >= eyes[1, 0] or mouth[0, 0] >= mouth[1, 0] or apart < 1:
        raise UsageError(f"face={face!r}: left and right are as in the picture. Write {HOW}.")
    given = faces.from_five_points([(float(x), float(y)) for x, y in points])
    looked = faces.landmarks(portrait, given)
    off = np.hypot(*(looked.five - points).T).mean() / apart
    # the network knows lids and lips better, where it sees the face that was meant
    return looked if looked.doubt <= _MAX_DOUBT and off < 0.2 else given


def framed(
    portrait: Frame, points: NDArray[Any], width: int, height: int
) -> tuple[Frame, NDArray[np.float64]]:
    """The part of the portrait that becomes the frame, and the landmarks in it, fitted."""
    import cv2

    tall, wide = portrait.shape[:2]
    five = faces.Landmarks(points.astype(np.float32)).five
    between = float(np.hypot(*(five[1] - five[0])))
    side = min(width, height)
    cover = max(width / wide, height / tall)
    scale = max(cover, min(max(cover, _SHARE[0] * side / between), _SHARE[1] * side / between))
    window = np.array([width / scale, height / scale])
    eyes = five[:2].mean(0)
    best = np.array([eyes[0], eyes[1] + 0.55 * between]) - window * [0.5, 0.5]
    centred = (np.array([wide, tall]) - window) / 2
    where = (eyes - centred) / window  # of the eyes, were the frame cut from the middle
    well = abs(where[0] - 0.5) < 0.14 and 0.28 < where[1] < 0.52 and scale <= cover * 1.001
    low = np.clip(centred if well else best, 0, np.maximum(0, np.array([wide, tall]) - window))
    matrix = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale]])
    matrix[:, 2] += 0.5 * scale - 0.5  # pixel centres
    if scale < 1:
        # shrink with an average over areas first, so that nothing glitters
        small = (max(1, math.ceil(wide * scale)), max(1, math.ceil(tall * scale)))
        source = cv2.resize(portrait, small, interpolation=cv2.INTER_AREA)
        ratio = np.array([wide / small[0], tall / small[1]])
        change = np.array(
            [[ratio[0], 0, 0.5 * ratio[0] - 0.5], [0, ratio[1], 0.5 * ratio[1] - 0.5]]
        )
        full = np.vstack([matrix, [0, 0, 1]]) @ np.vstack([change, [0, 0, 1]])
        method = cv2.INTER_LINEAR
    else:
        source, full, method = portrait, matrix, cv2.INTER_CUBIC
    frame = cv2.warpAffine(
        source, full[:2], (width, height), flags=method, borderMode=cv2.BORDER_REPLICATE
    )
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    cut = np.asarray(frame, np.uint8)
    return cut, fitting.fitted(cut, moved)

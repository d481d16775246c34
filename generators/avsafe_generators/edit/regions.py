"""Where an edit works: soft masks by colour, by face, by the user's mask, by half of the frame.

Masks by colour are smooth functions of hue, saturation and brightness, with no threshold that a
little noise could cross and nothing carried over from the frame before: they hardly flicker and
don't lag. Legend: a mask is (h, w) float32 in 0..1; hues are degrees.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.types import Frame
from avsafe_generators.edit.clip import F32

# name -> hue, half width where the mask is 1, least saturation; then where it is painted: RGB.
_HUES = {
    "red": (0.0, 14.0), "orange": (26.0, 10.0), "yellow": (52.0, 13.0), "green": (118.0, 42.0),
    "cyan": (187.0, 16.0), "blue": (222.0, 24.0), "purple": (277.0, 22.0), "pink": (338.0, 18.0),
    "brown": (24.0, 14.0),
}  # fmt: skip
PAINTS = {
    "red": (205, 35, 35), "orange": (240, 130, 30), "yellow": (240, 205, 40),
    "green": (45, 150, 60), "cyan": (40, 185, 205), "blue": (40, 80, 205),
    "purple": (135, 55, 170), "pink": (240, 130, 175), "brown": (120, 75, 42),
    "black": (22, 22, 22), "white": (240, 240, 240), "grey": (128, 128, 128),
}  # fmt: skip
_EDGE = 12.0  # degrees over which the mask falls from 1 to 0


def ramp(values: NDArray[np.floating], low: float, high: float) -> F32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return cast(F32, (t * t * (3 - 2 * t)).astype(np.float32))


def of_colour(frame: Frame, name: str) -> F32:
    """The soft mask of all that has a colour; specks without neighbours of the colour are left out.

    >>> red = np.full((8, 8, 3), (200, 20, 20), np.uint8)
    >>> float(of_colour(red, "red").min()), float(of_colour(red, "blue").max())
    (1.0, 0.0)
    """
    import cv2

    hsv: Any = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hue, full, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    mask: Any
    if name in ("black", "white", "grey"):
        pale = 1 - ramp(full, 0.15, 0.35)
        if name == "white":
            mask = pale * ramp(value, 0.72, 0.85)
        elif name == "black":
            mask = 1 - ramp(value, 0.14, 0.26)
        else:
            mask = pale * ramp(value, 0.2, 0.32) * (1 - ramp(value, 0.7, 0.82))
    else:
        centre, half = _HUES[name]
        apart = np.abs((hue - centre + 180) % 360 - 180)
        near = 1 - ramp(apart, half, half + _EDGE)
        mask = near * ramp(full, 0.22, 0.42) * ramp(value, 0.10, 0.22)
        if name == "brown":
            mask = mask * (1 - ramp(value, 0.5, 0.7))
        if name == "orange":
            mask = mask * ramp(value, 0.45, 0.65)
    sigma = max(1.0, max(frame.shape[:2]) / 100)
    company: Any = cv2.GaussianBlur(mask, (0, 0), sigma)
    mask = mask * ramp(company, 0.12, 0.4)
    if name in _HUES:
        # amid the colour, its paler and its shifted parts belong to it: highlights, shadows
        amid = ramp(cv2.GaussianBlur(mask, (0, 0), 2.5 * sigma), 0.25, 0.6)
        wide = 1 - ramp(apart, half + 8, half + 8 + 2 * _EDGE)
        mask = np.maximum(mask, amid * wide * ramp(full, 0.06, 0.16) * ramp(value, 0.08, 0.18))
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)
    mask[mask < 0.02] = 0
    return cast(F32, np.clip(mask, 0, 1).astype(np.float32))


def of_faces(frame: Frame) -> F32:
    """Soft ellipses over the faces of a frame; MissingExtra without the detector's weights."""
    import cv2

    from avsafe.faces import detect

    mask = np.zeros(frame.shape[:2], np.float32)
    for face in detect(frame):
        x, y = face.centre
        axes = (max(2, round(0.62 * face.width)), max(2, round(0.62 * face.height)))
        cv2.ellipse(mask, (round(x), round(y)), axes, 0, 0, 360, 1.0, -1)
    return mask


def region(where: str | None, frame: Frame, mask: F32 | None) -> F32 | None:
    """The mask of a named region; None for the whole frame.

    Raises UsageError where the region needs a mask and there is none.
    """
    height, width = frame.shape[:2]
    if where is None:
        return mask
    if where.startswith("colour "):
        return of_colour(frame, where.removeprefix("colour "))
    if where == "faces":
        return of_faces(frame)
    if where.endswith("half"):
        half = np.zeros((height, width), np.float32)
        middle_x, middle_y = width // 2, height // 2
        rows = {"top half": slice(None, middle_y), "bottom half": slice(middle_y, None)}
        columns = {"left half": slice(None, middle_x), "right half": slice(middle_x, None)}
        half[rows.get(where, slice(None)), columns.get(where, slice(None))] = 1
        return half
    if mask is None:
        raise UsageError(
            f"The {where} can't be told apart without help: pass --mask (a box x,y,w,h, a picture "
            "or a video), white on the subject. Everything else is then the background."
        )
    return 1 - mask if where == "background" else mask


def blended(frame: Frame, picture: F32, mask: F32 | None) -> Frame:
    """The edited picture inside the mask; where the mask is 0 the frame as it was, bit by bit."""
    edited = np.clip(picture + 0.5, 0, 255)
    if mask is None:
        return cast(Frame, edited.astype(np.uint8))
    alpha = mask[..., None]
    mixed = frame + alpha * (np.clip(picture, 0, 255) - frame)
    return np.where(alpha > 0, np.clip(mixed + 0.5, 0, 255).astype(np.uint8), frame)


def repainted(frame: Frame, target: str, source: str | None, mask: F32) -> F32:
    """The frame with the hue of another colour; light and shade stay.

    Lab: the lightness is scaled from the source's typical one to the target's, half way; the chroma
    turns to the target's hue. Without a named source, the mask's own mean stands for it.
    """
    import cv2

    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    if source is not None:
        old = _lab(PAINTS[source])
    else:
        total = max(float(mask.sum()), 1e-3)
        old = (lab * mask[..., None]).sum((0, 1)) / total
    new = _lab(PAINTS[target])
    lightness = lab[..., 0] * (1 + 0.75 * (new[0] / max(float(old[0]), 12.0) - 1))
    old_chroma = max(float(np.hypot(old[1], old[2])), 18.0)
    new_chroma = float(np.hypot(new[1], new[2]))
    own = np.clip(np.hypot(lab[..., 1], lab[..., 2]) / old_chroma, 0.15, 1.4)
    if source in ("black", "white", "grey"):
        own = np.ones_like(own)
    direction = new[1:] / max(new_chroma, 1e-3)
    chroma = (own * new_chroma)[..., None] * direction
    painted = np.concatenate([np.clip(lightness, 0, 100)[..., None], chroma], -1)
    rgb = cv2.cvtColor(painted.astype(np.float32), cv2.COLOR_LAB2RGB)
    return cast(F32, np.clip(rgb, 0, 1) * np.float32(255))


def _lab(rgb: tuple[int, int, int]) -> NDArray[np.float32]:
    import cv2

    pixel = np.array([[rgb]], np.float32) / 255
    return cast("NDArray[np.float32]", cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0])

"""How much of what is heard has no visible cause, and of what moves makes no sound.

Indicators for detectors, not metrics: speech off screen and silent motion are common in real clips.

Legend: events are sorted times in seconds; curves are (t,) at one rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sound_without_motion(
    sound: NDArray[Any], motion: NDArray[Any], tolerance_s: float = 0.2
) -> float:
    """Share of sound events with no peak of motion within ``tolerance_s``, 0 to 1.

    Raises Unscorable without a sound event.

    >>> sound_without_motion(np.array([1.0, 2.0]), np.array([1.1]))
    0.5
    """
    if not len(sound):
        raise Unscorable("no sound begins in the clip")
    return _alone(sound, motion, tolerance_s)


def motion_without_sound(
    sound: NDArray[Any], motion: NDArray[Any], tolerance_s: float = 0.2
) -> float:
    """Share of motion events with no sound that begins within ``tolerance_s``, 0 to 1.

    Raises Unscorable without a motion event.
    """
    if not len(motion):
        raise Unscorable("no peak of motion in the clip")
    return _alone(motion, sound, tolerance_s)


def _alone(events: NDArray[Any], others: NDArray[Any], tolerance_s: float) -> float:
    if not len(others):
        return 1.0
    gaps = np.abs(np.asarray(events)[:, None] - np.asarray(others)[None]).min(axis=1)
    return float(np.mean(gaps > tolerance_s + 1e-9))


def speech_without_mouth_motion(
    voiced: NDArray[Any], opening: NDArray[Any], window: int, least: float
) -> float:
    """Share of speech during which the mouth stands still, 0 to 1.

    ``voiced`` (t,) True where somebody speaks; ``opening`` (t,) of the mouth in widths of the eyes,
    NaN without a face (not counted); it stands still where it varies by less than ``least`` within
    ``window`` frames. Raises Unscorable where no frame has both.

    >>> speech_without_mouth_motion(np.ones(6, bool), np.array([0, 0, 0, 0.3, 0, 0.3]), 3, 0.1)
    0.3333333333333333
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    voiced, opening = np.asarray(voiced, bool), np.asarray(opening, np.float64)
    known = np.isfinite(opening)
    counted = voiced & known
    if not counted.any():
        raise Unscorable("no frame has both speech and a face")
    high = maximum_filter1d(np.where(known, opening, -np.inf), window)
    low = minimum_filter1d(np.where(known, opening, np.inf), window)
    return float(np.mean((high - low)[counted] < least))

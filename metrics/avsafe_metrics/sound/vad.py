"""Where somebody speaks: Silero's voice activity detector on its shipped ONNX model.

Legend: the sound is ``(n,)`` float32 mono at 16 kHz; probabilities ``(k,)`` of frames of 32 ms.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avsafe.errors import Unscorable
from avsafe_metrics.sound.pairing import RATE_HZ
from avsafe_metrics.sound.shipped import digest, onnx, shipped
from avsafe_metrics.sound.silence import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME, CONTEXT = 512, 64  # samples; each frame is seen with the 64 before it
FRAME_S = FRAME / RATE_HZ
STARTS, ENDS = 0.5, 0.35  # probabilities at which speech starts and ends, as in the package
SHORTEST_S, GAP_S = 0.25, 0.1  # shorter speech is dropped, shorter gaps are filled first
LEVEL, HIGHEST_GAIN = 0.1, 100.0  # quiet sound is raised until 0.1 % of it lies above LEVEL
_AT_ONCE = 512


def speech_mask(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames are speech ``(k,)``: from .5 until below .35, gaps under 100 ms filled, speech
    under 250 ms dropped.

    >>> p = np.r_[np.zeros(5), np.full(10, 0.9), np.full(2, 0.2), np.full(10, 0.4), np.zeros(5)]
    >>> int(speech_mask(p).sum())
    10
    """
    mask = np.zeros(probabilities.size, bool)
    inside = False
    for index, probability in enumerate(probabilities):
        inside = bool(probability >= (ENDS if inside else STARTS))
        mask[index] = inside
    for start, end in runs(~mask):
        if start > 0 and end < mask.size and (end - start) * FRAME_S < GAP_S:
            mask[start:end] = True
    for start, end in runs(mask):
        if (end - start) * FRAME_S < SHORTEST_S:
            mask[start:end] = False
    return mask


def raised(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quiet sound made louder, by 40 dB at most: the detector misses quiet speech.

    >>> round(float(raised(np.tile(np.float32([0.01, -0.01]), 100)).max()), 3)
    0.1
    """
    level = float(np.quantile(np.abs(x), 0.999)) if x.size else 0.0
    if not 0 < level < LEVEL:
        return x
    return x * np.float32(min(HIGHEST_GAIN, LEVEL / level))


class Voice:
    """The detector. Two metrics that ask about the same array share one answer."""

    # the last two arrays (a sound and its reference) and their masks
    _known: ClassVar[list[tuple[weakref.ref[NDArray[np.float32]], NDArray[np.bool_]]]] = []

    def __init__(self) -> None:
        self._path = shipped("silero_vad", "data/silero_vad_16k_sequence.onnx", "silero-vad")
        self._session = onnx(self._path)

    def digests(self) -> Mapping[str, str]:
        return {"silero_vad_16k_sequence.onnx": digest(self._path)}

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(k,)`` for ``(n,)``; the last frame is filled up with zeros."""
        count = -(-x.size // FRAME)
        frames = np.zeros((count, FRAME), np.float32)
        frames.reshape(-1)[: x.size] = x
        before = np.zeros((count, CONTEXT), np.float32)
        before[1:] = frames[:-1, -CONTEXT:]
        seen = np.concatenate([before, frames], axis=1)
        h = c = np.zeros((1, 1, 128), np.float32)
        found = [np.zeros(0, np.float32)]
        for first in range(0, count, _AT_ONCE):
            feed = {"input": seen[first : first + _AT_ONCE], "h": h, "c": c}
            some, h, c = self._session.run(["speech_probs", "hn", "cn"], feed)
            found.append(np.asarray(some, np.float32).reshape(-1))
        return np.concatenate(found)

    def mask(self, x: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which frames of 32 ms are speech, whatever the level of the sound."""
        for known, mask in Voice._known:
            if known() is x:
                return mask
        mask = speech_mask(self.probabilities(raised(x)))
        Voice._known[:] = [*Voice._known[-1:], (weakref.ref(x), mask)]
        return mask

    def need(self, x: NDArray[Any], least_s: float, what: str = "sound") -> NDArray[np.bool_]:
        """The mask. Raises ``Unscorable`` when less than ``least_s`` of ``x`` are speech."""
        mask = self.mask(x)
        speech_s = float(mask.sum()) * FRAME_S
        if speech_s < least_s:
            raise Unscorable(
                f"{speech_s:.1f} s of speech in {x.size / RATE_HZ:.1f} s of {what}: "
                f"this needs {least_s:g} s"
            )
        return mask


def spoken(x: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The samples of the frames that are speech, joined."""
    return x[np.repeat(mask, FRAME)[: x.size]]

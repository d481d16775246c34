"""The mask of a request: a picture, a video, or a box ``x,y,w,h`` in fractions of the frame.

Legend: a mask is ``(h, w)`` float32, 1 where the generator is to work, 0 where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import MissingStream, UsageError
from avsafe.types import Cancelled, GenerationRequest, Kind, Media, never_cancelled
from avsafe_generators.asking.inputs import covered, footage, optional, picture
from avsafe_generators.asking.parameters import shown

Mask = NDArray[np.float32]
MIN_SHARE = 2e-4  # of the frame: less is no region, or a mask that was exported wrong


@dataclass
class Region:
    """Where to work. ``moving`` regions come from a video and are read in order of time."""

    width: int
    height: int
    still: Mask | None = None
    media: Media | None = None
    max_duration_s: float = 60.0
    frame_rate: Fraction | None = None  # of the clip; None: the mask video has the same
    _reader: Iterator[NDArray[Any]] | None = field(default=None, repr=False)
    _at: int = field(default=-1, repr=False)
    _mask: Mask | None = field(default=None, repr=False)
    _step: Fraction = field(default=Fraction(1), repr=False)  # mask frames for a frame of the clip

    @property
    def moving(self) -> bool:
        return self.media is not None

    def at(self, index: int) -> Mask:
        """The mask that is shown while frame ``index`` of the clip is; after the end of the mask
        video its last frame. Going back starts a new pass."""
        if self.still is not None:
            return self.still
        assert self.media is not None  # noqa: S101  one of the two is there
        if self._reader is None or int(index * self._step) < self._at:
            clip = footage(self.media, self.width, self.height, max_duration_s=self.max_duration_s)
            self._reader, self._at = iter(clip.frames), -1
            if self.frame_rate is not None:
                self._step = clip.frame_rate / self.frame_rate
        index = int(index * self._step)
        while self._at < index:
            frame = next(self._reader, None)
            if frame is None:
                break
            self._at, self._mask = self._at + 1, _luma(frame)
        if self._mask is None:
            raise MissingStream(f"{self.media.path.name} has no frame to take a mask from.")
        return self._mask

    def refuse_empty(self, cancelled: Cancelled = never_cancelled) -> None:
        """Raise UsageError for a mask video that is black from beginning to end."""
        if self.media is None:
            return
        clip = footage(
            self.media, self.width, self.height, max_duration_s=self.max_duration_s,
            cancelled=cancelled,
        )  # fmt: skip
        if not any(float((_luma(frame) > 0.5).mean()) >= MIN_SHARE for frame in clip.frames):
            raise UsageError(
                f"The mask {self.media.path.name} has no white part in any frame. White is where "
                "to work, black stays as it is."
            )


def region(
    request: GenerationRequest,
    width: int,
    height: int,
    *,
    max_duration_s: float = 60.0,
    frame_rate: Fraction | None = None,
) -> Region | None:
    """The region that ``--mask`` names, for frames of ``width`` x ``height``; None without one.

    White is where the generator works; transparent parts of a picture count as white. With the
    clip's ``frame_rate`` a mask video of another rate goes along by time. Raises UsageError for a
    malformed box and for an empty picture.

    >>> from avsafe.types import Principal, Task
    >>> me = Principal("me")
    >>> request = GenerationRequest(
    ...     me, Task.INPAINT_VIDEO, "inpaint", parameters={"mask": "0.5,0,0.5,1"}
    ... )
    >>> float(region(request, 64, 32).at(0).mean())
    0.5
    """
    media, box = optional(request, "mask"), request.parameters.get("mask")
    if media is not None and box is not None:
        raise UsageError("A mask is a file or a box, not both.")
    if box is not None:
        return Region(width, height, still=_box(box, width, height))
    if media is None:
        return None
    if media.kind is Kind.VIDEO:
        return Region(
            width, height, media=media, max_duration_s=max_duration_s, frame_rate=frame_rate
        )
    mask = _luma(covered(picture(media), width, height))
    if float((mask > 0.5).mean()) < MIN_SHARE:
        raise UsageError(
            f"The mask {media.path.name} has no white part. White is where "
            f"{request.generator} works, black stays as it is."
        )
    return Region(width, height, still=mask)


def _luma(frame: NDArray[Any]) -> Mask:
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    out: Mask = np.clip((frame.astype(np.float32) @ weights) / 255.0, 0.0, 1.0)
    return out


def _box(text: Any, width: int, height: int) -> Mask:
    try:
        x, y, w, h = (float(part) for part in str(text).split(","))
    except ValueError:
        raise UsageError(
            f"A mask box is x,y,w,h in fractions of the frame, for example 0.5,0.25,0.3,0.5, not "
            f"{shown(text)}."
        ) from None
    if not (
        0 <= x < 1 and 0 <= y < 1 and 0 < w <= 1.001 - x and 0 < h <= 1.001 - y
    ):  # false for NaN
        raise UsageError(
            f"The mask box {shown(text)} leaves the frame: x, y, x+w and y+h are fractions from "
            "0 to 1."
        )
    left, top = min(width - 1, round(x * width)), min(height - 1, round(y * height))
    mask: Mask = np.zeros((height, width), np.float32)
    mask[
        top : max(top + 1, round((y + h) * height)), left : max(left + 1, round((x + w) * width))
    ] = 1
    return mask

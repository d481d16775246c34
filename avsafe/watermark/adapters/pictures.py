"""Pictures around a network that wants small squares: sampling in the sandbox, adding outside.

Legend: ``s`` side of the network's square input, ``f`` frames kept. A *small* picture is
``(s, s, 3)`` float32 in [0, 1]; a *residual* has that shape and is what the network would add.

The networks are too large for the sandbox and their weights lie where it may not read, so it hands
out small squares, plain numbers, and the network sees those in the process that holds the key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Features, Frame, Kind, Mark, Media, Picture, Samples

Small = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom
Residual = Callable[[Small], Small]

FRAMES, SEEN = "frames", "frames_seen"  # (f, s, s, 3) uint8; (1,) int64
MAX_FRAMES = 32  # spread over the clip
MIN_SIDE = 128  # pixels; below, too little of a square of 256 is left
_CUT = 24 / 255  # mean difference of small pictures: another picture, not motion
_THUMB = 8  # every eighth pixel is enough to see a cut


def whole(width: int, height: int) -> Box:
    """The whole picture, squeezed into a square."""
    return 0, 0, width, height


def centre_if_long(width: int, height: int) -> Box:
    """The whole picture, or its central square when one side is more than twice the other.

    >>> centre_if_long(300, 100)
    (100, 0, 200, 100)
    """
    side = min(width, height)
    if max(width, height) <= 2 * side:
        return whole(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def shrink(frame: Frame, side: int, box: Box) -> NDArray[np.uint8]:
    """The box of a frame as ``(s, s, 3)`` uint8: a triangle filter, as the networks were trained
    with (antialiased bilinear resizing)."""
    from PIL import Image

    small = Image.fromarray(frame).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(small, np.uint8)


class FrameSampler:
    """A FeatureExtractor that keeps up to 32 squares, evenly spread, of a clip of any length.

    When they are full, every second one goes and the step doubles: memory stays bounded.
    """

    picture: Picture = "rgb"
    side = 256
    box = staticmethod(whole)

    def __init__(self) -> None:
        self._kept: list[NDArray[np.uint8]] = []
        self._step = 1
        self._seen = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Keep this frame when it is its turn."""
        self._seen += 1
        if (self._seen - 1) % self._step or frame.ndim != 3:
            return
        if len(self._kept) == MAX_FRAMES:
            self._kept = self._kept[::2]
            self._step *= 2
            if (self._seen - 1) % self._step:
                return
        height, width = frame.shape[:2]
        self._kept.append(shrink(frame, self.side, self.box(width, height)))

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound is not looked at."""

    def finish(self) -> Features:
        """``frames`` ``(f, s, s, 3)`` uint8 and ``frames_seen``; ``f`` may be 0."""
        shape = (0, self.side, self.side, 3)
        kept = np.stack(self._kept) if self._kept else np.zeros(shape, np.uint8)
        return {FRAMES: kept, SEEN: np.array([self._seen], np.int64)}


def sampled(features: Features, side: int) -> list[Small]:
    """The squares of ``FrameSampler``, checked: they come from a process that read a hostile file.

    An empty list when they are not what they should be.
    """
    frames = features.get(FRAMES)
    if (
        not isinstance(frames, np.ndarray)
        or frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[1:] != (side, side, 3)
        or len(frames) > MAX_FRAMES
    ):
        return []
    return [frame.astype(np.float32) / 255 for frame in frames]


class ResidualEmbedder:
    """The Embedder of a network that says what to add to a small square.

    The residual of one frame serves the next ``step - 1`` as well, unless the scene is cut: the
    networks were trained that way for video, and it costs a network call less often. It is enlarged
    to the box of the frame and added. No look-ahead; memory is one residual.
    """

    def __init__(
        self,
        residual: Residual,
        mark: Mark,
        *,
        height: int,
        width: int,
        side: int,
        box: Box,
        step: int,
        gain: float,
        feather: int = 0,
    ) -> None:
        if min(height, width) < MIN_SIDE:
            raise CannotMark(
                f"A picture of {width}x{height} is too small to carry the mark: its short side "
                f"needs {MIN_SIDE} pixels. Make it larger first."
            )
        self._residual, self._mark = residual, mark
        self._shape, self._side, self._box = (height, width, 3), side, box
        self._step, self._gain, self._feather = step, gain, feather
        self._delta: NDArray[np.float32] | None = None
        self._thumb: NDArray[np.uint8] | None = None
        self._since = 0
        self._frames = 0
        self._sum_db = 0.0

    def frame(self, frame: Frame) -> Frame:
        """The marked frame, a new array. Raises UsageError for another size or type."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise UsageError(
                f"A frame of shape {frame.shape} {frame.dtype} came to an embedder for "
                f"{self._shape} uint8. All frames of a clip have one size."
            )
        left, top, right, bottom = self._box
        if self._delta is None or self._since >= self._step or self._is_cut(frame):
            self._delta = self._enlarged(shrink(frame, self._side, self._box))
            self._thumb = frame[::_THUMB, ::_THUMB].copy()
            self._since = 0
        self._since += 1
        marked = frame.copy()
        inside = frame[top:bottom, left:right].astype(np.float32)
        inside += self._delta
        np.rint(inside, out=inside)
        np.clip(inside, 0, 255, out=inside)
        marked[top:bottom, left:right] = inside
        error = float(np.square(marked.astype(np.float32) - frame).mean())
        self._sum_db += 10 * np.log10(255**2 / max(error, 1e-6))
        self._frames += 1
        return marked

    def _is_cut(self, frame: Frame) -> bool:
        if self._thumb is None:
            return True
        thumb = frame[::_THUMB, ::_THUMB]
        return float(np.abs(thumb.astype(np.int16) - self._thumb).mean()) / 255 > _CUT

    def _enlarged(self, small: NDArray[np.uint8]) -> NDArray[np.float32]:
        import cv2

        left, top, right, bottom = self._box
        added = self._residual(np.asarray(small / np.float32(255), np.float32))
        delta = added * np.float32(255 * self._gain)
        if not np.isfinite(delta).all():
            raise CannotMark("The network gave values that are not finite for this picture.")
        size = (right - left, bottom - top)
        large = np.asarray(cv2.resize(delta, size, interpolation=cv2.INTER_LINEAR), np.float32)
        if self._feather and self._box != whole(self._shape[1], self._shape[0]):
            large *= _fade(size[1], self._feather)[:, None, None]
            large *= _fade(size[0], self._feather)[None, :, None]
        return large

    def samples(self, block: Samples) -> Samples:
        """Sound passes unchanged."""
        return block

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, 0), np.float32)

    def mark(self) -> Mark:
        """The mark and the mean PSNR. Raises CannotMark when no frame came."""
        if not self._frames:
            raise CannotMark("No frame came to the embedder: there is nothing to mark.")
        return Mark(
            self._mark.modality,
            self._mark.algorithm,
            self._mark.payload,
            self._mark.payload_bits,
            psnr_db=self._sum_db / self._frames,
        )


def _fade(n: int, width: int) -> NDArray[np.float32]:
    """1 inside, falling to 0 over ``width`` pixels at both ends."""
    edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 1
    return np.minimum(1, edge / (width + 1)).astype(np.float32)


def mean_bits(logits: list[NDArray[Any]]) -> NDArray[np.float64]:
    """The mean of each bit over frames ``(f, n)``; empty for no frame."""
    return np.mean(logits, axis=0, dtype=np.float64) if logits else np.zeros(0)


def check_kind(has_frames: bool, kind: Kind) -> None:
    if not has_frames:
        raise CannotMark(f"There are no frames to mark. Pass {kind.value} media with a picture.")

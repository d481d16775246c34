"""Write the tile into frames: where, how strong, and never below the quality floor.

Legend: ``h`` ``w`` pixels of the frame; ``s`` canonical scale, 360 / min(h, w); levels are 0..255.

The tile is added to red, green and blue alike (luma only), times a mask that follows texture and
brightness, times one strength for the frame. The strength brings each frame's PSNR to the target
(mean square error over the three channels, marked against unmarked 8-bit frames), follows the
content smoothly in time so that nothing flickers, is limited where a picture is flat, and is cut at
once when a frame would fall below the floor.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Frame, Kind, Mark, Samples
from avsafe.watermark.tile import (
    ALGORITHM,
    MAX_CYCLES,
    PAYLOAD_BITS,
    PERIOD,
    SHORT_SIDE,
    Tile,
)

PSNR_FLOOR_DB = 42.0  # no frame of any clip lies below
PSNR_TARGET_DB = (43.0, 42.1)  # attempt 0, attempt 1
_FLAT_LEVELS = (0.9, 1.6)  # standard deviation of the mark in flat mid-grey areas, at most
MIN_SHORT_SIDE = 128  # pixels
_NYQUIST = 0.48  # cycles per pixel that a frame can show
_SMOOTH_S = 0.5  # time constant of the strength
_TEXTURE_GAIN, _TEXTURE_LEAST, _TEXTURE_MOST = 0.10, 0.65, 2.4  # from a texture of 0 to 17 levels
# The same wave is coarser, and shows more, in a large picture, where it also survives coding best
_FLAT_RELIEF = 0.35  # power of 480 / short side: at 1080 pixels the limit is 0.75 of that at 480


def texture_mask(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Canonical luma ``(h, w)`` -> how much the eye forgives there, 0.39 (flat, black) to 2.4.

    The local deviation is eroded first, so that the flat side of an edge counts as flat.

    >>> round(float(texture_mask(np.full((64, 64), 128, np.float32)).max()), 2)
    0.65
    """
    import cv2

    mean = cv2.blur(luma, (9, 9))
    power = cv2.blur(luma * luma, (9, 9)) - mean * mean
    deviation = cv2.erode(np.sqrt(np.maximum(power, 0)), np.ones((5, 5), np.uint8))
    deviation = cv2.blur(deviation, (9, 9))
    gain = np.clip(_TEXTURE_LEAST + _TEXTURE_GAIN * deviation, _TEXTURE_LEAST, _TEXTURE_MOST)
    bright = 0.6 + 0.4 * np.clip(mean / 90, 0, 1)  # dark levels are few: a step shows more
    mask: NDArray[np.float32] = (gain * bright).astype(np.float32)
    return mask


def pattern(tile: Tile, payload: int, height: int, width: int) -> NDArray[np.float32]:
    """The tile repeated over a frame ``(height, width)``, float32, standard deviation about 1."""
    import cv2

    scale = SHORT_SIDE / min(height, width)
    period = tile.draw(payload, max_cycles=min(MAX_CYCLES, _NYQUIST / scale * PERIOD))
    rows, columns = (int(np.ceil(side * scale)) + 4 for side in (height, width))
    sheet = np.tile(period, (rows // PERIOD + 1, columns // PERIOD + 1))
    if scale == 1:
        return sheet[:height, :width].copy()
    if max(sheet.shape) > 32000 or max(height, width) > 32000:  # OpenCV warps up to 2^15
        raise CannotMark(
            f"A picture of {width}x{height} is too long to mark: 32000 pixels a side at most."
        )
    grow = 1 / scale
    shift = 0.5 * grow - 0.5  # pixel centres onto pixel centres
    matrix = np.array([[grow, 0, shift], [0, grow, shift]], np.float32)
    warped = cv2.warpAffine(
        sheet, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(warped, np.float32)


class TileEmbedder:
    """The Embedder of the video and the image mark. Frames in order, one pass, no look-ahead."""

    def __init__(
        self,
        tile: Tile,
        payload: int,
        *,
        modality: Kind,
        height: int,
        width: int,
        frame_rate: Fraction | None,
        attempt: int = 0,
    ) -> None:
        if min(height, width) < MIN_SHORT_SIDE:
            raise CannotMark(
                f"A picture of {width}x{height} is too small to carry the mark: its short side "
                f"needs {MIN_SHORT_SIDE} pixels. Make it larger first."
            )
        level = min(max(attempt, 0), len(PSNR_TARGET_DB) - 1)
        self._payload, self._modality = payload, modality
        self._shape = (height, width, 3)
        self._pattern = pattern(tile, payload, height, width)
        self._target = _mse(PSNR_TARGET_DB[level])
        relief = min(1.0, (480 / min(height, width)) ** _FLAT_RELIEF)
        self._flat = _FLAT_LEVELS[level] * relief / _TEXTURE_LEAST
        rate = float(frame_rate) if frame_rate else 25.0
        self._memory = float(np.exp(-1 / (rate * _SMOOTH_S)))
        self._strength: float | None = None  # smoothed, on a logarithmic scale
        self._response = 1.0  # measured over predicted error: rounding and clipping
        self._sum_db = 0.0
        self._frames = 0
        self._small = self._canonical_size()
        self._delta = np.empty((height, width), np.float32)
        self._step = np.empty((height, width), np.int16)
        self._steps = np.empty((height, width, 3), np.int16)

    def _canonical_size(self) -> tuple[int, int]:
        scale = min(1.0, SHORT_SIDE / min(self._shape[:2]))
        return round(self._shape[1] * scale), round(self._shape[0] * scale)

    def frame(self, frame: Frame) -> Frame:
        """The marked frame, a new array. Raises UsageError for another size or type."""
        import cv2

        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise UsageError(
                f"A frame of shape {frame.shape} {frame.dtype} came to an embedder for "
                f"{self._shape} uint8. All frames of a clip have one size."
            )
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._small != (self._shape[1], self._shape[0]):
            luma = cv2.resize(luma, self._small, interpolation=cv2.INTER_AREA)
        mask = texture_mask(luma.astype(np.float32))
        power = float(cv2.norm(mask, cv2.NORM_L2SQR)) / mask.size
        wanted = np.log(min(np.sqrt(self._target / (power * self._response)), self._flat))
        if self._strength is None:
            self._strength = wanted
        self._strength = self._memory * self._strength + (1 - self._memory) * wanted
        if mask.shape != self._shape[:2]:
            mask = np.asarray(
                cv2.resize(mask, self._shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32
            )
        strength = float(np.exp(self._strength))
        marked, error = self._add(frame, mask, strength)
        if strength**2 * power > 0.25:  # below, nearly all steps round to 0: no measure
            response = error / (strength**2 * power)
            self._response += 0.1 * (min(max(response, 0.5), 1.5) - self._response)
        while error > _mse(PSNR_FLOOR_DB):
            strength *= 0.98 * np.sqrt(_mse(PSNR_FLOOR_DB) / error)
            marked, error = self._add(frame, mask, strength)
        self._sum_db += _psnr(error)
        self._frames += 1
        return marked

    def _add(self, frame: Frame, mask: NDArray[np.float32], strength: float) -> tuple[Frame, float]:
        """The frame marked at one strength, and its mean square error."""
        import cv2

        cv2.multiply(mask, self._pattern, self._delta, strength)
        np.rint(self._delta, out=self._delta)
        self._step[...] = self._delta
        cv2.merge([self._step] * 3, self._steps)
        marked = np.asarray(cv2.add(frame, self._steps, dtype=cv2.CV_8U), np.uint8)
        return marked, float(cv2.norm(frame, marked, cv2.NORM_L2SQR)) / frame.size

    def samples(self, block: Samples) -> Samples:
        """Sound passes through unchanged."""
        return block

    def flush(self) -> Samples:
        """Nothing is held back."""
        return np.zeros((0, 0), np.float32)

    def mark(self) -> Mark:
        """The mark, with the mean PSNR over the frames, as measured. CannotMark without frames."""
        if self._frames == 0:
            raise CannotMark("No frame came: there is nothing to mark.")
        return Mark(
            self._modality, ALGORITHM, self._payload, PAYLOAD_BITS, self._sum_db / self._frames
        )


def _mse(psnr_db: float) -> float:
    return float(255.0**2 / 10 ** (psnr_db / 10))


def _psnr(mse: float) -> float:
    return float(10 * np.log10(255.0**2 / max(mse, 1e-6)))  # 1e-6: an unchanged frame counts 108 dB

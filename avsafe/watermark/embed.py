"""Write the tile into frames: where, how strong, and never below the quality floor.

Legend: ``h`` ``w`` pixels of the frame; ``s`` canonical scale, 360 / min(h, w); levels are 0..255.

The tile is added to red, green and blue alike (luma only), times a mask that follows texture and
brightness, times one strength for the frame, times the sign of the segment. The strength brings
each frame's PSNR to the target (mean square error over the three channels, marked against unmarked
8-bit frames), follows the content smoothly in time so that nothing flickers, is limited where a
picture is flat, and is cut at once when a frame would fall below the floor.

What is added is computed for every third frame or so, and at once after a cut: the mask of a moving
scene may be old by a tenth of a second.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Frame, Kind, Mark, Samples
from avsafe.watermark.tile import (
    ALGORITHM,
    PAYLOAD_BITS,
    PERIOD,
    SHORT_SIDE,
    Tile,
    sign_at,
)

PSNR_FLOOR_DB = 42.0  # no frame of any clip lies below
PSNR_TARGET_DB = (43.5, 42.2)  # at 480 pixels; attempt 0, attempt 1
# Coded equally hard, small pictures lose more: their waves are shorter in pixels
_TARGET_GAIN_DB = 1.5  # more for twice the short side (attempt 0), 42.1 dB at the least
# In large moving pictures the waves are long: they outlive hard coding by far, and show on skin
_LARGE_SIDE = 540  # pixels
_LARGE_GAIN_DB = 5.0  # instead, above that
_TARGET_MOST_DB = 47.5
_FLAT_LEVELS = (0.8, 1.1)  # standard deviation of the mark in flat mid-grey areas, at most
MIN_SHORT_SIDE = 128  # pixels: the shortest waves are then 2.3 pixels long
_SMOOTH_S = 0.5  # time constant of the strength
_TEXTURE_GAIN, _TEXTURE_LEAST, _TEXTURE_MOST = 0.1, 0.65, 2.2  # from a texture of 0 to 15 levels
# The same wave is coarser, and shows more, in a large picture, where it also survives coding best
_FLAT_RELIEF = 0.35  # power of 480 / short side: at 1080 pixels the limit is 0.75 of that at 480
_FLAT_RELIEF_MOST = 1.25
_LARGE_RELIEF = 0.8  # instead, for large moving pictures: 0.55 of the limit at 1080
_RENEW_S = 0.12  # the mask is computed anew
_CUT_LEVELS = 12.0  # mean difference of thumbnails, to the frame that the mask was computed for
_MOST_SIDE = 32000  # OpenCV warps up to 2^15


def texture_mask(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Canonical luma ``(h, w)`` -> how much the eye forgives there, 0.39 (flat, black) to 2.2.

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
    period = tile.draw(payload)
    rows, columns = (int(np.ceil(side * scale)) + 4 for side in (height, width))
    sheet = np.tile(period, (rows // PERIOD + 1, columns // PERIOD + 1))
    if scale == 1:
        return sheet[:height, :width].copy()
    if max(sheet.shape) > _MOST_SIDE or max(height, width) > _MOST_SIDE:
        raise CannotMark(
            f"A picture of {width}x{height} is too long to mark: {_MOST_SIDE} pixels a side "
            "at most."
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
                f"A picture of {width}x{height} is too small for the mark: {min(height, width)} < "
                f"{MIN_SHORT_SIDE} pixels on its short side. Make it larger first."
            )
        level = min(max(attempt, 0), len(PSNR_TARGET_DB) - 1)
        self._payload, self._modality = payload, modality
        self._shape = (height, width, 3)
        self._pattern = pattern(tile, payload, height, width)
        side = min(height, width)
        # what counts as large: only in moving pictures there is time to make up for it
        large = max(side, _LARGE_SIDE) if modality is Kind.VIDEO and level == 0 else _LARGE_SIDE
        small = side * _LARGE_SIDE / large
        self._target = _mse(_target_db(small, large, level))
        relief = min(_FLAT_RELIEF_MOST, (480 / small) ** _FLAT_RELIEF)
        relief *= (_LARGE_SIDE / min(large, 2 * _LARGE_SIDE)) ** _LARGE_RELIEF
        self._flat = _FLAT_LEVELS[level] * relief / _TEXTURE_LEAST
        self._rate = float(frame_rate) if frame_rate else 25.0
        self._renew = max(1, round(_RENEW_S * self._rate))
        self._memory = float(np.exp(-self._renew / (self._rate * _SMOOTH_S)))
        self._log_strength: float | None = None  # smoothed
        self._response = 1.0  # measured over predicted error: rounding and clipping
        self._sum_db = 0.0
        self._frames = 0
        self._age = 0  # frames since the mask was computed
        self._sign = 1
        self._thumbnail: NDArray[np.uint8] | None = None
        scale = min(1.0, SHORT_SIDE / min(height, width))
        self._small = (round(width * scale), round(height * scale))
        self._delta = np.empty((height, width), np.float32)
        self._more = np.empty(self._shape, np.uint8)  # levels added, and
        self._less = np.empty(self._shape, np.uint8)  # levels taken away

    def frame(self, frame: Frame) -> Frame:
        """The marked frame, a new array. Raises UsageError for another size or type."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise UsageError(
                f"A frame of shape {frame.shape} {frame.dtype} came to an embedder for "
                f"{self._shape} uint8. All frames of a clip have one size."
            )
        before, self._sign = self._sign, sign_at(self._frames / self._rate)
        if self._is_new(frame):
            self._compute(frame)
        elif before != self._sign:
            self._more, self._less = self._less, self._more
        marked, error = self._add(frame)
        weaker = 1.0
        while error > _mse(PSNR_FLOOR_DB):
            weaker *= 0.98 * float(np.sqrt(_mse(PSNR_FLOOR_DB) / error))
            self._levels(weaker)
            marked, error = self._add(frame)
        self._sum_db += _psnr(error)
        self._frames += 1
        return marked

    def _is_new(self, frame: Frame) -> bool:
        """Whether the mask must be computed for this frame."""
        step = max(1, min(frame.shape[:2]) // 24)
        thumbnail = frame[step // 2 :: step, step // 2 :: step, 1]
        before, self._age = self._thumbnail, self._age + 1
        if before is not None and self._age < self._renew:
            change = np.abs(thumbnail.astype(np.int16) - before)
            if float(change.mean()) < _CUT_LEVELS:
                return False
        self._thumbnail, self._age = thumbnail.copy(), 0
        return True

    def _compute(self, frame: Frame) -> None:
        """What is added from here on."""
        import cv2

        height, width = self._shape[:2]
        small = frame
        if self._small != (width, height):
            small = np.asarray(
                cv2.resize(frame, self._small, interpolation=cv2.INTER_AREA), np.uint8
            )
        mask = texture_mask(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
        power = float(cv2.norm(mask, cv2.NORM_L2SQR)) / mask.size
        wanted = float(np.log(min(np.sqrt(self._target / (power * self._response)), self._flat)))
        if self._log_strength is None:
            self._log_strength = wanted
        self._log_strength = self._memory * self._log_strength + (1 - self._memory) * wanted
        if mask.shape != (height, width):
            mask = np.asarray(
                cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
            )
        strength = float(np.exp(self._log_strength))
        cv2.multiply(mask, self._pattern, self._delta, strength)
        self._levels(1.0)
        if strength**2 * power > 0.25:  # below, nearly all steps round to 0: no measure
            added = float(
                cv2.norm(self._more, cv2.NORM_L2SQR) + cv2.norm(self._less, cv2.NORM_L2SQR)
            )
            response = added / frame.size / (strength**2 * power)
            self._response += 0.2 * (min(max(response, 0.5), 1.5) - self._response)

    def _levels(self, factor: float) -> None:
        """The delta in whole levels, those added and those taken away, for three channels."""
        import cv2

        for target, sign in ((self._more, self._sign), (self._less, -self._sign)):
            # rounds to the nearest level, and what is below 0 to 0
            one = cv2.addWeighted(self._delta, sign * factor, self._delta, 0, 0, dtype=cv2.CV_8U)
            cv2.merge([one, one, one], target)

    def _add(self, frame: Frame) -> tuple[Frame, float]:
        """The marked frame, and its mean square error."""
        import cv2

        marked = np.asarray(cv2.add(frame, self._more), np.uint8)
        cv2.subtract(marked, self._less, marked)
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


def _target_db(small: float, large: float, level: int) -> float:
    """What the PSNR should be, for a short side of ``small x large / 540`` pixels.

    >>> [round(_target_db(side, 540, 0), 1) for side in (240, 360, 480, 540)]
    [42.1, 42.9, 43.5, 43.8]
    >>> [round(_target_db(540, side, 0), 1) for side in (720, 1080)]
    [45.8, 47.5]
    """
    if level > 0:
        return PSNR_TARGET_DB[level]
    wanted = PSNR_TARGET_DB[0] + _TARGET_GAIN_DB * float(np.log2(small / 480))
    wanted += _LARGE_GAIN_DB * float(np.log2(large / _LARGE_SIDE))
    return min(max(wanted, PSNR_FLOOR_DB + 0.1), _TARGET_MOST_DB)


def _mse(psnr_db: float) -> float:
    return float(255.0**2 / 10 ** (psnr_db / 10))


def _psnr(mse: float) -> float:
    return float(10 * np.log10(255.0**2 / max(mse, 1e-6)))  # 1e-6: an unchanged frame counts 108 dB

"""Between YCbCr as files hold it and RGB as avsafe computes: matrix and range always explicit.

Legend: a frame is ``(h, w, 3)`` uint8 RGB, full range.
Source of the matrices: ITU-T H.273 tables 2-4 (the numbers that FFmpeg's enums carry).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

if TYPE_CHECKING:
    from avsafe.types import Frame

HD_HEIGHT = 720  # an untagged file is BT.709 from here up, BT.601 below, as players assume
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,  # SMPTE 170M: the same matrix as BT.601
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# FFmpeg's quick path from YCbCr to RGB is 1.0 to 1.5 levels too dark (43.8 dB from the formula,
# 0.4 ms for a 720p frame); these flags cost 3.9 ms and leave no bias (51.3 dB). BITEXACT: two
# machines, with and without SIMD, give the same bytes. Measured in docs/media.md.
_TO_RGB = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
_FROM_RGB = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def matrix_of(frame: VideoFrame) -> Colorspace:
    """The YCbCr matrix of a decoded frame; BT.709 or BT.601 by height when it has no tag."""
    tagged = _MATRICES.get(int(frame.colorspace))
    if tagged is not None:
        return tagged
    short_side_hd = min(frame.width, frame.height) >= HD_HEIGHT
    return Colorspace.ITU709 if short_side_hd else Colorspace.ITU601


def range_of(frame: VideoFrame) -> ColorRange:
    """Full for the yuvj formats and for what is tagged full; limited otherwise."""
    if frame.format.name.startswith("yuvj") or int(frame.color_range) == ColorRange.JPEG:
        return ColorRange.JPEG
    return ColorRange.MPEG


def to_rgb(frame: VideoFrame, reformatter: VideoReformatter) -> Frame:
    """A decoded frame as RGB, upright."""
    if frame.format.is_rgb or frame.format.name in ("pal8", "gray"):
        rgb = reformatter.reformat(frame, format="rgb24", threads=1)
    else:
        rgb = reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=matrix_of(frame),
            src_color_range=range_of(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=_TO_RGB,
            threads=1,
        )
    return upright(cast("Frame", rgb.to_ndarray()), orientation_of(frame))


@dataclass(frozen=True)
class Orientation:
    """How a picture is to be turned: swap its axes first, then mirror."""

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def clockwise_deg(self) -> int:
        """The turn, without the mirroring that may come with it."""
        if self.transposed:
            return 270 if self.flip_y else 90
        return 180 if self.flip_x and self.flip_y else 0

    @property
    def mirrored(self) -> bool:
        return self.transposed ^ self.flip_x ^ self.flip_y


def orientation_of(frame: VideoFrame) -> Orientation:
    """From the display matrix (ISO/IEC 14496-12, 6.2.2): x' = a x + c y, y' = b x + d y."""
    side_data: Iterable[Any] = frame.side_data  # PyAV's stubs call it a mapping of names
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
            if abs(a) + abs(d) >= abs(b) + abs(c):
                return Orientation(False, a < 0, d < 0)
            return Orientation(True, c < 0, b < 0)
    return Orientation()


def upright(frame: Frame, orientation: Orientation) -> Frame:
    """The picture as it is to be seen."""
    turned = frame.transpose(1, 0, 2) if orientation.transposed else frame
    turned = turned[:, ::-1] if orientation.flip_x else turned
    turned = turned[::-1] if orientation.flip_y else turned
    return np.ascontiguousarray(turned)


def from_rgb(frame: Frame, pixel_format: str, reformatter: VideoReformatter) -> VideoFrame:
    """An RGB frame for an encoder: BT.709, limited range, tagged so."""
    source = VideoFrame.from_ndarray(frame, format="rgb24")
    if pixel_format in ("rgb24", "gbrp"):
        return reformatter.reformat(source, format=pixel_format, threads=1)
    return reformatter.reformat(
        source,
        format=pixel_format,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_FROM_RGB,
        threads=1,
    )

"""Between YCbCr as files hold it and RGB as avsafe computes: matrix and range always explicit.

Legend: a frame is ``(h, w, 3)`` uint8 RGB, full range; luma is ``(h, w)`` uint8, full range.
Source of the matrices: ITU-T H.273 tables 2-4 (the numbers that FFmpeg's enums carry).
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """A decoded frame as RGB, upright; a transparent one stands on white, as still pictures do."""
    form = "rgba" if may_be_transparent(frame) else "rgb24"
    if frame.format.is_rgb or frame.format.name in ("pal8", "gray"):
        rgb = reformatter.reformat(frame, format=form, threads=1)
    else:
        rgb = reformatter.reformat(
            frame,
            format=form,
            src_colorspace=matrix_of(frame),
            src_color_range=range_of(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=_TO_RGB,
            threads=1,
        )
    picture = cast("Frame", rgb.to_ndarray())
    if form == "rgba":
        picture = _on_white(picture)
    return upright(picture, orientation_of(frame))


def may_be_transparent(frame: VideoFrame) -> bool:
    """Whether the pixel format holds transparency: an alpha channel, or a palette."""
    pixels = frame.format
    return pixels.has_palette or any(item.is_alpha for item in pixels.components)


def is_transparent(frame: VideoFrame) -> bool:
    """Whether a pixel of the frame is less than opaque."""
    if not may_be_transparent(frame):
        return False
    rgba: NDArray[Any] = frame.to_ndarray(format="rgba")
    return int(rgba[..., 3].min()) < 255


def _on_white(rgba: NDArray[np.uint8]) -> Frame:
    opacity = rgba[..., 3:]
    if opacity.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    part = opacity.astype(np.uint16)
    white: Frame = ((rgba[..., :3] * part + 255 * (255 - part) + 127) // 255).astype(np.uint8)
    return white


def to_luma(frame: VideoFrame, reformatter: VideoReformatter) -> Frame:
    """A decoded frame as full-range luma ``(h, w)``, upright.

    The decoder's own Y plane where the pixel format has one: no conversion, 0.1 to 0.3 ms for
    1080p. Other formats (RGB, palettes, packed YCbCr) go through RGB and the weights of BT.601.
    """
    import cv2

    plane, bits = _luma_plane(frame)
    if plane is None:
        return grey(to_rgb(frame, reformatter))
    shift = bits - 8
    if range_of(frame) == ColorRange.JPEG or frame.format.name.startswith("gray"):
        black, white = 0, (1 << bits) - 1
    else:  # ITU-R BT.709, 4.6: black at 16, white at 235
        black, white = 16 << shift, 235 << shift
    if (black, white) == (0, 255):
        full = plane.copy()  # the decoder will use its memory again
    else:
        full = np.asarray(cv2.subtract(plane, cast("Any", (black, 0, 0, 0))))  # stops at 0
        full = cv2.convertScaleAbs(full, full if bits == 8 else None, 255 / (white - black))
    return upright(np.asarray(full, np.uint8), orientation_of(frame))


def grey(frame: Frame) -> Frame:
    """Luma ``(h, w)`` of an RGB frame, by the weights of BT.601."""
    import cv2

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


_WITH_LUMA_PLANE = re.compile(r"yuvj?4\d\dp(?:(\d+)le)?|nv(?:12|21|16|24)|gray(?:(\d+)le)?")


def _luma_plane(frame: VideoFrame) -> tuple[NDArray[Any] | None, int]:
    """The Y plane as ``(h, w)`` uint8 or uint16, not copied, and its bits; None without one."""
    known = _WITH_LUMA_PLANE.fullmatch(frame.format.name)
    if known is None or sys.byteorder != "little":
        return None, 0
    bits = int(known[1] or known[2] or 8)
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    row, remains = divmod(frame.planes[0].line_size, kind.itemsize)
    if remains or row < frame.width:  # a negative step: bottom row first
        return None, 0
    lines = np.frombuffer(cast("Any", frame.planes[0]), kind).reshape(frame.height, row)
    return lines[:, : frame.width], bits


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
    # frame.side_data would make a ring of frame and container: only the garbage collector would
    # free the picture, and a 1080p clip would hold half a gigabyte of them
    side_data: Iterable[Any] = cast("Any", SideDataContainer)(frame)
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
            if abs(a) + abs(d) >= abs(b) + abs(c):
                return Orientation(False, a < 0, d < 0)
            return Orientation(True, c < 0, b < 0)
    return Orientation()


def upright(frame: Frame, orientation: Orientation) -> Frame:
    """The picture as it is to be seen."""
    turned = frame.swapaxes(0, 1) if orientation.transposed else frame
    turned = turned[:, ::-1] if orientation.flip_x else turned
    turned = turned[::-1] if orientation.flip_y else turned
    return np.ascontiguousarray(turned)


def from_rgb(frame: Frame, pixel_format: str, reformatter: VideoReformatter) -> VideoFrame:
    """An RGB frame for an encoder: BT.709, limited range, tagged so."""
    if pixel_format in ("rgb24", "gbrp"):
        source = VideoFrame.from_ndarray(frame, format="rgb24")
        return reformatter.reformat(source, format=pixel_format, threads=1)
    # not copied: the conversion reads it now, and nobody keeps it
    source = VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame), format="rgb24")
    return reformatter.reformat(
        source,
        format=pixel_format,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=_FROM_RGB,
        threads=1,
    )

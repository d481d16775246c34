"""The image mark, as the plugin ``image`` of ``avsafe.watermarkers``: the video mark on one frame.

The tile, the payload and the algorithm id are those of video, so that a screenshot of a marked clip
is recovered by the image detector and leads to the same release.
"""

from __future__ import annotations

from typing import ClassVar

from avsafe.types import Kind
from avsafe.watermark.video import VideoWatermarker


class ImageWatermarker(VideoWatermarker):
    """The keyed tile in the luma of one picture: 64 bits, PSNR 42 dB or more.

    >>> ImageWatermarker().modality.value
    'image'
    """

    modality: ClassVar[Kind] = Kind.IMAGE

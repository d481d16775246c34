"""Pictures prepared as VBench prepares them: scaled without smoothing, in whole grey levels.

Legend: a frame is (h, w, 3) uint8 RGB; a batch is (1, 3, sh, sw) float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsafe.types import Frame


def prepared(
    frame: Frame,
    side: int,
    mode: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    square: bool = False,
) -> Any:
    """The short side scaled to ``side`` pixels ("bilinear" or "bicubic", no antialiasing), rounded
    to whole levels, cut to the square in the middle where asked, and normalised: a torch batch.

    Source: VBench's ``dino_transform`` and ``clip_transform``, which are torchvision's ``Resize``
    with ``antialias=False`` on uint8, ``CenterCrop`` and ``Normalize``.
    """
    import torch
    from torch.nn.functional import interpolate

    height, width = frame.shape[:2]
    short, long = min(height, width), max(height, width)
    far = max(side, int(side * long / short))
    size = (side, far) if height <= width else (far, side)
    batch = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None].float()
    if size != (height, width):
        batch = interpolate(batch, size=size, mode=mode, align_corners=False, antialias=False)
        batch = batch.round().clamp(0, 255)
    if square:
        top, left = round((size[0] - side) / 2), round((size[1] - side) / 2)
        batch = batch[:, :, top : top + side, left : left + side]
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    return (batch / 255 - shift) / scale

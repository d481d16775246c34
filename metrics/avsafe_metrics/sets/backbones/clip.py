"""The picture tower of CLIP through open_clip (``avsafe_metrics.text.clip_backbone``).

Frames are stretched to the model's square by bicubic interpolation without antialiasing and
normalised by the model's own mean and deviation, as the published code of CMMD does it (which uses
ViT-L/14 at 336 pixels; another model gives another distance, and the figure names it).

Legend: ``k`` pictures; a frame is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame


class Clip:
    """Pictures -> ``features`` (k, d) of length 1."""

    name = "clip"

    def __init__(
        self, path: str, architecture: str = "", device: str = "cpu", *,
        allow_download: bool = False,
    ) -> None:  # fmt: skip
        try:
            from avsafe_metrics.text import clip_backbone
        except ImportError as error:
            raise MissingExtra(f"CLIP cannot be loaded here: {error}") from error
        self._tower = clip_backbone.load(path, architecture, device, allow_download=allow_download)
        self.digests = dict(self._tower.digests)
        self.width = 0  # known with the first row
        self.model = self._tower.name

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional

        side = self._tower.side
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        picture = functional.interpolate(
            picture, (side, side), mode="bicubic", align_corners=False
        )[0]
        mean, std = (torch.tensor(t).view(3, 1, 1) for t in (self._tower.mean, self._tower.std))
        return np.asarray(((picture.clamp(0, 1) - mean) / std).numpy(), np.float32)

    def features(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        import torch

        return {"features": self._tower.prepared(torch.from_numpy(batch))}

"""I3D: Inception-v1 with kernels in time, Kinetics-400 (Carreira and Zisserman 2017,
arXiv:1705.07750), the network of FVD (Unterthiner et al. 2019, arXiv:1812.01717).

Weights in the layout of pytorch-i3d (``rgb_imagenet.pt``, ``i3d_pretrained_400.pt`` as cd-fvd loads
it). The features of FVD are the 400 logits, the mean over time. Frames are stretched to 224 x 224
by bilinear interpolation without antialiasing and scaled to [-1, 1], as cd-fvd does.

Legend: ``k`` windows, ``t`` frames, ``c`` channels. This module imports torch, and is itself
imported only inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

from avsafe.errors import UsageError
from avsafe_metrics.sets.backbones.weights import fill, read_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

Size = tuple[int, int, int]
SIDE = 224
LEAST_FRAMES = 9  # fewer leave nothing for the last pool over two steps of time
EXPECTED = (
    "I3D of Kinetics-400 as a state dict in pytorch-i3d's layout (i3d_pretrained_400.pt, "
    "rgb_imagenet.pt)"
)
# c_in, then the widths of 1x1, 3x3 reduced and full, 3x3 reduced and full, pooled
_MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
_POOLS: dict[str, tuple[Size, Size]] = {  # kernel and stride
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
_ORDER = (
    "Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3",
    "Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e",
    "Mixed_4f", "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c",
)  # fmt: skip


def _same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """TensorFlow's "same" padding with zeros: the odd one goes behind."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        lack = max(k - (s if size % s == 0 else size % s), 0)
        pads += [lack // 2, lack - lack // 2]
    return F.pad(x, pads)


class _Unit(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self._kernel: Size = (kernel, kernel, kernel)
        self._stride: Size = (stride, stride, stride)
        self.conv3d = nn.Conv3d(c_in, c_out, self._kernel, self._stride, bias=False)
        self.bn = nn.BatchNorm3d(c_out, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(_same(x, self._kernel, self._stride))))


class _Mixed(nn.Module):
    def __init__(self, c: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3: int) -> None:
        super().__init__()
        self.b0 = _Unit(c, b0, 1)
        self.b1a, self.b1b = _Unit(c, b1a, 1), _Unit(b1a, b1b, 3)
        self.b2a, self.b2b = _Unit(c, b2a, 1), _Unit(b2a, b2b, 3)
        self.b3b = _Unit(c, b3, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool3d(_same(x, (3, 3, 3), (1, 1, 1)), 3, 1)
        return torch.cat(
            [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1
        )


class _Logits(nn.Module):
    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(c, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv3d(x)
        return found


class InceptionI3d(nn.Module):
    """(k, 3, t, 224, 224) -> logits (k, 400), the mean over time."""

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = _Unit(64, 64, 1), _Unit(64, 192, 3)
        for name, widths in _MIXED.items():
            self.add_module(name, _Mixed(*widths))
        self.logits = _Logits(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        for name in _ORDER:
            if name in _POOLS:
                kernel, stride = _POOLS[name]
                x = F.max_pool3d(_same(x, kernel, stride), kernel, stride)
            else:
                x = self._modules[name](x)  # type: ignore[misc]
        x = self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1))
        return x.squeeze(3).squeeze(3).mean(dim=2)


class I3D:
    """Windows of video -> ``features`` (k, 400)."""

    width, name = 400, "i3d"

    def __init__(self, path: Path, device: str = "cpu", frames: int = 16) -> None:
        if frames < LEAST_FRAMES:
            raise UsageError(f"windows of {frames} frames; I3D needs {LEAST_FRAMES} or more")
        state, digest = read_state(path, EXPECTED)
        self.frames, self.digests, self._device = frames, {"i3d": digest}, device
        self._net = InceptionI3d()
        fill(self._net, state, path, EXPECTED)
        self._net.to(device)

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        """(h, w, 3) uint8 -> (3, 224, 224) float32 in [-1, 1]."""
        return stretched(frame)

    def features(self, windows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(k, t, 3, 224, 224) -> (k, 400)"""
        with torch.inference_mode():
            batch = torch.from_numpy(windows).transpose(1, 2).to(self._device)
            return {"features": self._net(batch).cpu().numpy()}


def stretched(frame: Frame, side: int = SIDE) -> NDArray[np.float32]:
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    picture = F.interpolate(picture, (side, side), mode="bilinear", align_corners=False)
    return np.asarray((2.0 * picture[0] / 255 - 1).numpy(), np.float32)

"""Inception-v3 as FID has it, and as torchvision has it (Szegedy et al. 2016, arXiv:1512.00567).

Two sets of weights go by this name, and they give different distances:

- ``fid``: the network of Heusel et al. 2017 ("inception-2015-12-05"), 1008 classes, in the layout
  of pytorch-fid and torch-fidelity (``pt_inception-2015-12-05-6726825d.pth``). Its average pools
  leave the border out and its last block pools by the maximum. Pictures are stretched to 299 x 299
  by TensorFlow 1's bilinear (no antialiasing, corners not aligned) and scaled to (x - 128) / 128,
  as torch-fidelity does.
- ``torchvision``: ``inception_v3_google-*.pth``, 1000 classes. Short side to 342 with antialiasing,
  middle 299 x 299, scaled to [-1, 1] (what its ``transform_input`` makes of ImageNet's norm).

Legend: ``k`` pictures, ``c`` channels; a frame is (h, w, 3) uint8 RGB. This module imports torch,
and is itself imported only inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

from avsafe_metrics.sets.backbones.weights import fill, read_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

Layout = Literal["fid", "torchvision"]
SIDE = 299
EXPECTED = {
    "fid": (
        "FID's Inception-v3 as a state dict of 1008 classes (pt_inception-2015-12-05-6726825d.pth "
        "of pytorch-fid, weights-inception-2015-12-05-6726825d.pth of torch-fidelity)"
    ),
    "torchvision": "torchvision's Inception-v3, a state dict of 1000 classes",
}


class _Conv(nn.Module):
    def __init__(
        self, c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


_1X7, _7X1 = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
_1X3, _3X1 = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))


class _Mixed(nn.Module):
    """Branches side by side; a chain is a list of convolutions, a fork ends in two of them."""

    def __init__(self, chains: list[tuple[list[str], list[str]]], pool: str, fid: bool) -> None:
        super().__init__()
        self._chains, self._pool, self._fid = chains, pool, fid

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for chain, fork in self._chains:
            y = x
            for name in chain:
                y = self._modules[name](y)  # type: ignore[misc]
            found += [self._modules[name](y) for name in fork] or [y]  # type: ignore[misc]
        return torch.cat([*found, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self._pool == "shrink":
            return F.max_pool2d(x, 3, stride=2)
        if self._pool == "max":
            x = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=not self._fid)
        pooled: Tensor = self._modules["branch_pool"](x)  # type: ignore[misc]
        return pooled


def _a(c: int, pool: int, fid: bool) -> _Mixed:
    block = _Mixed(
        [(["branch1x1"], []), (["branch5x5_1", "branch5x5_2"], []),
         (["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"], [])], "mean", fid,
    )  # fmt: skip
    block.branch1x1 = _Conv(c, 64, 1)
    block.branch5x5_1, block.branch5x5_2 = _Conv(c, 48, 1), _Conv(48, 64, 5, padding=2)
    block.branch3x3dbl_1 = _Conv(c, 64, 1)
    block.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
    block.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
    block.branch_pool = _Conv(c, pool, 1)
    return block


def _b(c: int, fid: bool) -> _Mixed:
    dbl = ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"]
    block = _Mixed([(["branch3x3"], []), (dbl, [])], "shrink", fid)
    block.branch3x3 = _Conv(c, 384, 3, stride=2)
    block.branch3x3dbl_1 = _Conv(c, 64, 1)
    block.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
    block.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)
    return block


def _c(c: int, c7: int, fid: bool) -> _Mixed:
    seven = [f"branch7x7_{i}" for i in (1, 2, 3)]
    double = [f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)]
    block = _Mixed([(["branch1x1"], []), (seven, []), (double, [])], "mean", fid)
    block.branch1x1 = _Conv(c, 192, 1)
    block.branch7x7_1, block.branch7x7_2 = _Conv(c, c7, 1), _Conv(c7, c7, *_1X7)
    block.branch7x7_3 = _Conv(c7, 192, *_7X1)
    block.branch7x7dbl_1, block.branch7x7dbl_2 = _Conv(c, c7, 1), _Conv(c7, c7, *_7X1)
    block.branch7x7dbl_3, block.branch7x7dbl_4 = _Conv(c7, c7, *_1X7), _Conv(c7, c7, *_7X1)
    block.branch7x7dbl_5 = _Conv(c7, 192, *_1X7)
    block.branch_pool = _Conv(c, 192, 1)
    return block


def _d(c: int, fid: bool) -> _Mixed:
    seven = [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)]
    block = _Mixed([(["branch3x3_1", "branch3x3_2"], []), (seven, [])], "shrink", fid)
    block.branch3x3_1, block.branch3x3_2 = _Conv(c, 192, 1), _Conv(192, 320, 3, stride=2)
    block.branch7x7x3_1, block.branch7x7x3_2 = _Conv(c, 192, 1), _Conv(192, 192, *_1X7)
    block.branch7x7x3_3, block.branch7x7x3_4 = _Conv(192, 192, *_7X1), _Conv(192, 192, 3, 2)
    return block


def _e(c: int, pool: str, fid: bool) -> _Mixed:
    block = _Mixed(
        [(["branch1x1"], []), (["branch3x3_1"], ["branch3x3_2a", "branch3x3_2b"]),
         (["branch3x3dbl_1", "branch3x3dbl_2"], ["branch3x3dbl_3a", "branch3x3dbl_3b"])], pool, fid,
    )  # fmt: skip
    block.branch1x1 = _Conv(c, 320, 1)
    block.branch3x3_1 = _Conv(c, 384, 1)
    block.branch3x3_2a, block.branch3x3_2b = _Conv(384, 384, *_1X3), _Conv(384, 384, *_3X1)
    block.branch3x3dbl_1, block.branch3x3dbl_2 = _Conv(c, 448, 1), _Conv(448, 384, 3, padding=1)
    block.branch3x3dbl_3a, block.branch3x3dbl_3b = _Conv(384, 384, *_1X3), _Conv(384, 384, *_3X1)
    block.branch_pool = _Conv(c, 192, 1)
    return block


class InceptionV3(nn.Module):
    """(k, 3, 299, 299) -> features (k, 2048); smaller pictures, from 75 pixels, work too."""

    def __init__(self, layout: Layout = "fid") -> None:
        super().__init__()
        fid = layout == "fid"
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = (
            _a(192, 32, fid), _a(256, 64, fid), _a(288, 64, fid)
        )  # fmt: skip
        self.Mixed_6a, self.Mixed_6b = _b(288, fid), _c(768, 128, fid)
        self.Mixed_6c, self.Mixed_6d = _c(768, 160, fid), _c(768, 160, fid)
        self.Mixed_6e, self.Mixed_7a = _c(768, 192, fid), _d(768, fid)
        self.Mixed_7b = _e(1280, "mean", fid)
        self.Mixed_7c = _e(2048, "max" if fid else "mean", fid)
        self.fc = nn.Linear(2048, 1008 if fid else 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, stride=2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


def stretched(frame: Tensor, side: int = SIDE) -> Tensor:
    """(c, h, w) float to (c, side, side) by TensorFlow 1's bilinear: output pixel i reads at
    i * h / side, between the two nearest pixels, the last one repeated."""

    def along(x: Tensor, n: int) -> Tensor:
        at = torch.arange(side, dtype=x.dtype) * torch.tensor(n / side, dtype=x.dtype)
        low = at.long()
        high = (low + 1).clamp_max(n - 1)
        share = at - low
        return x[..., low] + (x[..., high] - x[..., low]) * share

    wide = along(frame, frame.shape[-1])
    return along(wide.transpose(-1, -2), frame.shape[-2]).transpose(-1, -2)


class Inception:
    """Pictures -> ``features`` (k, 2048) and ``logits`` (k, classes), without the bias of the last
    layer as the Inception Score of TensorFlow and torch-fidelity has them."""

    width = 2048

    def __init__(self, path: Path, layout: Layout = "fid", device: str = "cpu") -> None:
        state, digest = read_state(path, EXPECTED[layout])
        self.name = "inception" if layout == "fid" else "inception_torchvision"
        self.digests = {"inception": digest}
        self._layout, self._device = layout, device
        self._net = InceptionV3(layout)
        fill(self._net, state, path, EXPECTED[layout])
        self._net.to(device)

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        """(h, w, 3) uint8 -> (3, 299, 299) float32."""
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float()
        if self._layout == "fid":
            return np.asarray(((stretched(picture) - 128) / 128).numpy(), np.float32)
        h, w = picture.shape[1:]
        scale = 342 / min(h, w)
        size = (max(SIDE, int(h * scale)), max(SIDE, int(w * scale)))
        picture = F.interpolate(
            picture[None], size, mode="bilinear", antialias=True, align_corners=False
        )[0]
        top, left = (round((n - SIDE) / 2) for n in size)
        cut = picture[:, top : top + SIDE, left : left + SIDE]
        return np.asarray((cut / 127.5 - 1).numpy(), np.float32)

    def features(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            found = self._net(torch.from_numpy(batch).to(self._device))
            logits = found @ self._net.fc.weight.T
        return {"features": found.cpu().numpy(), "logits": logits.cpu().numpy()}

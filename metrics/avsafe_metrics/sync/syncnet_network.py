"""The two encoders of SyncNet (Chung and Zisserman 2016), in the layout of ``syncnet_v2.model``.

Legend: ``b`` windows, ``d`` = 1024 features; lips (b, 5, 224, 224, 3) BGR, sound (k, 13) MFCC.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 20
# (out channels, kernel, stride, padding) of a convolution; ("pool", kernel, stride, padding).
# A pool whose kernel and stride are 1 changes nothing but keeps the published numbering.
_SOUND: tuple[Any, ...] = (
    (64, (3, 3), 1, 1), ("pool", 1, 1, 0),
    (192, (3, 3), 1, 1), ("pool", 3, (1, 2), 0),
    (384, (3, 3), 1, 1), (256, (3, 3), 1, 1), (256, (3, 3), 1, 1), ("pool", 3, 2, 0),
    (512, (5, 4), 1, 0),
)  # fmt: skip
_LIPS: tuple[Any, ...] = (
    (96, (5, 7, 7), (1, 2, 2), 0), ("pool", (1, 3, 3), (1, 2, 2), 0),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1)), ("pool", (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    (256, (1, 3, 3), 1, (0, 1, 1)), (256, (1, 3, 3), 1, (0, 1, 1)),
    (256, (1, 3, 3), 1, (0, 1, 1)), ("pool", (1, 3, 3), (1, 2, 2), 0),
    (512, (1, 6, 6), 1, 0),
)  # fmt: skip


def network() -> Any:
    """A torch module with ``netcnnaud``, ``netfcaud``, ``netcnnlip`` and ``netfclip``."""
    from torch import nn

    def convolutions(rows: tuple[Any, ...], channels: int, three: bool) -> Any:
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if three else (nn.Conv2d, nn.BatchNorm2d)
        pool = nn.MaxPool3d if three else nn.MaxPool2d
        layers: list[Any] = []
        for kind, kernel, stride, padding in rows:
            if kind == "pool":
                layers.append(pool(kernel, stride, padding))
                continue
            layers += [conv(channels, kind, kernel, stride, padding), norm(kind), nn.ReLU()]
            channels = kind
        return nn.Sequential(*layers)

    def head() -> Any:
        return nn.Sequential(
            nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024)
        )

    return nn.ModuleDict(
        {
            "netcnnaud": convolutions(_SOUND, 1, three=False),
            "netfcaud": head(),
            "netfclip": head(),
            "netcnnlip": convolutions(_LIPS, 3, three=True),
        }
    )


class Encoders:
    """Both encoders with weights. Raises MissingExtra when the state dict is not SyncNet's."""

    def __init__(self, state: dict[str, Any], device: str, path: Path | str = "the file") -> None:
        self._device = device
        self._net = network()
        wanted = self._net.state_dict()
        lacks = [name for name in wanted if name not in state]
        wrong = [n for n in wanted if n in state and state[n].shape != wanted[n].shape]
        if lacks or wrong:
            told = (f"{len(lacks)} of {len(wanted)} tensors are missing" if lacks else
                    f"{wrong[0]} is {tuple(state[wrong[0]].shape)}, not "
                    f"{tuple(wanted[wrong[0]].shape)}")  # fmt: skip
            raise MissingExtra(
                f"{path} is no SyncNet: {told}. Expected the layout of syncnet_v2.model."
            )
        self._net.load_state_dict({name: state[name] for name in wanted})
        self._net.eval().requires_grad_(False).to(device)

    def lips(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(b, 5, 224, 224, 3) BGR -> (b, d)."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(windows).to(self._device).permute(0, 4, 1, 2, 3).float()
            y = self._net["netfclip"](self._net["netcnnlip"](x).flatten(1))
        return np.asarray(y.cpu().numpy(), np.float32)

    def sound(self, mfcc: NDArray[Any], count: int) -> NDArray[np.float32]:
        """(k, 13), number of windows -> (count, d); window ``i`` begins at step 4 ``i``."""
        import torch

        turned = torch.from_numpy(np.ascontiguousarray(mfcc.T)).float()
        out = []
        with torch.inference_mode():
            for start in range(0, count, BATCH):
                stop = min(count, start + BATCH)
                pieces = [turned[:, 4 * i : 4 * i + 20] for i in range(start, stop)]
                x = torch.stack(pieces)[:, None].to(self._device)
                y = self._net["netfcaud"](self._net["netcnnaud"](x).flatten(1))
                out.append(y.cpu().numpy())
        return np.concatenate(out).astype(np.float32)

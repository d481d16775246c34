"""The network in torch, for training; ``model`` runs what it learned in numpy.

Legend: ``b`` windows of 128 frames and 216 bins, normalised (``features``), in units of 10 dB.

Four convolutions over time and frequency, attentive statistics over time (Okabe et al. 2018), three
classes: real, synthetic, re-rendered. 0.12 M parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# channels in, out, kernel, stride over time, over frequency
LAYERS = ((1, 16, 5, 2, 3), (16, 32, 3, 2, 2), (32, 48, 3, 2, 2), (48, 64, 3, 1, 2))
ROWS = 9  # of frequency after the last convolution
FRAME, EMBEDDED = 64, 64
DROPOUT = 0.3


def network() -> Any:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions = nn.ModuleList(
                nn.Sequential(nn.Conv2d(i, o, k, (st, sf), k // 2), nn.BatchNorm2d(o), nn.ReLU())
                for i, o, k, st, sf in LAYERS
            )
            self.frame = nn.Linear(LAYERS[-1][1] * ROWS, FRAME)
            self.attention = nn.Linear(FRAME, 1)
            self.embed = nn.Linear(2 * FRAME, EMBEDDED)
            self.drop = nn.Dropout(DROPOUT)
            self.out = nn.Linear(EMBEDDED, 3)

        def embedded(self, x: Any) -> Any:
            y = x[:, None]
            for part in self.convolutions:
                y = part(y)
            y = y.permute(0, 2, 3, 1).flatten(2)  # b, t, rows * channels
            y = torch.relu(self.frame(self.drop(y)))
            weight = torch.softmax(self.attention(y), 1)
            mean = (weight * y).sum(1)
            spread = ((weight * (y - mean[:, None]) ** 2).sum(1) + 1e-5).sqrt()
            return torch.relu(self.embed(torch.cat([mean, spread], 1)))

        def forward(self, x: Any) -> Any:
            return self.out(self.drop(self.embedded(x)))

    return Net()


def exported(net: Any, prefix: str) -> dict[str, NDArray[np.float16]]:
    """Arrays with the normalisations folded in, laid out for ``model``."""
    out: dict[str, Any] = {}
    for number, part in enumerate(net.convolutions):
        convolution, norm = part[0], part[1]
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel = (convolution.weight * gain[:, None, None, None]).permute(2, 3, 1, 0)
        out[f"{prefix}conv{number}.kernel"] = kernel.reshape(-1, kernel.shape[-1])
        out[f"{prefix}conv{number}.bias"] = (
            convolution.bias - norm.running_mean
        ) * gain + norm.bias
    for name in ("frame", "attention", "embed", "out"):
        layer = getattr(net, name)
        out[f"{prefix}{name}.kernel"] = layer.weight.T
        out[f"{prefix}{name}.bias"] = layer.bias
    return {n: np.ascontiguousarray(v.detach().numpy(), np.float16) for n, v in out.items()}

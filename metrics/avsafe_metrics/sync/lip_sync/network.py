"""The encoders in torch, for training; what is learned is kept in the layout of ``model``.

Legend: ``b`` windows; otherwise as in ``model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sync.lip_sync import model

if TYPE_CHECKING:
    from numpy.typing import NDArray

DROPOUT = 0.2


def network() -> Any:
    """Modules ``lips`` and ``sound`` (each into, conv0 .. conv2, out), and ``scale`` and ``none``:
    the logarithm of the scale of the agreement, and the log-odds of a sound of somebody else."""
    import torch
    from torch import nn

    def encoder(inputs: int) -> Any:
        parts: dict[str, nn.Module] = {"into": nn.Conv1d(inputs, model.HIDDEN, 1)}
        for depth in range(model.DEPTH):
            channels = model.WIDTH if depth else model.HIDDEN
            parts[f"conv{depth}"] = nn.Sequential(
                nn.Conv1d(channels, model.WIDTH, model.TAPS, padding=model.TAPS // 2),
                nn.BatchNorm1d(model.WIDTH),
                nn.ReLU(),
                nn.Dropout(DROPOUT),
            )
        parts["out"] = nn.Conv1d(model.WIDTH, model.OUT, 1)
        return nn.ModuleDict(parts)

    net = nn.ModuleDict({side: encoder(size) for side, size in model.INPUTS.items()})
    net.register_parameter("scale", nn.Parameter(torch.tensor(2.5)))
    net.register_parameter("none", nn.Parameter(torch.tensor(0.0)))
    return net


def encoded(net: Any, x: Any, side: str) -> Any:
    """(b, c, k) -> (b, e, k), each frame of length 1."""
    from torch.nn.functional import normalize

    parts = net[side]
    y = parts["into"](x)
    for depth in range(model.DEPTH):
        z = parts[f"conv{depth}"](y)
        y = y + z if depth else z
    return normalize(parts["out"](y).float(), dim=1)


def agreement(lips: Any, sound: Any, heard: Any) -> Any:
    """(b, 2 K + 1): ``model.agreement`` of a batch."""
    import torch

    frames = lips.shape[2]
    sound = (sound * heard[:, None]).unfold(2, frames, 1)  # b, e, j, w
    pairs = heard.unfold(1, frames, 1).sum(2).clamp(min=model.LEAST_PAIRS)
    return torch.einsum("bet,bejt->bj", lips, sound) / pairs


def exported(net: Any, prefix: str) -> dict[str, NDArray[np.float16]]:
    """The arrays of a trained network, normalisations folded, named for ``model``."""
    out: dict[str, Any] = {f"{prefix}scale": net.scale.exp().reshape(1)}
    for side in model.INPUTS:
        parts = net[side]
        for name in ("into", "out"):
            out[f"{prefix}{side}.{name}.kernel"] = parts[name].weight[:, :, 0].T
            out[f"{prefix}{side}.{name}.bias"] = parts[name].bias
        for depth in range(model.DEPTH):
            convolution, norm = parts[f"conv{depth}"][0], parts[f"conv{depth}"][1]
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            kernel = convolution.weight * gain[:, None, None]  # out, c, taps
            kernel = kernel.permute(2, 1, 0).reshape(-1, kernel.shape[0])
            bias = (convolution.bias - norm.running_mean) * gain + norm.bias
            out[f"{prefix}{side}.conv{depth}.kernel"] = kernel
            out[f"{prefix}{side}.conv{depth}.bias"] = bias
    # contiguous: safetensors writes the bytes as they lie
    return {n: np.ascontiguousarray(v.detach().numpy(), np.float16) for n, v in out.items()}

"""Inference of small networks in numpy: no torch is needed to generate, only to train.

Legend: ``b`` batch, ``n`` tokens, ``d`` width, ``c`` channels, ``t`` time. Weights lie as torch
keeps them: a linear layer is ``(out, in)``, a 1-D convolution ``(out, in, k)``. The functions agree
with torch's to 1e-5 in float32 (``tests/unit/test_generator_layers.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import GeneratorFailed

Array = NDArray[np.float32]
Weights = Mapping[str, Array]


@cache
def load(name: str) -> Weights:
    """The weights of ``weights/NAME.safetensors`` as float32 arrays.

    Raises GeneratorFailed when the file is not there: the installation is incomplete.
    """
    from safetensors.numpy import load as read

    file = resources.files("avsafe_generators") / "weights" / f"{name}.safetensors"
    if not file.is_file():
        raise GeneratorFailed(
            f"The weights of {name} are not installed. Install avsafe anew, or train them: "
            f"python -m avsafe_generators.train {name}"
        )
    return {key: value.astype(np.float32) for key, value in read(file.read_bytes()).items()}


def part(weights: Weights, prefix: str) -> dict[str, Array]:
    """The weights whose names begin with ``prefix.``, under the rest of their names.

    >>> part({"a.weight": np.ones(1, np.float32), "b.weight": np.ones(1, np.float32)}, "a")
    {'weight': array([1.], dtype=float32)}
    """
    return {k[len(prefix) + 1 :]: v for k, v in weights.items() if k.startswith(prefix + ".")}


def linear(x: Array, w: Weights, name: str) -> Array:
    """``x`` (..., in) -> (..., out): ``x Wᵀ + b``; the bias may be absent."""
    out = x @ w[f"{name}.weight"].T
    bias = w.get(f"{name}.bias")
    return out if bias is None else out + bias


def layer_norm(x: Array, w: Weights | None = None, name: str = "", eps: float = 1e-5) -> Array:
    """Over the last axis; without weights the plain normalisation."""
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    out: Array = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    if w is not None and f"{name}.weight" in w:
        out = out * w[f"{name}.weight"] + w[f"{name}.bias"]
    return out


def gelu(x: Array) -> Array:
    """With the tangent (torch: ``approximate="tanh"``)."""
    out: Array = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))
    return out.astype(np.float32, copy=False)


def silu(x: Array) -> Array:
    out: Array = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return out


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    out: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return out


def attention(q: Array, k: Array, v: Array, heads: int, bias: Array | None = None) -> Array:
    """Scaled dot-product attention: ``q`` (b, n, d), ``k`` and ``v`` (b, m, d) -> (b, n, d).

    ``bias`` is added to the scores (b or 1, heads or 1, n, m), e.g. a large negative one to mask.
    """
    b, n, d = q.shape

    def split(x: Array) -> Array:
        return x.reshape(b, x.shape[1], heads, d // heads).transpose(0, 2, 1, 3)

    scores = split(q) @ split(k).transpose(0, 1, 3, 2) / np.float32(np.sqrt(d // heads))
    if bias is not None:
        scores = scores + bias
    out: Array = (softmax(scores) @ split(v)).transpose(0, 2, 1, 3).reshape(b, n, d)
    return out


def conv1d(x: Array, w: Weights, name: str, *, stride: int = 1, padding: int = 0) -> Array:
    """``x`` (b, c, t) -> (b, out, t')."""
    weight = w[f"{name}.weight"]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding)))
    k = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(padded, k, axis=2)[:, :, ::stride]
    b, c, t = windows.shape[:3]
    flat = windows.transpose(0, 2, 1, 3).reshape(b, t, c * k)
    out: Array = (flat @ weight.reshape(len(weight), -1).T).transpose(0, 2, 1)
    bias = w.get(f"{name}.bias")
    return out if bias is None else out + bias[None, :, None]


def time_features(t: Any, width: int, scale: float = 1000.0, longest: float = 1e4) -> Array:
    """Sines and cosines of a time: ``t`` (b,) in 0..1 -> (b, width)."""
    half = width // 2
    rates = np.exp(-np.log(longest) * np.arange(half, dtype=np.float32) / half)
    angles = np.asarray(t, np.float32)[:, None] * rates[None] * scale
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

"""The landmark network's arithmetic in numpy: convolutions as products of matrices.

Legend: ``n`` pictures, ``h`` ``w`` pixels, ``c`` channels; pictures are (n, h, w, c) float32.

One network of fixed shape (``LAYERS``); training folds its normalisations into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

SIZE = 96  # px of the crop that the network sees
# name, output channels, kernel, stride, padding, added to its own input
LAYERS: tuple[tuple[str, int, int, int, int, bool], ...] = (
    ("conv0", 24, 7, 4, 3, False),  # 24 x 24
    ("conv1", 48, 3, 2, 1, False),  # 12 x 12
    ("conv2", 64, 3, 1, 1, False),
    ("conv3", 64, 3, 1, 1, True),
    ("conv4", 96, 3, 2, 1, False),  # 6 x 6
    ("conv5", 96, 3, 1, 1, True),
    ("conv6", 64, 1, 1, 0, False),
)
HIDDEN, SHAPES = 160, 64  # width of the hidden layer, number of shape coefficients


def normalised(crops: NDArray[np.uint8]) -> Array:
    """Crops (n, h, w, 3) uint8 -> mean 0 and deviation 1 each, so that exposure does not matter."""
    values = crops.astype(np.float32)
    values -= values.mean((1, 2, 3), keepdims=True)
    values /= values.std((1, 2, 3), keepdims=True) + 8.0  # 8 grey levels: a flat picture stays flat
    return values


def convolved(x: Array, kernel: Array, bias: Array, stride: int, padding: int) -> Array:
    """Cross-correlation of (n, h, w, c) with a kernel (k * k * c, out), zeros around."""
    side = round((kernel.shape[0] / x.shape[3]) ** 0.5)
    if padding:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)  # n, y, x, ky, kx, c
    n, height, width = windows.shape[:3]
    columns = windows.reshape(n * height * width, -1)
    return np.asarray(columns @ kernel + bias, np.float32).reshape(n, height, width, -1)


def forward(crops: NDArray[np.uint8], weights: Mapping[str, NDArray[Any]]) -> Array:
    """Crops (n, 96, 96, 3) uint8 RGB -> landmarks (n, 152, 2) in px of the crop."""
    x = normalised(crops)
    for name, _, _, stride, padding, residual in LAYERS:
        y = convolved(x, weights[f"{name}.kernel"], weights[f"{name}.bias"], stride, padding)
        x = np.maximum(y + x if residual else y, 0)
    x = x.reshape(len(x), -1)
    x = np.maximum(x @ weights["hidden.weight"] + weights["hidden.bias"], 0)
    x = x @ weights["shape.weight"] + weights["shape.bias"]
    x = x @ weights["basis.weight"] + weights["basis.bias"]
    return np.asarray(x, np.float32).reshape(len(x), -1, 2)

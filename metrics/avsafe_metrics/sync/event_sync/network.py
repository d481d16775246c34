"""The model of event sync in numpy: one small encoder for cells, one for sound, all lags at once.

Legend: ``k`` steps of 20 ms, ``c`` cells, ``d`` = 8 features. Layers are 1-D convolutions in time,
(out, in, width), the same for every cell, so nothing is known of what a picture shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[np.float32]]

WEIGHTS = Path(__file__).parent / "weights" / "event_sync.safetensors"
LAYERS = 3
FADE = 12  # steps


@cache
def shipped_weights() -> Weights:
    from safetensors.numpy import load_file

    return load_file(WEIGHTS)


def convolved(
    x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], stride: int = 1
) -> NDArray[np.float32]:
    """(k, in) -> (k / stride, out), padded with zeros by half the width."""
    width = weight.shape[2]
    padded = np.pad(x, ((width // 2, width // 2), (0, 0)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)[::stride]
    flat = pieces.reshape(len(pieces), -1)  # in, width
    return np.asarray(flat @ weight.reshape(len(weight), -1).T + bias, np.float32)


def encoded(x: NDArray[np.float32], weights: Weights, name: str, stride: int) -> NDArray[Any]:
    """(k * stride, in) -> (k, d), less its mean over time, faded at both ends."""
    for layer in range(LAYERS):
        x = convolved(
            x, weights[f"{name}.{layer}.weight"], weights[f"{name}.{layer}.bias"],
            stride if layer == 0 else 1,
        )  # fmt: skip
        if layer < LAYERS - 1:
            x = np.maximum(x, 0)
    return np.asarray((x - x.mean(axis=0)) * faded_ends(len(x))[:, None], np.float32)


def faded_ends(count: int) -> NDArray[np.float32]:
    """(k,) weights: 0 at both ends, 1 from ``FADE`` steps inside. Ends of picture and sound meet
    in the circle of shifts; what they begin and end with must not count as an event of both."""
    place = np.minimum(np.arange(count), count - 1 - np.arange(count))
    return np.clip(place / FADE, 0, 1).astype(np.float32)


def watched(picture: NDArray[np.float32], weights: Weights | None = None) -> NDArray[Any]:
    """(k, c, 5) -> (c, k // 2 + 1, d) conjugate spectra of the features of each cell, scaled so
    that the liveliest cell has a mean square of 1. Most of the work: kept where sounds vary."""
    weights = shipped_weights() if weights is None else weights
    spectra, most = [], 0.0
    for cell in range(picture.shape[1]):
        seen = encoded(picture[:, cell], weights, "picture", 1)
        most = max(most, float((seen**2).mean()))
        spectra.append(np.fft.rfft(seen, axis=0).conj().astype(np.complex64))
    return np.stack(spectra) / np.float32(np.sqrt(most) + 1e-3)


def lag_scores(
    spectra: NDArray[Any], sound: NDArray[np.float32], weights: Weights | None = None
) -> NDArray[np.float64]:
    """``watched`` and (2 k, 20) -> (k,): how well sound moved ``i`` steps earlier fits, in a
    circle; higher is better. A peak at ``i`` says that the sound is ``i`` steps late.

    The fit of a cell is the mean product of its features with the sound's; that of the picture is a
    soft maximum over its cells.
    """
    weights = shipped_weights() if weights is None else weights
    heard = encoded(sound, weights, "sound", 2)
    heard = heard / (np.sqrt((heard**2).mean()) + 1e-4)
    spectrum = np.fft.rfft(heard, axis=0)
    fits = np.fft.irfft(np.einsum("ckd,kd->ck", spectra, spectrum), len(heard), axis=1)
    scaled = fits * (float(weights["sharpness"][0]) / len(heard))
    top = scaled.max(axis=0)
    return np.asarray(top + np.log(np.exp(scaled - top).sum(axis=0)), np.float64)

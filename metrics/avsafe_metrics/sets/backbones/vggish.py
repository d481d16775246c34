"""VGGish (Hershey et al. 2017, arXiv:1609.09430), the network of FAD (Kilgour et al. 2019,
arXiv:1812.08466).

Weights in the layout of torchvggish (``vggish-10086976.pth``); the 128 features are taken after the
last rectifier and before the PCA and the rounding to 8 bits, as frechet_audio_distance has them
with ``use_pca=False``. With ``activation=False`` they are taken before that rectifier
(``use_activation=False``). Sound is 16 kHz mono; log-mel patches of 0.96 s follow one another
without overlap, what is left at the end is dropped.

Legend: ``n`` samples, ``k`` patches. This module imports torch, and is imported inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from avsafe.errors import Unscorable
from avsafe_metrics.sets.backbones.weights import fill, read_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPECTED = "VGGish as a state dict in torchvggish's layout (vggish-10086976.pth)"
WINDOW, HOP, FFT, BANDS, PATCH = 400, 160, 512, 64, 96
LOW_HZ, HIGH_HZ, OFFSET = 125.0, 7500.0, 0.01
_BATCH = 64  # patches at once


class Vggish:
    """Sound -> ``features`` (k, 128), one row each 0.96 s."""

    width, rate_hz, name = 128, 16000, "vggish"

    def __init__(self, path: Path, device: str = "cpu", *, activation: bool = True) -> None:
        state, digest = read_state(path, EXPECTED)
        self.digests, self._device = {"vggish": digest}, device
        layers: list[nn.Module] = []
        c_in = 1
        for width in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0):  # 0: a pool
            if width:
                layers += [nn.Conv2d(c_in, width, 3, padding=1), nn.ReLU()]
                c_in = width
            else:
                layers.append(nn.MaxPool2d(2))
        dense = [nn.Linear(512 * 4 * 6, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 128)]
        flat: list[nn.Module] = [part for layer in dense for part in (layer, nn.ReLU())]
        self._net = nn.ModuleDict(
            {"features": nn.Sequential(*layers), "embeddings": nn.Sequential(*flat)}
        )
        fill(self._net, state, path, EXPECTED)
        self._net.to(device)
        self._last = len(flat) if activation else len(flat) - 1

    def features(self, sound: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(n,) at 16 kHz -> (k, 128). Raises Unscorable below 0.975 s, one patch."""
        found = patches(sound)
        if not len(found):
            raise Unscorable(f"{len(sound) / self.rate_hz:.2f} s of sound; VGGish needs 0.975 s")
        rows = []
        with torch.inference_mode():
            for start in range(0, len(found), _BATCH):
                batch = torch.from_numpy(found[start : start + _BATCH, None]).to(self._device)
                x = self._net["features"](batch)
                x = x.permute(0, 2, 3, 1).flatten(1)  # TensorFlow's order: channels last
                x = self._net["embeddings"][: self._last](x)  # type: ignore[index]
                rows.append(x.cpu().numpy())
        return {"features": np.concatenate(rows)}


def patches(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) at 16 kHz -> (k, 96, 64) log-mel magnitudes."""
    sound = np.asarray(sound, np.float64)
    frames = 1 + (len(sound) - WINDOW) // HOP if len(sound) >= WINDOW else 0
    k = frames // PATCH
    if k == 0:
        return np.zeros((0, PATCH, BANDS), np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP][: k * PATCH]
    found = np.empty((k * PATCH, BANDS), np.float32)
    mel = htk_bands(BANDS, FFT, 16000, LOW_HZ, HIGH_HZ)
    for start in range(0, len(windows), 4096):  # the spectrum of a minute is 80 MB
        spectrum = np.abs(np.fft.rfft(windows[start : start + 4096] * hann, FFT))
        found[start : start + 4096] = np.log(spectrum @ mel + OFFSET)
    return found.reshape(k, PATCH, BANDS)


def htk_bands(
    bands: int, fft: int, rate_hz: int, low_hz: float, high_hz: float
) -> NDArray[np.float64]:
    """(fft / 2 + 1, bands) triangles that are straight in HTK's mel, 1127 ln(1 + f / 700).

    >>> htk_bands(64, 512, 16000, 125.0, 7500.0).shape
    (257, 64)
    """

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(1127.0 * np.log1p(hz / 700.0), np.float64)

    bins = mel(np.linspace(0.0, rate_hz / 2, fft // 2 + 1))[:, None]
    low, high = mel(np.array([low_hz, high_hz]))
    edges = np.linspace(low, high, bands + 2)
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    found = np.maximum(0.0, np.minimum(rise, fall))
    found[0] = 0.0  # HTK leaves the constant out
    return np.asarray(found, np.float64)

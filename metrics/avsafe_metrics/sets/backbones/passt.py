"""PaSST, a transformer over patches of a spectrogram (Koutini et al. 2022, arXiv:2110.05069).

Weights in the layout of hear21passt / PaSST (``passt-s-f128-p16-s10-ap.476-swa.pt`` and others with
128 bands, patches of 16 x 16 every 10). Features are the mean of the class and the distillation
token, 768; logits those of 527 classes. Sound is 32 kHz mono in windows of 10 s, as long as its
embedding of time goes; a shorter rest of a second or more is a row of its own.

Legend: ``n`` samples, ``k`` windows. This module imports torch, and is imported inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

from avsafe.errors import Unscorable
from avsafe_metrics.sets.backbones.weights import fill, read_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPECTED = "PaSST-S (128 bands, patches of 16 every 10) as a state dict in hear21passt's layout"
RATE_HZ, FFT, WINDOW, HOP, BANDS = 32000, 1024, 800, 320, 128
LOW_HZ, HIGH_HZ = 0.0, 15000.0  # 16000 less half of the 2000 Hz that training moves it by
PATCH, STRIDE = 16, 10
MOST_S, LEAST_S = 9.98, 1.0  # 998 frames give the 99 places in time that the weights know


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self._heads, c // self._heads).permute(2, 0, 3, 1, 4)
        found: Tensor = self.proj(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        )
        return found


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = _Attention(width, heads), _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class _Patches(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, PATCH, STRIDE)


class PaSST(nn.Module):
    """Log-mel (k, 1, 128, frames) -> tokens' mean (k, width)."""

    def __init__(
        self, width: int = 768, depth: int = 12, heads: int = 12, times: int = 99,
        classes: int = 527,
    ) -> None:  # fmt: skip
        super().__init__()
        bands = (BANDS - PATCH) // STRIDE + 1
        self.patch_embed = _Patches(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, bands, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, times))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed.proj(x)
        x = x + self.time_new_pos_embed[..., : x.shape[-1]] + self.freq_new_pos_embed
        x = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token, self.dist_token], 1) + self.new_pos_embed
        x = torch.cat([tokens.expand(len(x), -1, -1), x], 1)
        x = self.norm(self.blocks(x))
        return (x[:, 0] + x[:, 1]) / 2


class Passt:
    """Sound -> ``features`` (k, 768) and ``logits`` (k, 527), one row each 10 s."""

    rate_hz, name = RATE_HZ, "passt"

    def __init__(self, path: Path, device: str = "cpu", heads: int = 12) -> None:
        state, digest = read_state(path, EXPECTED)
        state = {name.removeprefix("net."): value for name, value in state.items()}
        self.digests, self._device = {"passt": digest}, device
        depth = 1 + max(
            (int(name.split(".")[1]) for name in state if name.startswith("blocks.")), default=-1
        )
        tokens, times = state.get("cls_token"), state.get("time_new_pos_embed")
        width = int(tokens.shape[-1]) if tokens is not None else 768
        head = state.get("head.1.weight")
        self._net = PaSST(
            width, depth, heads, int(times.shape[-1]) if times is not None else 99,
            int(head.shape[0]) if head is not None else 527,
        )  # fmt: skip
        fill(self._net, state, path, EXPECTED)
        self._net.to(device)
        self.width = width
        self._mel = torch.from_numpy(kaldi_bands()).float()

    def features(self, sound: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(n,) at 32 kHz -> (k, 768), (k, 527). Raises Unscorable below 1 s."""
        most, least = round(MOST_S * RATE_HZ), round(LEAST_S * RATE_HZ)
        windows = [sound[start : start + most] for start in range(0, len(sound), most)]
        windows = [window for window in windows if len(window) >= least]
        if not windows:
            raise Unscorable(f"{len(sound) / RATE_HZ:.2f} s of sound; PaSST needs {LEAST_S:.0f} s")
        rows, logits = [], []
        with torch.inference_mode():
            for window in windows:
                mel = self.log_mel(torch.from_numpy(np.asarray(window, np.float32)))
                found = self._net(mel[None, None].to(self._device))
                rows.append(found.cpu().numpy())
                logits.append(self._net.head(found).cpu().numpy())
        return {"features": np.concatenate(rows), "logits": np.concatenate(logits)}

    def log_mel(self, sound: Tensor) -> Tensor:
        """(128, frames), brought to about [-1, 1]"""
        sound = sound[1:] - 0.97 * sound[:-1]
        spectrum = torch.stft(
            sound, FFT, HOP, WINDOW, window=torch.hann_window(WINDOW, periodic=False), center=True,
            pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        power = spectrum.abs().square()
        return ((self._mel @ power + 1e-5).log() + 4.5) / 5.0


def kaldi_bands() -> NDArray[np.float64]:
    """(128, 513) triangles as Kaldi makes them: straight in mel, nothing at the last bin.

    >>> kaldi_bands().shape
    (128, 513)
    """

    def mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0), np.float64)

    low, high = mel(LOW_HZ), mel(HIGH_HZ)
    step = (high - low) / (BANDS + 1)
    left = (low + step * np.arange(BANDS))[:, None]
    bins = mel(np.arange(FFT // 2) * RATE_HZ / FFT)[None]
    found = np.maximum(0.0, np.minimum((bins - left) / step, (left + 2 * step - bins) / step))
    return np.asarray(np.pad(found, ((0, 0), (0, 1))), np.float64)

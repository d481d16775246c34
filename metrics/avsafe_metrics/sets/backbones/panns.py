"""PANNs Cnn14, trained on AudioSet (Kong et al. 2020, arXiv:1912.10211).

Weights in the layout of audioset_tagging_cnn: ``Cnn14_mAP=0.431.pth`` (32 kHz) or
``Cnn14_16k_mAP=0.438.pth`` (16 kHz); which of the two is read from the shape of its mel matrix.
Features are the embedding of 2048 after the first dense layer and its rectifier; logits are those
of the 527 classes before the sigmoid.

Legend: ``n`` samples, ``b`` mel bands. This module imports torch, and is imported inside functions.
"""

from __future__ import annotations

from itertools import pairwise
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

EXPECTED = "Cnn14 of PANNs as a state dict (Cnn14_mAP=0.431.pth or Cnn14_16k_mAP=0.438.pth)"
_FRONT = {513: (32000, 1024, 320), 257: (16000, 512, 160)}  # bins: rate, window, hop
_MEL = "logmel_extractor.melW"
_LEAST = 32  # frames: five pools by two
_WIDTHS = (1, 64, 128, 256, 512, 1024, 2048)


class _Block(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(c_out), nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Cnn14(nn.Module):
    """Log-mel (k, 1, frames, 64) -> embedding (k, 2048)."""

    def __init__(self, classes: int = 527) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(64)
        for index, (c_in, c_out) in enumerate(pairwise(_WIDTHS), 1):
            self.add_module(f"conv_block{index}", _Block(c_in, c_out))
        self.fc1, self.fc_audioset = nn.Linear(2048, 2048), nn.Linear(2048, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        for index in range(1, len(_WIDTHS)):
            x = self._modules[f"conv_block{index}"](x)  # type: ignore[misc]
            if index < len(_WIDTHS) - 1:
                x = F.avg_pool2d(x, 2)
        x = x.mean(dim=3)
        return F.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))


class Panns:
    """Sound -> one row: ``features`` (1, 2048) and ``logits`` (1, 527)."""

    width, name = 2048, "panns"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        state, digest = read_state(path, EXPECTED)
        self.digests, self._device = {"panns": digest}, device
        bins = int(state[_MEL].shape[0]) if _MEL in state else 513
        self.rate_hz, self._window, self._hop = _FRONT.get(bins, _FRONT[513])
        self._mel = state[_MEL].float() if _MEL in state else self._slaney()
        self._net = Cnn14(int(state["fc_audioset.weight"].shape[0]) if _known(state) else 527)
        fill(self._net, state, path, EXPECTED)
        self._net.to(device)

    def features(self, sound: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(n,) at ``rate_hz`` -> (1, 2048), (1, 527). Raises Unscorable below 32 frames."""
        if len(sound) < _LEAST * self._hop:
            raise Unscorable(f"{len(sound) / self.rate_hz:.2f} s of sound; Cnn14 needs 0.32 s")
        with torch.inference_mode():
            mel = self.log_mel(torch.from_numpy(np.asarray(sound, np.float32)))
            found = self._net(mel[None, None].to(self._device))
            logits = self._net.fc_audioset(found)
        return {"features": found.cpu().numpy(), "logits": logits.cpu().numpy()}

    def log_mel(self, sound: Tensor) -> Tensor:
        """(frames, 64) in dB"""
        spectrum = torch.stft(
            sound, self._window, self._hop, window=torch.hann_window(self._window), center=True,
            pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        power = spectrum.abs().square().T @ self._mel
        return 10.0 * torch.log10(power.clamp_min(1e-10))

    def _slaney(self) -> Tensor:
        import librosa

        high_hz = 14000 if self.rate_hz == 32000 else 8000
        mel = librosa.filters.mel(
            sr=self.rate_hz, n_fft=self._window, n_mels=64, fmin=50, fmax=high_hz
        )
        return torch.from_numpy(np.ascontiguousarray(mel.T)).float()


def _known(state: dict[str, Tensor]) -> bool:
    return "fc_audioset.weight" in state and state["fc_audioset.weight"].ndim == 2

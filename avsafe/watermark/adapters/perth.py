"""Resemble's Perth: a yes or no in sound, by the weights inside its wheel. A second opinion.

Legend: ``k`` samples at 32 kHz, ``t`` frames of 10 ms, ``b`` 128 bands up to 2 kHz.

The network is that of github.com/resemble-ai/Perth (MIT), written down here from its description:
seven convolutions add to the lowest bands of a magnitude spectrogram, in decibels, where it is loud
enough; the detector reads the spectrogram at three tempi and weighs the three answers. Perth's own
package is not imported: it needs torchaudio, librosa and an old setuptools, its weights need none.
"""

from __future__ import annotations

import importlib.util
import io
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from avsafe.errors import CannotMark, MissingExtra, UsageError
from avsafe.types import Detection, Features, Kind, Mark, RawMedia
from avsafe.watermark.adapters import sounds
from avsafe.watermark.adapters.weights import WeightFile, require

RATE_HZ = 32_000
_FILE = Path("perth_net", "pretrained", "implicit", "perth_net_250000.pth.tar")
_SHA256 = "a15bce457ebc53ce5e6c9c3f11df78cf7ee2bf9cdab0a798902135b4c4027670"  # resemble-perth 1.0.1
_FFT, _HOP, _BANDS = 2048, 320, 128
_LEAST = 1e-9  # magnitude
_MIN_DB, _HEADROOM_DB = -180.0, 15.0  # 20 log10(_LEAST)
_LOUD = 0.05  # of the loudest frame: quieter ones carry nothing
_CONVOLUTIONS = 7
_TEMPI = (("slow_layers", 1.25), ("normal_layers", 1.0), ("fast_layers", 0.75))
_CORE_S, _MARGIN_S, _LEAST_S = 4.0, 0.5, 2.0

# Measured on 275 pieces of unmarked sound, 2 to 5 s, of 73 files and 60 made ones, as they are and
# damaged (benchmarks/perth_null.py). The package's own threshold, 0.5, takes 25 of them for marked
# (11 of 215 recorded; 14 made ones, all chords and sweeps). Ours was chosen on the same pieces.
NULL_N = 275
NULL_TOP = (1.0,)  # the scores above the threshold
THRESHOLD = 0.95


class PerthSampler(sounds.SoundSampler):
    """Mono sound at the network's rate."""

    rate_hz = RATE_HZ


class Perth:
    """A ``types.Watermarker`` for sound without payload and without key.

    ``payload`` must be 0, ``detect`` never gives one, and the key is not looked at: anybody with
    the public weights can write, find and remove this mark. Raises MissingExtra when torch or
    resemble-perth is not installed.
    """

    algorithm: ClassVar[str] = "ai.resemble.perth.implicit"
    modality: ClassVar[Kind] = Kind.AUDIO
    payload_bits: ClassVar[int] = 0
    extractor: ClassVar[str] = "avsafe.watermark.adapters.perth:PerthSampler"

    def __init__(self) -> None:
        self._torch = require("torch", "perth")
        spec = importlib.util.find_spec("perth")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(
                "The watermarker 'perth' needs the package 'resemble-perth' for its weights. "
                "Install it with: pip install 'avsafe[marks]'."
            )
        self._file = WeightFile(Path(spec.submodule_search_locations[0]) / _FILE, _SHA256)

    @cached_property
    def _weights(self) -> Any:
        """Name -> tensor. The digest is that of a file we looked at; only tensors are read."""
        data = io.BytesIO(self._file.read())
        return self._torch.load(data, map_location="cpu", weights_only=True)["model"]

    def embedder(
        self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0
    ) -> sounds.ResidualEmbedder:
        """``payload`` must be 0; ``key`` is not used; ``attempt`` 1 adds one and a half times.

        Raises UsageError for another payload, CannotMark for no sound or under 8 kHz; ``mark()``
        raises CannotMark for silence and for less than two seconds.
        """
        if payload != 0:
            raise UsageError(f"Perth carries no payload: 0 was expected, not {payload}.")
        return sounds.ResidualEmbedder(
            lambda mono, index: self._residual(mono),
            Mark(self.modality, self.algorithm, 0, 0),
            raw,
            network_hz=RATE_HZ,
            core_s=_CORE_S,
            margin_s=_MARGIN_S,
            least_s=_LEAST_S,
            gain=1.5 if attempt > 0 else 1.0,
        )

    def detect(self, features: Features, key: bytes) -> Detection:
        """Present above the threshold. ``p_value`` is the rank among measured scores of unmarked
        sound, so it can't be smaller than one over their number; 1.0 below the threshold."""
        sound = sounds.heard(features, RATE_HZ)
        details: dict[str, Any] = {
            "weights": {"model": _SHA256},
            "keyless_network": True,
            "null_n": NULL_N,
        }
        if sound.size < _LEAST_S * RATE_HZ:
            return Detection(False, None, 1.0, details | {"reason": "silent, or under two seconds"})
        score = self.score(sound)
        details |= {"score": score, "threshold": THRESHOLD}
        if score <= THRESHOLD:
            return Detection(False, None, 1.0, details)
        above = sum(other >= score for other in NULL_TOP)
        return Detection(True, None, (1 + above) / (1 + NULL_N), details)

    def score(self, sound: sounds.Mono) -> float:
        """0..1 for mono sound ``(k,)`` at 32 kHz; 0 for silence."""
        torch = self._torch
        with torch.no_grad():
            level = self._level(self._spectrum(sound).abs())
            mask = self._mask(level)
            answers, weights = [], []
            for name, tempo in _TEMPI:
                t = int(level.shape[1] * tempo)
                stretched = _resized(torch, level[None, :_BANDS], t, "linear")
                wanted = _resized(torch, mask[None, None], t, "nearest")[0]
                found = (self._chain(stretched, f"decoder.{name}")[0] * wanted).sum(dim=1)
                weight, answer = (found / wanted.sum()).tolist()
                answers.append(answer)
                weights.append(weight)
            share = torch.softmax(torch.tensor(weights), dim=0).numpy()
        score = float(np.dot(share, answers))
        return min(max(score, 0.0), 1.0) if np.isfinite(score) else 0.0

    def _residual(self, mono: sounds.Mono) -> sounds.Mono:
        torch = self._torch
        if mono.size <= _FFT:
            return np.zeros_like(mono)
        with torch.no_grad():
            spectrum = self._spectrum(mono)
            level = self._level(spectrum.abs())
            added = self._chain(level[None, :_BANDS], "encoder.layers")[0] * self._mask(level)
            low = spectrum[:_BANDS]
            decibels = (level[:_BANDS] + added) * (_HEADROOM_DB - _MIN_DB) + _MIN_DB
            louder = torch.pow(10.0, (decibels / 20).clip(max=10.0))
            change = torch.zeros_like(spectrum)
            change[:_BANDS] = torch.polar(louder, torch.angle(low)) - low
            back = torch.istft(change, _FFT, _HOP, window=torch.hann_window(_FFT), length=mono.size)
        return np.asarray(back.numpy(), np.float32)

    def _spectrum(self, sound: sounds.Mono) -> Any:
        torch = self._torch
        if sound.size <= _FFT:
            raise CannotMark("The sound is shorter than one window of the network.")
        return torch.stft(
            torch.from_numpy(np.ascontiguousarray(sound, np.float32)),
            _FFT,
            _HOP,
            window=torch.hann_window(_FFT),
            return_complex=True,
        )

    def _level(self, magnitude: Any) -> Any:
        decibels = 20 * self._torch.log10(magnitude.clip(min=_LEAST))
        return (decibels - _MIN_DB) / (_HEADROOM_DB - _MIN_DB)

    def _mask(self, level: Any) -> Any:
        loudness = level.sum(dim=0)
        return (loudness > loudness.max() * _LOUD).float()

    def _chain(self, x: Any, name: str) -> Any:
        functional = self._torch.nn.functional
        for layer in range(_CONVOLUTIONS):
            weight = self._weights[f"{name}.{layer}.conv.weight"]
            bias = self._weights[f"{name}.{layer}.conv.bias"]
            x = functional.conv1d(x, weight, bias, padding=weight.shape[2] // 2)
            if layer < _CONVOLUTIONS - 1:
                x = functional.leaky_relu(x)
        return x


def _resized(torch: Any, x: Any, t: int, mode: str) -> Any:
    corners = True if mode == "linear" else None
    return torch.nn.functional.interpolate(x, size=t, mode=mode, align_corners=corners)

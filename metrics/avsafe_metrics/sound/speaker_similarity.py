"""Speaker similarity: whether two recordings are of one voice.

Legend: the sound is ``(n,)`` float32 mono at 16 kHz; an embedding is ``(256,)`` of norm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.sound.mel import mel_spectrogram
from avsafe_metrics.sound.pairing import RATE_HZ
from avsafe_metrics.sound.shipped import digest, needed, shipped
from avsafe_metrics.sound.vad import Voice, spoken

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The hyper-parameters of Resemblyzer's encoder.
FRAME, HOP, BANDS = 400, 160, 40  # samples, samples, mel bands
PART, STEP = 160, 77  # frames of a partial utterance, and between two of them: 1.3 a second
COVERED = 0.75  # a last part that holds less than this is dropped
LEVEL_DBFS = -30.0  # quieter speech is raised to this
LEAST_SPEECH_S = 1.0


def partial_starts(n: int) -> list[int]:
    """First mel frames of the partial utterances of ``n`` samples; one at least.

    >>> partial_starts(16000), partial_starts(3 * 16000)
    ([0], [0, 77, 154])
    """
    frames = -(-(n + 1) // HOP)
    starts = list(range(0, max(1, frames - PART + STEP + 1), STEP))
    covered = (n - starts[-1] * HOP) / (PART * HOP)
    return starts[:-1] if covered < COVERED and len(starts) > 1 else starts


def mel_parts(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel spectrograms ``(p, 160, 40)`` of the partial utterances of speech ``(n,)``."""
    level = 10 * np.log10(max(1e-12, float(np.mean(x.astype(np.float64) ** 2))))
    x = x * np.float32(10 ** (max(0.0, LEVEL_DBFS - level) / 20))
    starts = partial_starts(x.size)
    x = np.pad(x, (0, max(0, (starts[-1] + PART) * HOP - x.size)))
    mel = mel_spectrogram(x, RATE_HZ, FRAME, HOP, BANDS)
    return np.stack([mel[start : start + PART] for start in starts])


def network(weights: Mapping[str, Any], device: str) -> Any:
    """Resemblyzer's encoder: three LSTM layers of 256, a linear layer, ReLU, norm 1."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(BANDS, 256, 3, batch_first=True)
            self.linear = torch.nn.Linear(256, 256)

        def forward(self, mels: Any) -> Any:
            _, (hidden, _) = self.lstm(mels)
            raw = torch.relu(self.linear(hidden[-1]))
            return raw / torch.linalg.vector_norm(raw, dim=1, keepdim=True).clamp_min(1e-9)

    encoder = Encoder()
    encoder.load_state_dict({k: v for k, v in weights.items() if not k.startswith("similarity")})
    return encoder.to(device).eval()


class SpeakerSimilarity:
    """Cosine of the voice embeddings (Resemblyzer's GE2E encoder) of the clip and of a reference,
    or of an enrolment: a file with the voice of the person, for all clips.

    Speech is cut out by Silero VAD, where Resemblyzer uses WebRTC's; the encoder is the same.
    """

    info = MetricInfo(
        name="speaker_similarity",
        version="1",
        title="Speaker similarity",
        columns=(Column("", "", "higher", "cosine of voice embeddings", 0.0, 1.0),),
        wants=("mono16k",),
        family="sound",
        beside="reference",
        source="Wan et al. 2018 (arXiv:1710.10467), weights of Resemblyzer; VAD by Silero",
    )

    def __init__(
        self, against: str = "reference", enrolment: str | None = None, device: str = "cpu"
    ) -> None:
        self._enrolment, self._device = enrolment, device
        self.info = replace(type(self).info, beside="" if enrolment else against)
        self.enrolled: NDArray[np.float32] | None = None

    def prepare(self) -> None:
        torch = needed("torch")
        if self._enrolment:
            needed("librosa")
        self._voice = Voice()
        self._path = shipped("resemblyzer", "pretrained.pt", "Resemblyzer")
        weights = torch.load(self._path, map_location="cpu", weights_only=True)["model_state"]
        self._encoder = network(weights, self._device)
        if self._enrolment:
            try:
                self.enrolled = self.embedding(_mono(Path(self._enrolment)))
            except Unscorable as reason:
                raise MissingExtra(f"{self._enrolment} is no enrolment: {reason}") from reason

    def digests(self) -> Mapping[str, str]:
        found = {"resemblyzer/pretrained.pt": digest(self._path), **self._voice.digests()}
        if self._enrolment:
            found["enrolment"] = digest(Path(self._enrolment))
        return found

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self)

    def embedding(self, x: NDArray[np.float32], what: str = "sound") -> NDArray[np.float32]:
        """``(256,)`` of the speech in ``x``; raises ``Unscorable`` below 1 s of speech."""
        import torch

        mels = mel_parts(spoken(x, self._voice.need(x, LEAST_SPEECH_S, what)))
        with torch.inference_mode():
            given = torch.from_numpy(mels).to(self._device)
            parts = [self._encoder(some).cpu().numpy() for some in torch.split(given, 64)]
        mean = np.concatenate(parts).mean(axis=0)
        if not mean.any():
            raise Unscorable(f"the {what} has no voice embedding: all features are 0")
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


class _Meter(QuietMeter):
    def __init__(self, metric: SpeakerSimilarity) -> None:
        self._metric = metric

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        if gathered.mono16k is None:
            raise Unscorable("the clip has no sound")
        other = self._metric.enrolled
        if other is None:
            if gathered.beside_mono16k is None:
                raise Unscorable(f"the {self._metric.info.beside} has no sound")
            other = self._metric.embedding(gathered.beside_mono16k, self._metric.info.beside)
        own = self._metric.embedding(gathered.mono16k)
        return {"": bounded(float(own @ other), 0.0, 1.0)}


def _mono(path: Path) -> NDArray[np.float32]:
    """The sound of a file as mono at 16 kHz."""
    import librosa

    from avsafe import media

    if not path.is_file():
        raise MissingExtra(f"There is no file {path}. Give a recording of the person's voice.")
    raw = media.decode(path)
    if not raw.rate_hz:
        raise Unscorable("it has no sound")
    blocks = [block.mean(axis=0) for block in raw.samples or ()]
    x = np.concatenate([np.zeros(0, np.float32), *blocks])
    found = librosa.resample(x, orig_sr=raw.rate_hz, target_sr=RATE_HZ)
    return np.asarray(found, np.float32)

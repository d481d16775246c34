"""CLAP score: whether the sound is what the prompt says, by a CLAP model the user gives.

Legend: ``n`` samples at 48 kHz, pieces of 10 s, embeddings (k, d).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sync.exported import cosine
from avsafe_metrics.sync.user_weights import digest_of, weight_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 48_000
PIECE = 10 * RATE_HZ


class ClapScore:
    """Cosine of the embeddings of prompt and sound (Wu et al. 2023, LAION-CLAP), mean direction of
    pieces of 10 s.

    ``weights={"clap": folder}``: a folder that ``transformers`` saved a ``ClapModel`` and its
    processor in; safetensors only, nothing is fetched.
    """

    info = MetricInfo(
        name="clap_score",
        version="1",
        title="CLAP score (user weights)",
        columns=(Column("", "", "higher", "cosine of prompt and sound", -1.0, 1.0),),
        wants=("sound",),
        family="sync",
        texts=("prompt",),
        weights=("clap",),
        source="CLAP (Wu et al. 2023, arXiv:2211.06687); pieces of 10 s in order, not a random one",
    )

    def __init__(self, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._weights, self._device = dict(weights or {}), device
        self._model: Any = None
        self._processor: Any = None
        self._digest = ""

    def prepare(self) -> None:
        if self._model is not None:
            return
        folder = weight_path(self._weights, "clap", "a folder with a ClapModel and its processor")
        try:
            from transformers import ClapModel, ClapProcessor
        except ImportError as error:
            raise MissingExtra("transformers is not installed: pip install transformers") from error
        try:
            model: Any = ClapModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
            self._processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise MissingExtra(
                f"{folder} cannot be loaded as CLAP ({type(error).__name__}). Save a ClapModel and "
                "its ClapProcessor there with save_pretrained."
            ) from error
        self._model = model.eval().to(self._device)
        self._digest = digest_of(folder)

    def digests(self) -> Mapping[str, str]:
        return {"clap": self._digest} if self._digest else {}

    def open(self, clip: Clip) -> _Meter:
        if self._model is None:
            raise MissingExtra("CLAP is not loaded: call prepare() before open().")
        return _Meter(self, clip.sample.text, clip.shape.rate_hz)

    def text_embedding(self, text: str) -> NDArray[np.float32]:
        """(1, d)."""
        import torch

        given = self._processor(text=[text], return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            found = self._model.get_text_features(**given.to(self._device))
        return _array(found)

    def sound_embedding(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n,) of at most 10 s at 48 kHz -> (1, d)."""
        import torch

        given = self._processor(audio=piece, sampling_rate=RATE_HZ, return_tensors="pt")
        with torch.inference_mode():
            found = self._model.get_audio_features(**given.to(self._device))
        return _array(found)


def _array(found: Any) -> NDArray[np.float32]:
    """A tensor, or the output that newer versions of transformers wrap it in."""
    tensor = getattr(found, "pooler_output", found)
    return np.asarray(tensor.float().cpu().numpy(), np.float32)


class _Meter(QuietMeter):
    """Keeps one piece of sound and the embeddings so far."""

    def __init__(self, clap: ClapScore, text: str, rate_hz: int) -> None:
        import av

        self._clap, self._text, self._rate_hz = clap, text, rate_hz
        self._resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        self._held = np.zeros(0, np.float32)
        self._heard: list[NDArray[np.float32]] = []
        self._loud = False

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        import av

        mixed = np.ascontiguousarray(block.mean(axis=0, dtype=np.float32))
        self._loud = self._loud or bool(np.any(mixed))
        frame = av.AudioFrame.from_ndarray(mixed[None], "flt", "mono")
        frame.sample_rate = rate_hz
        self._keep(self._resampler.resample(frame))

    def _keep(self, frames: list[Any]) -> None:
        parts = [np.asarray(frame.to_ndarray(), np.float32)[0] for frame in frames]
        self._held = np.concatenate([self._held, *parts])
        while self._held.size >= PIECE:
            self._heard.append(self._clap.sound_embedding(self._held[:PIECE]))
            self._held = self._held[PIECE:]

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._loud:
            raise Unscorable("the sound is silent")
        self._keep(self._resampler.resample(None))
        if not self._heard or self._held.size >= PIECE // 2:
            self._heard.append(self._clap.sound_embedding(self._held))
        return {"": cosine(np.concatenate(self._heard), self._clap.text_embedding(self._text))}

"""DeSync: how many seconds sound and picture are apart, by a Synchformer that the user exported.

Legend: ``t`` = 120 frames at 25 Hz (4.8 s), ``n`` = 76 800 samples at 16 kHz, ``o`` offsets.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sync.exported import Exported, square
from avsafe_metrics.sync.syncnet_input import At25

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

FRAMES, SAMPLES, SIDE = 120, 76_800, 224


def most_likely_s(logits: NDArray[Any], offsets_s: list[float]) -> float:
    """(o,) -> the offset of the highest.

    >>> most_likely_s(np.array([0.1, 2.0, 0.3]), [-0.2, 0.0, 0.2])
    0.0
    """
    return offsets_s[int(np.argmax(logits))]


class DeSync:
    """Mean absolute offset of the first and the last 4.8 s (Viertola et al. 2024; Cheng et al.
    2024, MMAudio, section 4.1), by a Synchformer (Iashin et al. 2024).

    ``weights={"synchformer": path}``, an ONNX graph with inputs ``video`` (1, 120, 3, 224, 224), in
    RGB 0 to 1, and ``audio`` (1, 76800), output logits (1, o); ``metadata_props``: ``model`` =
    "synchformer", ``offsets_s`` a JSON list of o numbers (sound late is positive).
    """

    info = MetricInfo(
        name="desync",
        version="1",
        title="DeSync (user weights)",
        columns=(
            Column("", "s", "lower", "mean absolute offset, first and last 4.8 s", 0.0),
            Column("offset_ms", "ms", "none", "mean offset; sound late is positive"),
        ),
        wants=("rgb", "mono16k"),
        family="sync",
        weights=("synchformer",),
        source="Synchformer (Iashin et al. 2024, arXiv:2401.16423); MMAudio (arXiv:2412.15322), 4.1"
        "; centre crop, preparation inside the user's export",
    )

    def __init__(self, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._weights, self._device = dict(weights or {}), device
        self._model: Exported | None = None
        self._offsets_s: list[float] = []

    def prepare(self) -> None:
        if self._model is not None:
            return
        model = Exported(
            self._weights, "synchformer", inputs=("audio", "video"), model="synchformer",
            device=self._device,
        )  # fmt: skip
        try:
            self._offsets_s = [float(o) for o in json.loads(model.metadata["offsets_s"])]
        except (KeyError, ValueError, TypeError) as error:
            raise MissingExtra(
                'The export of synchformer does not say its offsets: set metadata_props "offsets_s"'
                ' to a JSON list of seconds, such as "[-0.2, 0.0, 0.2]".'
            ) from error
        self._model = model

    def digests(self) -> Mapping[str, str]:
        return {"synchformer": self._model.digest} if self._model else {}

    def open(self, clip: Clip) -> _Meter:
        if self._model is None:
            raise MissingExtra("Synchformer is not loaded: call prepare() before open().")
        if clip.shape.frame_rate is None:
            raise Unscorable("a picture has no sync: it needs moving pictures and sound")
        return _Meter(float(clip.shape.frame_rate), self._model, self._offsets_s)


class _Meter(QuietMeter):
    """Keeps the first and the last 120 frames, 224 x 224: 36 MB."""

    def __init__(self, rate: float, model: Exported, offsets_s: list[float]) -> None:
        self._time, self._model, self._offsets_s = At25(rate), model, offsets_s
        self._first: list[NDArray[np.uint8]] = []
        self._last: deque[NDArray[np.uint8]] = deque(maxlen=FRAMES)
        self._count = 0

    def frame(self, view: View, beside: View | None) -> None:
        repeats = self._time.repeats()
        if not repeats:
            return
        picture = square(view.rgb, SIDE)
        for _ in range(repeats):
            if len(self._first) < FRAMES:
                self._first.append(picture)
            self._last.append(picture)
            self._count += 1

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        mono = gathered.mono16k if gathered.mono16k is not None else np.zeros(0, np.float32)
        frames = min(self._count, mono.size // 640)
        if frames < FRAMES or self._count - frames > FRAMES // 4:
            raise Unscorable(
                f"{self._count / 25:.1f} s of picture and {mono.size / 16000:.1f} s of sound; "
                "Synchformer needs 4.8 s of both together"
            )
        if not np.any(mono):
            raise Unscorable("the sound is silent")
        found = []
        for start, pictures in ((0, self._first), (self._count - FRAMES, list(self._last))):
            heard = mono[start * 640 : start * 640 + SAMPLES]
            heard = np.pad(heard, (0, SAMPLES - heard.size))
            video = np.stack(pictures).transpose(0, 3, 1, 2)[None].astype(np.float32) / 255
            logits = self._model(video=video, audio=heard[None])
            if logits.size != len(self._offsets_s):
                raise Unscorable(
                    f"the export gives {logits.size} logits for {len(self._offsets_s)} offsets"
                )
            if not np.isfinite(logits).all():
                raise Unscorable("the export gives logits that are not finite")
            found.append(most_likely_s(logits.ravel(), self._offsets_s))
        return {"": float(np.mean(np.abs(found))), "offset_ms": 1000 * float(np.mean(found))}

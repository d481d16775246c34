"""SyncNet: how far lips and speech are from one another, with weights that the user gives.

Legend: ``t`` frames at 25 Hz, ``w`` = t - 5 windows of five frames, ``d`` = 1024 features,
``s`` lags of one frame. Crops are (224, 224, 3) uint8 BGR, as the published weights expect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sync import syncnet_input
from avsafe_metrics.sync.user_weights import state_dict_of, weight_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe_metrics.sync.syncnet_network import Encoders

FRAME_HZ = 25
WINDOW = 5  # frames that the network sees at once, 0.2 s
LAGS = 15  # frames to each side that are searched
LEAST = WINDOW + 10  # frames of a stretch with a face; fewer give a mean of next to nothing
BATCH = 20
MODES = ("reference", "fast")


def lag_distances(lips: NDArray[Any], sound: NDArray[Any], lags: int = LAGS) -> NDArray[np.float32]:
    """(w, d) features of lips and of sound -> (w, s) Euclidean distances, s = 2 ``lags`` + 1.

    Column ``j`` compares lips at ``i`` with sound at ``i + j - lags``; beyond its ends the sound's
    features are 0, and 1e-6 is added to each difference, both as published.

    >>> lag_distances(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 1).shape
    (3, 3)
    """
    padded = np.pad(sound, ((lags, lags), (0, 0)))
    columns = [
        np.sqrt(((lips - padded[j : j + len(lips)] + 1e-6) ** 2).sum(axis=1))
        for j in range(2 * lags + 1)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def offset_confidence_distance(distances: NDArray[Any]) -> tuple[int, float, float]:
    """(w, s) -> offset in frames (lips late is positive, as published), LSE-C and LSE-D.

    LSE-D is the least mean distance over the lags, LSE-C the median over the lags less that
    (Chung and Zisserman 2016, section 4.2; Prajwal et al. 2020, section 4.2).

    >>> offset_confidence_distance(np.array([[9.0, 6.0, 8.0], [9.0, 7.0, 8.0]]))
    (0, 1.5, 6.5)
    """
    means = distances.mean(axis=0)
    best = int(np.argmin(means))
    # torch's median of an even number takes the lower; 31 lags are odd
    middle = float(np.sort(means)[(len(means) - 1) // 2])
    return len(means) // 2 - best, middle - float(means[best]), float(means[best])


def _info(mode: str) -> MetricInfo:
    unlike = "" if mode == "reference" else ", of frames that saw no JPEG: not comparable"
    return MetricInfo(
        name="syncnet",
        version=f"1-{mode}",
        title=f"SyncNet ({mode})",
        columns=(
            Column(f"{mode}_lse_c", "", "higher", f"confidence{unlike}", 0.0),
            Column(f"{mode}_lse_d", "", "lower", f"distance{unlike}", 0.0),
            Column(f"{mode}_offset_ms", "ms", "none", "sound late is positive; steps of 40 ms"),
        ),
        wants=("rgb", "mono16k"),
        family="sync",
        weights=("syncnet",),
        source="Chung and Zisserman 2016 (Out of Time); Prajwal et al. 2020 (arXiv:2008.10010); "
        "path of syncnet-python 0.2.3 but for its face boxes, which come from avsafe.faces",
    )


class SyncNet:
    """LSE-C, LSE-D and offset (Chung and Zisserman 2016; Prajwal et al. 2020).

    ``weights={"syncnet": path}``: the published ``syncnet_v2.model`` or the same state dict as
    safetensors. ``mode``:

    - ``reference`` follows the path of syncnet-python 0.2.3 after its face boxes: frames through
      JPEG, a crop of the face through MPEG-4 and JPEG again, then the network. Numbers compare with
      the literature as far as the face boxes do.
    - ``fast`` crops the decoded frames. Its numbers are lower or higher by a tenth or so; its
      columns have names of their own, so that they never stand beside those of the other mode.

    Both take face boxes from ``avsafe.faces`` instead of S3FD, one track, the longest stretch with
    a face. Clips of other rates are played at 25 frames/s, the nearest frame each time.
    """

    info = _info("reference")

    def __init__(
        self,
        weights: Mapping[str, str] | None = None,
        mode: str = "reference",
        device: str = "cpu",
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"syncnet has no mode {mode!r}; it has {' and '.join(MODES)}")
        self._weights, self.mode, self._device = dict(weights or {}), mode, device
        self._encoders: Encoders | None = None
        self._digest = ""
        self.info = _info(mode)

    def prepare(self) -> None:
        if self._encoders is not None:
            return
        path = weight_path(self._weights, "syncnet", "syncnet_v2.model or its safetensors")
        state, self._digest = state_dict_of(path)
        from avsafe_metrics.sync.syncnet_network import Encoders

        self._encoders = Encoders(state, self._device, path)

    def digests(self) -> dict[str, str]:
        return {"syncnet": self._digest} if self._digest else {}

    def open(self, clip: Clip) -> _Meter:
        if self._encoders is None:
            raise MissingExtra("SyncNet is not loaded: call prepare() before open().")
        return _Meter(clip, self._encoders, self.mode)


class _Meter(QuietMeter):
    """Crops are made as frames come, by a tracker of its own: faces of ``Gathered`` come too late
    for frames that nobody keeps. Kept are features: 4 kB a frame."""

    def __init__(self, clip: Clip, encoders: Encoders, mode: str) -> None:
        rate = float(clip.shape.frame_rate or 0)
        if not rate:
            raise Unscorable("a picture has no sync: it needs moving pictures and speech")
        self._encoders, self._mode = encoders, mode
        self._faces = syncnet_input.FaceBoxes(rate)
        self._time = syncnet_input.At25(rate)
        self._crops: syncnet_input.Crops | None = None
        self._lips: list[NDArray[np.float32]] = []
        self._window: deque[NDArray[np.uint8]] = deque(maxlen=WINDOW)
        self._waiting: list[NDArray[np.uint8]] = []
        self._runs: list[tuple[int, NDArray[np.float32]]] = []  # first frame at 25 Hz, features
        self._first = self._count = 0

    def frame(self, view: View, beside: View | None) -> None:
        box = self._faces.box_in(view.rgb)
        if box is None or self._faces.cut:
            self._end_run()
        for _ in range(self._time.repeats()):
            if box is not None:
                if self._crops is None:
                    self._crops = syncnet_input.Crops(self._mode == "reference")
                    self._first = self._count
                self._see(self._crops.take(view.rgb, box))
            self._count += 1

    def _see(self, crops: Iterator[NDArray[np.uint8]]) -> None:
        for crop in crops:
            self._window.append(crop)
            if len(self._window) == WINDOW:
                self._waiting.append(np.stack(self._window))
            if len(self._waiting) == BATCH:
                self._encode()

    def _encode(self) -> None:
        if self._waiting:
            self._lips.append(self._encoders.lips(np.stack(self._waiting)))
            self._waiting = []

    def _end_run(self) -> None:
        if self._crops is None:
            return
        self._see(self._crops.rest())
        self._encode()
        if self._lips:
            self._runs.append((self._first, np.concatenate(self._lips)))
        self._crops, self._lips = None, []
        self._window.clear()

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        self._end_run()
        if not self._runs:
            raise Unscorable(f"no face in five frames in a row ({gathered.frame_count} frames)")
        first, lips = max(self._runs, key=lambda run: len(run[1]))
        mono = gathered.mono16k if gathered.mono16k is not None else np.zeros(0, np.float32)
        heard = mono[first * 640 : (first + len(lips) + WINDOW - 1) * 640]
        sound = syncnet_input.to_int16(heard)
        frames = min(len(lips) + WINDOW - 1, sound.size // 640)
        if frames < LEAST:
            raise Unscorable(
                f"{frames} frames in a row at 25 Hz with a face and sound; SyncNet needs {LEAST}"
            )
        if not np.any(sound):
            raise Unscorable("the sound is silent")
        offset, confidence, distance = score(self._encoders, lips, sound)
        if not np.isfinite([confidence, distance]).all():
            raise Unscorable("the network gives features that are not finite: check its weights")
        return {
            f"{self._mode}_lse_c": confidence,
            f"{self._mode}_lse_d": distance,
            f"{self._mode}_offset_ms": -offset * 1000.0 / FRAME_HZ,
        }


def score(
    encoders: Encoders, lips: NDArray[np.float32], sound: NDArray[np.int16]
) -> tuple[int, float, float]:
    """Features of lips (w, d) and 16-bit sound (n,) of the same stretch -> offset in frames, LSE-C,
    LSE-D. As published, the last window is left out."""
    count = min(len(lips) + WINDOW - 1, sound.size // 640) - WINDOW
    heard = encoders.sound(syncnet_input.mfcc(sound), count)
    return offset_confidence_distance(lag_distances(lips[:count], heard))

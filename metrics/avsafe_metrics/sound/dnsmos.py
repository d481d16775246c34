"""DNSMOS: what listeners would say of speech, without a reference.

Legend: the sound is ``(n,)`` float32 mono at 16 kHz; it is judged in windows of 9.01 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sound.pairing import RATE_HZ
from avsafe_metrics.sound.shipped import digest, needed, onnx, shipped
from avsafe_metrics.sound.vad import FRAME, FRAME_S, Voice

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = int(9.01 * RATE_HZ)
LEAST_SPEECH_S = 1.0  # in the sound, and in each window of a longer one
# P.835 head: raw outputs to MOS, highest power first (Reddy et al.'s released calibration)
_CALIBRATION = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


def windows(n: int) -> list[int]:
    """First samples of the windows of a sound: one a second, as long as a whole one fits. The
    published code cuts at ``int((i + 9.01) * 16000)`` and skips what is then a sample short, by
    rounding those that start at 7 to 23 s; so does this.

    >>> windows(WINDOW), windows(11 * RATE_HZ), len(windows(30 * RATE_HZ))
    ([0], [0, 16000], 7)
    """
    hops = int(n // RATE_HZ - WINDOW / RATE_HZ) + 1
    ends = [int((i + 9.01) * RATE_HZ) for i in range(hops)]
    return [i * RATE_HZ for i, end in enumerate(ends) if min(end, n) - i * RATE_HZ >= WINDOW]


def filled(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sound that is too short for a window, doubled until it is long enough."""
    while 0 < x.size < WINDOW:
        x = np.concatenate([x, x])
    return x


def log_mel(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the P.808 model hears of a window: ``(900, 120)``."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=window[:-160], sr=RATE_HZ, n_fft=321, hop_length=160, n_mels=120
    )
    scaled = (librosa.power_to_db(mel, ref=np.max) + 40) / 40
    return np.asarray(scaled.T, np.float32)


class Dnsmos:
    """DNSMOS P.835 and P.808 on the models that Microsoft ships in ``speechmos``.

    A sound without a second of speech gets a reason: the models were made for speech and give
    numbers for anything. Windows without a second of speech are left out; else as published.
    """

    info = MetricInfo(
        name="dnsmos",
        version="1",
        title="DNSMOS",
        columns=(
            Column("overall", "MOS", "higher", "P.835 overall quality", 0.0, 5.0),
            Column("signal", "MOS", "higher", "P.835 quality of the speech itself", 0.0, 5.0),
            Column("background", "MOS", "higher", "P.835 quietness of the background", 0.0, 5.0),
            Column("p808", "MOS", "higher", "P.808 overall quality", 0.0, 5.5),
        ),
        wants=("mono16k",),
        family="sound",
        source="Reddy et al. 2022 (arXiv:2110.01763), 2021 (arXiv:2010.15258); gated by Silero VAD",
    )

    def prepare(self) -> None:
        needed("librosa")
        self._voice = Voice()
        folder = "dnsmos_models"
        self._paths = [
            shipped("speechmos", f"{folder}/{name}", "speechmos")
            for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
        ]
        self._p835, self._p808 = (onnx(path) for path in self._paths)

    def digests(self) -> Mapping[str, str]:
        found = {path.name: digest(path) for path in self._paths}
        return {**found, **self._voice.digests()}

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self)

    def window(self, window: NDArray[np.float32]) -> dict[str, float]:
        """The four scores of one window ``(144160,)``."""
        raw = self._p835.run(None, {"input_1": window[None]})[0][0]
        signal, background, overall = (float(value) for value in raw)
        given = {"signal": signal, "background": background, "overall": overall}
        found = {name: float(np.polyval(_CALIBRATION[name], raw)) for name, raw in given.items()}
        p808 = self._p808.run(None, {"input_1": log_mel(window)[None]})[0]
        return found | {"p808": float(p808[0][0])}

    def score(self, x: NDArray[np.float32]) -> dict[str, float]:
        """Mean over windows; raises ``Unscorable`` without a second of speech."""
        mask = self._voice.need(x, LEAST_SPEECH_S)
        whole = filled(x)
        found = []
        for start in windows(whole.size):
            heard = mask[start // FRAME : (start + WINDOW) // FRAME].sum() * FRAME_S
            if x.size >= WINDOW and heard < LEAST_SPEECH_S:
                continue
            found.append(self.window(np.clip(whole[start : start + WINDOW], -1, 1)))
        if not found:
            raise Unscorable(f"no 9 s of the sound hold {LEAST_SPEECH_S:g} s of speech")
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


class _Meter(QuietMeter):
    def __init__(self, metric: Dnsmos) -> None:
        self._metric = metric

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        if gathered.mono16k is None:
            raise Unscorable("the clip has no sound")
        return self._metric.score(gathered.mono16k)

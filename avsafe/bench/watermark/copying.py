"""Two things an attacker may do with what he holds: copy a mark, and average to see it.

Legend: frames are (h, w, 3) uint8 RGB; an estimate of a mark is (h, w) float32 levels of luma.

**Copy.** The mark of clip A is estimated and added to clip B, at 38 dB: more than the mark itself
spends. Does B then read as A's number, and does the fingerprint comparison with A's record refuse
it, as ``verify`` asks? Three attackers: one who averages high-passed frames, one who takes each
frame's residual from a denoiser, and one who has A's original (nobody should; it shows that the
test can succeed at all).

**Average.** How well one frame's residual, and the mean over all frames, correlate with what was
really added. A mark that stands still is revealed by the mean.

Estimates live in this module's memory only. The pairs use one key, as one owner's releases do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe import media, plugins
from avsafe.bench.clips import Shot, load_shot
from avsafe.bench.watermark.trial import Released, key_and_payload, release
from avsafe.media.replay import Replay
from avsafe.pipeline import FINGERPRINT
from avsafe.registry import fingerprint
from avsafe.sharding.rows import Row, Store
from avsafe.types import Frame, Watermarker

Estimate = Callable[[int], NDArray[np.float32]]  # frame index -> (h, w)
_FORGED_DB = 38.0
ATTACKERS = ("averaging", "denoising", "with the original")


@dataclass(frozen=True)
class Pair:
    """Clip A, whose mark is copied, and clip B, which receives it."""

    store: str
    run: str
    watermarker: str
    a: tuple[str, str]  # name, path
    b: tuple[str, str]
    seconds: float
    seed: str

    def row(self, kind: str, attack: str, **values: Any) -> Row:
        names = f"{self.a[0]} -> {self.b[0]}" if kind == "copy" else self.a[0]
        return {
            "kind": kind, "run": self.run, "watermarker": self.watermarker, "clip": names,
            "key": 0, "attack": attack, **values,
        }  # fmt: skip


def run(pair: Pair) -> None:
    """Write the rows of one pair; a failure becomes rows with its reason."""
    store = Store(Path(pair.store))
    marker: Watermarker = plugins.load("watermarkers", pair.watermarker)
    try:
        with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
            _run(pair, store, marker, Path(folder))
    except Exception as error:
        lost(pair, str(error))


def lost(pair: Pair, reason: str) -> None:
    for attacker in ATTACKERS:
        row = pair.row("copy", attacker, status="failed", reason=reason)
        Store(Path(pair.store)).append(row)


def _run(pair: Pair, store: Store, marker: Watermarker, folder: Path) -> None:
    key, payload = key_and_payload(pair.seed, "copy", pair.a[0], 0, marker.payload_bits)
    original = load_shot(Path(pair.a[1]), pair.seconds)
    released = release(original, marker, key, payload, folder)
    store.append(pair.row("averaging", "", status="ok", **_averaging(original, released)))
    host = load_shot(Path(pair.b[1]), pair.seconds)
    record = fingerprint.from_features(_both(released.path, marker)[1])
    for attacker, estimate in _estimates(original, released).items():
        forged = _forge(host, estimate, (original.height, original.width))
        path = folder / "forged.mp4"
        media.encode(forged.as_raw(), path)
        mark, features = _both(path, marker)
        found = marker.detect(mark, key)
        agreement = fingerprint.compare(fingerprint.from_features(features), record)
        reads = bool(found.present and found.payload == payload)
        store.append(
            pair.row(
                "copy",
                attacker,
                status="ok",
                reads_as_a=reads,
                p_value=found.p_value,
                fingerprint_agrees=agreement.agrees,
                similarity=agreement.similarity,
                reason_of_comparison=agreement.reason,
                forgery_accepted=reads and agreement.agrees,
            )
        )


def _both(path: Path, marker: Watermarker) -> tuple[Any, Any]:
    found = media.analyse(path, {"mark": marker.extractor, "print": FINGERPRINT}, trusted=True)
    return found["mark"], found["print"]


# ---------------------------------------------------------------- estimates


def _luma(frame: Frame) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.float32)


def _high(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    return np.clip(luma - np.asarray(cv2.GaussianBlur(luma, (0, 0), 3)), -8, 8)


def _denoised(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    return np.clip(luma - np.asarray(cv2.bilateralFilter(luma, 7, 12, 3)), -8, 8)


def _mean_residual(frames: list[Frame]) -> NDArray[np.float32]:
    total = np.zeros(frames[0].shape[:2], np.float32)
    for frame in frames:
        total += _high(_luma(frame))
    return np.asarray(total / len(frames), np.float32)


def _shots(original: Shot, released: Released) -> tuple[list[Frame], list[Frame]]:
    if not isinstance(released.shot, Shot):
        raise TypeError("The copy attack needs pictures.")
    height, width = original.height, original.width
    frames = [frame[:height, :width] for frame in released.shot.frames]
    return list(original.frames), frames


def _estimates(original: Shot, released: Released) -> dict[str, Estimate]:
    before, coded = _shots(original, released)
    mean = _mean_residual(coded)
    return {
        "averaging": lambda index: mean,
        "denoising": lambda index: _denoised(_luma(coded[index % len(coded)])),
        "with the original": lambda index: (
            _luma(released.marked[index % len(before)]) - _luma(before[index % len(before)])
        ),
    }


def _forge(host: Shot, estimate: Estimate, size: tuple[int, int]) -> Shot:
    """B with the estimate of A's mark, brought to B's size and repeated where A is smaller."""
    import cv2

    scale = min(host.height, host.width) / min(size)
    level = 255 / 10 ** (_FORGED_DB / 20)

    def frames() -> Iterator[Frame]:
        for index, frame in enumerate(host.frames):
            mark = cv2.resize(estimate(index), None, fx=scale, fy=scale)
            mark = np.asarray(mark, np.float32)[: host.height, : host.width]
            down, right = host.height - mark.shape[0], host.width - mark.shape[1]
            mark = np.pad(mark, ((0, down), (0, right)), mode="wrap")
            mark = mark * np.float32(level / max(float(mark.std()), 1e-6))
            yield np.clip(np.rint(frame + mark[..., None]), 0, 255).astype(np.uint8)

    return Shot(Replay(frames), host.rate, host.count, host.height, host.width)


def _averaging(original: Shot, released: Released) -> dict[str, float]:
    """Correlations with the mark that was really added, mean over up to twelve frames."""
    before, coded = _shots(original, released)
    places = np.linspace(0, min(len(before), len(coded)) - 1, 12).round().astype(int)
    mean = _mean_residual(coded)
    one, many = [], []
    for place in places:
        truth = _luma(released.marked[place]) - _luma(before[place])
        one.append(_correlation(_high(_luma(coded[place])), truth))
        many.append(_correlation(mean, truth))
    return {
        "one_frame": float(np.mean(one)),
        "mean_of_frames": float(np.mean(many)),
        "n_frames": float(len(coded)),
    }


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / power**0.5 if power > 0 else 0.0

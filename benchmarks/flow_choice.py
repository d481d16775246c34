"""Which optical flow serves the warp error: presets of DIS at several sizes, by what they find.

    python benchmarks/flow_choice.py [--clips 16] [--frames 16] > flow.jsonl

For each choice: CPU-ms of one flow, share of pixels that can be compared, and the AUC of clips with
damage in time against the same clips without it, one threshold for all contents, for the plain
difference of frames, the warp error, and its patch-wise form (avsafe_metrics/video/warp_error.py).
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import cv2  # noqa: TID253  a program, imported by nobody
import numpy as np
from video_metrics import MORE, REAL, auc, boil, jitter, noise, real, restyle

from avsafe_metrics.video.warp_error import residuals

CHOICES = [(256, "ULTRAFAST"), (256, "FAST"), (256, "MEDIUM"), (128, "MEDIUM"), (384, "MEDIUM")]
DAMAGES = {"jitter": jitter, "boil": boil, "restyle": restyle, "noise": noise}
NAMES = ("plain", "mse", "flicker", "cover")


def figures(frames: list[np.ndarray], side: int, engine: Any) -> tuple[np.ndarray, float]:
    """(plain difference, mse, flicker, cover) of a clip, and CPU-ms of one flow."""
    small = []
    for frame in frames:
        scale = min(1.0, side / min(frame.shape[:2]))
        small.append(
            cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            if scale < 1 else frame
        )  # fmt: skip
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]
    found, spent = [], 0.0
    for at in range(1, len(small)):
        began = time.process_time()
        forth = engine.calc(greys[at - 1], greys[at], None)
        back = engine.calc(greys[at], greys[at - 1], None)
        spent += time.process_time() - began
        before, after = (small[k].astype(np.float32) for k in (at - 1, at))
        found.append((np.abs(after - before).mean(), *residuals(before, after, forth, back)))
    return np.nanmean(np.array(found), axis=0), spent / len(found) / 2 * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--frames", type=int, default=16)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    clips = [real(name, given.frames, 540) for name in (*REAL, *MORE)[: given.clips]]
    for side, preset in CHOICES:
        engine = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))
        measured = [figures(clip, side, engine) for clip in clips]
        clean = np.array([figure for figure, _ in measured])
        row: dict[str, Any] = {
            "side": side, "preset": preset, "clips": len(clips),
            "ms": round(float(np.mean([ms for _, ms in measured])), 2),
            "cover": round(float(clean[:, 3].mean()), 3),
        }  # fmt: skip
        for damage, apply in DAMAGES.items():
            damaged = np.array(
                [figures(apply(c, 1, np.random.default_rng(7)), side, engine)[0] for c in clips]
            )
            row[damage] = {
                name: round(auc(damaged[:, k], clean[:, k]), 3) for k, name in enumerate(NAMES[:3])
            }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

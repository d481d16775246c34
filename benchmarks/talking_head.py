"""What the talking head costs, how its motion compares with people, and whether lips follow sound.

    python benchmarks/talking_head.py [--seconds 8] [--out reports/talking_head]

Speed needs nothing but the package (a portrait by the `portrait` generator, babble as speech). The
figures on people need the shared test media (landmark tracks of ``talking_crops``); only clips that
the model was not trained on are used.

Legend: ``t`` frames at 25 a second; a lag is positive when the sound is late.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.media import encode, probe
from avsafe.testing import babble, media_folder
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators.portrait import Portrait
from avsafe_generators.talking_head import TalkingHead, anatomy, behaviour, features
from avsafe_generators.talking_head.motion import Model, Track, Wishes

ME = Principal("benchmark")
LAGS = range(-12, 13)


def cpu_s() -> float:
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def speed(seconds: float) -> dict[str, float]:
    """CPU and wall time at 512 x 512 with and without encoding, and of the first frame."""
    with tempfile.TemporaryDirectory() as folder:
        face, voice = Path(folder) / "face.png", Path(folder) / "voice.wav"
        asked = GenerationRequest(ME, Task.TEXT_TO_IMAGE, "portrait", "a woman with brown hair",
                                  seed=3, width=512, height=512)  # fmt: skip
        encode(Portrait().generate(asked), face)
        blocks = babble(seconds, 48000, 0)
        encode(RawMedia(Kind.AUDIO, samples=blocks, rate_hz=48000, channels=1), voice)
        inputs = (InputMedia(probe(face), "portrait"), InputMedia(probe(voice), "voice"))
        request = GenerationRequest(ME, Task.TALKING_HEAD, "talking-head", inputs=inputs)
        next(iter(TalkingHead().generate(request).frames or ()))  # warm
        began, wall = cpu_s(), time.perf_counter()
        raw = TalkingHead().generate(request)
        next(iter(raw.frames or ()))
        first, first_wall = cpu_s() - began, time.perf_counter() - wall
        began = cpu_s()
        for _ in TalkingHead().generate(request).frames or ():
            pass
        frames_only = cpu_s() - began
        began, wall = cpu_s(), time.perf_counter()
        encode(TalkingHead().generate(request), Path(folder) / "out.mp4")
        whole, whole_wall = cpu_s() - began, time.perf_counter() - wall
        count = raw.frame_count or 1
    return {
        "frames": count,
        "first_frame_cpu_s": round(first, 3),
        "first_frame_wall_s": round(first_wall, 3),
        "cpu_ms_per_frame_without_encoding": round(frames_only / count * 1e3, 1),
        "cpu_ms_per_frame_with_encoding": round(whole / count * 1e3, 1),
        "frames_per_s_on_two_cores_by_cpu": round(2 * count / whole, 1),
        "wall_s_with_encoding": round(whole_wall, 2),
    }


def people(folder: Path) -> dict[str, Any]:
    """Generated motion on held-out voices against the tracks of those who spoke."""
    from scipy import stats

    from avsafe_generators.train import talking_head as training

    shape, clips = training.clips(folder)
    del shape
    held = [c for c in clips if c.name.startswith(training.HELD_OUT) and len(c.mel) >= 60]
    model = Model.load()
    weights = model.weights
    components = weights["components"][anatomy.BROW :]
    made, real, loud, spread, blinks, frames = [], [], [], [], 0, 0
    for clip in held:
        motion = Track(model, clip.mel, Wishes(), 3).whole()
        mouth = motion[:, anatomy.MOUTH_AT] * weights["scale"][anatomy.MOUTH_AT]
        made.append(anatomy.opening(np.tensordot(mouth, components, 1)))
        real.append(anatomy.opening(clip.points))
        loud.append(features.loudness(clip.mel))
        pose = np.degrees((motion[:, :3] * weights["scale"][:3]).astype(float))
        spread.append((pose.std(0), np.degrees(clip.pose).std(0)))
        rest = behaviour.Rest(3, 1.0, (0.0, 0.0))
        lids = np.array(
            [
                rest.at(i / 25, m.astype(float), weights["scale"])[0]
                * weights["scale"][anatomy.BLINK]
                for i, m in enumerate(motion)
            ]
        )
        blinks += int(((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum())
        frames += len(lids)
    out: dict[str, Any] = {"clips": len(held), "minutes": round(frames / 1500, 2)}
    for name, tracks in (("generated", made), ("people", real)):
        table = np.array([_correlations(g, q) for g, q in zip(tracks, loud, strict=True)])
        shifted = table[:, [LAGS.index(-5), LAGS.index(5)]].mean(1)
        other = [_correlations(g, q)[LAGS.index(0)]
                 for g, q in zip(tracks, loud[5:] + loud[:5], strict=True)]  # fmt: skip
        at_zero = table[:, LAGS.index(0)]
        out[name] = {
            "mouth_opening_and_loudness_r": round(float(at_zero.mean()), 3),
            "r_at_200_ms_off": round(float(shifted.mean()), 3),
            "r_with_another_voice": round(float(np.mean(other)), 3),
            "p_against_200_ms_off": _p(stats, at_zero, shifted),
            "p_against_another_voice": _p(stats, at_zero, other),
            "best_lag_frames": list(LAGS)[int(table.mean(0).argmax())],
        }
    own, theirs = (np.mean([s[i] for s in spread], 0).round(2).tolist() for i in (0, 1))
    out["pose_sd_deg"] = {"generated": own, "people": theirs, "axes": "yaw, pitch, roll"}
    out["blinks_per_min"] = round(blinks / frames * 1500, 1)
    idle = Track(model, np.zeros((1500, 160), np.float32), Wishes(), 5).whole()
    mouth = idle[:, anatomy.MOUTH_AT] * weights["scale"][anatomy.MOUTH_AT]
    pose = np.degrees((idle[:, :3] * weights["scale"][:3]).astype(float))
    gap = np.abs(anatomy.opening(np.tensordot(mouth, components, 1)))
    ends = [pose[cut].mean(0).round(2).tolist() for cut in (np.s_[:250], np.s_[-250:])]
    out["one_minute_of_silence"] = {
        "largest_mouth_opening": round(float(gap.max()), 4),
        "pose_sd_deg": pose.std(0).round(2).tolist(),
        "mean_pose_of_first_and_last_10_s_deg": ends,
    }
    return out


def _p(stats: Any, one: Any, other: Any) -> float:
    return float(f"{stats.wilcoxon(one, other, alternative='greater').pvalue:.1e}")


def _correlations(opening: Any, loudness: Any) -> list[float]:
    n = min(len(opening), len(loudness))
    inner = slice(13, n - 13)
    return [
        float(np.corrcoef(opening[inner], loudness[13 + lag : n - 13 + lag])[0, 1]) for lag in LAGS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("reports/talking_head"))
    asked = parser.parse_args()
    result: dict[str, Any] = {"speed": speed(asked.seconds)}
    media = media_folder()
    if media is not None and (media / "talking_crops").is_dir():
        result["people"] = people(media / "talking_crops")
    text = json.dumps(result, indent=1)
    print(text)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "figures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

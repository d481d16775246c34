"""What the weight-free set metrics see: damage on real clips, and generated clips against real.

    python benchmarks/set_distances.py --out reports/set_distances [--kept FEATURES.npz]

Takes the shared test media (``$AVSAFE_TEST_MEDIA``); only figures are written. ``--kept`` holds
features of clips between runs. Damage is done to one window of 8 frames of each clip, at 256 pixels
of luma, or to its sound at 16 kHz. Prints the deviations of
the features over the reference.

Legend: ``x`` clips under test, ``y`` real clips; a floor is the largest distance between ten random
halves of y, ``at size`` the mean distance of as many x from the same halves.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import cv2  # noqa: TID253
import numpy as np

from avsafe import media, testing
from avsafe.errors import AvsafeError, Unscorable
from avsafe.media.view import View
from avsafe.metering import measure
from avsafe.types import Sample
from avsafe_metrics.sets.backbones import motion_texture, sound_texture
from avsafe_metrics.sets.fd_motion_texture import FdMotionTexture
from avsafe_metrics.sets.fd_sound_texture import FdSoundTexture
from avsafe_metrics.sets.frechet import frechet_distance
from avsafe_metrics.sets.resampling import split_half, two_sample
from avsafe_metrics.sets.rows import table

SECONDS = 12.0
VIDEO = {
    "Lumiere": ["synthetic_lumiere"], "CogVideoX, LaVie, Sora": ["synthetic_other"],
    "real people talking": ["real_talking"],
}  # fmt: skip
SOUND = {"generated talking (OmniHuman, Loopy)": ["synthetic_talking", "synthetic_loopy"]}
REAL_VIDEO, REAL_SOUND = ["real_general"], ["real_talking"]
WINDOW = 8
BLUR, NOISE, HOLD = (1.0, 3.0), (4.0, 12.0), (2, 8)
SNR_DB, LOW_PASS_HZ, CLIP = (30.0, 15.0, 0.0), (6000, 3000, 1500), (0.5, 0.2, 0.05)

Features = dict[str, dict[str, np.ndarray]]


def clips(root: Path, folders: list[str]) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        for path in sorted((root / folder).iterdir()):
            if path.suffix in (".mp4", ".mkv", ".mpg"):
                yield f"{folder}/{path.stem}", path


def features(root: Path, folders: list[str], kind: str, kept: dict[str, np.ndarray]) -> Features:
    """Sample -> features of one of the two metrics; clips without any are left out."""
    metric = FdMotionTexture() if kind == "video" else FdSoundTexture()
    metric.prepare()
    found: Features = {}
    for name, path in clips(root, folders):
        key = f"{kind}/{name}"
        if key not in kept:
            try:
                forms = ("luma",) if kind == "video" else ()
                playing = media.play(path, pictures=forms, trusted=True, max_duration_s=SECONDS)
                got = measure({"m": metric}, Sample(name, {}), playing)["m"].features
            except AvsafeError as error:
                print(f"{name}: {error}", file=sys.stderr)
                got = {}
            kept[key] = got.get("features", np.zeros((0, 1), np.float32))
        if len(kept[key]):
            found[name] = {"features": kept[key]}
    return found


def against(x: Features, y: Features) -> dict[str, object]:
    rows, known = table(x), table(y)
    floor = split_half(rows, known, frechet_distance)
    value = frechet_distance(rows.values, known.values)
    out = {"value": value, "clips": rows.samples, "rows": len(rows.values)}
    test = two_sample(rows, known)
    out["p_value"] = None if test is None else test.p_value
    return out | ({} if floor is None else asdict(floor) | {"apart": floor.apart})


# ---------------------------------------------------------------- damage


def window(path: Path) -> list[np.ndarray]:
    """The first eight frames of a clip, luma of 256 pixels of the short side."""
    found = []
    for piece in media.play(
        path, pictures=("luma",), samples=False, trusted=True, max_duration_s=1.0
    ):
        if piece.luma is not None:
            view = View(0, 0.0, _luma=piece.luma)
            found.append(np.clip(view.small(256) + 0.5, 0, 255).astype(np.uint8))
        if len(found) == WINDOW:
            break
    return found


def damaged(frames: list[np.ndarray], name: str, level: float) -> list[np.ndarray]:
    if name == "blur":
        return [cv2.GaussianBlur(frame, (0, 0), level) for frame in frames]
    if name == "noise":
        rng = np.random.default_rng(0)
        noisy = [frame + rng.normal(0, level, frame.shape) for frame in frames]
        return [np.clip(frame + 0.5, 0, 255).astype(np.uint8) for frame in noisy]
    if name == "hold":
        return [frames[i - i % int(level)] for i in range(len(frames))]
    return frames


def window_features(frames: list[np.ndarray]) -> np.ndarray | None:
    window, before = motion_texture.Window(), None
    for index, frame in enumerate(frames):
        view = View(index, index / 25, _luma=frame, previous=before)
        window.take(view, 25.0)
        view.forget_past()
        before = view
    return window.row()


def video_damage(root: Path) -> list[dict[str, object]]:
    windows = {name: window(path) for name, path in clips(root, REAL_VIDEO)}
    windows = {name: frames for name, frames in windows.items() if len(frames) == WINDOW}

    def all_of(name: str, level: float) -> Features:
        rows = {c: window_features(damaged(f, name, level)) for c, f in windows.items()}
        return {c: {"features": row[None]} for c, row in rows.items() if row is not None}

    real = all_of("", 0)
    return _levels(real, all_of, {"blur": BLUR, "noise": NOISE, "hold": HOLD})


def sound_damage(root: Path) -> list[dict[str, object]]:
    from avsafe.metering import Mono

    sounds: dict[str, np.ndarray] = {}
    for name, path in clips(root, [*REAL_VIDEO, *REAL_SOUND]):
        playing = media.play(path, pictures=(), trusted=True, max_duration_s=SECONDS)
        if playing.shape.rate_hz:
            mono = Mono(playing.shape.rate_hz)
            for piece in playing:
                if piece.block is not None:
                    mono.take(piece.block)
            sounds[name] = mono.whole()

    def all_of(name: str, level: float) -> Features:
        out: Features = {}
        for clip, sound in sounds.items():
            try:
                out[clip] = {"features": sound_texture.rows(_spoilt(sound, name, level))}
            except Unscorable:
                continue
        return out

    damages = {"noise at SNR": SNR_DB, "low-pass": LOW_PASS_HZ, "clipping at peak x": CLIP}
    return _levels(all_of("", 0), all_of, damages)


def _spoilt(sound: np.ndarray, name: str, level: float) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    if name == "noise at SNR":
        rng = np.random.default_rng(0)
        deviation = float(sound.std()) * 10 ** (-level / 20)
        return (sound + deviation * rng.standard_normal(sound.size)).astype(np.float32)
    if name == "low-pass":
        band = butter(8, level, fs=16000, output="sos")
        return sosfilt(band, sound).astype(np.float32)
    if name == "clipping at peak x":
        peak = float(np.abs(sound).max()) * level
        return np.clip(sound, -peak, peak)
    return sound


def _levels(real: Features, all_of, damages) -> list[dict[str, object]]:
    known = table(real)
    out: list[dict[str, object]] = [{"damage": "none", "clips": known.samples,
                                     "rows": len(known.values)}]  # fmt: skip
    for name, levels in damages.items():
        for level in levels:
            value = frechet_distance(table(all_of(name, level)).values, known.values)
            out.append({"damage": name, "level": level, "value": value})
            print(out[-1], flush=True)
    return out


# ---------------------------------------------------------------- report


def report(document: dict) -> str:
    lines = [
        "# What the weight-free set metrics see", "",
        "`python benchmarks/set_distances.py` writes this page from the shared test media.", "",
    ]  # fmt: skip
    for title, part in (
        ("fd_motion_texture", document["video"]), ("fd_sound_texture", document["sound"])
    ):  # fmt: skip
        first = part["damage"][0]
        lines += [
            f"## {title}", "",
            f"Damage on {first['clips']} real clips ({first['rows']} rows), each against itself "
            "undamaged:", "", "| damage | level | distance |", "|---|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {d['damage']} | {d['level']} | {d['value']:.1f} |" for d in part["damage"][1:]
        ]
        lines += [
            "", f"Other clips against {part['reference']}:", "",
            "| clips | n | distance | at size | floor (mean, largest) | beyond the floor | p |",
            "|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for name, d in part["sets"].items():
            lines.append(
                f"| {name} | {d['clips']} | {d['value']:.1f} | {d['at_size']:.1f} (n = {d['n']}) | "
                f"{d['mean']:.1f}, {d['high']:.1f} | {'yes' if d['apart'] else 'no'} | "
                f"{d['p_value']:.3f} |"
            )
        lines.append("")
    lines += [
        "Beyond the floor: every one of ten draws of the clips lies further from a part of the "
        "reference than the parts of the reference ever lie from one another.",
        "p: permutation test of the energy distance over whole clips (`details.two_sample`).",
        "Clips of other subjects are at a distance too, real or not: the row of real people shows "
        "how much of a distance can be that.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports/set_distances"))
    parser.add_argument("--kept", type=Path)
    parser.add_argument(
        "--sets-only", action="store_true", help="leave the damage figures of --out as they are"
    )
    options = parser.parse_args()
    root = testing.media_folder()
    if root is None:
        raise SystemExit("The shared test media are not here (set AVSAFE_TEST_MEDIA).")
    cv2.setNumThreads(1)
    kept = {}
    if options.kept and options.kept.exists():
        with np.load(options.kept, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
    before = {}
    if options.sets_only:
        before = json.loads((options.out / "figures.json").read_text("utf-8"))
    document = {}
    for kind, sets, reference, damage in (
        ("sound", SOUND, REAL_SOUND, sound_damage), ("video", VIDEO, REAL_VIDEO, video_damage)
    ):  # fmt: skip
        real = features(root, reference, kind, kept)
        module = motion_texture if kind == "video" else sound_texture
        print(kind, (table(real).values.std(axis=0) * module.SCALES).round(3).tolist())
        found = {name: against(features(root, folders, kind, kept), real)
                 for name, folders in sets.items()}  # fmt: skip
        if options.kept:
            np.savez(options.kept, allow_pickle=False, **kept)
        title = f"{len(real)} clips of {', '.join(reference)}"
        harm = before[kind]["damage"] if before else damage(root)
        document[kind] = {"reference": title, "sets": found, "damage": harm}
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, default=float) + "\n"
    (options.out / "figures.json").write_text(text, "utf-8")
    (options.out / "report.md").write_text(report(document), "utf-8")


if __name__ == "__main__":
    main()

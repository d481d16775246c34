"""Fits the model of `nss_distance` to photographs and writes it as safetensors.

    python benchmarks/scene_statistics.py FOLDER... --out metrics/avsafe_metrics/video/weights

FOLDER: the unpacked Debian packages mate-backgrounds (1.26), plasma-workspace-wallpapers (5.27) and
opencv-doc (4.6). The photographs used are named below; drawings, test charts and near-black
pictures of those packages are not. Each is scaled down so that its own compression and the camera's
softness leave its pixels; of its patches of 96x96 only those with at least 0.75 of the contrast of
the sharpest one count, as in NIQE. No picture is copied: the model is a mean and a covariance.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import cv2  # noqa: TID253  a program, imported by nobody
import numpy as np
from safetensors.numpy import save_file

from avsafe_metrics.video.scene_statistics import logged, scene_features

SHARP = 0.75  # Mittal et al. 2013, section II-B
NATURE = (
    "Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops",
    "Storm", "TwoWings", "Wood", "YellowFlower",
)  # fmt: skip
WALLPAPERS = (
    "BytheWater", "ColdRipple", "ColorfulCups", "EveningGlow", "FallenLeaf", "Kite",
    "OneStandsOut", "Path", "summer_1am",
)  # fmt: skip
EXAMPLES = (
    "alphamat/input_images/plant.jpg", "data/aloeL.jpg", "data/apple.jpg", "data/orange.jpg",
    "data/fruits.jpg", "data/baboon.jpg", "data/board.jpg", "data/building.jpg",
    "data/butterfly.jpg", "data/home.jpg", "data/leuvenA.jpg", "data/left.jpg", "data/stuff.jpg",
    "data/squirrel_cls.jpg", "data/rubberwhale1.png", "text/scenetext02.jpg",
    "text/scenetext03.jpg", "text/scenetext04.jpg", "text/scenetext05.jpg",
)  # fmt: skip
ENDINGS = (
    *(f"mate/nature/{name}.jpg" for name in NATURE),
    *(f"{name}/contents/images/2560x1600.jpg" for name in WALLPAPERS),
    *(f"examples/{name}" for name in EXAMPLES),
)


def prepared(path: Path) -> np.ndarray:
    """Luma of a photograph, its short side brought to 720 (large ones) or 480 pixels."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    short = min(picture.shape[:2])
    side = 720 if short > 1000 else 480 if short >= 800 else short
    if side < short:
        scale = side / short
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    files = [path for folder in given.folders for path in sorted(folder.rglob("*.*"))]
    chosen = []
    for ending in ENDINGS:
        found = [path for path in files if str(path).endswith(ending)]
        if not found:
            raise SystemExit(f"no file ends in {ending}; unpack all three packages")
        chosen.append(found[0])
    kept, seen = [], hashlib.sha256()
    for path in chosen:
        features, contrast = scene_features(prepared(path))
        kept.append(logged(features[contrast > SHARP * contrast.max()]))
        seen.update(path.read_bytes())
    patches = np.vstack(kept)
    model = {"mean": patches.mean(axis=0), "covariance": np.cov(patches, rowvar=False)}
    given.out.mkdir(parents=True, exist_ok=True)
    out = given.out / "scene-statistics.safetensors"
    save_file(model, out, {"photographs": str(len(chosen)), "patches": str(len(patches)),
                           "source_sha256": seen.hexdigest()})  # fmt: skip
    print(f"{len(chosen)} photographs, {len(patches)} patches -> {out}, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

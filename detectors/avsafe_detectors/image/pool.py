"""The training pool: pictures, their re-syntheses, damaged, as features of tiles. Kept in parts.

A *row* is one picture after one damage: its tiles' features and what it is. Real and synthetic
rows pass the same earlier codings, sizes and damages.

Legend: ``k`` tiles of a row (at most 6), ``d`` features.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.image import autoencoders, benign, data, tiles
from avsafe_detectors.image.damage import CELLS, damaged, earlier, h264
from avsafe_detectors.image.features import tile_features, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
TILES = 6
PART = 40  # originals a file
REAL_CELLS, FAKE_CELLS, MIXED = 5, 3, 2
SPECS_EACH, FRAME_SPECS = 3, 2  # networks that re-synthesise one picture, one frame


@dataclass(frozen=True)
class Row:
    unit: str
    source: str
    group: str  # package or set; family of network or generator
    maker: str  # name of the network, or of the group
    synthetic: bool
    video: bool
    cell: str
    benign: str = ""  # name of a control set


def seed_of(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def features_of(picture: NDArray[np.uint8], rng: np.random.Generator, most: int = TILES) -> Any:
    """(k, d) of usable tiles, k <= ``most``."""
    tops, lefts = tiles.grid(picture.shape[0], picture.shape[1], 64)
    cut = tiles.cut(picture, tops, lefts)
    cut = cut[usable(cut)] if len(cut) else cut
    if len(cut) > most:
        cut = cut[rng.choice(len(cut), most, replace=False)]
    return tile_features(cut) if len(cut) else np.zeros((0, 0), np.float32)


def originals(packages: Path, media: Path, out: Path) -> Iterator[tuple[data.Original, bool]]:
    """All originals, and whether they are real ones that networks re-synthesise. ``out`` keeps what
    takes long."""
    for one in data.photos(packages):
        yield one, True
    for one in data.frames(media):
        yield one, not one.synthetic
    for one in benign.generated(out / "ours.npz"):
        yield one, False
    for one in benign.controls(packages):
        yield one, False


def rows_of(one: data.Original, nets: dict[str, Any], copies: int) -> Iterator[tuple[Row, Any]]:
    """Rows of one original: itself, and where ``nets`` are given its re-syntheses."""
    rng = np.random.default_rng(seed_of(one.name))
    control = one.group if one.group in benign.SETS else ""
    for copy in range(copies):
        base = _base(one, rng)
        if min(base.shape[:2]) < 128:
            continue
        unit = f"{one.name}~{copy}"
        for cell in _cells(rng, 3 if control else REAL_CELLS, 0 if control else MIXED):
            yield (
                Row(
                    unit, one.source, one.group, one.group, one.synthetic, one.video, cell, control
                ),
                features_of(damaged(base, cell, rng), rng),
            )  # fmt: skip
        specs = min(FRAME_SPECS if one.video else SPECS_EACH, len(nets))
        for number in rng.choice(len(nets), specs, replace=False):
            spec = autoencoders.SPECS[int(number)]
            h, w = (v // 16 * 16 for v in base.shape[:2])
            made = autoencoders.resynthesis(spec, nets[spec.name])(base[:h, :w], rng)
            # what a network made of a frame is coded as the frame was: else the codec is the label
            made = h264(made, int(rng.integers(20, 29))) if one.video else earlier(made, rng)
            for cell in _cells(rng, FAKE_CELLS, 1):
                yield (
                    Row(f"{unit}+{spec.name}", one.source, spec.family, spec.name, True,
                        one.video, cell),
                    features_of(damaged(made, cell, rng), rng),
                )  # fmt: skip


def _base(one: data.Original, rng: np.random.Generator) -> Any:
    """A crop at a size of chance; frames of films at their own size as often as not."""
    if one.video:
        scale = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.5, 0.9))
        cut = data.crop(one.picture, rng, scale, data.FRAME_SIDE)
        return cut if scale == 1.0 else h264(cut, int(rng.integers(20, 29)))
    scale = 1.0 if rng.random() < 0.1 else float(rng.uniform(0.35, 0.85))
    return earlier(data.crop(one.picture, rng, scale), rng)


def _cells(rng: np.random.Generator, count: int, mixed: int) -> list[str]:
    names = list(CELLS)
    return [*(names[int(k)] for k in rng.choice(len(names), count, replace=False)),
            *["mixed"] * mixed]  # fmt: skip


def built(
    packages: Path, media: Path, nets: dict[str, Any], out: Path,
    spent: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Writes part_N.npz and part_N.json for each PART originals; parts that are there stay. Stops
    between parts once ``spent``; whether all are there."""
    out.mkdir(parents=True, exist_ok=True)
    complete = out / "complete"
    if complete.is_file():
        return True
    batch: list[tuple[data.Original, bool]] = []
    number = 0
    for item in originals(packages, media, out):
        if spent():
            return False
        batch.append(item)
        if len(batch) == PART:
            _part(batch, nets, out / f"part_{number:03d}")
            batch, number = [], number + 1
    if batch:
        _part(batch, nets, out / f"part_{number:03d}")
    complete.touch()
    return True


def _part(batch: Sequence[tuple[data.Original, bool]], nets: dict[str, Any], path: Path) -> None:
    if path.with_suffix(".json").is_file():
        return
    rows, features = [], []
    for one, remade in batch:
        copies = 2 if remade and not one.video else 1
        for row, x in rows_of(one, nets if remade else {}, copies):
            if len(x):
                rows.append(asdict(row))
                features.append(x)
    counts = np.array([len(x) for x in features])
    np.savez(path.with_suffix(".npz"), x=np.concatenate(features), counts=counts)
    path.with_suffix(".json").write_text(json.dumps(rows))
    log.info("%s: %d rows", path.name, len(rows))


def loaded(out: Path) -> tuple[list[Row], list[Any]]:
    """Rows and the features of each."""
    rows: list[Row] = []
    features: list[Any] = []
    for path in sorted(out.glob("part_*.json")):
        rows += [Row(**r) for r in json.loads(path.read_text())]
        kept = np.load(path.with_suffix(".npz"))
        features += np.split(kept["x"], np.cumsum(kept["counts"])[:-1])
    return rows, features

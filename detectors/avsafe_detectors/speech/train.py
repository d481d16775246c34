"""``python -m avsafe_detectors.speech.train --media DIR --out DIR``: rebuilds the weights.

1. real voices of packages and clips, engines that speak, re-renderings: one policy (``data``)
2. statistics of every unit as it is, through a low-rate codec, through telephone, noise or room
3. five folds, each without its languages, its speakers, its engines and an eighth of the rest;
   once without all neural engines, once without all vocoders
4. networks of the folds judge what they have not heard
5. networks on everything; they ship with the calibration of the folds

Writes speech.safetensors, calibration.json and speech.parquet, the protocol. ``--only`` takes some
steps or splits. With the weights in their place, ``--only controls`` adds to the protocol what the
detector says of benign sets. Deterministic by ``--seed`` on one machine.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import corpus as held_corpus
from avsafe_detectors.speech import data, engines, learn, model
from avsafe_detectors.speech.corpus import FOLDS, NEURAL, PARTS, VOCODERS, Corpus, Row
from avsafe_detectors.speech.network import exported

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
MEMBERS = 3  # networks of the ensemble
SPLITS = (*(f"fold{k}" for k in range(FOLDS)), "neural", "vocoders", "final")


def out_of(row: Row, split: str) -> bool:
    """Whether a split leaves this copy out because of whose it is (not by chance)."""
    if split == "neural":
        return row.group in NEURAL
    if split == "vocoders":
        return row.group in VOCODERS
    if split == "final":
        return False
    k = int(split[-1])
    spoken = row.language_fold == k and not (row.label == data.SYNTHETIC and k == 0)
    return row.engine_fold == k or spoken


def by_chance(row: Row, split: str) -> bool:
    """Whether a split leaves this unit out by chance: an eighth, or a quarter."""
    if split == "final":
        return False
    if split in ("neural", "vocoders"):
        return row.dealt < 0.25
    k = int(split[-1])
    return k / 8 <= row.dealt < (k + 1) / 8


def weights_of(corpus: Corpus, split: str, seed: int, members: int = MEMBERS) -> dict[str, Any]:
    """Networks that have not heard what the split leaves out."""
    at = [
        i
        for i, row in enumerate(corpus.rows)
        if not out_of(row, split) and not by_chance(row, split)
    ]
    own, x = [corpus.rows[i] for i in at], corpus.stats[at]
    mean, spread = x.mean(0), x.std(0) + 1e-3
    weights: dict[str, Any] = {"summary.mean": mean, "summary.spread": spread}
    z = model.standardised(x, mean, spread).astype(np.float32)
    for member in range(members):
        net = learn.trained(z, own, seed * 100 + member)
        weights |= exported(net, f"net{member}.")
    return weights


def chosen(rows: Sequence[Row], split: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Copies that a split judges: all that it left out, and an eighth of what it learned from;
    and which of them it had learned from."""
    rng = np.random.default_rng(1)
    at, known = [], []
    for i, row in enumerate(rows):
        left = out_of(row, split) or by_chance(row, split)
        if left or rng.random() < 0.12:
            at.append(i)
            known.append(not left)
    return np.array(at), np.array(known)


def judged(corpus: Corpus, weights: dict[str, Any], split: str) -> dict[str, NDArray[Any]]:
    """What the networks say of the copies that ``chosen`` names."""
    at, known = chosen(corpus.rows, split)
    plain = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in weights.items()}
    return {"at": at, "known": known, "logits": model.logits(corpus.stats[at], plain)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m avsafe_detectors.speech.train",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=f"Packages: {data.HOW} ... and {engines.HOW}; pyworld and setuptools<81.",
    )
    parser.add_argument("--media", type=Path, help="folder of media: more real speakers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", help="data, copies, calibrate, controls, or names of splits"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    asked = given.only if given.only is not None else ["data", "copies", *SPLITS, "calibrate"]
    if "data" in asked:
        rebuild(given.media, out)
    if "copies" in asked:
        for name in PARTS:
            held_corpus.copies(data.load(out / name), out, name)
    splits = [s for s in asked if s in SPLITS]
    if splits:
        from safetensors.numpy import save_file

        corpus = Corpus(out)
        for split in splits:
            began = time.process_time()
            weights = weights_of(corpus, split, given.seed)
            save_file(
                {k: np.ascontiguousarray(v) for k, v in weights.items()},
                out / f"{split}.safetensors",
            )
            found: dict[str, Any] = judged(corpus, weights, split)
            np.savez(out / f"scores_{split}.npz", **found)
            log.info("%s: %.0f CPU-s", split, time.process_time() - began)
    if "calibrate" in asked:
        from avsafe_detectors.speech import protocol

        protocol.finish(out, out)
    if "controls" in asked:
        from avsafe_detectors.speech import protocol

        protocol.add_controls(out / "speech.parquet", given.media)
    return 0


def rebuild(media: Path | None, out: Path) -> None:
    """Step 1, kept under ``out``."""
    real = list(data.real_units(media))
    data.save(real, out / "real")
    data.save(list(data.made_units(out)), out / "made")
    data.save(list(data.rendered_units(real)), out / "rendered")


if __name__ == "__main__":
    raise SystemExit(main())

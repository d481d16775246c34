"""``python -m avsafe_detectors.speech.train --media DIR --out DIR``: rebuilds the weights.

1. real voices of packages and clips, engines that speak, re-renderings: one policy (``data``)
2. levels of every unit as it is, through a low-rate codec, through telephone, noise or room
3. five folds, each without its languages, its speakers, its engines and an eighth of the rest;
   once without all neural engines, once without all vocoders
4. networks and trees of the folds judge what they have not heard
5. networks and trees on everything; they ship with the calibration of the folds

Writes speech.safetensors, calibration.json, scores_NAME.npz. Steps that are done are not repeated;
``--only`` takes one step or one split. Deterministic by ``--seed`` on one machine.
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
from avsafe_detectors.speech import data, features, learn, model
from avsafe_detectors.speech.corpus import FOLDS, NEURAL, VOCODERS, Corpus, Row
from avsafe_detectors.speech.network import exported

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
PARTS = ("real", "made", "rendered")
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


def weights_of(
    corpus: Corpus, summaries: NDArray[Any], split: str, steps: int, members: int, seed: int
) -> tuple[dict[str, Any], list[Any]]:
    """Networks and trees that have not heard what the split leaves out: arrays, and the networks in
    torch."""
    at = [i for i, r in enumerate(corpus.rows) if not out_of(r, split) and not by_chance(r, split)]
    rows = [corpus.rows[i] for i in at]
    log.info("%s: %d copies to learn from", split, len(rows))
    weights: dict[str, Any] = {"mix": np.array([0.5], np.float32)}
    nets = []
    for member in range(members):
        nets.append(learn.trained(corpus, rows, steps, seed * 100 + member, split))
        weights |= exported(nets[-1], f"net{member}.")
    made = np.array([r.label != data.REAL for r in rows])
    weights |= learn.boosted(summaries[at], made, learn.shares(rows).astype(np.float32), seed)
    return weights, nets


def judged(
    corpus: Corpus,
    summaries: NDArray[Any],
    weights: dict[str, Any],
    nets: Sequence[Any],
    split: str,
) -> dict[str, NDArray[Any]]:
    """Of every copy that the split left out, and some that it did not: scores and embeddings."""
    import torch

    rng = np.random.default_rng(1)
    chosen, known = [], []
    for i, row in enumerate(corpus.rows):
        left = out_of(row, split) or by_chance(row, split)
        if left or rng.random() < 0.12 or (split == "final" and rng.random() < 0.3):
            chosen.append(i)
            known.append(not left)
    logits, embedded, top = [], [], []
    for i in chosen:
        x = torch.from_numpy(features.windows(corpus.x(corpus.rows[i]))[1])
        with torch.no_grad():
            inner = [net.embedded(x) for net in nets]
            each = np.mean([n.out(z).numpy() for n, z in zip(nets, inner, strict=True)], 0)
        logits.append(each.mean(0))
        top.append(float(model.made(each).max()))
        embedded.append(np.concatenate([z.numpy().mean(0) for z in inner]))
    return {
        "at": np.array(chosen),
        "known": np.array(known),
        "logits": np.stack(logits).astype(np.float32),
        "trees": model.trees(summaries[chosen], weights),
        "top": np.array(top, np.float32),
        "embedded": np.stack(embedded).astype(np.float32),
    }


def summaries_of(corpus: Corpus, path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        np.save(path, np.stack([features.summary(corpus.x(r)) for r in corpus.rows]))
    found: NDArray[np.float32] = np.load(path)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m avsafe_detectors.speech.train",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=f"Packages: {data.HOW} ... and {data.engines.HOW}; pyworld and setuptools<81.",
    )
    parser.add_argument("--media", type=Path, help="folder of media: more real speakers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--members", type=int, default=1, help="networks of the ensemble")
    parser.add_argument("--only", nargs="*", help="data, levels, or names of splits")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    asked = given.only if given.only is not None else ["data", "levels", *SPLITS, "calibrate"]
    if "data" in asked:
        rebuild(given.media, out)
    if "levels" in asked:
        for name in PARTS:
            held_corpus.copies(data.load(out / name), out, name)
    splits = [s for s in asked if s in SPLITS]
    if splits:
        from safetensors.numpy import save_file

        corpus = Corpus(out)
        summaries = summaries_of(corpus, out / "summaries.npy")
        for split in splits:
            began = time.process_time()
            weights, nets = weights_of(
                corpus, summaries, split, given.steps, given.members, given.seed
            )
            save_file(weights, out / f"{split}.safetensors")
            np.savez(out / f"scores_{split}.npz", **judged(corpus, summaries, weights, nets, split))
            log.info("%s: %.0f CPU-s", split, time.process_time() - began)
    if "calibrate" in asked:
        from avsafe_detectors.speech import protocol

        protocol.finish(out, out)
    return 0


def rebuild(media: Path | None, out: Path) -> None:
    """Step 1, kept under ``out``."""
    real = list(data.real_units(media))
    data.save(real, out / "real")
    data.save(list(data.made_units(out)), out / "made")
    data.save(list(data.rendered_units(real)), out / "rendered")


if __name__ == "__main__":
    raise SystemExit(main())

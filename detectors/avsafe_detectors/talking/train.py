"""``python -m avsafe_detectors.talking.train --media DIR --cache DIR``: fits and calibrates.

1. every film of a talking face is cut out and coded by one policy (``material``), at two CRF; of
   real people's films aligned fakes are made; features are kept under CACHE
2. stretches of 4 s; the model is fitted without the person *and* without the family that is
   judged, and, for comparison, without the person only
3. calibration on the scores without person and family; a condition whose AUC has a lower end (95 %,
   over people) below 0.6 is refused: the detector then abstains

Writes weights/talking.safetensors, weights/calibration.json, and with ``--protocol FILE`` the
out-of-fold scores.

Legend: ``n`` stretches, ``d`` figures; a clip's score is the mean of its stretches.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import Calibration, Condition, Region, fit, platt, probability
from avsafe_detectors.audio_visual import clips
from avsafe_detectors.audio_visual.lips import HZ, Talk
from avsafe_detectors.audio_visual.protocol import write
from avsafe_detectors.talking import detector, material, measures, model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

log = logging.getLogger(__name__)
CRFS = {"crf 23": 23, "crf 32": 32}
MAIN_CRF = 23  # of what is learned from; aligned fakes are made at it only
FOLDS = 6
DRAWS = 500


@dataclass(frozen=True)
class Stretches:
    """``x`` (n, all figures); of each stretch its clip, person and family."""

    x: F64
    clip: NDArray[np.str_]
    person: NDArray[np.str_]
    family: NDArray[np.str_]
    kbps: float  # median of the films

    def __getitem__(self, members: NDArray[np.bool_]) -> Stretches:
        return Stretches(self.x[members], self.clip[members], self.person[members],
                         self.family[members], self.kbps)  # fmt: skip


def prepare(media: Path, cache: Path) -> None:
    """Step 1, for what the cache lacks. Some three CPU-minutes."""
    for source in clips.sources(media, crops=False):
        made = material.REMADE if source.family == "real" else ()
        wanted = [("own", crf) for crf in CRFS.values()] + [(how, MAIN_CRF) for how in made]
        lacking = [(h, c) for h, c in wanted if not _kept(cache, source.name, h, c).is_file()]
        if not lacking:
            continue
        whole = clips.features(source, cache)
        frames, points, rate = material.cut_out(source, whole["points"])
        for how, crf in lacking:
            film = cache / f"{source.name}.{os.getpid()}.mp4"
            new = frames
            if how != "own":
                new = material.remade(frames, points, how, seed=len(source.name))
            material.written(new, rate, film, crf)
            found = dict(clips.examined(film))
            found["mono16k"] = whole["mono16k"][: int(len(frames) / rate * HZ)]
            found["kbps"] = np.array([film.stat().st_size * 8 / 1000 / (len(frames) / rate)])
            np.savez(_kept(cache, source.name, how, crf), **found)  # type: ignore[arg-type]
            film.unlink()
        log.info("%s: %d frames of %s", source.name, len(frames), frames[0].shape)


def _kept(cache: Path, name: str, how: str, crf: int) -> Path:
    return cache / f"{name}.{how}.{crf}.npz"


def read(media: Path, cache: Path, crf: int) -> Stretches:
    rows: list[tuple[F64, str, str, str]] = []
    rates = []
    for source in clips.sources(media, crops=False):
        for how in ("own", *material.REMADE):
            kept = _kept(cache, source.name, how, crf)
            if not kept.is_file():
                continue
            with np.load(kept) as file:
                found = {name: file[name] for name in file.files}
            talk = Talk.of(found)
            regions, at = detector.looks(found, len(talk.points))
            rates.append(float(found["kbps"][0]))
            for first, end in detector.stretches(talk):
                mine = (at >= first) & (at < end)
                one = measures.measured(talk.part(first, end), regions[mine], at[mine])
                made_by = source.family if how == "own" else f"remade: {how}"
                rows.append((one, f"{source.name}.{how}", source.person, made_by))
    clip, person, family = (np.array([row[k] for row in rows]) for k in (1, 2, 3))
    x = np.stack([row[0] for row in rows])
    return Stretches(x, clip, person, family, float(np.median(rates)))


# ---------------------------------------------------------------- scores without person and family


def held_out(people: NDArray[np.str_], real: NDArray[np.bool_]) -> dict[str, int]:
    """Person -> fold; everybody whose real film there is, by name; others by themselves."""
    names = np.unique(people[real])
    out = {str(name): k % FOLDS for k, name in enumerate(names)}
    for name in np.unique(people):
        out.setdefault(str(name), hash_of(str(name)) % FOLDS)
    return out


def hash_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def out_of_fold(train: Stretches, test: Stretches, without: str = "") -> F64:
    """(n,) scores of ``test`` by models fitted to ``train`` without the fold of the person and
    without the family ``without``."""
    fold = held_out(train.person, train.family == "real")
    own = np.array([fold.get(str(p), hash_of(str(p)) % FOLDS) for p in test.person])
    of = np.array([fold[str(p)] for p in train.person])
    scores = np.zeros(len(test.x))
    for k in range(FOLDS):
        rest = train[(of != k) & (train.family != without)]
        arrays = model.learned(rest.x, list(rest.family), list(rest.clip))
        mine = own == k
        if mine.any():
            scores[mine] = model.scored(test.x[mine], arrays)
    return scores


@dataclass(frozen=True)
class Judged:
    """A clip: its score, whose it is, what made it."""

    clip: str
    person: str
    family: str
    score: float


def by_clip(of: Stretches, scores: F64) -> list[Judged]:
    out = []
    for name in np.unique(of.clip):
        mine = of.clip == name
        at = int(np.argmax(mine))
        out.append(Judged(str(name), str(of.person[at]), str(of.family[at]),
                          float(scores[mine].mean())))  # fmt: skip
    return out


def auc(real: F64, made: F64) -> float:
    """Share of pairs in order."""
    wins = (real[:, None] < made[None]).mean() + 0.5 * (real[:, None] == made[None]).mean()
    return float(wins)


def auc_low(rows: Sequence[Judged], seed: int = 0) -> tuple[float, float]:
    """AUC of clips and its lower 95 % end; people are drawn again within each class."""
    rng = np.random.default_rng(seed)
    sides: list[list[F64]] = []
    for label in (False, True):
        own = [r for r in rows if (r.family != "real") is label]
        sides.append([np.array([r.score for r in own if r.person == p])
                      for p in sorted({r.person for r in own})])  # fmt: skip
    value = auc(np.concatenate(sides[0]), np.concatenate(sides[1]))
    drawn = [
        auc(*(np.concatenate([side[i] for i in rng.integers(0, len(side), len(side))])
              for side in sides))
        for _ in range(DRAWS)
    ]  # fmt: skip
    return value, float(np.quantile(drawn, 0.05))


def cells(train: Stretches, test: Stretches) -> dict[str, list[Judged]]:
    """Protocol cells of one condition; each has the real clips, judged by the same models."""
    out = {}
    everything = by_clip(test, out_of_fold(train, test))
    out["in domain"] = everything
    for family in sorted(set(test.family.tolist()) - {"real"}):
        mine = test[(test.family == family) | (test.family == "real")]
        out[f"family out: {family}"] = by_clip(mine, out_of_fold(train, mine, family))
    return out


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_detectors.talking.train",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--media", type=Path, required=True, help="folder of media")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--protocol", type=Path, help="parquet file of out-of-fold scores")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.cache.mkdir(parents=True, exist_ok=True)
    prepare(given.media, given.cache)
    found = {name: read(given.media, given.cache, crf) for name, crf in CRFS.items()}
    train = found["crf 23"]
    conditions: list[Condition] = []
    table: list[dict[str, Any]] = []
    for name, test in found.items():
        judged = cells(train, test)
        condition = calibrated(f"a face film at {name}", judged, test.kbps)
        conditions.append(condition)
        for cell, rows in judged.items():
            value, low = auc_low(rows)
            log.info("%s, %s: AUC %.3f (from %.3f), %d clips", name, cell, value, low, len(rows))
            table += protocol(cell, name, rows, condition)
    arrays = model.learned(train.x, list(train.family), list(train.clip))
    real = model.standardised(model.used(train.x[train.family == "real"]), arrays)
    kept = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
    kept |= Region.around(real).arrays()
    from safetensors.numpy import save_file

    model.WEIGHTS.mkdir(exist_ok=True)
    path = model.WEIGHTS / "talking.safetensors"
    save_file(kept, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    known = Calibration("talking", detector.MODALITY, f"talking-1-{digest}", tuple(conditions))
    known.save(model.WEIGHTS / "calibration.json")
    if given.protocol:
        write(given.protocol, table)
    return 0


def calibrated(name: str, judged: dict[str, list[Judged]], kbps: float) -> Condition:
    """From the real clips judged in domain, and each made clip judged without its family; only what
    other people's systems made counts for the AUC that qualifies it."""
    rows = [r for r in judged["in domain"] if r.family == "real"]
    for cell, own in judged.items():
        if cell.startswith("family out") and "remade" not in cell:
            rows += [r for r in own if r.family != "real"]
    value, low = auc_low(rows)
    log.info("%s, families left out: AUC %.3f, lower end %.3f", name, value, low)
    condition = fit(name, [r.score for r in rows], [r.family != "real" for r in rows],
                    [r.person for r in rows])  # fmt: skip
    return replace(condition, where={"kbps": kbps, "auc": round(value, 3),
                                     "auc_low": round(low, 3)})  # fmt: skip


def protocol(
    cell: str, name: str, rows: Sequence[Judged], condition: Condition
) -> list[dict[str, Any]]:
    """Rows of the protocol; the probability is calibrated without the clip's person."""
    score = np.array([r.score for r in rows])
    made = np.array([r.family != "real" for r in rows])
    person = np.array([r.person for r in rows])
    out = []
    refused = detector.refused(condition)
    for row in rows:
        rest = person != row.person
        a, b = platt(score[rest], made[rest], person[rest])
        chance = probability(float(np.clip(a * row.score + b, -condition.cap, condition.cap)))
        out.append({
            "detector": "talking", "cell": cell, "condition": name, "unit": row.clip,
            "source": row.person, "group": row.family, "synthetic": row.family != "real",
            "score": row.score, "probability": chance,
            "abstained": f"{condition.name}: refused by measurement" if refused else "",
            "flagged": bool(row.score > condition.threshold) and not refused,
        })  # fmt: skip
    return out


if __name__ == "__main__":
    raise SystemExit(main())

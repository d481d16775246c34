"""What the folds say: cells of the protocol, conditions of the calibration, their table.

Legend: an item is one copy of a unit judged by networks that had not heard what the cell
leaves out. Every probability and every flag comes from a calibration that knows none of the item's
fold: neither its speaker, nor its language, nor its engine.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import calibration
from avsafe.calibration import Condition, Region
from avsafe_detectors.speech import data, model
from avsafe_detectors.speech.corpus import FOLDS, PARTS, Corpus, Row
from avsafe_detectors.speech.detector import NAME, undecided
from avsafe_detectors.speech.train import by_chance, out_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
NARROW = ("mu-law 8k", "amr 12k")
CONDITIONS = ("clean", "low rate", "narrowband", "noisy")
NAMES = {"mu-law 8k": "mu-law 8 kHz", "amr 12k": "AMR 12k 8 kHz"}


@dataclass(frozen=True)
class Item:
    row: Row
    fold: int  # whose networks judged it; -1 those of another split
    unseen_speaker: bool
    unseen_engine: bool
    score: float
    rendered: float
    stats: NDArray[np.float32]

    @property
    def made(self) -> bool:
        return self.row.label != data.REAL

    @property
    def condition(self) -> str:
        if self.row.condition == "rough":
            return "narrowband" if self.row.way in NARROW else "noisy"
        return self.row.condition

    @property
    def source(self) -> str:
        """A speaker; of what is made, the engine or kind."""
        return self.row.group if self.made else self.row.source


def items_of(folder: Path, split: str, corpus: Corpus) -> tuple[list[Item], Any]:
    """What a split judged, and statistics of what it had learned from: {condition: (n, d)}."""
    held = np.load(folder / f"scores_{split}.npz", allow_pickle=False)
    scores = model.made(held["logits"])
    rendered = 1 / (1 + np.exp(held["logits"][:, 1] - held["logits"][:, 2]))
    fold = int(split[-1]) if split.startswith("fold") else -1
    items, known = [], defaultdict(list)
    for n, i in enumerate(held["at"]):
        row = corpus.rows[i]
        if held["known"][n]:
            known[_condition(row)].append(corpus.stats[i])
            continue
        items.append(
            Item(
                row,
                fold,
                unseen_speaker=fold >= 0 and row.language_fold == fold,
                unseen_engine=row.engine_fold == fold if fold >= 0 else out_of(row, split),
                score=float(scores[n]),
                rendered=float(rendered[n]),
                stats=corpus.stats[i],
            )
        )
    return items, {k: np.stack(v) for k, v in known.items()}


def _condition(row: Row) -> str:
    if row.condition == "rough":
        return "narrowband" if row.way in NARROW else "noisy"
    return row.condition


# ---------------------------------------------------------------- calibration


def calibrating(items: Iterable[Item], condition: str, but: int = -1) -> list[Item]:
    """Items that a condition is fitted on: real people whose speaker and language the networks had
    not heard, and what engines made that they had not heard; without those of one fold."""
    return [
        i for i in items
        if i.condition == condition and i.fold >= 0 and i.fold != but
        and (i.unseen_engine if i.made else i.unseen_speaker)
    ]  # fmt: skip


def fitted(items: Sequence[Item], name: str, **where: float | str) -> Condition:
    return calibration.fit(
        name,
        [i.score for i in items],
        [i.made for i in items],
        [i.source for i in items],
        where=where,
    )


def regions(known: Mapping[str, NDArray[Any]], mean: Any, spread: Any) -> dict[str, Region]:
    """One for each condition: where statistics of what was learned from lie."""
    return {k: Region.around(model.standardised(v, mean, spread)) for k, v in known.items()}


# ---------------------------------------------------------------- cells


def cells(items: Sequence[Item]) -> dict[str, list[Item]]:
    """The protocol: name of a cell -> its items, real and made ones."""
    folds = [i for i in items if i.fold >= 0]
    seen = [i for i in folds if not i.unseen_speaker and not i.unseen_engine
            and by_chance(i.row, f"fold{i.fold}")]  # fmt: skip
    seen_real, seen_made = [i for i in seen if not i.made], [i for i in seen if i.made]
    strange = [i for i in folds if not i.made and i.unseen_speaker]
    out = {"in domain": seen}
    out["speaker out"] = strange + seen_made
    for language in sorted({i.row.language for i in strange if i.row.language_fold}):
        own = [i for i in folds if i.row.language == language and i.unseen_speaker
               and not i.unseen_engine]  # fmt: skip
        if min(sum(i.made for i in own), sum(not i.made for i in own)) >= 20:
            out[f"language out: {language}"] = own
    for engine in sorted({i.row.group for i in folds if i.made}):
        made = [i for i in folds if i.row.group == engine and i.unseen_engine]
        if made:
            k = made[0].fold
            out[f"engine out: {engine}"] = [i for i in seen_real if i.fold == k] + [
                i for i in made if not i.unseen_speaker or i.row.label == data.SYNTHETIC
            ]
            out[f"speaker and engine out: {engine}"] = [i for i in strange if i.fold == k] + made
    return out


def figures(items: Sequence[Item]) -> dict[str, float]:
    """AUC and EER of a cell."""
    from sklearn.metrics import roc_auc_score, roc_curve

    made = np.array([i.made for i in items])
    if made.all() or not made.any():
        return {"n": len(items)}
    score = np.array([i.score for i in items])
    false, true, _ = roc_curve(made, score)
    at = int(np.argmin(np.abs(false - (1 - true))))
    return {
        "n": len(items),
        "auc": float(roc_auc_score(made, score)),
        "eer": float((false[at] + 1 - true[at]) / 2),
    }


class Judge:
    """Conditions and regions without one fold, each made once."""

    def __init__(self, items: Sequence[Item], known: Mapping[int, Any]) -> None:
        self._items, self._known = items, known
        self._conditions: dict[tuple[str, int], Condition] = {}
        self._regions: dict[int, Any] = {}

    def says(self, item: Item) -> tuple[float, str, bool]:
        """Probability, why it abstains ("" if not), whether it flags."""
        row = item.row
        fold = item.fold if item.fold >= 0 else row.engine_fold if item.made else row.language_fold
        key = (item.condition, fold)
        if key not in self._conditions:
            own = calibrating(self._items, item.condition, but=fold)
            self._conditions[key] = fitted(own, item.condition)
        condition = self._conditions[key]
        probability = calibration.probability(condition.llr(item.score))
        why = undecided(condition, item.score, self._far(item)) or ""
        why = "region" if why.startswith("the voice") else "ambiguous" if why else ""
        return probability, why, not why and item.score > condition.threshold

    def _far(self, item: Item) -> float:
        if item.fold not in self._regions:
            known = self._known[item.fold]
            everything = np.concatenate(list(known.values()))
            mean, spread = everything.mean(0), everything.std(0) + 1e-3
            self._regions[item.fold] = (mean, spread, regions(known, mean, spread))
        mean, spread, own = self._regions[item.fold]
        return float(
            own[item.condition].distance(model.standardised(item.stats, mean, spread)[None])[0]
        )


def gather(folder: Path) -> tuple[list[Item], dict[int, Any], dict[str, Any]]:
    """Items of the folds, statistics of what these had learned from, items of the other splits."""
    corpus = Corpus(folder)
    items: list[Item] = []
    known: dict[int, Any] = {}
    for k in range(FOLDS):
        found, known[k] = items_of(folder, f"fold{k}", corpus)
        items += found
    others: dict[str, Any] = {}
    for split in ("neural", "vocoders"):
        if (folder / f"scores_{split}.npz").is_file():
            others[split], learned = items_of(folder, split, corpus)
            known.setdefault(-1, learned)
    return items, known, others


def every_cell(folder: Path) -> tuple[dict[str, list[Item]], list[Item], Any]:
    items, known, others = gather(folder)
    found = cells(items)
    for split, name in (("neural", "all neural engines out"), ("vocoders", "all vocoders out")):
        if split in others:
            found[name] = [i for i in others[split] if not i.made or i.unseen_engine]
    return found, items, known


def table(found: Mapping[str, list[Item]]) -> list[tuple[str, str, dict[str, float]]]:
    """Cell, condition, figures; every way of the cell "in domain"."""
    out = []
    for cell, items in found.items():
        for condition in CONDITIONS:
            own = [i for i in items if i.condition == condition]
            if own:
                out.append((cell, condition, figures(own)))
        if cell in ("in domain", "speaker out"):
            for way in sorted({i.row.way for i in items}):
                own = [i for i in items if i.row.way == way]
                out.append((cell, NAMES.get(way, way), figures(own)))
    return out


# ---------------------------------------------------------------- what ships


def finish(folder: Path, out: Path) -> None:
    """speech.safetensors of the final networks with regions, calibration.json, protocol.parquet."""
    import hashlib

    from safetensors.numpy import load_file, save_file

    found, items, known = every_cell(folder)
    conditions = []
    for name in CONDITIONS:
        own = calibrating(items, name)
        made = fitted(own, name, ways=", ".join(_ways(name)))
        conditions.append(made)
        log.info("%s: threshold %.2f, TPR %.2f, ECE %.3f, %d real of %d people, %d made", name,
                 made.threshold, made.true_positive_rate, made.ece, made.n_real,
                 made.n_real_sources, made.n_synthetic)  # fmt: skip
    weights = dict(load_file(folder / "final.safetensors"))
    corpus = Corpus(folder)
    learned = {c: np.stack([corpus.stats[i] for i, r in enumerate(corpus.rows)
                           if _condition(r) == c][::3])
               for c in CONDITIONS}  # fmt: skip
    mean, spread = weights["summary.mean"], weights["summary.spread"]
    for name, one in regions(learned, mean, spread).items():
        weights |= one.arrays(f"region.{name}")
    save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, out / "speech.safetensors")
    digest = hashlib.sha256((out / "speech.safetensors").read_bytes()).hexdigest()[:12]
    calibration.Calibration(NAME, "speech", f"{NAME}-{digest}", tuple(conditions)).save(
        out / "calibration.json"
    )
    parquet(found, items, known, folder, out / "speech.parquet")


def _ways(condition: str) -> Sequence[str]:
    from avsafe_detectors.speech.augment import WAYS

    return WAYS[condition]


def parquet(
    found: Mapping[str, list[Item]], items: Sequence[Item], known: Mapping[int, Any],
    folder: Path, path: Path,
) -> None:  # fmt: skip
    """The table of the protocol, one row an item of a cell."""

    judge = Judge(items, known)
    outside = shortcuts(folder)
    rows: list[dict[str, Any]] = []
    for cell, own in found.items():
        for item in own:
            probability, why, flagged = judge.says(item)
            rows.append({
                "detector": NAME, "cell": cell, "condition": NAMES.get(item.row.way, item.row.way),
                "unit": item.row.name, "source": item.row.source, "group": item.row.group,
                "synthetic": item.made, "score": item.score, "probability": probability,
                "abstained": why, "flagged": flagged, **outside[item.row.name],
            })  # fmt: skip
    write(rows, path)


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows of the protocol as Parquet; a column that a row lacks is empty there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("detector", "cell", "condition", "unit", "source", "group", "abstained")
    arrays: dict[str, Any] = {}
    for name in rows[0]:
        values = [row.get(name) for row in rows]
        if name in texts:
            arrays[name] = pa.array(values, pa.string()).dictionary_encode()
        elif name in ("synthetic", "flagged"):
            arrays[name] = pa.array(values, pa.bool_())
        else:
            arrays[name] = pa.array(values, pa.float32())
    pq.write_table(pa.table(arrays), path, compression="zstd", compression_level=19)


def add_controls(path: Path, media: Path | None) -> None:
    """What the detector that is installed says of benign sets, after the rows of ``path``."""
    import pyarrow.parquet as pq

    from avsafe_detectors.speech import controls

    rows = [r for r in pq.read_table(path).to_pylist() if r["cell"] != "benign controls"]
    write([*rows, *controls.rows(media)], path)


def shortcuts(folder: Path) -> dict[str, dict[str, float]]:
    """How a unit's file looks from outside: its length, silence before it, its band."""
    out = {}
    for part in PARTS:
        for unit in data.load(folder / part):
            x = unit.sound.astype(np.float32) / 32767
            loud = np.flatnonzero(np.abs(x) > 0.02)
            power = np.square(np.abs(np.fft.rfft(x)))
            total = np.cumsum(power) / (power.sum() + 1e-9)
            out[unit.name] = {
                "shortcut_duration_s": len(x) / 16_000,
                "shortcut_silence_s": float(loud[0] if len(loud) else len(x)) / 16_000,
                "shortcut_band_hz": float(np.searchsorted(total, 0.9995) / len(total) * 8_000),
            }
    return out

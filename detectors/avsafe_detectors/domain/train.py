"""Train and measure both classes: ``python -m avsafe_detectors.domain.train``.

1  numbers of every picture and sound, as it is and changed, into ``--cache`` (some ten minutes)
2  forests on four fifths of the sources, judged on the last fifth, five times
3  the forests that ship learn from all; ``weights/domain.safetensors`` and the tables of the card

Legend: ``n`` items, ``p`` numbers, ``c`` classes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe_detectors.domain import classes, hearing, picture, picture_data, sound, sound_data
from avsafe_detectors.domain.classes import Forest
from avsafe_detectors.domain.picture_data import Shown
from avsafe_detectors.domain.sound_data import Heard

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
FILMS = ("real_general", "real_talking", "synthetic_lumiere", "synthetic_loopy",
         "synthetic_talking", "synthetic_other", "synthetic_faces")  # fmt: skip
TREES, DEEPEST, LEAST = 100, 12, 3
_BEFORE: dict[str, float] = {"photo": 2.0, "speech": 1.5}  # weight of a class: the costly errors


def main(arguments: list[str] | None = None) -> None:
    """Steps 1 to 3."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, required=True, help="folder of shared test media")
    parser.add_argument("--roots", type=Path, nargs="+", default=[Path("/")],
                        help="where packages are unpacked")  # fmt: skip
    parser.add_argument("--cache", type=Path, required=True, help="for pictures and numbers")
    parser.add_argument("--out", type=Path, default=classes.WEIGHTS.parent)
    parser.add_argument("--variants", type=int, default=3, help="changed copies of each picture")
    given = parser.parse_args(arguments)
    arrays: dict[str, NDArray[Any]] = {}
    tables: dict[str, Any] = {}
    for name, names in (("picture", classes.PICTURES), ("sound", classes.SOUNDS)):
        table = _numbers(name, given)
        forest, tables[name] = trained(table, names)
        arrays |= forest.arrays(name)
        print(json.dumps(tables[name]["confusion"], indent=1))
    from safetensors.numpy import save_file

    given.out.mkdir(parents=True, exist_ok=True)
    save_file(arrays, given.out / classes.WEIGHTS.name)
    (given.cache / "tables.json").write_text(json.dumps(tables, indent=1))


# ---------------------------------------------------------------- 1


Row = tuple[Any, str, str, str, int]


def _numbers(name: str, given: argparse.Namespace) -> dict[str, NDArray[Any]]:
    """``x`` (n, p), ``label``, ``source``, ``unit`` (n,) text, ``change`` (n,).

    Kept in the cache source by source: a run that was cut short goes on where it was.
    """
    folder = given.cache / name
    folder.mkdir(parents=True, exist_ok=True)
    items: Iterator[Any] = _pictures(given) if name == "picture" else _sounds(given)
    rows: Callable[..., Iterator[Row]] = _picture_rows if name == "picture" else _sound_rows
    tables = []
    for number, (key, part) in enumerate(groupby(items, lambda i: (i.label, i.source))):
        kept = folder / f"{number:03d} {' '.join(key).replace('/', ' ')}.npz"
        if not kept.exists():
            rng = np.random.default_rng(number)
            found = [row for item in part for row in rows(item, rng, given.variants)]
            if not found:
                continue
            x, *words = zip(*found, strict=True)
            label, source, unit, change = map(np.array, words)
            np.savez(kept, x=np.array(x, np.float32), label=label, source=source, unit=unit,
                     change=change)  # fmt: skip
        with np.load(kept) as file:
            tables.append(dict(file))
    return {k: np.concatenate([t[k] for t in tables]) for k in tables[0]}


def _pictures(given: argparse.Namespace) -> Iterator[Shown]:
    for folder, make in (("pov", picture_data.scenes), ("pages", picture_data.pages)):
        if not (given.cache / folder).exists():
            (given.cache / folder).mkdir(parents=True)
            make(given.cache / folder, given.roots)
    yield from picture_data.packaged(given.roots)
    yield from picture_data.folder(given.cache / "pov", "cgi", "povray")
    yield from picture_data.folder(given.cache / "pages", "screen", "page")
    yield from picture_data.drawn_screens()
    for films in FILMS:  # what a generator made to look like a photo looks like one
        yield from picture_data.films(given.media / films, "photo")
    yield from picture_data.rendered_films(given.roots)


def _picture_rows(item: Shown, rng: np.random.Generator, variants: int) -> Iterator[Row]:
    try:
        rgb = item.open()
    except (OSError, ValueError):
        return
    for change in range(variants):
        seen = picture_data.changed(rgb, rng, strong=change > 0)
        if min(seen.shape[:2]) >= picture.LEAST_SIDE and seen.std() > 2:
            yield picture.look(picture.content(seen)), item.label, item.source, item.unit, change


def _sounds(given: argparse.Namespace) -> Iterator[Heard]:
    yield from sound_data.packaged(given.roots)
    yield from sound_data.mixed(given.roots)
    yield from sound_data.synthesised()
    yield from sound_data.filmed(given.media)


def _sound_rows(item: Heard, rng: np.random.Generator, variants: int) -> Iterator[Row]:
    try:
        samples, rate = item.open()
    except (OSError, UsageError, ValueError):
        return  # a file that can't be read
    for change in range(variants):
        heard, own = sound_data.changed(samples, rate, rng)
        for numbers in of_sound(heard, own):
            yield numbers, item.label, item.source, item.unit, change


def of_sound(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(n,) -> numbers of its segments that sound, (s, p)."""
    ear = hearing.Ear(rate)
    ear.feed(samples[None])
    rows = sound.Rows.of(ear.finish())
    floor, top = sound.floor_and_top(rows.level)
    on = sound.active(rows.level, floor, top)
    parts = [(a, b) for a, b in sound.segments(len(rows)) if on[a:b].sum() > 8]
    found = [sound.numbers(rows.part(a, b), floor, top) for a, b in parts]
    return np.array(found).reshape(len(found), len(sound.NAMES))


# ---------------------------------------------------------------- 2, 3


def trained(
    table: dict[str, NDArray[Any]], names: tuple[str, ...]
) -> tuple[Forest, dict[str, Any]]:
    """The forest that learned from all, and what folds by source say of it."""
    y = np.array([names.index(v) for v in table["label"]])
    x, source = table["x"], table["source"]
    fold = folds(source, y)
    seen = np.zeros((len(x), len(names)))
    for number in range(FOLDS):
        out = fold == number
        if out.any():
            seen[out] = grown(x[~out], y[~out], source[~out], names).probabilities(x[out])
    return grown(x, y, source, names), tabulated(table, names, y, seen)


def folds(source: NDArray[Any], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold of each item: sources of each class dealt by size, all of one source together."""
    found = np.zeros(len(source), np.int64)
    load: dict[int, NDArray[np.float64]] = {}
    names, count = np.unique(source, return_counts=True)
    for name in names[np.argsort(-count, kind="stable")]:
        members = source == name
        label = int(np.bincount(y[members]).argmax())
        total = load.setdefault(label, np.zeros(FOLDS))
        found[members] = int(np.argmin(total))
        total[found[members][0]] += members.sum()
    return found


def grown(
    x: NDArray[Any], y: NDArray[np.int64], source: NDArray[Any], names: tuple[str, ...]
) -> Forest:
    """Extremely randomised trees (Geurts et al. 2006); a source weighs the root of its size."""
    from sklearn.ensemble import ExtraTreesClassifier

    weight = np.ones(len(x))
    for name in np.unique(source):
        members = source == name
        weight[members] = 1 / np.sqrt(members.sum())
    for label, name in enumerate(names):
        weight[y == label] *= _BEFORE.get(name, 1.0) / max(1e-9, weight[y == label].sum())
    model = ExtraTreesClassifier(
        TREES,
        max_depth=DEEPEST,
        min_samples_leaf=LEAST,
        max_features=0.2,
        random_state=0,
        n_jobs=1,
    )
    model.fit(np.asarray(x, np.float32), y, sample_weight=weight * len(x))
    return exported(model, len(names))


def exported(model: Any, count: int) -> Forest:
    """scikit-learn's trees as arrays."""
    parts: dict[str, list[NDArray[Any]]] = {k: [] for k in Forest.__dataclass_fields__}
    base = 0
    for one in model.estimators_:
        tree = one.tree_
        leaf = tree.children_left < 0
        share = np.zeros((tree.node_count, count), np.float16)
        own = np.arange(tree.node_count)
        if not (leaf | (tree.children_left == own + 1)).all():
            raise UsageError("this scikit-learn lays out its trees in another order")
        value = tree.value[:, 0, :]
        share[:, model.classes_] = value / value.sum(1, keepdims=True)
        parts["roots"].append(np.array([base], np.int32))
        parts["feature"].append(np.where(leaf, -1, tree.feature).astype(np.int16))
        parts["limit"].append(np.where(leaf, 0, tree.threshold).astype(np.float32))
        parts["right"].append(np.where(leaf, 0, tree.children_right - own).astype(np.int32))
        parts["share"].append(share)
        base += tree.node_count
    return Forest(**{k: np.concatenate(v) for k, v in parts.items()})


def tabulated(
    table: dict[str, NDArray[Any]], names: tuple[str, ...], y: NDArray[np.int64],
    seen: NDArray[np.float64],
) -> dict[str, Any]:  # fmt: skip
    """Confusion of files (rows: truth), over all and by source; each was unseen with its source.

    A file is judged as the gate does: by the mean over its frames or segments. Each changed copy
    counts as a file.
    """
    files: dict[tuple[str, str, int], list[int]] = {}
    for i, (source, unit, change) in enumerate(
        zip(table["source"], table["unit"], table["change"], strict=True)
    ):
        files.setdefault((str(source), str(unit).partition("#")[0], int(change)), []).append(i)
    counts = np.zeros((len(names), len(names)), int)
    by_source: dict[str, dict[str, int]] = {}
    for (source, _, _), rows in files.items():
        truth, best = names[y[rows[0]]], classes.best(names, seen[rows].mean(0))
        counts[y[rows[0]], best] += 1
        own = by_source.setdefault(f"{truth}: {source}", dict.fromkeys(names, 0))
        own[names[best]] += 1
    return {
        "looks": len(y),
        "files": len(files),
        "sources": len(np.unique(table["source"])),
        "confusion": {n: dict(zip(names, map(int, row), strict=True))
                      for n, row in zip(names, counts, strict=True)},
        "by_source": by_source,
    }  # fmt: skip


if __name__ == "__main__":
    main()

"""What a search finds where there is nothing: wrong keys on unmarked hosts.

The features of a few unmarked clips are computed once; every trial is a whole search with a fresh
key. Trials run in pieces, each one row with counts, so that a long run can be interrupted.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media, plugins
from avsafe.bench.clips import Sound
from avsafe.bench.statistics import rate_bound
from avsafe.bench.watermark import recode
from avsafe.bench.watermark.trial import features_of, load
from avsafe.errors import AvsafeError
from avsafe.sharding.rows import Row, Store
from avsafe.types import Features, Watermarker

PIECE = 250  # trials a row
BINS = 20  # of the histogram of p-values
THRESHOLDS = (0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-6, 1e-9, 1e-12)


@dataclass(frozen=True)
class Piece:
    """Trials ``start`` to ``start + count`` of one watermarker, over all hosts in turn."""

    store: str
    run: str
    watermarker: str
    hosts: tuple[tuple[str, str], ...]  # name, file of features
    start: int
    count: int
    seed: str


def prepare(
    marker_name: str, clips: Sequence[tuple[str, Path]], seconds: float, folder: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    """Features of the unmarked clips, coded as a release would be, as ``.npz`` files in ``folder``;
    and the reasons of those left out."""
    marker: Watermarker = plugins.load("watermarkers", marker_name)
    hosts: list[tuple[str, str]] = []
    reasons: list[str] = []
    for index, (name, path) in enumerate(clips):
        kept = folder / f"{marker_name}-{index}.npz"
        try:
            with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as scratch:
                host = load(path, marker.modality, seconds)
                if isinstance(host, Sound):
                    coded = Path(scratch) / "host.wav"
                    recode.write_sound(host, recode.WAV, coded)
                else:
                    coded = Path(scratch) / "host.mp4"
                    media.encode(host.as_raw(), coded)
                features = features_of(coded, marker)
            np.savez(kept, allow_pickle=False, **dict(features))
            hosts.append((name, str(kept)))
        except AvsafeError as error:
            reasons.append(f"{name}: {error}")
    return hosts, reasons


def run(piece: Piece) -> None:
    """Search with fresh keys; append one row of counts."""
    marker: Watermarker = plugins.load("watermarkers", piece.watermarker)
    began = time.process_time()
    found: list[dict[str, Any]] = []
    values: dict[str, list[float]] = {"p_value": [], "sync_p_value": []}
    largest_z = 0.0
    for trial in range(piece.start, piece.start + piece.count):
        name, path = piece.hosts[trial % len(piece.hosts)]
        text = f"avsafe.bench/{piece.seed}/{piece.watermarker}/chance/{trial}"
        detection = marker.detect(_features(path), hashlib.sha256(text.encode()).digest())
        values["p_value"].append(detection.p_value)
        sync = detection.details.get("sync_p_value")
        if isinstance(sync, int | float):
            values["sync_p_value"].append(float(sync))
        z = detection.details.get("sync_z")
        largest_z = max(largest_z, float(z) if isinstance(z, int | float) else 0.0)
        if detection.present:
            found.append({"host": name, "trial": trial, "p_value": detection.p_value})
    Store(Path(piece.store)).append(
        {
            "kind": "chance",
            "run": piece.run,
            "watermarker": piece.watermarker,
            "clip": "",
            "key": piece.start,
            "attack": "",
            "status": "ok",
            "n": piece.count,
            "found": found,
            "largest_z": largest_z,
            "cpu_s": time.process_time() - began,
            "below": {name: _below(v) for name, v in values.items() if v},
            "histogram": {name: _histogram(v) for name, v in values.items() if v},
        }
    )


def _below(values: Sequence[float]) -> list[int]:
    return [sum(value <= limit for value in values) for limit in THRESHOLDS]


def _histogram(values: Sequence[float]) -> list[int]:
    return [int(n) for n in np.histogram(np.clip(values, 0, 1), BINS, (0.0, 1.0))[0]]


@lru_cache(maxsize=64)
def _features(path: str) -> Features:
    with np.load(path, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def summary(rows: Sequence[Row]) -> dict[str, Any] | None:
    """All pieces together: trials, finds, and the 95 % upper bound of the rate."""
    if not rows:
        return None
    n = sum(int(row["n"]) for row in rows)
    found = [item for row in rows for item in row["found"]]
    names = sorted({name for row in rows for name in row["below"]})
    return {
        "n": n,
        "found": found,
        "bound": rate_bound(len(found), n),
        "largest_z": max(float(row["largest_z"]) for row in rows),
        "cpu_s": sum(float(row["cpu_s"]) for row in rows),
        "thresholds": list(THRESHOLDS),
        "below": {name: _added([row["below"].get(name) for row in rows]) for name in names},
        "histogram": {name: _added([row["histogram"].get(name) for row in rows]) for name in names},
        "trials_for_1e-6": math.ceil(-math.log(0.05) / 1e-6),
    }


def _added(lists: Sequence[list[int] | None]) -> list[int]:
    return [sum(column) for column in zip(*(one for one in lists if one), strict=True)]

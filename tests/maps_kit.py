"""Evidence with a heat map or a timeline, as detectors write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avsafe import calibration, media
from avsafe.types import Evidence, EvidenceStatus, Label, Verdict

GREY = np.full((300, 400, 3), 128, np.uint8)


def evidence(source: str = "detector.image", **details: Any) -> Evidence:
    return Evidence(
        source,
        EvidenceStatus.ABSENT,
        "One sentence.",
        details={"condition": {"name": "photo, JPEG 50"}, **details},
    )


def verdict(path: Path, *found: Evidence) -> Verdict:
    return Verdict(path, media.sha256_of(path), Label.INCONCLUSIVE, found)


def tiles(llr: Any, flagged: Any, box: tuple[float, ...] = (0, 0, 1, 1), **more: Any) -> Any:
    return calibration.heatmap(np.array(llr), np.array(flagged), box, fdr=0.05, **more)

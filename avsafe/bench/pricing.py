"""What gating cost in quality: a release against the same clip that nobody marked.

The request of a release is made once more (the same request gives the same frames), coded as the
gate codes but without marks, in a temporary file that is gone afterwards, and both files are
measured by the same metrics. Metrics with a reference get what the generator made, uncoded.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsafe import media, metering, plugins
from avsafe.bench import making, measuring
from avsafe.bench.asked import spread
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.work import ROLE, Work
from avsafe.errors import AvsafeError, MissingExtra
from avsafe.types import (
    GenerationRequest,
    Generator,
    Metric,
    Progress,
    RawMedia,
    Sample,
    Value,
    no_progress,
)
from avsafe.workspace import Workspace


@dataclass(frozen=True)
class Price:
    """One number of one clip, with the gate's marks and without."""

    item: str
    score: str  # score name of a metric's column
    released: Value
    unmarked: Value
    labelled: bool = False  # the policy had a label burnt in: its cost is in here too

    @property
    def cost(self) -> float | None:
        """Released minus unmarked; None when either has a reason instead."""
        if isinstance(self.released, str) or isinstance(self.unmarked, str):
            return None
        return self.released - self.unmarked


def prices(
    suite: SuiteFile,
    generator: str,
    works: Sequence[Work],
    metrics: Mapping[str, Metric],
    out: Path,
    *,
    workspace: Workspace,
    most: int = 8,
) -> list[Price]:
    """Both sides of each metric (scope "clip", made and prepared by the caller) for the first
    ``most`` releases of a generator; costs generation, an encoding and two measurements each.

    A release with a visible label differs by that as well: ``Price.labelled`` says so.
    """
    made = [work for work in works if work.problem is None and work.made is not None][:most]
    asked = making.requests(suite, generator, out, [w.item for w in made], workspace=workspace)
    loaded: Generator = plugins.load("generators", generator)
    found: list[Price] = []
    for work in made:
        request = asked.get(work.item)
        if request is not None:
            found += _of_clip(work, request, loaded, metrics)
    return found


PRICED = ("psnr", "ssim", "temporal_flicker", "sharpness", "nss_distance", "loudness")


def price_list(
    suite: SuiteFile,
    generator: str,
    out: Path,
    names: Sequence[str] = PRICED,
    *,
    workspace: Workspace,
    most: int = 8,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """What gating cost in each metric: means over up to ``most`` items of a suite, evenly spaced.

    ``out`` is the folder of a run, whose clips are used again. Raises UsageError for an unknown
    metric, MissingExtra for one that lacks its package or weights.
    """
    made = {name: measuring.made(measuring.Recipe(name)) for name in names}
    ids = frozenset(item.item_id for item in spread(suite.items, most))
    works = making.make(
        suite.only(ids), generator, out, workspace=workspace,
        progress=lambda share, stage: progress(share / 2, stage),
    )  # fmt: skip
    found = prices(suite, generator, works, made, out, workspace=workspace, most=most)
    progress(1.0, "measured")
    scores = [m.info.score_name(c) for m in made.values() for c in m.info.columns]
    return {
        "suite": suite.name,
        "generator": generator,
        "n_expected": len(works),
        "labelled": sum(one.labelled for one in found if one.score == scores[0]),
        "scores": {name: _mean_price([p for p in found if p.score == name]) for name in scores},
        "problems": {work.item: work.problem for work in works if work.problem},
    }


def _mean_price(found: Sequence[Price]) -> dict[str, Any]:
    priced = [one for one in found if one.cost is not None]
    if not priced:
        reason = next(
            (r for p in found for r in (p.released, p.unmarked) if isinstance(r, str)), ""
        )
        return {"n": 0, "reason": reason or "no clip was made"}
    means = {
        side: math.fsum(sorted(float(getattr(one, side)) for one in priced)) / len(priced)
        for side in ("unmarked", "released")
    }
    return {"n": len(priced), **means, "cost": means["released"] - means["unmarked"]}


def _of_clip(
    work: Work, request: GenerationRequest, generator: Generator, metrics: Mapping[str, Metric]
) -> list[Price]:
    names = [m.info.score_name(c) for m in metrics.values() for c in m.info.columns]
    labelled = work.made is not None and "visible_label" in work.made.details
    try:
        raw = generator.generate(request)
        with tempfile.TemporaryDirectory(prefix="avsafe-bench-") as folder:
            plain = Path(folder) / f"plain{work.sample.media[ROLE].suffix}"
            media.encode(raw, plain)
            released = _measured(work.sample, work.sample.media[ROLE], raw, metrics)
            unmarked = _measured(work.sample, plain, raw, metrics)
    except MissingExtra:
        raise
    except AvsafeError as error:
        return [Price(work.item, name, str(error), str(error), labelled) for name in names]
    return [Price(work.item, name, released[name], unmarked[name], labelled) for name in names]


def _measured(
    sample: Sample, path: Path, raw: RawMedia, metrics: Mapping[str, Metric]
) -> dict[str, Value]:
    infos = [metric.info for metric in metrics.values()]
    forms = metering.forms_of(infos)
    clip = media.play(path, pictures=forms, samples=metering.wants_sound(infos))
    beside = {"reference": media.replayed(raw)}
    found = metering.measure(metrics, sample, clip, beside)
    return {name: value for one in found.values() for name, value in one.values.items()}

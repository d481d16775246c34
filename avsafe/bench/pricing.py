"""What gating cost in quality: a release against the same clip that nobody marked.

The request of a release is made once more (the same request gives the same frames), coded as the
gate codes but without marks, in a temporary file that is gone afterwards, and both files are
measured by the same metrics. Metrics with a reference get what the generator made, uncoded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avsafe import media, metering, plugins
from avsafe.bench import making
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.work import ROLE, Work
from avsafe.errors import AvsafeError, MissingExtra
from avsafe.types import GenerationRequest, Generator, Metric, RawMedia, Sample, Value
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

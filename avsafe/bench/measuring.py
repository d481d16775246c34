"""One clip through all metrics that still lack a row, in whatever process or machine runs it."""

from __future__ import annotations

import inspect
import json
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import media, metering, plugins
from avsafe.bench.work import Work
from avsafe.errors import AvsafeError, MissingExtra, Unscorable, UsageError
from avsafe.media.playing import Playing
from avsafe.types import Kind, Metric, MetricInfo, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIP_ROLES = ("video", "audio", "image")  # which file of a sample is measured: the first there is
NEEDS = {
    "pictures": "pictures",
    "sound": "sound",
    "motion": "at least 2 frames",
}  # what a suite may ask of every clip


@dataclass(frozen=True)
class Recipe:
    """How to make a metric in any process: plain strings, so that tasks travel and compare."""

    name: str
    parameters: str = "{}"  # JSON
    weights: tuple[tuple[str, str], ...] = ()
    device: str = "cpu"
    run: str = ""  # the hash that its rows carry


@dataclass(frozen=True)
class ClipTask:
    """A clip and the metrics that lack a row for it."""

    work: Work
    recipes: tuple[Recipe, ...]
    requires: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class Answer:
    """The rows of a clip, and the features for set metrics, by run hash."""

    rows: list[dict[str, Any]]
    features: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)


def made(recipe: Recipe) -> Metric:
    """The metric of a recipe, prepared; once a process, whatever hash its rows carry.

    Raises UsageError for a name or a parameter that is not known, MissingExtra when packages or
    weights are absent.
    """
    return _made(replace(recipe, run=""))


@lru_cache(maxsize=256)
def _made(recipe: Recipe) -> Metric:
    known = plugins.catalogue("metrics")
    if recipe.name not in known:
        near = ", ".join(known) or "none is installed"
        raise UsageError(f"No metric {recipe.name!r} (found: {near}).")
    try:
        factory = known[recipe.name].load()
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The metric {recipe.name} needs the package {error.name!r}, which is not installed: "
            "pip install 'avsafe[bench]'."
        ) from error
    keywords = json.loads(recipe.parameters)
    takes = inspect.signature(factory).parameters
    unknown = sorted(set(keywords) - set(takes))
    if unknown:
        raise UsageError(
            f"The metric {recipe.name} has no parameter {', '.join(unknown)} (it has: "
            f"{', '.join(takes) or 'none'})."
        )
    for name, value in (("weights", dict(recipe.weights)), ("device", recipe.device)):
        if name in takes and value:
            keywords.setdefault(name, value)
    metric: Metric = factory(**keywords)
    metric.prepare()
    return metric


def measure_clip(task: ClipTask) -> Answer:
    """Decode once, feed every metric; what cannot be measured is a row with a reason."""
    work, began = task.work, _child_cpu_s()
    metrics = {recipe.name: made(recipe) for recipe in task.recipes}
    about: dict[str, Any] = {}
    try:
        clip, beside = opened(work, [metric.info for metric in metrics.values()], task.seconds)
        about = described(clip)
        refuse_what_lacks(clip.shape, task.requires)
        found = metering.measure(metrics, work.sample, clip, beside)
    except (AvsafeError, OSError) as error:
        if isinstance(error, MissingExtra):
            raise
        return unscored(task, str(error), about)
    about["decode_cpu_s"] = round(_child_cpu_s() - began, 3)
    rows = [clip_row(work, "ok", **about)]
    features = {}
    for recipe in task.recipes:
        rows.append(score_row(work, recipe, found[recipe.name]))
        if found[recipe.name].features:
            features[recipe.run] = found[recipe.name].features
    return Answer(rows, features)


def unscored(task: ClipTask, reason: str, about: Mapping[str, Any] | None = None) -> Answer:
    """The rows of a clip that could not be measured at all."""
    rows = [clip_row(task.work, "unscored", reason=reason, **(about or {}))]
    for recipe in task.recipes:
        info = made(recipe).info
        values = dict.fromkeys((info.score_name(c) for c in info.columns), reason)
        rows.append(score_row(task.work, recipe, metering.Measured(dict(values))))
    return Answer(rows)


def opened(
    work: Work, infos: list[MetricInfo], seconds: float | None
) -> tuple[Playing, dict[str, Playing | str]]:
    """The clip, and the files that play in step, each with the forms that somebody wants; a reason
    for a file that cannot be read, which only the metrics that want it lack."""
    if work.problem is not None:
        raise Unscorable(work.problem)
    files = work.sample.media
    role = next((role for role in CLIP_ROLES if role in files), None)
    if role is None:
        raise Unscorable(f"there is no clip to measure (roles: {', '.join(files) or 'none'})")
    clip = _play(files[role], infos, seconds)
    beside: dict[str, Playing | str] = {}
    for other in sorted({info.beside for info in infos if info.beside in files}):
        try:
            beside[other] = _play(files[other], [i for i in infos if i.beside == other], seconds)
        except (AvsafeError, OSError) as error:
            beside[other] = f"its {other} cannot be played: {error}"
    return clip, beside


def _play(path: Path, infos: list[MetricInfo], seconds: float | None) -> Playing:
    if not path.is_file():
        raise Unscorable(f"{path.name} is not there")
    return media.play(
        path,
        pictures=metering.forms_of(infos),
        samples=metering.wants_sound(infos),
        max_duration_s=seconds,
    )


def refuse_what_lacks(shape: Shape, requires: tuple[str, ...]) -> None:
    """Raise Unscorable for a clip without what the suite asks of every one.

    >>> refuse_what_lacks(Shape(Kind.VIDEO, 64, 64, frame_count=2), ("motion",))
    """
    there = {
        "pictures": shape.width > 0,
        "sound": shape.rate_hz > 0,
        "motion": shape.kind is Kind.VIDEO and (shape.frame_count or 2) >= 2,
    }
    for need in requires:
        if not there[need]:
            raise Unscorable(f"the clip does not have {NEEDS[need]}, which the suite asks for")


def described(clip: Playing) -> dict[str, Any]:
    """What a row says of the file itself."""
    shape, seen = clip.shape, clip.media
    return {
        "width": shape.width,
        "height": shape.height,
        "frame_rate": str(shape.frame_rate) if shape.frame_rate else None,
        "frame_count": shape.frame_count,
        "rate_hz": shape.rate_hz,
        "duration_s": shape.duration_s,
        "sha256": seen.sha256 if seen else "",
    }


def clip_row(work: Work, status: str, *, reason: str = "", **about: Any) -> dict[str, Any]:
    files = work.sample.media
    role = next((role for role in CLIP_ROLES if role in files), "")
    return _row("clip", work, status) | {
        "reason": reason,
        "path": str(files[role]) if role else "",
        "text": work.sample.text,
        "tags": list(work.sample.tags),
        **about,
    }


def score_row(work: Work, recipe: Recipe, found: metering.Measured) -> dict[str, Any]:
    """What a metric found of a clip, for the file of rows."""
    values = {n: v if isinstance(v, float) else None for n, v in found.values.items()}
    reasons = {n: v for n, v in found.values.items() if isinstance(v, str)}
    scored = any(value is not None for value in values.values()) or bool(found.features)
    broken = any(reason.startswith(metering.FAILED) for reason in reasons.values())
    return _row("score", work, "ok" if scored else "failed" if broken else "unscored") | {
        "run": recipe.run,
        "metric": recipe.name,
        "values": values,
        "reasons": reasons,
        "cpu_s": round(found.cpu_s, 4),
    }


def _row(kind: str, work: Work, status: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "system": work.system,
        "item": work.item,
        "sample": work.sample.sample_id,
        "of": work.of,
        "cluster": work.sample.cluster or work.item,
        "status": status,
        "at": round(time.time()),
    }


def _child_cpu_s() -> float:
    """CPU seconds of the decoding processes that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

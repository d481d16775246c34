"""One decoding pass feeds any number of feature extractors, inside the limited process."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from avsafe.errors import SandboxFailure, UsageError
from avsafe.media.limits import Limits
from avsafe.media.wire import Message
from avsafe.types import Picture

if TYPE_CHECKING:
    from avsafe.types import FeatureExtractor, Features, Samples

GATHERED_S = 0.25  # seconds of sound that extractors are given at once, about
_SEPARATOR = "\x1f"  # between the extractor's name and its feature's name; in no identifier


def analyse(
    path: Path | str,
    extractors: Mapping[str, str],
    *,
    trusted: bool = False,
    limits: Limits | None = None,
    max_duration_s: float | None = None,
) -> dict[str, Features]:
    """What each extractor found: name -> its named arrays.

    ``extractors`` maps a name of your choice to ``"package.module:Class"``, a
    ``types.FeatureExtractor``. The file is decoded once for all of them. Unless ``trusted``, this
    happens in the sandbox, from which only plain number arrays come back.

    Raises the children of ``UnreadableMedia``.

    >>> analyse("clip.mp4", {"m": "avsafe.media.selftest:Means"})["m"]["means"]  # doctest: +SKIP
    array([101.2, 101.4, ...])
    """
    from avsafe.media.structure import prescan

    path = Path(path).absolute()
    limits = limits or Limits()
    for name in extractors:
        if _SEPARATOR in name:
            raise UsageError(f"{name!r} is not a name for an extractor.")
    prescan(path, limits)
    if trusted:
        return run(path, extractors, limits, max_duration_s)
    from avsafe.media import sandbox

    for target in extractors.values():
        sandbox.check_target(target)
    kwargs = {
        "path": str(path),
        "extractors": dict(extractors),
        "limits": limits.as_json(),
        "max_duration_s": max_duration_s,
    }
    with sandbox.stream("avsafe.media.features:run_json", kwargs, limits=limits) as messages:
        for message in messages:
            found: dict[str, dict[str, Any]] = {name: {} for name in extractors}
            for joined, array in message.arrays.items():
                name, _, feature = joined.partition(_SEPARATOR)
                if name in found:
                    found[name][feature] = array
            return dict(found)
    raise SandboxFailure(f"The limited process gave no features of {path.name}.")


def run_json(
    path: str,
    extractors: dict[str, str],
    limits: dict[str, Any],
    max_duration_s: float | None = None,
) -> Message:
    """``run`` for the sandbox."""
    found = run(Path(path), extractors, Limits.from_json(limits), max_duration_s)
    return Message(
        {},
        {
            f"{name}{_SEPARATOR}{feature}": array
            for name, features in found.items()
            for feature, array in features.items()
        },
    )


def run(
    path: Path, extractors: Mapping[str, str], limits: Limits, max_duration_s: float | None
) -> dict[str, Features]:
    """``analyse`` in this process."""
    from avsafe.media.decoder import events
    from avsafe.media.inspection import probe_here
    from avsafe.media.survey import survey

    seen = survey(path, limits, max_duration_s)
    plan = seen.plan
    media = probe_here(path, limits, seen if max_duration_s is None else None)
    workers: dict[str, FeatureExtractor] = {
        name: _load(target) for name, target in extractors.items()
    }
    fed = {name: _picture_of(worker, extractors[name]) for name, worker in workers.items()}
    for worker in workers.values():
        worker.start(media)
    in_rgb = [worker for name, worker in workers.items() if fed[name] == "rgb"]
    in_luma = [worker for name, worker in workers.items() if fed[name] == "luma"]
    pictures = set(fed.values()) if plan.width else set()
    period_s = float(1 / plan.rate) if plan.rate else 0.0
    passed = events(
        path, plan, limits, max_duration_s, pictures=pictures, samples=bool(plan.rate_hz)
    )
    hearing = _Gathered(workers.values(), plan.rate_hz)
    for event in passed:
        if not event.is_frame:
            hearing.take(event.data)
            continue
        for repeat in range(event.count):
            time_s = event.time_s + repeat * period_s
            for worker in in_rgb:
                worker.frame(event.data, time_s)
            for worker in in_luma:
                worker.frame(event.luma, time_s)
    hearing.flush()
    return {name: worker.finish() for name, worker in workers.items()}


class _Gathered:
    """Short blocks of sound, joined: a codec gives 20 ms at a time, and each call costs."""

    def __init__(self, workers: Iterable[FeatureExtractor], rate_hz: int) -> None:
        self._workers, self._rate_hz = tuple(workers), rate_hz
        self._blocks: list[Samples] = []
        self._held = 0

    def take(self, block: Samples) -> None:
        self._blocks.append(block)
        self._held += block.shape[1]
        if self._held >= self._rate_hz * GATHERED_S:
            self.flush()

    def flush(self) -> None:
        import numpy as np

        if not self._blocks:
            return
        joined = self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks, axis=1)
        self._blocks, self._held = [], 0
        for worker in self._workers:
            worker.samples(joined, self._rate_hz)


def _picture_of(worker: FeatureExtractor, target: str) -> Picture:
    """What an extractor wants to see; asked of every one, so that nobody pays unawares."""
    wanted: Picture | None = getattr(worker, "picture", None)
    if wanted is None or wanted not in get_args(Picture):
        raise UsageError(
            f"{target} does not say what it needs of pictures (found: {wanted!r}). Give the class "
            'an attribute picture = "rgb", "luma" or "none" (see types.FeatureExtractor).'
        )
    return wanted


def _load(target: str) -> FeatureExtractor:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)()  # type: ignore[no-any-return]

"""One decoding pass feeds any number of feature extractors, inside the limited process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import SandboxFailure, UsageError
from avsafe.media.limits import Limits
from avsafe.media.wire import Message

if TYPE_CHECKING:
    from avsafe.types import FeatureExtractor, Features

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
    from avsafe.media.decoder import events, make_plan
    from avsafe.media.inspection import probe_here

    plan = make_plan(path, limits, max_duration_s)
    media = probe_here(path, limits, plan if max_duration_s is None else None)
    workers: dict[str, FeatureExtractor] = {
        name: _load(target) for name, target in extractors.items()
    }
    for worker in workers.values():
        worker.start(media)
    period_s = float(1 / plan.rate) if plan.rate else 0.0
    passed = events(
        path, plan, limits, max_duration_s, frames=bool(plan.width), samples=bool(plan.rate_hz)
    )
    for event in passed:
        for worker in workers.values():
            if event.is_frame:
                for repeat in range(event.count):
                    worker.frame(event.data, event.time_s + repeat * period_s)
            else:
                worker.samples(event.data, plan.rate_hz)
    return {name: worker.finish() for name, worker in workers.items()}


def _load(target: str) -> FeatureExtractor:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)()  # type: ignore[no-any-return]

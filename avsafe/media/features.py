"""One decoding pass feeds any number of feature extractors, inside the limited process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from avsafe.errors import MissingExtra, SandboxFailure, Unscorable, UsageError
from avsafe.media.limits import Limits
from avsafe.media.wire import Message, work_ahead
from avsafe.types import Kind, Picture

if TYPE_CHECKING:
    from avsafe.media.decoder import Event
    from avsafe.media.reading import Plan
    from avsafe.media.survey import Survey
    from avsafe.types import FeatureExtractor, Features, Frame, Media, Samples

WITHHELD = "withheld"  # the one feature of an extractor that gave up: why, as UTF-8 bytes
SPARED_BYTES = 64 << 20  # of the features of one extractor that may fail
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
    every = dict.fromkeys(Kind, extractors)
    return examine(path, every, trusted=trusted, limits=limits, max_duration_s=max_duration_s)[1]


def examine(
    path: Path | str,
    extractors: Mapping[Kind, Mapping[str, str]],
    *,
    trusted: bool = False,
    limits: Limits | None = None,
    max_duration_s: float | None = None,
    spared: Collection[str] = (),
) -> tuple[Media, dict[str, Features]]:
    """``probe`` and ``analyse`` by one process: what the file is, and what the extractors for its
    kind found.

    An extractor named in ``spared`` may fail without taking the others with it: its features are
    then ``{"withheld": the reason}`` (``withheld``).

    >>> seen, found = examine("clip.mp4", {Kind.VIDEO: {}, Kind.AUDIO: {}})  # doctest: +SKIP
    """
    from avsafe.media.structure import prescan

    path = Path(path).absolute()
    limits = limits or Limits()
    for name in chain.from_iterable(extractors.values()):
        if _SEPARATOR in name:
            raise UsageError(f"{name!r} is not a name for an extractor.")
    prescan(path, limits)
    if trusted:
        seen, media = _looked_at(path, limits, max_duration_s)
        wanted = extractors.get(media.kind, {})
        return media, _run(seen.plan, media, wanted, limits, max_duration_s, spared)
    from avsafe.media import sandbox

    for target in {t for targets in extractors.values() for t in targets.values()}:
        sandbox.check_target(target)
    kwargs = {
        "path": str(path),
        "extractors": {str(kind): dict(targets) for kind, targets in extractors.items()},
        "limits": limits.as_json(),
        "max_duration_s": max_duration_s,
        "spared": sorted(spared),
    }
    with sandbox.stream("avsafe.media.features:run_json", kwargs, limits=limits) as messages:
        for message in messages:
            return _answer(path, extractors, message)
    raise SandboxFailure(f"The limited process gave no features of {path.name}.")


def _answer(
    path: Path, extractors: Mapping[Kind, Mapping[str, str]], message: Message
) -> tuple[Media, dict[str, Features]]:
    """What the child sent, checked: a hostile file may have taken it over."""
    from avsafe.media.inspection import from_json

    try:
        media = from_json(path, message.header["media"])
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise SandboxFailure(f"The limited process sent no description of {path.name}.") from error
    found: dict[str, dict[str, Any]] = {name: {} for name in extractors.get(media.kind, {})}
    for joined, array in message.arrays.items():
        name, _, feature = joined.partition(_SEPARATOR)
        if name in found:
            found[name][feature] = array
    return media, dict(found)


def run_json(
    path: str,
    extractors: dict[str, dict[str, str]],
    limits: dict[str, Any],
    max_duration_s: float | None = None,
    spared: Collection[str] = (),
) -> Iterator[Message]:
    """``examine`` for the sandbox."""
    from avsafe.media.decoder import pixels_of
    from avsafe.media.inspection import as_json

    given = Limits.from_json(limits)
    seen, media = _looked_at(Path(path), given, max_duration_s)
    wanted = extractors.get(str(media.kind), {})
    yield work_ahead(pixels_of(Path(path), seen.plan))
    found = _run(seen.plan, media, wanted, given, max_duration_s, spared)
    yield Message(
        {"media": as_json(media)},
        {
            f"{name}{_SEPARATOR}{feature}": array
            for name, features in found.items()
            for feature, array in features.items()
        },
    )


def _looked_at(path: Path, limits: Limits, max_duration_s: float | None) -> tuple[Survey, Media]:
    from avsafe.media.inspection import probe_here
    from avsafe.media.survey import survey

    seen = survey(path, limits, max_duration_s)
    return seen, probe_here(path, limits, seen if max_duration_s is None else None)


def _run(
    plan: Plan,
    media: Media,
    extractors: Mapping[str, str],
    limits: Limits,
    max_duration_s: float | None,
    spared: Collection[str] = (),
) -> dict[str, Features]:
    """One decoding pass in this process."""
    from avsafe.media.decoder import events

    workers = {
        name: _Spared(target) if name in spared else _load(target)
        for name, target in extractors.items()
    }
    fed = {name: _picture_of(worker, extractors[name]) for name, worker in workers.items()}
    for worker in workers.values():
        worker.start(media)
    watching = [_Watching(w, fed[name]) for name, w in workers.items() if fed[name] != "none"]
    hearing = _Gathered(workers.values(), plan.rate_hz)
    period_s = float(1 / plan.rate) if plan.rate else 0.0
    pictures = set(fed.values()) if plan.width else set()
    passed = events(
        media.path, plan, limits, max_duration_s, pictures=pictures, samples=bool(plan.rate_hz)
    )
    for event in passed:
        if not event.is_frame:
            hearing.take(event.data)
            continue
        for repeat in range(event.count):
            for one in watching:
                one.take(event, event.time_s + repeat * period_s)
    hearing.flush()
    return {name: worker.finish() for name, worker in workers.items()}


class _Spared:
    """An extractor whose failure is its own: it is fed no more, and says why in the end."""

    def __init__(self, target: str) -> None:
        self._worker: FeatureExtractor | None = None
        self._reason = ""
        self.picture: Picture = "none"
        worker = self._tried(_load, target)
        self.picture = self._tried(_picture_of, worker, target) or "none"
        self._worker = None if self._reason else worker

    def start(self, media: Media) -> None:
        if self._worker is not None:
            self._tried(self._worker.start, media)

    def wants(self, time_s: float) -> bool:
        ask = getattr(self._worker, "wants", None)
        return self._worker is not None and (ask is None or bool(self._tried(ask, time_s)))

    def frame(self, frame: Frame, time_s: float) -> None:
        if self._worker is not None:
            self._tried(self._worker.frame, frame, time_s)

    def samples(self, block: Samples, rate_hz: int) -> None:
        if self._worker is not None:
            self._tried(self._worker.samples, block, rate_hz)

    def finish(self) -> Features:

        found = self._tried(self._finished, self._worker) if self._worker else None
        if found is not None:
            return found  # type: ignore[no-any-return]
        reason = self._reason or "its extractor gave no reason"
        return withholding(reason)

    @staticmethod
    def _finished(worker: FeatureExtractor) -> Features:
        """What leaves the sandbox, checked here: what can't would end the pass for all others."""
        import numpy as np

        found = {str(name): np.asarray(array) for name, array in worker.finish().items()}
        if wrong := [n for n, a in found.items() if a.dtype.kind not in "biufc"]:
            raise Unscorable(f"its extractor gave what is no array of numbers ({wrong[0]})")
        if (size := sum(array.nbytes for array in found.values())) > SPARED_BYTES:
            raise Unscorable(
                f"its extractor gave {size >> 20} MiB of features; it may give "
                f"{SPARED_BYTES >> 20} MiB"
            )
        return found

    def _tried(self, call: Callable[..., Any], *given: Any) -> Any:
        try:
            return call(*given)
        except MemoryError:
            raise  # the process is at its limit: nobody may go on
        except (Unscorable, MissingExtra) as error:
            self._reason = str(error)
        except (Exception, SystemExit) as error:
            self._reason = self._reason or f"its extractor failed ({type(error).__name__})"
        self._worker = None
        return None


def withholding(reason: str) -> Features:
    """Features of an extractor that gave none.

    >>> withheld(withholding("no face"))
    'no face'
    """
    import numpy as np

    return {WITHHELD: np.frombuffer(reason.encode(errors="replace"), np.uint8)}


def withheld(features: Features) -> str | None:
    """Why an extractor gave no features; None when it gave some.

    >>> import numpy as np
    >>> withheld({"withheld": np.frombuffer(b"no face", np.uint8)})
    'no face'
    """
    if WITHHELD not in features:
        return None
    said = bytes(features[WITHHELD].ravel()[:500].astype("uint8")).decode(errors="replace")
    return said.strip() or "its extractor gave no reason"


class _Watching:
    """An extractor of pictures. One that has ``wants(time_s) -> bool`` is asked before each frame:
    what nobody wants is decoded, but not converted."""

    def __init__(self, worker: FeatureExtractor, form: Picture) -> None:
        self._worker, self._form = worker, form
        self._wants: Callable[[float], bool] | None = getattr(worker, "wants", None)

    def take(self, event: Event, time_s: float) -> None:
        if self._wants is None or self._wants(time_s):
            self._worker.frame(event.picture(self._form), time_s)


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

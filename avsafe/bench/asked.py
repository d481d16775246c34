"""What a run is asked: its options, its metrics with the hash of their code, and its clips.

A metric that cannot be made is "not computed", with the reason; a clip that is not there is a work
with a problem. Nothing is left out.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from avsafe import plugins
from avsafe.bench import measuring, work
from avsafe.bench.measuring import Recipe
from avsafe.bench.suitefile import SuiteFile
from avsafe.bench.work import Work
from avsafe.errors import AvsafeError, UsageError
from avsafe.sharding import code
from avsafe.sharding.rows import code_hash
from avsafe.types import Metric, MetricInfo, Progress, Sample

T = TypeVar("T")
_log = logging.getLogger(__name__)
_HERE = Path(__file__).parents[1]
_DECODING = ("playing", "view", "decoder", "colour", "survey", "timeline", "demux", "reading")
REFERENCE = "(reference)"  # the system under which the reference set's clips stand


@dataclass(frozen=True)
class Options:
    """What the command line asks of a run."""

    suite: str
    out: Path
    videos: tuple[tuple[str, Path], ...] = ()  # system -> folder
    generators: tuple[str, ...] = ()
    reference: Path | None = None
    inputs: Path | None = None  # the suite's inputs, for clips that were made from them elsewhere
    weights: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] | None = None  # only these of the suite's
    limit: int | None = None  # items a system, evenly spaced
    seconds: float | None = None  # of each clip; None: all of it
    jobs: int = 1
    executor: str = "local"
    device: str = "cpu"
    safety: bool | None = None  # safety columns; None: what the suite says
    own: tuple[str, ...] = ()  # systems whose clips the report may show, beside the generators


@dataclass(frozen=True)
class Chosen:
    """A metric of this run: how to make it, what it is, or why it is not computed."""

    recipe: Recipe
    info: MetricInfo | None
    digests: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None

    @property
    def name(self) -> str:
        return self.recipe.name


# ---------------------------------------------------------------- metrics


def choose(suite: SuiteFile, options: Options) -> list[Chosen]:
    """The suite's metrics, each made once here, with the hash that its rows will carry."""
    specs = suite.metrics
    if options.metrics is not None:
        names = [spec.name for spec in specs]
        unknown = [name for name in options.metrics if name not in names]
        if unknown:
            raise UsageError(
                f"The suite {suite.name} has no metric {', '.join(unknown)} (it has: "
                f"{', '.join(names)})."
            )
        specs = tuple(spec for spec in specs if spec.name in options.metrics)
    twice = sorted({s.name for s in specs if sum(o.name == s.name for o in specs) > 1})
    if twice:
        raise UsageError(f"The suite {suite.name} lists {', '.join(twice)} twice.")
    _check_weights(options.weights)
    found = []
    for spec in specs:
        recipe = Recipe(
            spec.name,
            json.dumps(dict(spec.parameters), sort_keys=True),
            tuple(sorted(options.weights.items())),
            options.device,
        )
        try:
            found.append(_hashed(recipe, measuring.made(recipe), options.seconds))
        except UsageError:
            raise
        except Exception as error:  # a plugin that breaks takes no other metric with it
            _log.debug("%s cannot be made", spec.name, exc_info=True)
            expected = isinstance(error, AvsafeError)
            why = str(error) if expected else f"the metric cannot be loaded: {error!r}"[:500]
            paths = [Path(value).expanduser() for value in options.weights.values()]
            found.append(Chosen(recipe, _info(recipe), missing=without_folders(why, paths)))
    return found


def _hashed(recipe: Recipe, metric: Metric, seconds: float | None) -> Chosen:
    info, digests = metric.info, dict(metric.digests())
    settings = {
        "metric": recipe.name,  # features lie by this hash: two of one package must not share it
        "version": info.version,
        "parameters": recipe.parameters,
        "digests": digests,
        "seconds": seconds,
        "device": recipe.device,
    }
    run_hash = code_hash(code_of(metric), settings)
    return Chosen(replace(recipe, run=run_hash), info, digests)


def code_of(metric: Metric) -> list[Path]:
    """The code of a metric, of the pass that feeds it, and of faces where it sees them."""
    files = {_HERE / "metering.py", _HERE / "bench" / "measuring.py"}
    files |= {_HERE / "media" / f"{name}.py" for name in _DECODING}
    own = code.of_module(type(metric).__module__)
    files.update(own)
    if "faces" in metric.info.wants or any(b"avsafe.faces" in path.read_bytes() for path in own):
        files.update(code.beside(_HERE / "faces"))
    return sorted(path for path in files if path.is_file())


def _info(recipe: Recipe) -> MetricInfo | None:
    """What a metric that cannot be prepared says of itself, where its class tells."""
    try:
        info = getattr(plugins.catalogue("metrics")[recipe.name].load(), "info", None)
    except Exception:  # whatever an outsider's module raises; ``missing`` says it
        return None
    return info if isinstance(info, MetricInfo) else None


def _check_weights(weights: Mapping[str, str]) -> None:
    for name, value in weights.items():
        looks_like_a_path = "/" in value or value.startswith(("~", "."))
        if looks_like_a_path and not Path(value).expanduser().exists():
            raise UsageError(f"--weights {name}={value}: there is no such file or folder.")


# ---------------------------------------------------------------- clips


def gathered(suite: SuiteFile, options: Options, progress: Progress) -> list[Work]:
    """Every clip of every system, with a problem where there is none."""
    _check_systems(suite, options)
    found: list[Work] = []
    items = {item.item_id for item in spread(suite.items, options.limit)}
    for system, folder in options.videos:
        clips = work.from_folder(suite, system, folder, options.reference, options.inputs)
        asked = [clip for clip in clips if clip.item in items]
        found += asked if options.limit and asked else spread(clips, options.limit)
    for generator in options.generators:
        asked_for = suite.only(frozenset(items)) if suite.items else suite
        made = work.from_generator(asked_for, generator, options.out, progress=progress)
        beside = options.reference
        found += work.beside_references(made, beside) if beside is not None else made
    if not found:
        raise UsageError("There is no clip to measure.")
    return found


def _check_systems(suite: SuiteFile, options: Options) -> None:
    """What is wrong with names and options, before anything is generated."""
    folders = [name for name, _ in options.videos]
    names = [*folders, *options.generators]
    if len(set(names)) < len(names):
        raise UsageError("Two systems have one name: name folders apart, --videos NAME=DIR.")
    if REFERENCE in names:
        raise UsageError(f"A system cannot be called {REFERENCE}: name it, --videos NAME=DIR.")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds {options.seconds}: expected a number above 0, or 0 for all.")
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: expected 1 or more.")
    unknown = sorted(set(options.own) - set(names))
    if unknown:
        raise UsageError(
            f"--own {unknown[0]}: no system has that name (there are: {', '.join(names)})."
        )
    if options.inputs is not None and not folders:
        raise UsageError(
            "--inputs goes with --videos: a generator is given inputs that the gate makes."
        )
    for option, folder in (("--reference", options.reference), ("--inputs", options.inputs)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"{option} {folder}: there is no such folder.")


def hashed(works: Sequence[Work], requires: tuple[str, ...]) -> list[Work]:
    """The same works, each with the hash of what is measured."""
    return [replace(item, of=work.content_hash(item, requires)) for item in works]


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` of some items, evenly spaced, so that no part of a suite is left out.

    >>> spread("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if limit is None or limit >= len(items):
        return list(items)
    places = np.linspace(0, len(items) - 1, limit).round().astype(int)
    return [items[int(place)] for place in places]


def reference_works(works: Sequence[Work], folder: Path | None) -> list[Work]:
    """The reference set of set metrics: a folder's clips, else the files beside the works."""
    if folder is not None:
        return [replace(item, system=REFERENCE) for item in work.references(folder)]
    files = {w.sample.media["reference"] for w in works if "reference" in w.sample.media}
    return [
        Work(REFERENCE, path.stem, Sample(f"{path.parent.name}/{path.name}", {"video": path}))
        for path in sorted(files)
    ]


_FOLDERS = re.compile(r"""(?<![\w.:/~-])/(?:[^\s/'":,;()<>]+/)+""")


def without_folders(text: str, paths: Iterable[Path] = ()) -> str:
    """A reason that may be published: of the paths of this machine in it only the last names.

    >>> without_folders("No such file: '/home/ann/sets/a.mp4' (video/mp4, https://a.example/b)")
    "No such file: 'a.mp4' (video/mp4, https://a.example/b)"
    """
    for path in sorted({str(path.absolute().parent) for path in paths}, key=len, reverse=True):
        if path != "/":
            text = text.replace(f"{path}/", "")
    return _FOLDERS.sub("", text)

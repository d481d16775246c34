"""A suite: what is asked for, what it is asked with, and which metrics measure what comes back.

Suites are YAML (docs/bench-suites.md): those that ship lie in ``suitefiles``, others anywhere.
``load`` reads either; every mistake is a UsageError with its file, line and field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from avsafe.bench.detection import floors
from avsafe.bench.detection.floors import Floor
from avsafe.bench.located import MAX_BYTES, Located, read
from avsafe.errors import UsageError
from avsafe.types import Task

_FIELDS = (
    "suite", "version", "title", "summary", "task", "generate", "beside", "inputs", "metrics",
    "headline", "safety", "detectors", "controls", "floors", "requires", "items", "from",
)  # fmt: skip
_ITEM = (
    "id", "prompt", "negative_prompt", "task", "inputs", "beside", "texts", "cluster", "tags",
    "seed", "parameters", "clips",
)  # fmt: skip
_MAKE = ("task", "generator", "prompt", "negative_prompt", "inputs", "seed", "size", "seconds",
         "parameters")  # fmt: skip
_GENERATE = ("size", "seconds", "parameters")
REQUIRED = ("pictures", "sound", "motion")  # motion: at least two frames
# Of an item, a suite or a system: it names files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class MetricSpec:
    name: str  # of a plugin among avsafe.metrics
    parameters: Mapping[str, Any] = field(default_factory=dict)  # keywords of its class


@dataclass(frozen=True)
class Make:
    """An input that a generator makes, through the gate, before the items are asked for."""

    task: Task
    generator: str
    prompt: str = ""
    negative_prompt: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)  # role -> name of another input
    seed: int = 0
    size: tuple[int, int] | None = None  # width, height
    seconds: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One thing that is asked for. Its clip is ``item_id`` with a suffix of media."""

    item_id: str
    prompt: str = ""
    task: Task | None = None  # None: there is nothing to generate, clips are brought
    inputs: Mapping[str, str] = field(default_factory=dict)  # role -> name in SuiteFile.inputs
    texts: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    tags: tuple[str, ...] = ()
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    negative_prompt: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)  # role in Sample.media -> input's name
    clips: tuple[str, ...] = ()  # other names, without suffix, that its clip may have in a folder


@dataclass(frozen=True)
class SuiteFile:
    name: str
    version: str
    title: str
    summary: str
    items: tuple[Item, ...]
    metrics: tuple[MetricSpec, ...]
    headline: tuple[str, ...]  # score names for the leaderboard
    safety: bool  # marks, credential and detectors beside quality (avsafe.bench.safety)
    detectors: bool  # judge labelled folders with every detector (avsafe.bench.detecting)
    seconds: float | None  # what a generator is asked for; None: its own default
    size: tuple[int, int] | None  # width, height, likewise
    parameters: Mapping[str, Any]  # of every request, below those of an item
    inputs: Mapping[str, Make | Path]  # by name: to be made, or a file that is there
    sha256: str  # of the text of the file
    path: Path | None = None  # None: it ships with avsafe
    requires: tuple[str, ...] = ()  # of REQUIRED: a clip without it is unscored as a whole
    notes: tuple[str, ...] = ()  # what a loader left out, and why
    floors: tuple[Floor, ...] = ()  # what is promised of detectors (avsafe.bench.detection)
    controls: tuple[str, ...] = ()  # groups of protocol files that are benign sets, in any cell

    def only(self, ids: frozenset[str]) -> SuiteFile:
        """The same suite with some of its items. UsageError for an id that it has not."""
        unknown = ids - {item.item_id for item in self.items}
        if unknown:
            raise UsageError(f"The suite {self.name} has no item {', '.join(sorted(unknown))}.")
        return replace(self, items=tuple(i for i in self.items if i.item_id in ids))


def names() -> tuple[str, ...]:
    """The suites that ship.

    >>> "t2v" in names()
    True
    """
    folder = resources.files("avsafe.bench").joinpath("suitefiles")
    found = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name[:-5] for name in found if name.endswith(".yaml")))


def load(name_or_path: str | Path) -> SuiteFile:
    """A suite that ships, by name, or one of the user's, by the path of its YAML.

    >>> load("t2v").name
    't2v'
    """
    name = str(name_or_path)
    if name in names():
        text = resources.files("avsafe.bench").joinpath(f"suitefiles/{name}.yaml").read_bytes()
        return parse(text, f"{name}.yaml")
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(
            f"No suite {name!r} (known: {', '.join(names())}). "
            "A suite of your own is named by the path of its .yaml file."
        )
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(text) > MAX_BYTES:
        raise UsageError(f"{path.name} is larger than {MAX_BYTES >> 20} MB; no suite is.")
    return parse(text, path.name, path)


def parse(data: bytes, file: str, path: Path | None = None) -> SuiteFile:
    """The suite of a YAML text; files in it lie beside ``path``."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: byte {error.start} is not UTF-8. Save it as UTF-8.") from error
    top = read(text, file)
    fields = top.mapping(_FIELDS)
    for name in ("suite", "title", "metrics"):
        if name not in fields:
            top.fail(f"the field {name!r} is missing.")
    generate = fields["generate"].mapping(_GENERATE) if "generate" in fields else {}
    inputs = _inputs(fields, path)
    notes: tuple[str, ...] = ()
    items = list(_items(fields, inputs))
    if "from" in fields:
        listing = _listed(fields["from"], path)
        clash = set(inputs) & set(listing.inputs)
        if clash:
            fields["from"].fail(f"the set has inputs that the suite has too: {sorted(clash)[:5]}.")
        inputs |= listing.inputs
        items += [_with_default(item, fields) for item in listing.items]
        notes = listing.notes
    detectors = fields["detectors"].truth() if "detectors" in fields else False
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            place = fields.get("items", fields.get("from", top))
            place.fail(f"the id {item.item_id!r} is there twice.")
        seen.add(item.item_id)
    return SuiteFile(
        name=_id(fields["suite"]),
        version=fields["version"].text() if "version" in fields else "1",
        title=fields["title"].filled(),
        summary=fields["summary"].text() if "summary" in fields else "",
        items=tuple(items),
        metrics=_metrics(fields["metrics"]),
        headline=fields["headline"].texts() if "headline" in fields else (),
        safety=fields["safety"].truth() if "safety" in fields else True,
        detectors=detectors,
        seconds=_seconds(generate),
        size=_size(generate),
        parameters=_parameters(generate),
        inputs=inputs,
        sha256=hashlib.sha256(data).hexdigest(),
        path=path,
        notes=notes,
        requires=_requires(fields["requires"]) if "requires" in fields else (),
        floors=floors.parse(fields["floors"]) if "floors" in fields else (),
        controls=fields["controls"].texts() if "controls" in fields else (),
    )


# ---------------------------------------------------------------- parts


def _metrics(place: Located) -> tuple[MetricSpec, ...]:
    found: dict[str, MetricSpec] = {}
    for entry in place.sequence():
        if isinstance(entry.value, dict):
            fields = entry.mapping(("name", "parameters"))
            if "name" not in fields:
                entry.fail("the metric has no 'name'.")
            spec = MetricSpec(fields["name"].filled(), _parameters(fields))
        else:
            spec = MetricSpec(entry.filled())
        if spec.name in found:
            entry.fail(f"the metric {spec.name!r} is there twice.")
        found[spec.name] = spec
    return tuple(found.values())


def _inputs(fields: Mapping[str, Located], path: Path | None) -> dict[str, Make | Path]:
    found: dict[str, Make | Path] = {}
    if "inputs" not in fields:
        return found
    places = fields["inputs"].mapping()
    for name, place in places.items():
        if not NAME.fullmatch(name):
            place.fail(f"{name!r} cannot name a file: letters, digits, '.', '_' and '-'.")
        entry = place.mapping(("make", "file"))
        if len(entry) != 1:
            place.fail("expected either 'make' or 'file'.")
        if "file" in entry:
            found[name] = _file(entry["file"], path)
            continue
        made = entry["make"].mapping(_MAKE)
        for needed in ("task", "generator"):
            if needed not in made:
                entry["make"].fail(f"the field {needed!r} is missing.")
        found[name] = Make(
            task=_task(made["task"]),
            generator=made["generator"].filled(),
            prompt=made["prompt"].text() if "prompt" in made else "",
            negative_prompt=made["negative_prompt"].text() if "negative_prompt" in made else "",
            inputs=_named(made, "inputs", places),
            seed=made["seed"].whole() if "seed" in made else 0,
            size=_size(made),
            seconds=_seconds(made),
            parameters=_parameters(made),
        )
    for name in found:
        _no_circle(name, found, places)
    return found


def _no_circle(name: str, inputs: Mapping[str, Make | Path], places: Mapping[str, Located]) -> None:
    todo, seen = [name], set[str]()
    while todo:
        made = inputs[todo.pop()]
        for other in made.inputs.values() if isinstance(made, Make) else ():
            if other == name:
                places[name].fail("this input is made from itself.")
            if other not in seen:
                seen.add(other)
                todo.append(other)


def _file(place: Located, path: Path | None) -> Path:
    given = Path(place.filled()).expanduser()
    found = given if given.is_absolute() or path is None else path.parent / given
    if not found.is_file():
        place.fail(f"there is no file {found}. Paths are taken from the folder of the suite.")
    return found


def _items(fields: Mapping[str, Located], inputs: Mapping[str, Make | Path]) -> list[Item]:
    if "items" not in fields:
        return []
    default = _task(fields["task"]) if "task" in fields else None
    sides = fields["beside"].mapping() if "beside" in fields else {}
    found = []
    for place in fields["items"].sequence():
        entry = place.mapping(_ITEM)
        if "id" not in entry:
            place.fail("the item has no 'id'.")
        item_id, prompt = _id(entry["id"]), entry["prompt"].text() if "prompt" in entry else ""
        given = _named(entry, "inputs", inputs)
        beside = {role: given[side.text()] for role, side in sides.items() if side.text() in given}
        texts = entry["texts"].mapping() if "texts" in entry else {}
        found.append(
            Item(
                item_id=item_id,
                prompt=prompt,
                task=_task(entry["task"]) if "task" in entry else default,
                inputs=given,
                texts={name: text.filled() for name, text in texts.items()},
                cluster=entry["cluster"].filled() if "cluster" in entry else item_id,
                tags=entry["tags"].texts() if "tags" in entry else (),
                seed=entry["seed"].whole() if "seed" in entry else 0,
                parameters=_parameters(entry),
                negative_prompt=entry["negative_prompt"].text()
                if "negative_prompt" in entry
                else "",
                beside=beside | _named(entry, "beside", inputs),
                clips=entry["clips"].texts() if "clips" in entry else (),
            )
        )
    return found


def _listed(place: Located, path: Path | None) -> Any:
    from avsafe.bench import loaders

    fields = place.mapping()
    if "set" not in fields or "path" not in fields:
        place.fail("expected 'set' (a name) and 'path' (where it lies).")
    folder = Path(fields["path"].filled()).expanduser()
    if not folder.is_absolute() and path is not None:
        folder = path.parent / folder
    options = {name: item.plain() for name, item in fields.items() if name not in ("set", "path")}
    try:
        return loaders.load(fields["set"].filled(), folder, **options)
    except UsageError as error:
        place.fail(str(error))


def _with_default(item: Item, fields: Mapping[str, Located]) -> Item:
    if item.task is None and "task" in fields:
        return replace(item, task=_task(fields["task"]))
    return item


def _named(entry: Mapping[str, Located], name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    if name not in entry:
        return {}
    found = {}
    for role, place in entry[name].mapping().items():
        found[role] = place.filled()
        if found[role] not in inputs:
            known = ", ".join(list(inputs)[:8]) or "none"
            place.fail(f"no input is called {found[role]!r} (there are: {known}).")
    return found


def _task(place: Located) -> Task:
    try:
        return Task(place.filled())
    except ValueError:
        place.fail(f"{place.value!r} is no task (known: {', '.join(Task)}).")


def _id(place: Located) -> str:
    text = place.filled()
    if not NAME.fullmatch(text):
        place.fail(f"{text!r} cannot name a file: letters, digits, '.', '_' and '-', at most 100.")
    return text


def _size(fields: Mapping[str, Located]) -> tuple[int, int] | None:
    if "size" not in fields:
        return None
    place = fields["size"]
    if not isinstance(place.value, list):
        side = place.whole(1)
        return side, side
    sides = place.sequence()
    if len(sides) != 2:
        place.fail("expected one side, or [width, height].")
    return sides[0].whole(1), sides[1].whole(1)


def _requires(place: Located) -> tuple[str, ...]:
    asked = place.texts()
    unknown = [name for name in asked if name not in REQUIRED]
    if unknown:
        place.fail(f"{unknown[0]!r} cannot be required (known: {', '.join(REQUIRED)}).")
    return asked


def _seconds(fields: Mapping[str, Located]) -> float | None:
    if "seconds" not in fields:
        return None
    value = fields["seconds"].number()
    if not 0 < value < float("inf"):
        fields["seconds"].fail(f"expected more than 0 seconds, found {value:g}.")
    return value


def _parameters(fields: Mapping[str, Located]) -> dict[str, Any]:
    if "parameters" not in fields:
        return {}
    return {name: place.plain() for name, place in fields["parameters"].mapping().items()}

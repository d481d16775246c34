"""A generator asked for every item of a suite, through the gate: decided, marked, signed, logged.

Under ``out``: ``clips/SYSTEM/ITEM.mp4`` with ``ITEM.json`` beside it, ``inputs/NAME.*`` likewise.
The note says which request made the clip, so that nothing is made twice: a clip is used again when
its request is the same, its bytes are, and the registry knows its release.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avsafe import gate, media, plugins
from avsafe.bench.suitefile import NAME, Item, Make, SuiteFile
from avsafe.bench.work import ROLE, Made, Work, made_note, read_made, sample_of
from avsafe.errors import (
    AvsafeError,
    Cancelled,
    Denied,
    LedgerError,
    NeedsReview,
    PolicyError,
    RegistryError,
    UsageError,
)
from avsafe.policy import local_principal
from avsafe.types import Cancelled as CancelledCall
from avsafe.types import (
    GenerationRequest,
    Generator,
    GeneratorInfo,
    InputMedia,
    Kind,
    Progress,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe.workspace import Workspace, open_workspace

_log = logging.getLogger(__name__)
PURPOSE = "benchmark"  # what the policy and the registry are told
_SUFFIX = {Kind.IMAGE: ".png", Kind.VIDEO: ".mp4", Kind.AUDIO: ".wav"}
# Of the details a generator gives, those that say what it made of the prompt.
_TOLD = ("caption", "understood", "ignored", "unused", "notes", "sync")


def make(
    suite: SuiteFile,
    generator: str,
    out: Path,
    *,
    system: str | None = None,
    workspace: Workspace | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
    cancelled: CancelledCall = never_cancelled,
) -> list[Work]:
    """One Work an item, in the order of the suite; ``limit`` takes the first so many.

    An item that the policy denies or sends to review, that the generator refuses or fails at, or
    whose input cannot be made, is a Work with a problem. Those are asked for again by the next run.

    Raises UsageError for an unknown generator or one that does no task of the suite, MissingExtra
    when it cannot be loaded, Cancelled, and PolicyError, RegistryError, LedgerError: what makes
    every further request senseless.
    """
    system = system or generator
    if not NAME.fullmatch(system):
        raise UsageError(f"{system!r} cannot name a folder: letters, digits, '.', '_' and '-'.")
    info = _info(generator)
    items = suite.items[:limit] if limit else suite.items
    tasks = {item.task for item in items if item.task is not None}
    if not tasks & set(info.tasks):
        raise UsageError(
            f"{generator} does nothing of the suite {suite.name}: it does {_listed(info.tasks)}, "
            f"the suite asks for {_listed(tasks) or 'nothing'}."
        )
    folder = out / "clips" / system
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        opened = workspace or stack.enter_context(open_workspace())
        maker = _Maker(suite, out, opened, cancelled)
        works = []
        for number, item in enumerate(items):
            share = _share_of(progress, number, len(items), item.item_id)
            works.append(maker.work(item, generator, system, folder, share))
    progress(1.0, "made")
    return works


def requests(
    suite: SuiteFile, generator: str, out: Path, items: Iterable[str], *, workspace: Workspace
) -> dict[str, GenerationRequest]:
    """What ``make`` asks for, by item id; items without a task or an input are left out."""
    maker = _Maker(suite, out, workspace, never_cancelled)
    wanted, found = set(items), {}
    for item in suite.items:
        if item.item_id in wanted and item.task is not None:
            with suppress(_NotMade):
                found[item.item_id] = maker.request(item, item.task, generator)
    return found


def make_inputs(
    suite: SuiteFile,
    out: Path,
    *,
    workspace: Workspace | None = None,
    progress: Progress = no_progress,
    cancelled: CancelledCall = never_cancelled,
) -> dict[str, Path | str]:
    """The inputs of a suite as files under ``out/inputs``, for systems that run elsewhere: name ->
    file, or the reason why there is none. ``out/items.jsonl`` says what is asked of each item.
    """
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path | str] = {}
    with ExitStack() as stack:
        opened = workspace or stack.enter_context(open_workspace())
        maker = _Maker(suite, out, opened, cancelled)
        for number, name in enumerate(suite.inputs):
            progress(number / len(suite.inputs), name)
            found[name] = maker.input(name)
    lines = [json.dumps(_asked(item, found, out), ensure_ascii=False) for item in suite.items]
    (out / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    progress(1.0, "made")
    return found


def _asked(item: Item, files: Mapping[str, Path | str], out: Path) -> dict[str, Any]:
    def place(name: str) -> str | None:
        path = files.get(name)
        if not isinstance(path, Path):
            return None
        return str(path.relative_to(out) if path.is_relative_to(out) else path)

    return {
        "id": item.item_id, "task": item.task, "prompt": item.prompt,
        "negative_prompt": item.negative_prompt, "seed": item.seed,
        "inputs": {role: place(name) for role, name in item.inputs.items()},
        "texts": dict(item.texts), "parameters": dict(item.parameters),
    }  # fmt: skip


class _NotMade(Exception):
    """There is no clip, and why."""


@dataclass
class _Maker:
    suite: SuiteFile
    out: Path
    workspace: Workspace
    cancelled: CancelledCall

    def __post_init__(self) -> None:
        self._inputs: dict[str, Path | str] = {}

    def work(
        self, item: Item, generator: str, system: str, folder: Path, progress: Progress
    ) -> Work:
        sample = sample_of(self.suite, item, {})
        try:
            if item.task is None:
                raise _NotMade("the suite does not say which task it is")
            suffix = _suffix(item.task, _info(generator))
            target = folder / f"{item.item_id}{suffix}"
            asked = self.request(item, item.task, generator)
            path, made = self._made(asked, target, progress)
            sides = {role: self._needed(name) for role, name in item.beside.items()}
        except _NotMade as error:
            return Work(system, item.item_id, sample, str(error))
        sample = replace(sample, media={**sides, ROLE: path})
        return Work(system, item.item_id, sample, made=made)

    def request(self, item: Item, task: Task, generator: str) -> GenerationRequest:
        size = self.suite.size or (None, None)
        return GenerationRequest(
            principal=local_principal(),
            task=task,
            generator=generator,
            prompt=item.prompt,
            negative_prompt=item.negative_prompt,
            inputs=self._given(item.inputs),
            purpose=PURPOSE,
            seed=item.seed,
            width=size[0],
            height=size[1],
            duration_s=self.suite.seconds,
            parameters={**self.suite.parameters, **item.parameters},
        )

    def input(self, name: str) -> Path | str:
        """The file of an input, made on first use, or the reason why there is none."""
        if name not in self._inputs:
            try:
                self._inputs[name] = self._make_input(name)
            except _NotMade as error:
                self._inputs[name] = str(error)
        return self._inputs[name]

    def _make_input(self, name: str) -> Path:
        source = self.suite.inputs[name]
        if isinstance(source, Path):
            return source
        folder = self.out / "inputs"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            info = _info(source.generator)
        except AvsafeError as error:
            raise _NotMade(str(error)) from error
        asked = self._request_of(source)
        return self._made(asked, folder / f"{name}{_suffix(source.task, info)}", no_progress)[0]

    def _request_of(self, make: Make) -> GenerationRequest:
        return GenerationRequest(
            principal=local_principal(),
            task=make.task,
            generator=make.generator,
            prompt=make.prompt,
            negative_prompt=make.negative_prompt,
            inputs=self._given(make.inputs),
            purpose=PURPOSE,
            seed=make.seed,
            width=make.size[0] if make.size else None,
            height=make.size[1] if make.size else None,
            duration_s=make.seconds,
            parameters=dict(make.parameters),
        )

    def _given(self, inputs: Mapping[str, str]) -> tuple[InputMedia, ...]:
        return tuple(
            InputMedia(media.probe(self._needed(name)), role) for role, name in inputs.items()
        )

    def _needed(self, name: str) -> Path:
        found = self.input(name)
        if isinstance(found, str):
            raise _NotMade(f"its input {name!r} was not made: {found}")
        return found

    def _made(
        self, asked: GenerationRequest, target: Path, progress: Progress
    ) -> tuple[Path, Made]:
        """The released file of a request: the one that is there, or a new one."""
        wanted, note = request_hash(asked), target.with_suffix(".json")
        kept = self._kept(target, wanted)
        if kept is not None:
            return target, kept
        for stale in (target, note, target.with_name(f"{target.name}.c2pa")):
            stale.unlink(missing_ok=True)
        try:
            released = gate.generate(
                asked, target, self.workspace, progress=progress, cancelled=self.cancelled
            )
        except (Cancelled, PolicyError, RegistryError, LedgerError):
            raise
        except Denied as error:
            raise _NotMade(f"denied by the policy: {error}") from error
        except NeedsReview as error:
            raise _NotMade(f"sent to review by the policy: {error}") from error
        except AvsafeError as error:
            raise _NotMade(f"{asked.generator} made nothing: {error}") from error
        except OSError:
            raise  # a full disk is no property of the generator
        except Exception as error:  # a plugin that breaks is one item's problem
            _log.debug("%s failed", asked.generator, exc_info=True)
            raise _NotMade(f"{asked.generator} failed: {error!r}"[:500]) from error
        made = Made(
            release_id=released.release_id,
            cost=dict(released.cost),
            marks=tuple(
                {
                    "modality": str(mark.modality), "algorithm": mark.algorithm,
                    "psnr_db": mark.psnr_db, "snr_db": mark.snr_db,
                }
                for mark in released.marks
            ),
            details={k: v for k, v in released.details.items() if k in _TOLD and _plain(v)}
            | ({"visible_label": text} if (text := released.manifest.visible_label) else {}),
        )  # fmt: skip
        note.write_text(made_note(made, wanted, released.sha256), encoding="utf-8")
        return released.path, made

    def _kept(self, target: Path, wanted: str) -> Made | None:
        made = read_made(target, request=wanted)
        if made is None or self.workspace.registry.get(made.release_id) is None:
            return None
        return made


def request_hash(asked: GenerationRequest) -> str:
    """SHA-256 of everything that decides what is made: generator and version, texts, inputs, seed.
    Not who asks.

    >>> from avsafe.types import Principal
    >>> a = GenerationRequest(Principal("a"), Task.TEXT_TO_VIDEO, "world", "a red ball")
    >>> request_hash(a) == request_hash(replace(a, principal=Principal("b")))
    True
    >>> request_hash(a) == request_hash(replace(a, seed=1))
    False
    """
    info = plugins.generator_info(asked.generator)
    said = {
        "task": asked.task, "generator": asked.generator,
        "version": info.version if info else None, "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "inputs": [(item.role, item.media.sha256) for item in asked.inputs],
        "seed": asked.seed, "size": [asked.width, asked.height], "seconds": asked.duration_s,
        "parameters": {name: repr(value) for name, value in asked.parameters.items()},
    }  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _info(generator: str) -> GeneratorInfo:
    loaded: Generator = plugins.load("generators", generator)
    return loaded.info


def _suffix(task: Task, info: GeneratorInfo) -> str:
    return _SUFFIX[Kind.IMAGE if task is Task.TEXT_TO_IMAGE else info.kind]


def _listed(tasks: Any) -> str:
    return ", ".join(sorted(map(str, tasks)))


def _share_of(progress: Progress, number: int, count: int, name: str) -> Progress:
    """Progress of one item as its share of the whole."""
    progress(number / count, name)
    return lambda fraction, stage: progress((number + min(1.0, fraction)) / count, name)


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True

"""What there is to measure: one Work a clip, from folders or from a generator behind the gate.

Nothing is dropped. An item without a clip, a file that no item asks for, a request that the policy
denied: each is a Work with a ``problem``, which the run reports as unscored and counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import media
from avsafe.bench.suitefile import Item, SuiteFile
from avsafe.errors import UsageError
from avsafe.types import Cancelled, Progress, Sample, never_cancelled, no_progress

if TYPE_CHECKING:
    from avsafe.workspace import Workspace

ROLE = "video"  # of the clip that is measured, in Sample.media
# Files that may lie beside clips and are no clips: notes of a run, credentials, lists, pages.
BESIDE = frozenset((".json", ".jsonl", ".csv", ".yaml", ".yml", ".md", ".html", ".c2pa"))


@dataclass(frozen=True)
class Made:
    """How the gate made a clip: kept beside it, so that a run that is resumed has it too."""

    release_id: str
    cost: Mapping[str, float]  # CPU-seconds per step of the gate
    marks: tuple[Mapping[str, Any], ...]  # modality, algorithm, psnr_db, snr_db
    details: Mapping[str, Any] = field(default_factory=dict)  # caption, understood, ignored...


@dataclass(frozen=True)
class Work:
    """One clip to measure, or the reason why there is none."""

    system: str
    item: str  # pairs it with the clips of other systems
    sample: Sample
    problem: str | None = None
    made: Made | None = None  # when we made it
    of: str = ""  # ``content_hash``: its rows say of what they are


def from_folder(
    suite: SuiteFile,
    system: str,
    folder: Path,
    reference: Path | None = None,
    inputs: Path | None = None,
) -> list[Work]:
    """The clips of a folder that somebody made, one Work for every item of the suite.

    A clip belongs to the item whose id (or other name, ``Item.clips``) stands before its suffix.
    When no file has such a name, clips are taken as they are, one item each, without prompts.
    ``reference`` is a folder of files with the names of the clips; ``inputs`` one of the suite's
    inputs (``making.make_inputs``), for metrics that compare a clip with what it was made from.

    UsageError for a folder that is none or holds no file.
    """
    found = _files(folder)
    references = _by_stem(_files(reference)) if reference is not None else {}
    by_stem = _by_stem(found)
    wanted = {name: item for item in suite.items for name in (item.item_id, *item.clips)}
    if not wanted.keys() & by_stem.keys():
        return [
            _unasked(system, path, folder, references, many=len(by_stem[path.stem]) > 1)
            for path in found
            if not _text_beside(path, by_stem)
        ]
    sides = {name: path for name, path in suite.inputs.items() if isinstance(path, Path)}
    sides |= {path.stem: path for path in _files(inputs)} if inputs is not None else {}
    suite = replace(suite, inputs={**suite.inputs, **sides})
    works, used = [], set[Path]()
    for item in suite.items:
        paths = [p for name in (item.item_id, *item.clips) for p in by_stem.get(name, ())]
        paths = [p for p in dict.fromkeys(paths) if not _text_beside(p, by_stem)]
        used.update(paths)
        problem, path = None, paths[0] if paths else None
        if path is None:
            problem = f"no file {item.item_id}.mp4 in {folder.name}"
        elif len(paths) > 1:
            problem = f"several files for one item: {', '.join(p.name for p in paths)}"
        works.append(_asked(suite, item, system, path, references, problem))
    works += [
        replace(
            _unasked(system, path, folder, {}, many=True),
            problem="its name is that of no item of the suite",
        )
        for path in found
        if path not in used and not _text_beside(path, by_stem)
    ]
    return works


def beside_references(works: list[Work], folder: Path) -> list[Work]:
    """The same works, each with the file of a folder that is named after its item beside it."""
    known = _by_stem(_files(folder))
    return [
        replace(one, sample=replace(
            one.sample, media={**one.sample.media, "reference": known[one.item][0]}
        )) if one.item in known else one
        for one in works
    ]  # fmt: skip


def references(folder: Path) -> list[Work]:
    """All clips of a folder as the reference of set metrics (FVD...), paired with nothing."""
    return [_unasked("reference", path, folder, {}, many=True) for path in _files(folder)]


def from_generator(
    suite: SuiteFile,
    generator: str,
    out: Path,
    *,
    workspace: Workspace | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> list[Work]:
    """Ask a generator for every item of the suite, through the gate (``avsafe.bench.making``)."""
    from avsafe.bench import making

    return making.make(
        suite,
        generator,
        out,
        workspace=workspace,
        limit=limit,
        progress=progress,
        cancelled=cancelled,
    )


def content_hash(work: Work, requires: tuple[str, ...] = ()) -> str:
    """Twelve letters that change with the bytes of any file of a work, its texts and cluster, or
    what the suite asks of it. Where the files lie and how they are called means nothing.

    >>> content_hash(Work("a", "x", Sample("x", {}))) == content_hash(
    ...     Work("a", "x", Sample("x", {}, text="a red ball"))
    ... )
    False
    """
    sample = work.sample
    said = {
        "files": {role: _bytes_of(path) for role, path in sample.media.items()},
        "text": sample.text,
        "texts": dict(sample.texts),
        "cluster": sample.cluster,
        "tags": sorted(sample.tags),
        "problem": work.problem,
        "release": work.made.release_id if work.made else None,
        "requires": sorted(requires),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def _bytes_of(path: Path) -> str:
    try:
        if not path.is_file():
            return "absent"
        seen = path.stat()
        return _sha256(path, seen.st_size, seen.st_mtime_ns)
    except OSError as error:
        return f"unreadable: {error.strerror}"


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Once a file: many items share a reference."""
    return media.sha256_of(path)


def sample_of(suite: SuiteFile, item: Item, files: Mapping[str, Path]) -> Sample:
    """An item as metrics see it; ``files`` has the clip and what plays beside it, by role.

    Its text is what the clip should show: ``target_prompt`` where the item has one, for then its
    prompt is an instruction, which is kept as the text ``instruction``.
    """
    target = item.texts.get("target_prompt", "")
    texts = {**item.texts, "instruction": item.prompt} if target else dict(item.texts)
    given = {
        role: path
        for role, name in item.beside.items()
        if isinstance(path := suite.inputs.get(name), Path)
    }
    return Sample(
        sample_id=item.item_id,
        media={**given, **files},
        text=target or item.prompt,
        tags=item.tags,
        texts=texts,
        cluster=item.cluster or item.item_id,
    )


def made_note(made: Made, request: str, sha256: str) -> str:
    """The text of the note beside a clip that the gate made; ``read_made`` reads it."""
    return json.dumps({"request": request, "sha256": sha256, **asdict(made)}, indent=1) + "\n"


def read_made(path: Path, request: str | None = None) -> Made | None:
    """What the note beside a clip says; None when there is none, or it is of other bytes, or of
    another request than the one whose hash is given."""
    try:
        said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if request is not None and said["request"] != request:
            return None
        if said["sha256"] != media.sha256_of(path):
            return None
        cost = {str(step): float(cpu_s) for step, cpu_s in said["cost"].items()}
        marks = tuple(dict(mark) for mark in said["marks"])
        return Made(str(said["release_id"]), cost, marks, dict(said["details"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _asked(
    suite: SuiteFile,
    item: Item,
    system: str,
    path: Path | None,
    references: Mapping[str, list[Path]],
    problem: str | None,
) -> Work:
    files = {ROLE: path} if path is not None else {}
    for name in (item.item_id, *item.clips, *([path.stem] if path else ())):
        if name in references:
            files["reference"] = references[name][0]
    made = read_made(path) if path is not None else None
    return Work(system, item.item_id, sample_of(suite, item, files), problem, made)


def _unasked(
    system: str, path: Path, folder: Path, references: Mapping[str, list[Path]], *, many: bool
) -> Work:
    """A clip that no item asks for. Its name pairs it; its folder is a tag."""
    inside = path.relative_to(folder)
    name = _readable(inside if many else inside.with_suffix(""))
    files = {ROLE: path}
    if path.stem in references:
        files["reference"] = references[path.stem][0]
    tags = (_readable(Path(inside.parts[0])),) if len(inside.parts) > 1 else ()
    return Work(system, name, Sample(name, files, tags=tags, cluster=name), made=read_made(path))


def _readable(path: Path) -> str:
    r"""A name that any file can hold; bytes that are no UTF-8 are written out.

    >>> _readable(Path(os.fsdecode(bytes([99, 97, 233]))))
    'ca\\xe9'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files(folder: Path) -> list[Path]:
    """Everything in a folder and its subfolders that may be meant as a clip, in order of names."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Pass a folder of clips.")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or (path.is_symlink() and not path.exists()))  # a dead link is said
        and path.suffix.lower() not in BESIDE
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise UsageError(f"There is no file in {folder}. Put the clips there, ITEM.mp4 each.")
    return found


def _by_stem(paths: list[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    return found


def _text_beside(path: Path, by_stem: Mapping[str, list[Path]]) -> bool:
    """``clip.txt`` beside ``clip.mp4`` is a note on it; alone it is a file that is no clip."""
    return path.suffix.lower() == ".txt" and any(
        other.suffix.lower() in media.MIME_BY_SUFFIX for other in by_stem[path.stem]
    )

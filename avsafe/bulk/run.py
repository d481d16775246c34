"""Many files -> verdicts. What was looked at stays so, however often the run is interrupted.

1. take the run's folder; note code, detectors and keys, which together name the run
2. list the files
3. take the answers that stand from the manifest: same run, same path, same size and times
4. look at the others by an executor; each answer is in the manifest before the next is asked for
5. verdicts in the order of paths, the summary, tables
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from avsafe.bulk import listing, looking, state, written
from avsafe.bulk.index import Index
from avsafe.bulk.looking import FileTask
from avsafe.errors import UsageError
from avsafe.home import Home, locked
from avsafe.sharding import executors, nodes
from avsafe.sharding.pace import Pace
from avsafe.sharding.rows import Row, Store, code_hash
from avsafe.types import Progress, no_progress
from avsafe.workspace import Lookup

ROWS, RUN = "rows.jsonl", "run.json"
_KIND = "verdict"
_FIELDS = ("kind", "run", "path")


@dataclass(frozen=True)
class Options:
    """What the command line asks."""

    files: tuple[Path, ...]  # and folders
    out: Path
    home: Home = field(default_factory=Home.default)
    detectors: tuple[str, ...] = ("all",)
    credential_only: bool = False
    jobs: int = 1
    executor: str = "local"
    tables: tuple[str, ...] = ()  # of ``written.TABLES``


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    out: Path
    files: int  # that were to be looked at
    labels: dict[str, int]  # of those that were
    unreadable: dict[str, int]  # kind of error -> files
    failed: int  # could not be looked at: ``failed.jsonl`` says why
    passed_over: dict[str, int]
    new: int  # of this call
    copies: int  # of these, of the same bytes as another file: not looked at again
    warnings: tuple[str, ...]
    written: tuple[Path, ...]


def run(options: Options, progress: Progress = no_progress) -> Outcome:
    """Look at every file that lacks an answer, then write what is known of all.

    Raises UsageError for names and options that make no sense, for a folder that another run
    works in, and for a machine of a cluster that cannot take part. A file that cannot be looked at
    is told, and tried again by the next run.
    """
    written.check(options.tables)
    executor = executors.named(options.executor, options.jobs, apart=True)
    with _taken(options.out), closing(Index()) as index:  # 1
        found = state.of(options.home, options.detectors, credential_only=options.credential_only)
        name = code_hash((), found)
        passed: Counter[str] = Counter()
        progress(0.0, "listing files")
        index.add(  # 2
            listing.find(options.files, skip=options.out, passed=passed, problem=index.problem)
        )
        store = Store(options.out / ROWS, _FIELDS)
        aside = _standing(store, index, name)  # 3
        stood = index.count() - index.waiting()
        warnings = _noted(options, name, found, stood, aside)
        work = _Work(options, name, index, store, progress)
        if len(work):  # 4
            with executor.started():
                _check(executor, options, index)
                executor.run(looking.look_at, work, keep=work.keep, lost=work.lost)
        told = written.write(options.out, index, store, options.tables)  # 5
        outcome = Outcome(
            out=options.out,
            files=index.count(),
            labels=told.labels,
            unreadable=told.unreadable,
            failed=told.failed,
            passed_over=dict(sorted(passed.items())),
            new=work.new,
            copies=work.copies,
            warnings=tuple(warnings),
            written=told.files,
        )
        written.summary(options.out, outcome, found)
        return outcome


class _Work:
    """The tasks of a run, made one by one, and what becomes of them."""

    def __init__(
        self, options: Options, name: str, index: Index, store: Store, progress: Progress
    ) -> None:
        self._options, self._name, self._index, self._store = options, name, index, store
        self._waiting = index.waiting()
        self._pace = Pace(self._waiting, "files", progress)
        self.new = self.copies = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[FileTask]:
        home, detectors = self._options.home.root, self._options.detectors
        for path, stamp in self._index.unanswered():
            known = self._index.known(path, stamp)
            yield FileTask(path, home, detectors, self._options.credential_only, known)

    def keep(self, task: FileTask, answer: Row) -> None:
        if answer["status"] == looking.SAME:
            place = self._index.place_of(task.path, answer["stamp"], answer["sha256"])
            (like,) = self._store.at([place])
            answer = like | {"stamp": answer["stamp"]}
            self.copies += 1
        place = self._store.append(answer | {"kind": _KIND, "run": self._name, "path": task.path})
        if answer["status"] == looking.OK:
            self._index.answer(task.path, place)
            if answer["anyones"]:
                self._index.know(task.path, answer["stamp"], answer["sha256"], place)
            self.new += 1
        else:
            self._index.problem(task.path, answer["reason"])
        self._pace.step()

    def lost(self, task: FileTask, reason: str) -> None:
        self.keep(task, {"status": looking.FAILED, "reason": reason})


def _standing(store: Store, index: Index, name: str) -> int:
    """Tell the index which answers stand; returns how many are of another run."""
    aside = 0

    def mine() -> Iterator[tuple[str, str, int]]:
        nonlocal aside
        for place, row in store.scan():
            if row["kind"] != _KIND or row.get("run") != name:
                aside += 1
            elif row.get("status") == looking.OK:
                if row["anyones"]:
                    index.know(row["path"], row["stamp"], row["sha256"], place)
                yield row["path"], row["stamp"], place

    index.answers(mine())
    return aside


def _check(executor: executors.Executor, options: Options, index: Index) -> None:
    samples = tuple(Path(path) for path in index.ends())
    look = partial(
        state.of_machine,
        options.home.root,
        options.detectors,
        options.credential_only,
        samples,
    )
    nodes.check(executor, look)


def _noted(options: Options, name: str, found: dict[str, str], stood: int, aside: int) -> list[str]:
    """Write run.json; returns warnings about answers of before."""
    path = options.out / RUN
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    with Lookup(options.home).registry() as registry:
        releases = registry.count() if registry else 0
    said = []
    if aside:
        said.append(
            f"{aside} answers in {ROWS} were found with other code, detectors, options or keys: "
            "they are left aside"
        )
    same = isinstance(before, dict) and before.get("run") == name
    began = before.get("releases", releases) if same else releases
    if stood and began != releases:
        said.append(
            f"{stood} answers are of a time when the registry held {began} releases; now it holds "
            f"{releases}. Choose another --out to look again at every file"
        )
    written.json_file(
        path,
        {
            "run": name,
            "state": found,
            "releases": began if stood else releases,
            "given": [str(file) for file in options.files],
            "detectors": list(options.detectors),
            "credential_only": options.credential_only,
        },
    )
    return said


@contextmanager
def _taken(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / ".lock", timeout_s=0.0):
            yield
    except TimeoutError as error:
        raise UsageError(
            f"Another run works in {out}. Wait for its end, or choose another --out."
        ) from error

"""The files of jobs: inputs, and what was released. They lie in the store (``avsafe.objects``).

    jobs/JOB/in-ROLE           as it was given; goes when the job ends
    jobs/JOB/out-ATTEMPT.mp4   signed; served when the job says that it was released
    jobs/JOB/out-ATTEMPT.mp4.c2pa
    jobs/JOB/still.webp

Where the store is a folder of this machine, a worker makes a job right there. Else it works in a
folder in ``work/`` of the state folder, and puts what it signed into the store before anything
calls it released: so a release is never lost with its machine.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from avsafe.errors import ObjectsError
from avsafe.objects import FolderStore, Store, Stored, open_store
from avsafe.server import pages
from avsafe.server.jobs import ENDED, RELEASED, Job, Jobs
from avsafe.server.scratch import scratch
from avsafe.server.scratch import sweep as sweep_scratch
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form
from avsafe.staging import STAGED, Stage

_log = logging.getLogger(__name__)
JOBS = "jobs"
STILL = "still.webp"  # of a release, made when a page first shows it
WORK = "work"  # in the state folder
_ORPHAN = timedelta(hours=1)  # files are put before their job is queued


@dataclass(frozen=True)
class Kept:
    """A file of a job in the store."""

    store: Store
    stored: Stored

    @property
    def suffix(self) -> str:
        return Path(self.stored.key).suffix

    @contextmanager
    def local(self, settings: Settings) -> Iterator[Path]:
        """A file of this machine with the same bytes; a copy goes afterwards."""
        if isinstance(self.store, FolderStore):
            yield self.store.path(self.stored.key)
            return
        with scratch(settings.uploads) as folder:
            path = folder / f"file{self.suffix}"
            self.store.fetch(self.stored.key, path)
            yield path


def store_of(settings: Settings) -> Store:
    """Raises UsageError, MissingExtra."""
    return open_store(settings.home)


def key_of(job_id: str, name: str) -> str:
    """
    >>> key_of("video_1", "in-portrait")
    'jobs/video_1/in-portrait'
    """
    return f"{JOBS}/{job_id}/{name}"


def folder_of(settings: Settings, job_id: str) -> Path:
    """Of a job, where the store is a folder."""
    return settings.home.objects / JOBS / job_id


def keep_inputs(
    settings: Settings, job_id: str, wanted: Mapping[str, Any], form: Form | None
) -> None:
    """Put the uploaded files of a job into the store, before the job is queued."""
    if form is None:
        return
    store = store_of(settings)
    for one in wanted["inputs"]:
        store.put(form.files[one["field"]].path, key_of(job_id, one["file"]))


def kept(settings: Settings, job: Job, name: str) -> Kept | None:
    """One file of a job; None when it is not there."""
    store = store_of(settings)
    stored = store.about(key_of(job.id, name))
    return Kept(store, stored) if stored is not None else None


def still(settings: Settings, kept: Kept) -> bytes:
    """A small picture of it (``pages.still``)."""
    with kept.local(settings) as path:
        return pages.still(path)


def still_of(settings: Settings, job: Job, release: Kept) -> bytes:
    """A small picture of what a job released. It is made once, lies beside the release and goes
    with it."""
    known = kept(settings, job, STILL)
    if known is not None:
        return b"".join(known.store.stream(known.stored.key))
    picture = still(settings, release)
    with scratch(settings.uploads) as folder:
        path = folder / STILL
        path.write_bytes(picture)
        release.store.put(path, key_of(job.id, STILL))
    return picture


def released(settings: Settings, job: Job) -> Kept | None:
    """What a job released, while it is kept."""
    if job.state != RELEASED or job.output is None:
        return None
    return kept(settings, job, job.output)


def forget(settings: Settings, job_id: str) -> None:
    """Remove all files of a job. What a store that does not answer holds back, the sweep takes."""
    try:
        store_of(settings).delete_all(f"{JOBS}/{job_id}")
    except ObjectsError as error:
        _log.warning("the files of a job stay until the next sweep: %s", error)


def tidy(settings: Settings, job: Job) -> None:
    """Remove what a job that ended has beside its release: portraits and voices are not kept."""
    if job.state not in ENDED:
        return
    store = store_of(settings)
    try:
        found = [one.key for one in store.list(f"{JOBS}/{job.id}") if not one.key.endswith("/")]
        store.delete(key for key in found if not _is_of(key, job.output))
    except ObjectsError as error:
        _log.warning("the inputs of a job stay until the next sweep: %s", error)


# ------------------------------------------------------------ for workers


class Workplace:
    """Where one attempt at a job is made. ``output`` is the name of what it may release."""

    def __init__(self, store: Store, job_id: str, folder: Path, output: str) -> None:
        self._store, self._job_id = store, job_id
        self.folder, self.output = folder, output

    def keep(self, stage: Stage) -> None:
        """Have the signed file where it is served from; in a folder its rename does that."""
        if self._store.folder is not None:
            return
        sidecar = stage.sidecar_of(stage.signed)
        if sidecar.exists():
            self._store.put(sidecar, key_of(self._job_id, f"{self.output}.c2pa"))
        self._store.put(stage.signed, key_of(self._job_id, self.output))


@contextmanager
def workplace(settings: Settings, job: Job, suffix: str) -> Iterator[Workplace]:
    """A private folder with the job's inputs, and without what earlier attempts left.

    Raises NotThere when an input is gone.
    """
    store, output = store_of(settings), f"out-{job.attempts}{suffix}"
    listed = [one.key for one in store.list(f"{JOBS}/{job.id}")]
    store.delete(key for key in listed if key.rpartition("/")[2].startswith("out-"))
    if store.folder is not None:
        folder = folder_of(settings, job.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield Workplace(store, job.id, folder, output)
        return
    with scratch(settings.home.root / WORK) as folder:
        for one in job.request.get("inputs", ()):
            store.fetch(key_of(job.id, one["file"]), folder / one["file"])
        yield Workplace(store, job.id, folder, output)


# ------------------------------------------------------------ what time takes away


def sweep(settings: Settings, jobs: Jobs, now: datetime | None = None) -> int:
    """Remove files without a job, what jobs that ended have beside their release, and what dead
    workers left on this machine. Of how many jobs files were removed."""
    sweep_scratch(settings.home.root / WORK)
    now = now or datetime.now(UTC)
    try:
        return sum(_sweep(store_of(settings), jobs, now))
    except (OSError, ObjectsError) as error:
        _log.warning("the files of jobs were not all looked at: %s", type(error).__name__)
        return 0


def _sweep(store: Store, jobs: Jobs, now: datetime) -> Iterator[bool]:
    found: dict[str, list[Stored]] = {}
    for one in store.list(JOBS):
        parts = one.key.split("/")
        if len(parts) > 2:
            found.setdefault(parts[1], []).append(one)
            if len(found) > 500:  # keys come in order, a job's together
                yield from _swept(store, jobs, found, now, parts[1])
    yield from _swept(store, jobs, found, now)


def _swept(
    store: Store, jobs: Jobs, found: dict[str, list[Stored]], now: datetime, but: str = ""
) -> Iterator[bool]:
    """Look at the jobs in ``found``, and leave it empty but for the one that still comes in."""
    known = jobs.kept(found)
    for job_id in [one for one in found if one != but]:
        files = found.pop(job_id)
        if job_id not in known:
            orphan = all(now - one.modified_at > _ORPHAN for one in files)
            if orphan:
                store.delete_all(f"{JOBS}/{job_id}")
            yield orphan
            continue
        state, output = known[job_id]
        if state in ENDED:
            keys = [one.key for one in files if not one.key.endswith("/")]
            rest = [key for key in keys if not _is_of(key, output)]
            store.delete(rest)
            yield bool(rest)


def _is_of(key: str, output: str | None) -> bool:
    """Whether it is the release of a job or belongs to it, or still waits for its name."""
    name = key.rpartition("/")[2]
    if name.startswith(STAGED):
        return True
    return output is not None and name in (output, f"{output}.c2pa", STILL)

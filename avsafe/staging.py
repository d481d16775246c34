"""Where a release is made before it exists, and how a crash is cleaned up.

Every job owns ``staging/RELEASE_ID/`` with an flock'd ``lock`` (held as long as its process lives)
and a ``journal.json`` that names every file it will touch *before* it touches it. Order of truth:

    lock, journal -> ledger intent -> work -> registry row -> ledger outcome "released" -> rename

A job that died before its outcome is undone; one that died after it is carried through. So a file
under its final name always has an outcome and a registry row, and is always whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import UsageError
from avsafe.home import Home, write_private

if TYPE_CHECKING:
    from avsafe.ledger import Ledger
    from avsafe.registry import Registry
    from avsafe.types import Release


@dataclass(frozen=True)
class Stage:
    """The files of one job. ``signed`` lies beside ``final`` so that the rename is atomic."""

    release_id: str
    folder: Path
    final: Path

    @property
    def encoded(self) -> Path:
        return self.folder / f"encoded{self.final.suffix}"

    @property
    def signed(self) -> Path:
        return self.final.with_name(f".{self.final.stem}.{self.release_id}{self.final.suffix}")

    def sidecar_of(self, path: Path) -> Path:
        return path.with_name(path.name + ".c2pa")

    def publish(self, released: Release) -> None:
        """Give a release its name. Takes a Release: only the gate makes one, signed and logged."""
        if released.release_id != self.release_id:
            raise UsageError(f"{released.release_id} is not the release of this stage.")
        self.complete()

    def complete(self) -> None:
        """Rename what was staged; the sidecar first, so that media never lacks it."""
        for staged, final in (
            (self.sidecar_of(self.signed), self.sidecar_of(self.final)),
            (self.signed, self.final),
        ):
            if staged.exists():
                os.replace(staged, final)
        _sync_folder(self.final.parent)

    def discard(self) -> None:
        for leftover in self.final.parent.glob(f".*{self.release_id}*"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def final_path(destination: Path) -> Path:
    """Where the release will stand: absolute, with a format that can be written and signed.

    >>> final_path(Path("clip.doc"))
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: Cannot write '.doc'...
    """
    from avsafe.media import MIME_BY_SUFFIX

    if destination.suffix.lower() not in MIME_BY_SUFFIX:
        known = " ".join(sorted(MIME_BY_SUFFIX))
        raise UsageError(f"Cannot write {destination.suffix!r}; choose one of: {known}.")
    final = destination.absolute()
    if not final.parent.is_dir():
        raise UsageError(f"The folder {final.parent} does not exist. Make it first.")
    return final


@contextmanager
def open_stage(home: Home, ledger: Ledger, release_id: str, final: Path) -> Iterator[Stage]:
    """A locked staging folder for one job; gone afterwards, with all that was not released.

    What the ledger calls released is never taken back: when its rename failed, the stage stays, and
    the next start tries again.
    """
    stage = Stage(release_id, home.staging / release_id, final)
    stage.folder.mkdir(parents=True, mode=0o700)
    with (stage.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        journal = {"release_id": release_id, "final": str(final)}
        write_private(stage.folder / "journal.json", json.dumps(journal).encode())
        try:
            yield stage
        finally:
            if ledger.status(release_id) != "released":
                stage.discard()
            if not stage.signed.exists():
                stage.close()


def recover(home: Home, registry: Registry, ledger: Ledger) -> list[str]:
    """Undo or complete what dead jobs left behind; returns a sentence for each.

    Jobs whose lock is held are alive and left alone.
    """
    done: list[str] = []
    live: set[str] = set()
    for folder in sorted(home.staging.iterdir()) if home.staging.is_dir() else ():
        if not folder.is_dir():
            continue
        with (folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                live.add(folder.name)
                continue
            done.extend(_settle(folder, registry, ledger))
    for release_id in ledger.orphans():
        if release_id not in live:
            _abort(release_id, registry, ledger)
            done.append(f"{release_id}: aborted (its process died)")
    return done


def _settle(folder: Path, registry: Registry, ledger: Ledger) -> Iterator[str]:
    journal = folder / "journal.json"
    if journal.exists():  # without one nothing was begun
        stage = Stage(folder.name, folder, Path(json.loads(journal.read_bytes())["final"]))
        if ledger.status(stage.release_id) == "released":
            try:
                stage.complete()
            except OSError as error:  # the folder is gone or closed to us: keep it for later
                yield f"{stage.release_id}: release waits for its name ({error.strerror})"
                return
            yield f"{stage.release_id}: release completed"
        else:
            stage.discard()
            _abort(stage.release_id, registry, ledger)
            yield f"{stage.release_id}: aborted (its process died)"
    shutil.rmtree(folder, ignore_errors=True)


def _abort(release_id: str, registry: Registry, ledger: Ledger) -> None:
    registry.remove_release(release_id)
    if ledger.status(release_id) == "intent":
        ledger.outcome(release_id, "aborted", {"reason": "the process died before its outcome"})


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

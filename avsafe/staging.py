"""Where a release is made before it exists, and how a crash is cleaned up.

Every job owns ``staging/RELEASE_ID/`` with an flock'd ``lock`` (held as long as its process lives)
and a ``journal.json`` that names every file it will touch *before* it touches it. Order of truth:

    lock, journal -> ledger intent -> work -> registry row -> ledger outcome "released" -> rename

Stages appear, vanish and are recovered under one short lock (``staging.lock`` in the state folder),
so that recovery never meets a stage that is half made. Machines that share a ledger do not see one
another's folders: there a job also holds its release in the ledger (``Ledger.holding``), and what
is held is alive wherever it is.

A job that died before its outcome is undone; one that died after it is carried through. So a file
under its final name always has an outcome and a registry row, and is always whole.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import LedgerError, UsageError
from avsafe.home import Home, flush, locked, write_private

if TYPE_CHECKING:
    from avsafe.ledger import Ledger
    from avsafe.registry import Registry
    from avsafe.types import Release

_SETTLES_S = 5.0  # a database may still be at the last wish of a process that was killed
STAGED = ".avsafe-"  # begins the name of a signed file that waits for its own
LONGEST_NAME = 255 - len(".c2pa")  # bytes; a sidecar's name must fit as well


@dataclass(frozen=True)
class Stage:
    """The files of one job. ``signed`` lies beside ``final`` so that the rename is atomic; its name
    is short whatever the final one is."""

    release_id: str
    folder: Path
    final: Path
    found: str = ""  # what stood under the final name when the job began; "" for nothing

    @property
    def encoded(self) -> Path:
        return self.folder / f"encoded{self.final.suffix}"

    @property
    def signed(self) -> Path:
        return self.final.with_name(f"{STAGED}{self.release_id}{self.final.suffix}")

    def sidecar_of(self, path: Path) -> Path:
        return path.with_name(path.name + ".c2pa")

    def publish(self, released: Release) -> Release:
        """Give a release its name. Takes a Release: only the gate makes one, signed and logged.

        Returns it as it stands: another file that took the name meanwhile is not replaced.
        """
        if released.release_id != self.release_id:
            raise UsageError(f"{released.release_id} is not the release of this stage.")
        path = self.complete()
        if path == self.final:
            return released
        return replace(
            released,
            path=path,
            sidecar=released.sidecar and self.sidecar_of(path),
            warnings=(
                *released.warnings,
                f"Another file took the name {self.final.name} meanwhile: released as {path.name}.",
            ),
        )

    def complete(self) -> Path:
        """Rename what was staged; the sidecar first, so that media never lacks it."""
        final = self.final
        if self.signed.exists() and _identity(final) not in ("", self.found):
            final = final.with_name(f"{final.stem[:40]}.{self.release_id[:8]}{final.suffix}")
        for staged, name in (
            (self.sidecar_of(self.signed), self.sidecar_of(final)),
            (self.signed, final),
        ):
            if staged.exists():
                os.replace(staged, name)
        flush(final.parent)
        return final

    def discard(self) -> None:
        for leftover in self.final.parent.glob(f".*{self.release_id}*"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


Keep = Callable[[Stage], None]


def kept_here(_: Stage) -> None:
    """A Keep: the rename to the final name is all there is to do."""


def final_path(destination: Path) -> Path:
    """Where the release will stand: absolute, writable, in a format that can be written and signed.

    Asked before any work is done: after the ledger's outcome nothing may stand in the way.

    >>> final_path(Path("clip.doc"))
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: Cannot write '.doc'...
    """
    from avsafe.media.writing import WRITABLE

    if destination.suffix.lower() not in WRITABLE:
        known = " ".join(sorted(WRITABLE))
        raise UsageError(f"Cannot write {destination.suffix!r}; choose one of: {known}.")
    final = destination.absolute()
    if not final.parent.is_dir():
        raise UsageError(f"The folder {final.parent} does not exist. Make it first.")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {final.parent} is closed to you. Choose another one.")
    if len(os.fsencode(final.name)) > LONGEST_NAME:
        raise UsageError(f"The name {final.name[:40]}... is longer than {LONGEST_NAME} bytes.")
    if final.is_symlink() or (final.exists() and not final.is_file()):
        raise UsageError(f"{final} is a folder, a link or a device. Name a plain file.")
    return final


@contextmanager
def open_stage(home: Home, ledger: Ledger, release_id: str, final: Path) -> Iterator[Stage]:
    """A locked staging folder for one job; gone afterwards, with all that was not released.

    What the ledger calls released is never taken back: when its rename failed, the stage stays, and
    the next start tries again.
    """
    stage = Stage(release_id, home.staging / release_id, final, _identity(final))
    with ExitStack() as held:
        with _settling(home):
            stage.folder.mkdir(parents=True, mode=0o700)
            lock = held.enter_context((stage.folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not held.enter_context(ledger.holding(release_id)):
                raise UsageError(f"Release {release_id} is being made elsewhere.")
            journal = {"release_id": release_id, "final": str(final), "found": stage.found}
            write_private(stage.folder / "journal.json", json.dumps(journal).encode())
        try:
            yield stage
        finally:
            # The folder is closed, or the ledger cannot be asked: the next start tries again.
            with suppress(OSError, LedgerError):
                if ledger.status(release_id) != "released":
                    stage.discard()
                if not stage.signed.exists():
                    with _settling(home):
                        stage.close()


def recover(home: Home, registry: Registry, ledger: Ledger) -> list[str]:
    """Undo or complete what dead jobs left behind; returns a sentence for each.

    Jobs whose lock is held are alive and left alone.
    """
    done: list[str] = []
    live: set[str] = set()
    with _settling(home):
        orphans = ledger.orphans()  # before the stages: a job has its stage before its intent
        for folder in sorted(home.staging.iterdir()) if home.staging.is_dir() else ():
            if not folder.is_dir():
                continue
            with (folder / "lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    live.add(folder.name)
                    continue
                with ledger.holding(folder.name, _SETTLES_S) as ours:
                    if ours:  # else another machine is undoing it: the next start finds it undone
                        done.extend(_settle(folder, registry, ledger))
                    live.add(folder.name)
        for release_id in orphans:
            if release_id in live:
                continue
            with ledger.holding(release_id) as ours:
                if ours and _abort(release_id, registry, ledger):
                    done.append(f"{release_id}: aborted (its process died)")
    return done


def _settle(folder: Path, registry: Registry, ledger: Ledger) -> Iterator[str]:
    journal = folder / "journal.json"
    if journal.exists():  # without one nothing was begun
        noted = json.loads(journal.read_bytes())
        stage = Stage(folder.name, folder, Path(noted["final"]), noted.get("found", ""))
        released = ledger.status(stage.release_id) == "released"
        if not released and _abort(stage.release_id, registry, ledger):
            yield f"{stage.release_id}: aborted (its process died)"
        try:
            if released:
                yield f"{stage.release_id}: release completed as {stage.complete().name}"
            else:
                stage.discard()
        except OSError as error:  # the folder is gone or closed to us: keep the stage for later
            what = "release waits for its name" if released else "leftovers wait for removal"
            yield f"{stage.release_id}: {what} ({error.strerror})"
            return
    shutil.rmtree(folder, ignore_errors=True)


def _abort(release_id: str, registry: Registry, ledger: Ledger) -> bool:
    """Undo a job that died before its outcome; False when it has one, or never had an intent."""
    status = ledger.status(release_id)
    if status == "intent":  # first: from here on nobody can call it released
        ledger.outcome(release_id, "aborted", {"reason": "the process died before its outcome"})
    if status != "released":
        registry.remove_release(release_id)
    return status == "intent"


def _settling(home: Home) -> AbstractContextManager[None]:
    return locked(home.staging.with_name("staging.lock"))


def _identity(path: Path) -> str:
    """Which file stands under a name, and in which state; "" when none does."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"

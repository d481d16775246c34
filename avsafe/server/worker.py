"""A worker: takes jobs from the queue and runs them through the gate, one at a time.

Killed at any moment it leaves nothing undone: its lease runs out and another worker takes the job,
on this machine or another. Order of truth:

    ledger intent -> work -> signed file in the store -> its release noted at the job
        -> registry row -> ledger outcome "released" -> report

So whoever takes the job asks the ledger what became of the release that was noted: it is reported
when it counts, made again when it does not, and left alone while its maker may still live.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import gate
from avsafe.consent import ConsentRegister
from avsafe.consenting import Consenting
from avsafe.errors import AvsafeError, Cancelled, Denied, NeedsReview, ObjectsError, Withdrawn
from avsafe.objects import NotThere
from avsafe.provenance import outbox
from avsafe.registry.database import Database
from avsafe.registry.index import WORTH, Index
from avsafe.resemblance import of_team
from avsafe.server import asked, files
from avsafe.server.jobs import (
    CANCELLED,
    DENIED,
    DIED,
    FAILED,
    LEASE_S,
    MAX_ATTEMPTS,
    RELEASED,
    REVIEW,
    REVOKED,
    Job,
    Jobs,
    Lost,
    consents_of,
)
from avsafe.server.observed import events, traces
from avsafe.server.people import People
from avsafe.server.plain import told, where
from avsafe.server.settings import Settings
from avsafe.staging import Stage, recover
from avsafe.types import RELEASING, Decision
from avsafe.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from types import FrameType

_log = logging.getLogger(__name__)
BEAT_S = LEASE_S / 6
IDLE_S = 0.5
SWEEP_S = 900.0  # between two looks for what is kept no longer
LATER_S = 20.0  # before a job is tried again whose store did not answer
LEFT = {"code": "user_left", "message": "Who asked was suspended, or left the team."}
NO_STORE = {"code": "storage_failed", "message": "The store of files refused or did not answer."}
NO_INPUT = {"code": "input_lost", "message": "A file that was given to it is there no longer."}


def run(settings: Settings, *, until_empty: bool = False) -> None:
    """Work until SIGTERM (the job in hand is given back), or until the queue is empty.

    Raises ObjectsError when the store of files does not answer at the start.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    home = settings.home.ensure()
    files.store_of(settings).check()
    swept_at = -math.inf
    with (
        traces.sending(settings.traces, "worker"),
        Database.open(home.database) as database,
        open_workspace(home) as workspace,
    ):
        worker = Worker(name, settings, database, workspace, stopping)
        while not stopping.is_set():
            if time.monotonic() - swept_at > SWEEP_S:
                swept_at = time.monotonic()
                recover(home, workspace.registry, workspace.ledger)
                sweep(settings, Jobs(database))
                _sweep_embeddings(Consenting(home, database))
                _index(workspace)
            if not worker.once():
                if until_empty:
                    return
                stopping.wait(IDLE_S)


def sweep(settings: Settings, jobs: Jobs, now: datetime | None = None) -> int:
    """Take away what is kept no longer: jobs that ended ``keep_days`` ago with prompt and files,
    pictures that nobody fetched, files without a job. Of how many jobs files were removed."""
    now = now or datetime.now(UTC)
    abandoned = now - max(timedelta(hours=1), timedelta(seconds=2 * settings.wait_s))
    jobs.expire(now - timedelta(days=settings.keep_days), abandoned)
    return files.sweep(settings, jobs, now)


def _index(workspace: Workspace) -> None:
    """Bring an index of fingerprints that somebody began up to date, when many are missing."""
    index = Index(workspace.home.index)
    if not index.begun:
        return
    try:
        index.update(workspace.registry.database, least=WORTH)
    except (AvsafeError, OSError) as error:  # look-ups read the database meanwhile
        _log.warning("the index of fingerprints was not brought up to date: %s", where(error))


def _sweep_embeddings(consenting: Consenting) -> None:
    try:
        consenting.sweep()
    except AvsafeError as error:
        _log.warning("embeddings of ended consents stay until the next sweep: %s", where(error))


class Worker:
    """``once`` takes one job."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        database: Database,
        workspace: Workspace,
        stopping: threading.Event,
    ) -> None:
        self._name, self._settings, self._stopping = name, settings, stopping
        self._jobs, self._people = Jobs(database), People(database)
        self._workspace = workspace

    def once(self) -> bool:
        """False when there was nothing to do."""
        job = self._jobs.claim(self._name)
        if job is None:
            return False
        with events.attempt(job) as told:
            try:
                self._do(job)
            except Lost:
                told.lost()
                return True
            after = self._jobs.get(job.id)
            told.ended(after)
            if after is None:
                files.forget(self._settings, job.id)
            else:
                files.tidy(self._settings, after)
        return True

    def _do(self, job: Job) -> None:
        if self._settled(job):
            return
        if job.cancel:  # of a release that was complete it is too late
            self._jobs.end(job, CANCELLED)
            return
        try:
            with (
                self._alive(job) as pulse,
                files.workplace(self._settings, job, asked.suffix(job.request)) as place,
            ):
                self._make(job, place, pulse)
        except NotThere:
            self._jobs.end(job, FAILED, error=NO_INPUT)
        except ObjectsError as error:
            _log.warning("%s", error)
            if job.attempts >= MAX_ATTEMPTS:
                self._jobs.end(job, FAILED, error=NO_STORE)
            else:  # whoever is free then takes it again
                self._jobs.beat(job, stage="waiting for storage", lease_s=LATER_S)

    def _settled(self, job: Job) -> bool:
        """Whether an earlier attempt decided it: by a release whose worker died before it could
        say so, or by too many deaths. Raises Lost while a release may still become one."""
        if job.attempts == 1:
            return False
        workspace = self._workspace
        recover(workspace.home, workspace.registry, workspace.ledger)
        if job.release_id is not None:
            match workspace.ledger.status(job.release_id):
                case "released":
                    self._report(job, job.release_id, job.output)
                    return True
                case "intent":  # its worker lives, or its machine is not yet known to be gone
                    raise Lost(job.id)
        if job.attempts > MAX_ATTEMPTS:
            self._jobs.end(job, FAILED, error=DIED)
            return True
        return False

    def _report(self, job: Job, release_id: str, output: str | None) -> None:
        record = self._workspace.registry.get(release_id)
        decision = dict(record.decision) if record is not None else None
        if record is not None and files.store_of(self._settings).folder is None:
            # It waits for no time stamp: that would be set on a file of this machine.
            outbox.forget(self._workspace.home.keys, record.manifest_id)
        self._jobs.end(job, RELEASED, output=output, release_id=release_id, decision=decision)

    def _make(self, job: Job, place: files.Workplace, pulse: _Pulse) -> None:
        workspace = self._workspace
        identity = self._people.of_user(job.user_id, job.team)
        given = visible(workspace.home.consent, job)
        pulse.consents = consents_of(job)

        def keep(stage: Stage) -> None:
            place.keep(stage)
            self._jobs.keeping(job, stage.release_id, place.output)

        with events.Stages("job") as stages:
            try:
                if identity is None:
                    raise AvsafeError("The user is no longer in the team.")
                wanted = asked.request(
                    dict(job.request) | {"consent_ids": given},
                    identity.principal,
                    place.folder,
                    job.approval,
                )
                made = gate.generate(
                    wanted,
                    place.folder / place.output,
                    workspace_of(workspace, identity.daily_quota),
                    progress=events.each(pulse.progress, stages),
                    cancelled=pulse.cancelled,
                    keep=keep,
                )
            except (Lost, ObjectsError):
                raise
            except Withdrawn:
                self._jobs.end(job, DENIED, error=REVOKED)
            except (Denied, NeedsReview) as error:
                state, decision = DENIED if isinstance(error, Denied) else REVIEW, error.decision
                self._jobs.end(job, state, error=refusal(decision), decision=_plain(decision))
            except Cancelled:
                if pulse.lost:
                    raise Lost(job.id) from None
                if pulse.revoked:
                    self._jobs.end(job, DENIED, error=REVOKED)
                    return
                if pulse.left:
                    self._jobs.end(job, DENIED, error=LEFT)
                    return
                if self._stopping.is_set() and not pulse.cancel:
                    self._jobs.give_back(job)
                else:
                    self._jobs.end(job, CANCELLED)
            except AvsafeError as error:
                root = self._settings.home.root
                self._failed(job, {"code": _code(error), "message": told(error, root)})
            except Exception as error:
                events.failed("job", error)
                self._failed(job, {"code": "internal_error", "message": type(error).__name__})
            else:
                self._report(job, made.release_id, made.path.name)

    def _failed(self, job: Job, error: dict[str, Any]) -> None:
        """It failed, unless that was after its release: nothing takes that back."""
        noted = self._jobs.get(job.id) or job
        release_id = noted.release_id
        if release_id is not None and self._workspace.ledger.status(release_id) == "released":
            self._report(job, release_id, noted.output)
        else:
            self._jobs.end(job, FAILED, error=error)

    @contextmanager
    def _alive(self, job: Job) -> Iterator[_Pulse]:
        register = ConsentRegister(self._workspace.home.consent)
        pulse = _Pulse(self._jobs, self._people, job, self._stopping, register)
        pulse.start()
        try:
            yield pulse
        finally:
            pulse.stop()


class _Pulse:
    """Says that the worker lives while the gate is busy, and hears when it is to stop."""

    def __init__(
        self,
        jobs: Jobs,
        people: People,
        job: Job,
        stopping: threading.Event,
        register: ConsentRegister,
    ) -> None:
        self._jobs, self._people, self._job, self._stopping = jobs, people, job, stopping
        self._register = register
        self.consents: tuple[str, ...] = ()  # that the job stands on
        self._progress, self._stage = 0, "starting"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)
        self._asked_at = 0.0
        self.cancel, self.lost, self.revoked, self.left = False, False, False, False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def progress(self, fraction: float, stage: str) -> None:
        self._progress, self._stage = int(100 * fraction), stage
        if stage == RELEASING:  # the last look is a fresh one
            self._asked_at = -math.inf

    def cancelled(self) -> bool:
        """Asked by the gate between steps; looks at the queue once a second at most."""
        if time.monotonic() - self._asked_at > 1.0:
            self._beat()
            self.revoked = self.revoked or not all(map(self._live, self.consents))
            self.left = self.left or not self._welcome()
        ended = self.cancel or self.lost or self.revoked or self.left
        return ended or self._stopping.is_set()

    def _welcome(self) -> bool:
        """Who was suspended or left the team while a job runs gets no release of it. A job of a
        suspended user that just begins is the policy's to deny: this looks at what runs."""
        identity = self._people.of_user(self._job.user_id, self._job.team)
        return identity is not None and not identity.account.suspended

    def _live(self, record_id: str) -> bool:
        """A consent that is withdrawn while a job runs stops it, up to the moment of release."""
        try:
            record = self._register.get(record_id)
        except AvsafeError:
            return False
        return record is None or record.state(datetime.now(UTC)) == "live"  # None: the gate says so

    def _beat_on(self) -> None:
        while not self._done.wait(BEAT_S):
            self._beat()

    def _beat(self) -> None:
        self._asked_at = time.monotonic()
        try:
            self.cancel = self._jobs.beat(self._job, progress=self._progress, stage=self._stage)
        except Lost:
            self.lost = True
        except AvsafeError as error:  # the database is busy: the lease allows several tries
            _log.warning("no sign of life could be given: %s", where(error))


def visible(consents: Path, job: Job) -> list[str]:
    """The consents that a job names and its team may use: another team's counts as not given."""
    register = ConsentRegister(consents)
    found = []
    for one in job.request.get("consent_ids", ()):
        try:
            record = register.get(one)
        except AvsafeError:
            record = None  # damaged: not given
        if record is not None and of_team(record.granted_by, job.team):
            found.append(one)
    return found


def workspace_of(workspace: Workspace, daily_quota: int | None) -> Workspace:
    """With the team's quota, where it has one."""
    from dataclasses import replace

    return workspace if daily_quota is None else replace(workspace, daily_quota=daily_quota)


def refusal(decision: Decision) -> dict[str, Any]:
    """What a client is told of a denial or a review: stable code, reasons, appeal."""
    return {
        "code": decision.rules[0] if decision.rules else "denied",
        "message": " ".join(decision.reasons),
        "rules": list(decision.rules),
        "appeal": decision.appeal,
    }


def _plain(decision: Decision) -> dict[str, Any]:
    return {
        "effect": str(decision.effect),
        "rules": list(decision.rules),
        "reasons": list(decision.reasons),
        "obligations": [str(one) for one in decision.obligations],
        "risk": dict(decision.risk),
        "appeal": decision.appeal,
        "proposals": list(decision.details.get("proposals", ())),
    }


def _code(error: AvsafeError) -> str:
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(error).__name__)
    return words.lstrip("_")

"""A worker: takes jobs from the queue and runs them through the gate, one at a time.

Killed at any moment it leaves nothing undone: its lease runs out, another worker takes the job,
``staging.recover`` undoes or completes what was half made, and a release that was complete is
found under its name instead of being made again.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
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
from avsafe.errors import AvsafeError, Cancelled, Denied, NeedsReview
from avsafe.media import sha256_of
from avsafe.registry.database import Database
from avsafe.server import asked
from avsafe.server.jobs import (
    CANCELLED,
    DENIED,
    ENDED,
    FAILED,
    LEASE_S,
    RELEASED,
    REVIEW,
    Job,
    Jobs,
    Lost,
)
from avsafe.server.observed import events, traces
from avsafe.server.people import People
from avsafe.server.plain import told, where
from avsafe.server.settings import Settings
from avsafe.staging import recover
from avsafe.types import RELEASING, Decision
from avsafe.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from types import FrameType

_log = logging.getLogger(__name__)
JOBS = "jobs"  # folder in objects/, one folder a job
BEAT_S = LEASE_S / 6
IDLE_S = 0.5
SWEEP_S = 900.0  # between two looks for what is kept no longer
LEFT = {"code": "user_left", "message": "Who asked was suspended, or left the team."}
REVOKED = {"code": "consent_revoked", "message": "A consent that it stands on was withdrawn."}


def folder_of(settings: Settings, job_id: str) -> Path:
    """Inputs and released file of a job."""
    return settings.home.objects / JOBS / job_id


def run(settings: Settings, *, until_empty: bool = False) -> None:
    """Work until SIGTERM (the job in hand is given back), or until the queue is empty."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    home = settings.home.ensure()
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
                sweep(settings, Jobs(database))
            if not worker.once():
                if until_empty:
                    return
                stopping.wait(IDLE_S)


def sweep(settings: Settings, jobs: Jobs, now: datetime | None = None) -> int:
    """Take away what is kept no longer: jobs that ended ``keep_days`` ago with prompt and files,
    pictures that nobody fetched, inputs of jobs that ended, files without a job. How many folders
    were removed."""
    now = now or datetime.now(UTC)
    hour = timedelta(hours=1)
    abandoned = now - max(hour, timedelta(seconds=2 * settings.wait_s))
    jobs.expire(now - timedelta(days=settings.keep_days), abandoned)
    removed, root = 0, settings.home.objects / JOBS
    for folder in root.iterdir() if root.is_dir() else ():
        try:
            job = jobs.get(folder.name)
            if job is not None:
                if job.state in ENDED:
                    forget_inputs(settings, job.id)
                continue
            if now.timestamp() - folder.stat().st_mtime > hour.total_seconds():
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        except OSError as error:
            _log.warning("a folder of a job was not looked at: %s", type(error).__name__)
    return removed


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
                forget_files(self._settings, job.id)
            elif after.state in ENDED:
                forget_inputs(self._settings, job.id)
        return True

    def _do(self, job: Job) -> None:
        folder = folder_of(self._settings, job.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        workspace = self._workspace
        if job.attempts > 1:
            recover(workspace.home, workspace.registry, workspace.ledger)
            if (done := self._made_before(folder)) is not None:
                self._jobs.end(job, RELEASED, **done)
                return
        if job.cancel:  # of a release that was complete it is too late
            self._jobs.end(job, CANCELLED)
            return
        for left in folder.glob("out-*"):
            left.unlink()
        identity = self._people.of_user(job.user_id, job.team)
        given = visible(self._workspace.home.consent, job)
        with self._alive(job) as pulse, events.Stages("job") as stages:
            pulse.consents = tuple(job.request.get("consent_ids", ()))
            try:
                if identity is None:
                    raise AvsafeError("The user is no longer in the team.")
                wanted = asked.request(
                    dict(job.request) | {"consent_ids": given},
                    identity.principal,
                    folder,
                    job.approval,
                )
                made = gate.generate(
                    wanted,
                    folder / f"out-{job.attempts}{asked.suffix(job.request)}",
                    workspace_of(workspace, identity.daily_quota),
                    progress=events.each(pulse.progress, stages),
                    cancelled=pulse.cancelled,
                )
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
                problem = {"code": _code(error), "message": told(error, root)}
                self._jobs.end(job, FAILED, error=problem)
            except Exception as error:
                _log.error("job %s failed: %s", job.id, where(error))
                problem = {"code": "internal_error", "message": type(error).__name__}
                self._jobs.end(job, FAILED, error=problem)
            else:
                self._jobs.end(
                    job,
                    RELEASED,
                    output=made.path.name,
                    release_id=made.release_id,
                    decision=_plain(made.decision),
                )

    def _made_before(self, folder: Path) -> dict[str, Any] | None:
        """The release that an earlier attempt completed before its worker died."""
        for path in sorted(folder.glob("out-*")):
            record = self._workspace.registry.by_sha256(sha256_of(path))
            if record is not None:
                return {
                    "output": path.name,
                    "release_id": record.release_id,
                    "decision": dict(record.decision),
                }
        return None

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


def of_team(granted_by: str, team: str) -> bool:
    """Whether who entered a consent (``team/name``, or a name of the installation's own) did so
    for this team too."""
    given, slash, _ = granted_by.partition("/")
    return not slash or given == team


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


def released_file(settings: Settings, job: Job) -> Path | None:
    """What a job released, while it is kept."""
    if job.state != RELEASED or job.output is None:
        return None
    path = folder_of(settings, job.id) / job.output
    return path if path.is_file() else None


def forget_files(settings: Settings, job_id: str) -> None:
    """Remove what a job left on disk."""
    shutil.rmtree(folder_of(settings, job_id), ignore_errors=True)


def forget_inputs(settings: Settings, job_id: str) -> None:
    """Remove the files that were given to a job: portraits and voices are not kept after its
    end."""
    for path in folder_of(settings, job_id).glob("in-*"):
        path.unlink(missing_ok=True)


def _plain(decision: Decision) -> dict[str, Any]:
    return {
        "effect": str(decision.effect),
        "rules": list(decision.rules),
        "reasons": list(decision.reasons),
        "obligations": [str(one) for one in decision.obligations],
        "risk": dict(decision.risk),
        "appeal": decision.appeal,
    }


def _code(error: AvsafeError) -> str:
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(error).__name__)
    return words.lstrip("_")

"""The queue of the service: jobs with leases, so that a worker may die and no job is lost.

    queued -> running -> released | denied | failed | cancelled
                      -> review -> queued (approved) | denied
    running, lease run out -> running again, by another worker; failed after ``MAX_ATTEMPTS``

A worker holds a job by its lease and says every few seconds that it lives. Whatever it reports
counts only while the lease is its own. Just before a release becomes one its id is noted at the
job (``keeping``): whoever takes the job after a crash asks the ledger what became of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from avsafe.errors import AvsafeError, RegistryError, UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import jobs
from avsafe.server.observed import events

QUEUED, RUNNING, REVIEW = "queued", "running", "review"
RELEASED, DENIED, FAILED, CANCELLED = "released", "denied", "failed", "cancelled"
ENDED = (RELEASED, DENIED, FAILED, CANCELLED)
# Endpoints. A program waits for IMAGES and SPEECH and takes them; the same asked for on the PAGES
# is kept. Videos are VIDEOS wherever they were asked for.
VIDEOS, IMAGES, SPEECH, PAGES = "videos", "images", "speech", "pages"
WAITED = (IMAGES, SPEECH)
_ID = re.compile(r"video_[0-9a-f]{32}")
REVOKED = {"code": "consent_revoked", "message": "A consent that it stands on was withdrawn."}
LEASE_S = 60.0
MAX_ATTEMPTS = 3
DIED = {"code": "worker_died", "message": "Its worker died, several times."}


class Lost(AvsafeError):
    """The lease ran out and another worker has the job."""


class TooMany(AvsafeError):
    """The team has as many unfinished jobs as it may have."""


class Conflict(UsageError):
    """An idempotency key that was used for another request."""


@dataclass(frozen=True)
class Job:
    id: str
    created_at: datetime
    updated_at: datetime
    user_id: str
    team: str
    endpoint: str
    request: Mapping[str, Any]
    state: str
    progress: int = 0  # percent
    stage: str = ""
    attempts: int = 0
    worker: str | None = None
    cancel: bool = False
    finished_at: datetime | None = None
    output: str | None = None
    release_id: str | None = None
    error: Mapping[str, Any] | None = None
    decision: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    lease_until: datetime | None = field(default=None)


class Jobs:
    """The jobs of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        user_id: str,
        team: str,
        endpoint: str,
        request: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        job_id: str | None = None,
        most: int | None = None,
    ) -> tuple[Job, bool]:
        """Queue a job; with a key that the user gave before, the job of then and False.

        The key counts within the team. Raises Conflict when that one asked for something else,
        TooMany when ``most`` jobs of the team have not ended, UsageError for a text that no
        database keeps.
        """
        _keepable(request)
        now = datetime.now(UTC)
        if idempotency_key is not None:  # as a hash: it may be anything, and is of one team
            idempotency_key = hashlib.sha256(f"{team}/{idempotency_key}".encode()).hexdigest()
        values = {
            "id": job_id or new_id(),
            "created_at": now,
            "updated_at": now,
            "user_id": user_id,
            "team": team,
            "endpoint": endpoint,
            "idempotency_key": idempotency_key,
            "request": dict(request),
            "state": QUEUED,
            "progress": 0,
            "stage": "",
            "attempts": 0,
            "cancel": False,
        }
        try:
            with self._database.writing(turn=f"queue of {team}") as connection:
                if earlier := _earlier(connection, user_id, idempotency_key):
                    return _same(earlier, endpoint, request), False
                if most is not None and _unfinished(connection, team) >= most:
                    raise TooMany(f"{most} jobs of this team have not ended: wait, or cancel some.")
                connection.execute(insert(jobs).values(values))
                made = _get(connection, str(values["id"]))
        except RegistryError as error:  # two requests with one key in the same instant
            if not isinstance(error.__cause__, IntegrityError) or idempotency_key is None:
                raise
            with self._database.reading() as connection:
                found = _earlier(connection, user_id, idempotency_key)
            if found is None:
                raise
            return _same(found, endpoint, request), False
        events.queued(made)
        return made, True

    def get(self, job_id: str, team: str | None = None) -> Job | None:
        """One job; None when there is none, or it is another team's."""
        if not _ID.fullmatch(job_id):
            return None
        with self._database.reading() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        job = _job(row) if row is not None else None
        return job if job is not None and team in (None, job.team) else None

    def list(
        self, team: str | None, *, limit: int = 20, after: str | None = None,
        newest_first: bool = True, states: tuple[str, ...] = (), endpoint: str | None = None,
    ) -> tuple[Job, ...]:  # fmt: skip
        """Jobs of a team (None: of all), from the one after ``after``."""
        order = jobs.c.created_at, jobs.c.id
        query = select(jobs).limit(limit)
        query = query.order_by(*(c.desc() for c in order) if newest_first else order)
        if team is not None:
            query = query.where(jobs.c.team == team)
        if states:
            query = query.where(jobs.c.state.in_(states))
        if endpoint:
            query = query.where(jobs.c.endpoint == endpoint)
        with self._database.reading() as connection:
            if after is not None:
                if not _ID.fullmatch(after):
                    return ()
                row = connection.execute(select(jobs).where(jobs.c.id == after)).first()
                if row is None or team not in (None, row.team):
                    return ()
                later = or_(
                    jobs.c.created_at < row.created_at
                    if newest_first
                    else jobs.c.created_at > row.created_at,
                    and_(
                        jobs.c.created_at == row.created_at,
                        jobs.c.id < row.id if newest_first else jobs.c.id > row.id,
                    ),
                )
                query = query.where(later)
            return tuple(_job(row) for row in connection.execute(query))

    def kept(self, job_ids: Iterable[str]) -> dict[str, tuple[str, str | None]]:
        """State and output of those of these jobs that there are."""
        query = select(jobs.c.id, jobs.c.state, jobs.c.output).where(jobs.c.id.in_(tuple(job_ids)))
        with self._database.reading() as connection:
            return {row.id: (row.state, row.output) for row in connection.execute(query)}

    def counts(self, team: str | None = None) -> dict[str, int]:
        """How many jobs (of a team) are in each state."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        if team is not None:
            query = query.where(jobs.c.team == team)
        with self._database.reading() as connection:
            return {state: int(n) for state, n in connection.execute(query)}

    def unfinished(self, team: str) -> int:
        """How many jobs of a team have not ended."""
        with self._database.reading() as connection:
            return _unfinished(connection, team)

    def released_by(self, team: str, release_ids: Iterable[str]) -> frozenset[str]:
        """Which of these releases are of the team's jobs."""
        query = select(jobs.c.release_id).where(
            jobs.c.team == team, jobs.c.release_id.in_(tuple(release_ids))
        )
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def of_team(self, team: str, job_ids: Iterable[str]) -> frozenset[str]:
        """Which of these are jobs of the team."""
        query = select(jobs.c.id).where(jobs.c.team == team, jobs.c.id.in_(tuple(job_ids)))
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    # ------------------------------------------------------------ for workers

    def claim(self, worker: str, *, lease_s: float = LEASE_S) -> Job | None:
        """The next job, held by a lease: the oldest that is queued or whose worker fell silent.

        One that fell silent too often is ended instead of given out, unless its last worker was
        about to release: then it is given out once more, to look.
        """
        while True:
            now = datetime.now(UTC)
            silent = and_(jobs.c.state == RUNNING, jobs.c.lease_until < now)
            query = (
                select(jobs)
                .where(or_(jobs.c.state == QUEUED, silent))
                .order_by(jobs.c.created_at, jobs.c.id)
                .limit(1)
            )
            with self._database.reading() as connection:  # an idle queue costs no write
                if connection.execute(query.with_only_columns(jobs.c.id)).first() is None:
                    return None
            with self._database.writing() as connection:
                # PostgreSQL: what another worker is taking is passed over; on SQLite writers are
                # alone.
                row = connection.execute(query.with_for_update(skip_locked=True)).first()
                if row is None:
                    return None
                job = _job(row)
                exhausted = job.state == RUNNING and job.attempts >= MAX_ATTEMPTS
                if exhausted and job.release_id is None:
                    _end(connection, job.id, FAILED, error=DIED)
                    continue
                connection.execute(
                    update(jobs)
                    .where(jobs.c.id == job.id)
                    .values(
                        state=RUNNING,
                        worker=worker,
                        attempts=job.attempts + 1,
                        lease_until=now + timedelta(seconds=lease_s),
                        updated_at=now,
                        stage="starting",
                    )
                )
                return _get(connection, job.id)

    def beat(
        self, job: Job, *, progress: int | None = None, stage: str | None = None,
        lease_s: float = LEASE_S,
    ) -> bool:  # fmt: skip
        """Say that the worker lives; True when the job is to be cancelled. Raises Lost."""
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "lease_until": now + timedelta(seconds=lease_s),
            "updated_at": now,
        }
        if progress is not None:
            values["progress"] = max(0, min(99, progress))
        if stage is not None:
            values["stage"] = stage[:64]
        with self._database.writing() as connection:
            if not connection.execute(update(jobs).where(_mine(job)).values(values)).rowcount:
                raise Lost(f"Job {job.id} is no longer this worker's.")
            return bool(
                connection.execute(select(jobs.c.cancel).where(jobs.c.id == job.id)).scalar()
            )

    def keeping(self, job: Job, release_id: str, output: str) -> None:
        """Note what is about to be released, and under which name it is kept. Raises Lost."""
        values = {"release_id": release_id, "output": output, "updated_at": datetime.now(UTC)}
        with self._database.writing() as connection:
            if not connection.execute(update(jobs).where(_mine(job)).values(values)).rowcount:
                raise Lost(f"Job {job.id} is no longer this worker's.")

    def end(self, job: Job, state: str, **values: Any) -> None:
        """Report how it ended, or that it waits for review. Raises Lost."""
        with self._database.writing() as connection:
            held = select(jobs.c.id).where(_mine(job)).with_for_update()
            if connection.execute(held).first() is None:
                raise Lost(f"Job {job.id} is no longer this worker's.")
            _end(connection, job.id, state, **values)

    def give_back(self, job: Job) -> None:
        """Put a job back into the queue, not counting this attempt. Raises Lost."""
        values = {"state": QUEUED, "worker": None, "lease_until": None, "stage": "", **_UNRELEASED,
                  "attempts": job.attempts - 1, "updated_at": datetime.now(UTC)}  # fmt: skip
        with self._database.writing() as connection:
            if not connection.execute(update(jobs).where(_mine(job)).values(values)).rowcount:
                raise Lost(f"Job {job.id} is no longer this worker's.")

    # ------------------------------------------------------------ what time takes away

    def expire(self, before: datetime, abandoned_before: datetime) -> tuple[str, ...]:
        """Take jobs that ended before ``before`` out, with their prompts; their ids.

        A review that nobody decided until then ends. A picture that a program waited for and did
        not fetch (it, or the server, went away) goes at ``abandoned_before``.
        """
        ended = jobs.c.state.in_(ENDED)
        left = and_(jobs.c.endpoint.in_(WAITED), jobs.c.approval.is_(null()))
        gone = or_(
            and_(ended, jobs.c.finished_at < before),
            and_(ended, left, jobs.c.finished_at < abandoned_before),
            and_(jobs.c.state == QUEUED, left, jobs.c.created_at < abandoned_before),
        )
        stale = and_(jobs.c.state == REVIEW, jobs.c.updated_at < before)
        with self._database.reading() as connection:  # mostly there is nothing
            if connection.execute(select(jobs.c.id).where(or_(gone, stale))).first() is None:
                return ()
        error = {"code": "review_expired", "message": "Nobody looked at it in time."}
        with self._database.writing() as connection:
            out = select(jobs.c.id).where(gone).limit(1000).with_for_update(skip_locked=True)
            found = tuple(connection.execute(out).scalars())
            connection.execute(delete(jobs).where(jobs.c.id.in_(found)))
            held = select(jobs.c.id).where(stale).with_for_update(skip_locked=True)
            for job_id in connection.execute(held).scalars().all():
                _end(connection, job_id, DENIED, error=error)
        if found:
            self._database.truncate_log()
        return found

    # ------------------------------------------------------------ for people

    def cancel(self, job_id: str) -> Job:
        """Ask for the end of a job: at once when it waits, within its next step when it runs.

        Raises UsageError when it has ended.
        """
        with self._database.writing() as connection:
            job = _get(connection, job_id, held=True)
            if job.state in ENDED:
                raise UsageError(f"The job has ended ({job.state}).")
            if job.state == RUNNING:
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(cancel=True))
            else:
                _end(connection, job_id, CANCELLED)
            return _get(connection, job_id)

    def decide(
        self, job_id: str, *, approved: bool, reviewer: str, reason: str,
        seen: Iterable[str] | None = None, bind: Iterable[str] = (),
        note: Callable[[Sequence[str], Sequence[str]], object] = lambda _rules, _bound: None,
    ) -> Job:  # fmt: skip
        """End a review: approved, the job is queued again with who said so; or it is denied.

        ``seen`` are the rules that the reviewer was shown, ``bind`` the proposed consents that
        cover the files. ``note`` is told of the rules and of what is bound before any of it takes
        effect. Raises UsageError when it does not wait for review, no reason is given, other rules
        ask for it meanwhile, or a proposal is approved unbound.
        """
        if not reason.strip():
            raise UsageError("A review needs a reason.")
        _keepable({"reason": reason})  # before the ledger is told
        now = datetime.now(UTC)
        with self._database.writing() as connection:
            job = _get(connection, job_id, held=True)
            if job.state != REVIEW:
                raise UsageError(f"The job does not wait for review ({job.state}).")
            said = {"reviewer": reviewer, "reason": reason.strip()[:2000], "at": now.isoformat()}
            rules = list((job.decision or {}).get("rules", []))
            if approved:
                binds = _bound((job.decision or {}).get("proposals", ()), set(bind))
                if seen is not None and set(rules) != set(seen):
                    raise UsageError("Other rules ask for a review now. Load it again.")
                note(rules, sorted({consent for _, consent in binds}))
                values = {"state": QUEUED, "attempts": 0, "updated_at": now, "error": None,
                          "approval": said | {"rules": rules, "binds": binds}}  # fmt: skip
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
            else:
                note(rules, [])
                message = "A reviewer denied it."
                error = dict(job.error or {}) | {"code": "review_denied", "message": message}
                _end(connection, job_id, DENIED, error=error, approval=said)
            return _get(connection, job_id)

    def stop_for_consent(self, record_id: str) -> int:
        """Deny what waits and stands on a consent that was withdrawn; how many that were."""
        waiting = select(jobs).where(jobs.c.state.in_((QUEUED, REVIEW))).with_for_update()
        with self._database.writing() as connection:
            found = [
                row.id for row in connection.execute(waiting) if record_id in consents_of(_job(row))
            ]
            for job_id in found:
                _end(connection, job_id, DENIED, error=dict(REVOKED))
            return len(found)

    def delete(self, job_id: str) -> None:
        """Take a job that has ended out, with its prompt. Raises UsageError while it has not."""
        with self._database.writing() as connection:
            job = _get(connection, job_id, held=True)
            if job.state not in ENDED:
                raise UsageError(f"The job has not ended ({job.state}): cancel it first.")
            connection.execute(delete(jobs).where(jobs.c.id == job_id))
        self._database.truncate_log()


_UNRELEASED = {"release_id": None, "output": None}


def consents_of(job: Job) -> tuple[str, ...]:
    """What it stands on: consents that were named, bound by a reviewer, or proposed to one."""
    bound = [consent for _, consent in (job.approval or {}).get("binds", ())]
    proposed = [one["consent"] for one in (job.decision or {}).get("proposals", ())]
    waits = proposed if job.state == REVIEW else []
    return tuple(dict.fromkeys((*job.request.get("consent_ids", ()), *bound, *waits)))


def _bound(proposals: Iterable[Mapping[str, Any]], bind: set[str]) -> list[list[str]]:
    """File and consent, for each proposal. Raises UsageError unless exactly those are bound."""
    wanted = {str(one["consent"]) for one in proposals}
    if beyond := sorted(bind - wanted):
        raise UsageError(f"{beyond[0][:40]!r} was not proposed for this request.")
    if wanted - bind:
        raise UsageError(
            "A consent is proposed: bind it when it is of the person in the file, or deny."
        )
    return [[str(one["sha256"]), str(one["consent"])] for one in proposals]


def new_id() -> str:
    return f"video_{secrets.token_hex(16)}"


def _keepable(request: Mapping[str, Any]) -> None:
    """JSON that PostgreSQL takes: no zero byte, no half of a surrogate pair. The same rule for
    both, so that a request does not depend on the database."""
    try:
        told = json.dumps(dict(request), ensure_ascii=False)
        told.encode()
    except UnicodeEncodeError:
        told = "\\u0000"
    if "\\u0000" in told.replace("\\\\", ""):
        raise UsageError("The text holds a character that cannot be kept.")


def _mine(job: Job) -> Any:
    return and_(
        jobs.c.id == job.id,
        jobs.c.state == RUNNING,
        jobs.c.worker == job.worker,
        jobs.c.attempts == job.attempts,
    )


def _end(connection: Connection, job_id: str, state: str, **values: Any) -> None:
    now = datetime.now(UTC)
    ended: dict[str, Any] = {"finished_at": now} if state in ENDED else {}
    ended |= {"progress": 100} if state == RELEASED else _UNRELEASED
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(state=state, updated_at=now, lease_until=None, **ended, **values)
    )


def _get(connection: Connection, job_id: str, *, held: bool = False) -> Job:
    """A job; ``held``: nobody else changes it before this transaction ends."""
    query = select(jobs).where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if held else query).first()
    if row is None:
        raise UsageError(f"There is no job {job_id!r}.")
    return _job(row)


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)


def _unfinished(connection: Connection, team: str) -> int:
    query = select(func.count()).where(jobs.c.team == team, jobs.c.state.not_in(ENDED))
    return int(connection.execute(query).scalar_one())


def _earlier(connection: Connection, user_id: str, key: str | None) -> Job | None:
    if key is None:
        return None
    same = and_(jobs.c.user_id == user_id, jobs.c.idempotency_key == key)
    row = connection.execute(select(jobs).where(same)).first()
    return _job(row) if row is not None else None


def _same(job: Job, endpoint: str, request: Mapping[str, Any]) -> Job:
    def said(value: Mapping[str, Any]) -> str:
        """Files lie under another name each time; their hashes are what counts."""
        inputs = [{k: v for k, v in one.items() if k != "file"} for one in value.get("inputs", ())]
        return json.dumps(dict(value) | {"inputs": inputs}, sort_keys=True)

    if job.endpoint != endpoint or said(job.request) != said(request):
        raise Conflict("This idempotency key was used for another request.")
    return job

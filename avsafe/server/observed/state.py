"""What the database says of the service: asked by metrics at each scrape, and by the doctor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from avsafe.errors import AvsafeError
from avsafe.registry.database import Database
from avsafe.registry.schema import jobs

if TYPE_CHECKING:
    from avsafe.server.settings import Settings

STATES = ("queued", "running", "review", "released", "denied", "failed", "cancelled")
LATELY = timedelta(minutes=10)


@dataclass(frozen=True)
class Queue:
    """Jobs by state, and how the queue moves."""

    states: dict[str, int] = field(default_factory=dict)
    oldest_queued_s: float = 0.0  # how long the first in the queue has waited
    silent: int = 0  # that run, with a lease that ran out
    workers: int = 0  # that reported lately


def queue(database: Database, now: datetime | None = None) -> Queue:
    """Raises RegistryError."""
    now = now or datetime.now(UTC)
    running = jobs.c.state == "running"
    recent = and_(jobs.c.worker.is_not(None), jobs.c.updated_at > now - LATELY)
    with database.reading() as connection:
        found = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
        states = dict.fromkeys(STATES, 0) | {state: int(n) for state, n in found}
        oldest = connection.execute(
            select(func.min(jobs.c.updated_at)).where(jobs.c.state == "queued")
        ).scalar()
        silent = connection.execute(
            select(func.count()).where(running, jobs.c.lease_until < now)
        ).scalar_one()
        workers = connection.execute(
            select(func.count(jobs.c.worker.distinct())).where(recent)
        ).scalar_one()
    waited = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    return Queue(states, waited, int(silent), int(workers))


class StateCollector:
    """Metrics of the database, for a registry of prometheus_client. Where it cannot be reached
    there is ``avsafe_database_up 0``, and nothing invented."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database: Database | None = None

    def describe(self) -> list[Any]:
        return []  # what there is depends on the database

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        up = GaugeMetricFamily("avsafe_database_up", "Whether the database answered this scrape.")
        try:
            found, entries = self._queue(), self._entries()
        except AvsafeError:
            self.close()
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        if found is not None:
            by_state = GaugeMetricFamily("avsafe_jobs", "Jobs by state.", labels=["state"])
            for state, n in found.states.items():
                by_state.add_metric([state], n)
            yield by_state
            for name, text, value in (
                ("queue_age_seconds", "How long the oldest queued job has waited.",
                 found.oldest_queued_s),
                ("jobs_silent", "Running jobs whose lease has run out.", found.silent),
                ("workers_seen", "Workers that reported in the last ten minutes.", found.workers),
            ):  # fmt: skip
                gauge = GaugeMetricFamily(f"avsafe_{name}", text)
                gauge.add_metric([], value)
                yield gauge
        if entries is not None:
            appended = CounterMetricFamily("avsafe_ledger_entries", "Entries of the ledger.")
            appended.add_metric([], entries)
            yield appended

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _queue(self) -> Queue | None:
        if not self._settings.generate:
            return None
        if self._database is None:
            self._database = Database.open(self._settings.home.ensure().database)
        return queue(self._database)

    def _entries(self) -> int | None:
        from avsafe.ledger import Ledger

        home = self._settings.home
        if not Ledger.exists(home.log):
            return None
        with Ledger.open(home.log, home.keys) as ledger:
            return len(ledger)

"""What a person decides of a job, in the queue and in the ledger at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from avsafe import acts
from avsafe.acts import Actor, Acts
from avsafe.registry.database import Database
from avsafe.server import files
from avsafe.server.jobs import Job, Jobs
from avsafe.server.people import Identity, NotAllowed
from avsafe.server.settings import Settings


class Decisions:
    """Of one service."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self.jobs = settings, Jobs(database)
        self._acts = Acts(settings.home, database)

    def stop(self, job_id: str, who: Identity) -> Job:
        """Cancel a job; its inputs go with it, unless a worker still reads them. Raises UsageError
        when it has ended."""
        by = self._acts.by(actor(who))
        job = self.jobs.cancel(job_id)
        self._acts.note(acts.CANCELLED, job_id, by, state=job.state)
        files.tidy(self._settings, job)
        return job

    def review(
        self, job: Job, who: Identity, *, approved: bool, reason: str, seen: Iterable[str] | None,
        bind: Iterable[str] = (),
    ) -> Job:  # fmt: skip
        """End a review (``Jobs.decide``); inputs of what is denied go. Raises NotAllowed for a
        request of one's own, UsageError."""
        if job.user_id == who.account.id:
            raise NotAllowed("A request is reviewed by somebody else than who made it.")
        by = self._acts.by(actor(who))

        def note(rules: Sequence[str], bound: Sequence[str]) -> None:
            verdict = "approved" if approved else "denied"
            self._acts.note(
                acts.REVIEWED, job.id, by, verdict=verdict, rules=[*rules], bound=[*bound]
            )

        done = self.jobs.decide(
            job.id, approved=approved, reviewer=who.account.name, reason=reason, seen=seen,
            bind=bind, note=note,
        )  # fmt: skip
        files.tidy(self._settings, done)
        return done


def actor(who: Identity) -> Actor:
    """Whose act it is: an id that stays when the name changes."""
    return Actor(who.account.id, who.account.name)

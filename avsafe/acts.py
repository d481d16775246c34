"""What people decide, in the ledger: reviews, cancelled jobs, consents and what becomes of them.

An entry stands under the id of what was decided on: a job, a consent, a protection. Who decided is
a salted hash; the salt lies in the registry, so that a person can be erased from a log that cannot
be changed. Reasons are personal text: they stay in the queue.

What allows something is written before it takes effect, what forbids something after: in between a
crash leaves less allowed than the log says, never more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avsafe.ledger import WITHDRAWN, Ledger, personal

if TYPE_CHECKING:
    from avsafe.home import Home
    from avsafe.ledger import Entry
    from avsafe.registry.database import Database

REVIEWED, CANCELLED = "reviewed", "cancelled"  # of a job
RECORDED, EXPIRED_USE, RECEIPT = "consent-recorded", "consent-expired-use", "consent-receipt"
EMBEDDED, FORGOTTEN = "embedding-stored", "embedding-deleted"
PROTECTED, UNPROTECTED = "protection-recorded", "protection-ended"
TYPES = (
    REVIEWED, CANCELLED, RECORDED, WITHDRAWN, EXPIRED_USE, RECEIPT, EMBEDDED, FORGOTTEN, PROTECTED,
    UNPROTECTED,
)  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """Who decides: an id that stays the same, and a name."""

    id: str
    name: str


class Acts:
    """Of one state folder; its database is open."""

    def __init__(self, home: Home, database: Database) -> None:
        self._home, self._database = home, database

    def forget(self, person: str) -> bool:
        """Erase the salt of somebody's hashes, by the id of the actor. False when there is none."""
        from avsafe.registry.salts import Salts

        return Salts(self._database).forget(person)

    def by(self, actor: Actor) -> str:
        """The hash that stands for somebody. Not to be asked inside a transaction of the
        registry."""
        from avsafe.registry.salts import Salts

        return personal(actor.name, Salts(self._database).of(actor.id))

    def note(self, type_: str, subject: str, by: str | None, **body: Any) -> Entry:
        """Append one. Durable when it returns. Raises LedgerError."""
        said: Mapping[str, Any] = body if by is None else {"by": by, **body}
        with Ledger.open(self._home.log, self._home.keys) as ledger:
            return ledger.append(type_, subject, said)

    def noted(self, type_: str, subject: str, **body: Any) -> bool:
        """Whether there is one that says so."""
        with Ledger.open(self._home.log, self._home.keys) as ledger:
            return any(
                entry.type == type_ and body.items() <= dict(entry.body).items()
                for entry in ledger.entries(subject)
            )


def expired_uses(ledger: Ledger, release_id: str, consent_ids: tuple[str, ...]) -> None:
    """A request stood on consents that had run out or were withdrawn."""
    for one in consent_ids:
        ledger.append(EXPIRED_USE, one, {"release_id": release_id})

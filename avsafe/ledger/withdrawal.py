"""Nothing that stands on a withdrawn consent is released: the log refuses the outcome, and whoever
verifies it sees that it did.

A consent stands in the log under its own id, where a release has its release id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from avsafe.errors import Withdrawn
from avsafe.ledger.entries import Entry, Problem, parse_leaf
from avsafe.ledger.storage import Storage

WITHDRAWN = "consent-withdrawn"


def refuse(rows: Storage, release_id: str) -> None:
    """Inside the transaction that would append the outcome "released". Raises Withdrawn."""
    found = rows.first(
        "SELECT leaf FROM entries WHERE release_id = ? AND type = 'intent'", (release_id,)
    )
    for one in _consents(parse_leaf(found[0]).body) if found else ():
        if rows.first(
            "SELECT seq FROM entries WHERE release_id = ? AND type = ? LIMIT 1", (one, WITHDRAWN)
        ):
            raise Withdrawn(f"The consent {one} was withdrawn before the release.")


class Withdrawals:
    """What ``check`` knows of them: read once, then followed entry by entry."""

    def __init__(self, rows: Storage) -> None:
        self._rows = rows
        self._at: dict[str, int] = dict(
            rows.all(
                "SELECT release_id, MIN(seq) FROM entries WHERE type = ? GROUP BY release_id",
                (WITHDRAWN,),
            )
        )
        self._asked: dict[str, tuple[str, ...]] = {}  # of intents that are open

    def follow(self, entry: Entry, intent_seq: int | None) -> Iterable[Problem]:
        """What is wrong with an entry; ``intent_seq`` is where its intent stands, while open."""
        if not self._at:
            return
        if entry.type == "intent":
            self._asked[entry.release_id] = _consents(entry.body)
        elif entry.type == "outcome":
            asked = self._asked.pop(entry.release_id, None)
            if entry.body.get("status") != "released":
                return
            for one in self._stored(intent_seq) if asked is None else asked:
                if self._at.get(one, entry.seq) < entry.seq:
                    yield Problem(
                        entry.seq,
                        f"release {entry.seq} stands on {one}, withdrawn at {self._at[one]}",
                    )

    def _stored(self, seq: int | None) -> tuple[str, ...]:
        """Of an intent that was checked in an earlier pass."""
        row = self._rows.first("SELECT leaf FROM entries WHERE seq = ?", (seq,))
        try:
            return _consents(parse_leaf(row[0]).body) if row else ()
        except (ValueError, KeyError, TypeError, RecursionError):
            return ()


def _consents(body: Mapping[str, Any]) -> tuple[str, ...]:
    named = body.get("consent_ids", ())
    return tuple(str(one) for one in named) if isinstance(named, list) else ()

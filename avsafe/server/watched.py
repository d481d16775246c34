"""The ledger as its page looks at it: whole once in a while, at each visit only what came after.

What was found is kept in the memory of this process: nobody who can write the log can write that.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avsafe.ledger import Ledger, Verification
    from avsafe.ledger.entries import Reached

WHOLE_S = 3600.0  # between two looks at the whole log: 40,000 entries take a second


@dataclass(frozen=True)
class Look:
    """``found`` is of now; its first ``size`` entries were read at ``at`` and not since."""

    found: Verification
    size: int
    at: datetime


class Watch:
    """Shared by the threads of a process, of which one looks at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached: Reached | None = None
        self._at = datetime.now(UTC)
        self._due = 0.0

    def look(self, ledger: Ledger) -> Look:
        """Verify what is new; everything when that is long ago, or when something is wrong."""
        with self._lock:
            if self._reached is not None and time.monotonic() < self._due:
                found = ledger.verify(since=self._reached)
                if found.ok:
                    return Look(found, self._reached.size, self._at)
            now, found = datetime.now(UTC), ledger.verify()
            self._reached, self._at = found.reached, now
            self._due = time.monotonic() + WHOLE_S
            return Look(found, found.size, now)

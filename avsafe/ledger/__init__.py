"""The append-only, tamper-evident log: what was decided and what was released.

``Ledger`` writes and proves; ``personal`` turns a person's words into something a leaf may hold.
"""

from avsafe.ledger.entries import Consistency, Entry, Inclusion, Problem, Verification, personal
from avsafe.ledger.log import Ledger
from avsafe.ledger.withdrawal import WITHDRAWN

__all__ = [
    "WITHDRAWN",
    "Consistency",
    "Entry",
    "Inclusion",
    "Ledger",
    "Problem",
    "Verification",
    "personal",
]

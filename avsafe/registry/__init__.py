"""The durable store: releases, manifests, soft bindings, fingerprints, quota.

Names are loaded when first used: the sandbox imports ``avsafe.registry.fingerprint`` and must not
pay for SQLAlchemy (a quarter of a CPU-second).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.registry.records import Match as Match
    from avsafe.registry.records import ReleaseRecord as ReleaseRecord
    from avsafe.registry.records import Reservation as Reservation
    from avsafe.registry.store import Registry as Registry

_HOME_OF = {
    "Match": "records",
    "Registry": "store",
    "ReleaseRecord": "records",
    "Reservation": "records",
}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)

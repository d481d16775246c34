"""The durable store: releases, manifests, soft bindings, fingerprints, quota.

Names are loaded when first used: the sandbox imports ``avsafe.registry.fingerprint`` and must not
pay for SQLAlchemy (a quarter of a CPU-second).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsafe.registry.records import Match, ReleaseRecord, Reservation
    from avsafe.registry.store import Registry

__all__ = ["Match", "Registry", "ReleaseRecord", "Reservation"]


def __getattr__(name: str) -> Any:
    if name == "Registry":
        from avsafe.registry.store import Registry

        return Registry
    if name in __all__:
        from avsafe.registry import records

        return getattr(records, name)
    raise AttributeError(name)

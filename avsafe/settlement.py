"""How a job ends when it does not end well: the ledger's outcome, the registry, the quota."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avsafe.errors import AvsafeError, Cancelled, Denied, NeedsReview, Withdrawn
from avsafe.home import Home
from avsafe.media import sha256_of
from avsafe.types import Approval, Decision, Effect
from avsafe.workspace import Workspace


@contextmanager
def settled(workspace: Workspace, release_id: str, user: str) -> Iterator[int]:
    """Reserve one of the user's releases for today and yield how many were used before.

    When the block raises, the registry row is removed, the reservation is given back (a denied
    request keeps it, so that probing the policy is not free) and the ledger gets the outcome.
    """
    reservation = workspace.registry.reserve(user)
    try:
        yield reservation.used_before
    except BaseException as error:
        status = workspace.ledger.status(release_id)
        kept = status == "released" or isinstance(error, Denied | NeedsReview)
        workspace.registry.settle(reservation.id, kept=kept)
        if status != "released":  # after that outcome there is only forward (staging.recover)
            workspace.registry.remove_release(release_id)
        if status == "intent":
            workspace.ledger.outcome(release_id, _status(error), _reason(error))
        raise
    workspace.registry.settle(reservation.id, kept=True)


def refuse_unless_allowed(decision: Decision, approval: Approval | None = None) -> None:
    """Raise Denied or NeedsReview, in the words of the rules that decided.

    An approval lets a review pass when it names every rule that asks for it: one that a changed
    policy adds was not looked at.
    """
    if decision.effect is Effect.ALLOW:
        return
    words = " ".join(decision.reasons)
    rules = ", ".join(decision.rules)
    appeal = f" Appeal: {decision.appeal}" if decision.appeal else ""
    if decision.effect is Effect.REVIEW:
        if approval is not None and set(decision.rules) <= set(approval.rules):
            return
        raise NeedsReview(f"A reviewer must look first: {words} ({rules}){appeal}", decision)
    raise Denied(f"Denied: {words} ({rules}){appeal}", decision)


def stamped(home: Home, manifest_id: str, path: Path) -> str | None:
    """A released file got its time stamp later, and with it another hash: ledger, then registry.

    Returns the release id, or None when the manifest is no release of this home.
    """
    from avsafe.ledger import Ledger
    from avsafe.registry import Registry

    if not Registry.exists(home.database):
        return None
    with Registry.open(home.database) as registry, Ledger.open(home.log, home.keys) as ledger:
        record = registry.by_manifest(manifest_id)
        if record is None:
            return None
        sha256 = sha256_of(path)
        ledger.append("stamped", record.release_id, {"sha256": sha256, "before": record.sha256})
        registry.set_sha256(record.release_id, sha256)
        return record.release_id


def _status(error: BaseException) -> str:
    match error:
        case Denied() | Withdrawn():
            return "denied"
        case NeedsReview():
            return "review"
        case Cancelled() | KeyboardInterrupt():
            return "cancelled"
        case _:
            return "failed"


def _reason(error: BaseException) -> dict[str, object]:
    """A reason without personal text: rule texts, or the error class and what it stands for."""
    if isinstance(error, Denied | NeedsReview):
        return {"rules": list(error.decision.rules), "reasons": list(error.decision.reasons)}
    meaning = type(error).__doc__ if isinstance(error, AvsafeError) else "an unexpected error"
    return {"error": type(error).__name__, "reason": meaning}

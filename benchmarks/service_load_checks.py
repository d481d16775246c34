"""What must hold after the load: files, registry, ledger, queue and folders tell one story."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any


def checks(home: Any, jobs: list[str], files: dict[str, bytes], folder: Path) -> dict[str, Any]:
    """``files`` are the downloaded releases by job. Times of jobs beside the checks."""
    from avsafe.ledger import Ledger
    from avsafe.media import sha256_of
    from avsafe.registry import Registry
    from avsafe.registry.database import Database
    from avsafe.server.jobs import Jobs
    from avsafe.verify import verify
    from avsafe.workspace import Lookup

    folder.mkdir()
    with Database.open(home.database) as database:
        rows = {job_id: Jobs(database).get(job_id) for job_id in jobs}
    found = [row for row in rows.values() if row is not None]
    states = Counter(row.state for row in found)
    releases = [row.release_id for row in found if row.release_id]
    signed, hashes = 0, {}
    for row in found:
        path = folder / f"{row.id}.mp4"
        path.write_bytes(files.get(row.id, b""))
        verdict = verify(path, Lookup(home), detectors=("none",))
        ours = [e for e in verdict.evidence if e.source == "watermark.video"]
        marked = bool(ours) and ours[0].details.get("release_id") == row.release_id
        signed += verdict.label == "synthetic-declared" and marked
        hashes[row.release_id] = sha256_of(path)
    with Registry.open(home.database) as registry, Ledger.open(home.log, home.keys) as ledger:
        registered = {r.release_id: r for r in registry.list(limit=100_000)}
        said = Counter((e.type, e.release_id) for e in ledger.entries())
        outcomes = Counter(
            e.release_id for e in ledger.entries()
            if e.type == "outcome" and e.body.get("status") == "released"
        )  # fmt: skip
        ends = Counter(str(e.body.get("status")) for e in ledger.entries() if e.type == "outcome")
        whole, orphans = ledger.verify(), ledger.orphans()
    others = set(registered) - set(releases)  # made before the load, as material
    same = sum(r in registered and registered[r].sha256 == hashes[r] for r in releases)
    left = {
        name: sorted(p.name for p in (home.root / name).iterdir() if p.name != ".ready")
        for name in ("uploads", "staging")
        if (home.root / name).is_dir()
    }
    n = len(jobs)
    list_of = [
        one("every job was taken once", len(set(jobs)) == n == len(found), f"{n} jobs"),
        one("every job ended released", states == {"released": n}, dict(states)),
        one("each under a release of its own", len(set(releases)) == n, len(set(releases))),
        one("every released file is signed and marked", signed == n, f"{signed} of {n}"),
        one("files are those of the registry", same == n, f"{same} of {n}"),
        one("the registry has no other release", len(others) == 2, f"{len(others)} as material"),
        one("the ledger released each once",
            outcomes == dict.fromkeys(registered, 1), dict(ends)),
        one("every intent has one outcome",
            all(said["outcome", r] == 1 for kind, r in said if kind == "intent") and not orphans,
            f"{len(orphans)} open"),
        one("the ledger verifies", whole.ok, f"{whole.size} entries"),
        one("nothing is left in uploads and staging", not any(left.values()), left),
    ]  # fmt: skip
    seconds = sorted((r.finished_at - r.created_at).total_seconds() for r in found if r.finished_at)
    return {
        "checks": list_of,
        "jobs": {
            "n": n,
            "p50_s": round(seconds[len(seconds) // 2], 1) if seconds else None,
            "p95_s": round(seconds[int(0.95 * (len(seconds) - 1))], 1) if seconds else None,
            "attempts": dict(Counter(row.attempts for row in found)),
        },
    }


def one(name: str, ok: bool, seen: Any) -> dict[str, Any]:
    return {"name": name, "ok": bool(ok), "seen": seen}

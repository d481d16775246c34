"""What ``avsafe doctor`` says of the service: settings, disk, keys, database, queue, provider.

Like the rest of the doctor it only reads: no table is made or migrated, no provider is called.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.cli.doctor import Finding
from avsafe.errors import AvsafeError
from avsafe.home import Home, begun

if TYPE_CHECKING:
    from avsafe.registry.database import Database
    from avsafe.server.settings import Settings

_EXTRAS = {
    "serve": ("fastapi", "uvicorn", "jinja2", "python_multipart", "prometheus_client"),
    "postgres": ("psycopg",),
    "objects": ("obstore",),
    "telemetry": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}
_LEAST_FREE = 1 << 30  # bytes; below a quarter of it uploads are refused
_RENEW = timedelta(days=30)
_SKEW_S = 5.0
_STUCK_S = 600.0


def service(home: Home, *, readable: bool) -> Iterator[Finding]:
    """Every finding about the service; of its tables only when they are ``readable``."""
    settings = None
    try:
        from avsafe.server.settings import Settings

        settings = Settings.from_environment()
        yield Finding("settings", True, _set(settings))
    except AvsafeError as error:
        yield Finding("settings", False, str(error), "Correct or unset it: see docs/server.md.")
    yield _extras()
    yield from _disk(home)
    yield from _expiry(home)
    yield from _secrets(home)
    yield from _objects(home)
    if readable:
        yield from _database(home)
    if settings is not None and settings.oidc_issuer:
        yield from _provider(settings)


def _set(settings: Settings) -> str:
    from avsafe.server.settings import PREFIX, Settings

    plain = Settings(home=settings.home)
    names = [n for n in vars(plain) if getattr(plain, n) != getattr(settings, n)]
    return ", ".join(PREFIX + n.upper() for n in names) or "the defaults"


def _extras() -> Finding:
    def there(module: str) -> bool:
        try:
            return find_spec(module) is not None
        except ModuleNotFoundError:
            return False

    lacking = [name for name, needs in _EXTRAS.items() if not all(map(there, needs))]
    found = [name for name in _EXTRAS if name not in lacking]
    advice = f"Where they are needed: pip install 'avsafe[{','.join(lacking)}]'." if lacking else ""
    return Finding("extras", True, ", ".join(found) or "none", advice)


def _disk(home: Home) -> Iterator[Finding]:
    place = next((p for p in (home.root, *home.root.parents) if p.exists()), Path("/"))
    usage = shutil.disk_usage(place)
    enough = usage.free >= _LEAST_FREE
    yield Finding(
        "disk",
        enough,
        f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f}",
        "" if enough else "Make room: uploads are refused when less than 0.27 GB are free.",
    )
    left = [p for p in home.staging.iterdir() if p.is_dir()] if home.staging.is_dir() else []
    old = datetime.now(UTC) - timedelta(days=1)
    stale = [p for p in left if datetime.fromtimestamp(p.stat().st_mtime, UTC) < old]
    if stale:
        yield Finding(
            "staging",
            True,
            f"{len(stale)} folders older than a day",
            "Left by a crash: the next release or `avsafe work` settles them.",
        )


def _expiry(home: Home) -> Iterator[Finding]:
    from avsafe.provenance import keys

    chain = keys.KeyFiles(home.keys).chain
    if not chain.exists():
        return
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(chain.read_bytes())
    except ValueError as error:
        yield Finding("certificate expiry", False, str(error), "Run: avsafe keys show.")
        return
    ends = min(one.not_valid_after_utc for one in found)
    left = ends - datetime.now(UTC)
    alive = left > timedelta(0)
    yield Finding(
        "certificate expiry",
        alive,
        f"{ends:%Y-%m-%d}, in {left.days} days" if alive else f"since {ends:%Y-%m-%d}",
        "" if left > _RENEW else "Get a new certificate before then: docs/provenance.md.",
    )


def _secrets(home: Home) -> Iterator[Finding]:
    if not home.keys.is_dir():
        return
    open_ = sorted(
        str(p.relative_to(home.keys))
        for p in home.keys.rglob("*.key")
        if p.is_file() and p.stat().st_mode & 0o077
    )
    yield Finding(
        "key files",
        not open_,
        "private" if not open_ else f"readable by others: {', '.join(open_)}",
        f"Run: chmod -R go= {home.keys}" if open_ else "",
    )


def _objects(home: Home) -> Iterator[Finding]:
    from avsafe.objects import open_store

    try:
        store = open_store(home)
        if store.folder is not None and not store.folder.is_dir():
            yield Finding("objects", True, f"{store.shown} (not made yet)")
            return
        store.check()
        yield Finding("objects", True, store.shown)
    except AvsafeError as error:
        yield Finding("objects", False, str(error), "See docs/storage.md.")


def schema(home: Home) -> Generator[Finding, None, bool]:
    """Whether the tables are of this avsafe, so that they can be looked into without migrating."""
    from avsafe.registry.database import Database
    from avsafe.registry.schema import HEAD

    try:
        found = Database.version(home.database) if begun(home.database) else None
    except AvsafeError as error:
        yield Finding("schema", False, str(error), "See docs/operation.md.")
        return False
    if found is None or found == HEAD:
        if found is not None:
            yield Finding("schema", True, found)
        return True
    older = found < HEAD
    yield Finding(
        "schema",
        older,
        f"{found}; this avsafe has {HEAD}",
        "The next start migrates it: make a backup before."
        if older
        else "It was written by a newer avsafe: update this one.",
    )
    return False


def _database(home: Home) -> Iterator[Finding]:
    from avsafe.registry.database import Database

    try:
        if not begun(home.database) or Database.version(home.database) is None:
            return
        with Database.open(home.database) as database:
            yield from _clock(database)
            yield from _queue(database)
    except AvsafeError as error:
        yield Finding("queue", False, str(error), "See docs/operation.md.")


def _clock(database: Database) -> Iterator[Finding]:
    """Against the server's, or against the newest thing that was written down."""
    from sqlalchemy import func, select

    from avsafe.registry.schema import jobs

    with database.reading() as connection:
        if database.is_postgresql:
            there = connection.execute(select(func.clock_timestamp())).scalar_one()
        else:
            there = connection.execute(select(func.max(jobs.c.updated_at))).scalar()
    if there is None:
        return
    ahead_s = (there - datetime.now(UTC)).total_seconds()
    wrong = abs(ahead_s) > _SKEW_S if database.is_postgresql else ahead_s > _SKEW_S
    told = "agrees with the database" if database.is_postgresql else "not before what was written"
    yield Finding(
        "clock",
        not wrong,
        f"{abs(ahead_s):.0f} s {'behind' if ahead_s > 0 else 'ahead'}" if wrong else told,
        "Leases go by the clocks of the machines: set it by NTP." if wrong else "",
    )


def _queue(database: Database) -> Iterator[Finding]:
    from avsafe.server.observed.state import queue

    found = queue(database)
    if not any(found.states.values()):
        return
    yield Finding("jobs", True, ", ".join(f"{n} {state}" for state, n in found.states.items() if n))
    yield Finding("workers", True, f"{found.workers} reported in the last ten minutes")
    stuck = found.oldest_queued_s > _STUCK_S and not found.workers
    if stuck or (found.silent and not found.workers):
        yield Finding(
            "queue",
            False,
            f"the oldest job has waited {found.oldest_queued_s / 60:.0f} minutes; "
            f"{found.silent} have a worker that fell silent",
            "Nobody works: start `avsafe work`, or `avsafe serve --generate --makers 1`.",
        )


def _provider(settings: Settings) -> Iterator[Finding]:
    from avsafe.server.oidc import TEAMS, roles_by_group

    yield Finding("OpenID provider", True, f"{settings.oidc_issuer} (not asked)")
    try:
        groups = len(roles_by_group(settings.home.root / TEAMS))
        told = f"{groups} groups" if groups else "no group: nobody can log in by one"
        yield Finding("OpenID groups", groups > 0, told, "" if groups else f"Write {TEAMS}.")
    except AvsafeError as error:
        yield Finding("OpenID groups", False, str(error), "See docs/login.md.")
    if settings.oidc_client_secret_file:
        path = Path(settings.oidc_client_secret_file)
        missing = not path.is_file()
        readable = not missing and bool(path.stat().st_mode & 0o077)
        yield Finding(
            "OpenID client secret",
            not missing and not readable,
            "missing" if missing else "readable by others" if readable else "private",
            f"Write it to {path}, chmod 600." if missing or readable else "",
        )

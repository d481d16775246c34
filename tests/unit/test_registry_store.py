"""The registry: what goes in comes out, duplicates do not, erasure erases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from avsafe.errors import RegistryError, UsageError
from avsafe.registry import Registry, ReleaseRecord
from avsafe.registry.fingerprint import Fingerprint
from avsafe.types import Kind, Mark

TOP = 2**64 - 1


def fingerprint(seed: int = 0, frames: int = 24) -> Fingerprint:
    random = np.random.default_rng(seed)
    return Fingerprint(
        times_ms=np.arange(frames, dtype=np.int32) * 125,
        hashes=random.integers(0, 256, (frames, 32), np.uint8),
        middles=random.integers(0, 256, (frames, 32), np.uint8),
        quality=np.full(frames, 200, np.uint8),
        middle_quality=np.full(frames, 200, np.uint8),
        sound=random.integers(0, 2**32, 20, np.uint32),
        duration_s=frames / 8,
    )


def record(number: int = 1, **changes: object) -> ReleaseRecord:
    made = ReleaseRecord(
        release_id=f"{number:032x}",
        created_at=datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC) + timedelta(hours=number),
        user="anna",
        task="text-to-video",
        generator="world",
        generator_version="1",
        registered_generator=True,
        sha256=f"{number:064x}",
        kind=Kind.VIDEO,
        decision={"effect": "allow", "rules": ["P1"], "risk": {"violence": 12}, "reasons": ["x"]},
        manifest_id=f"urn:c2pa:{number}",
        manifest=bytes(range(256)),
        marks=(
            Mark(Kind.VIDEO, "org.example.video", TOP - number, 64, psnr_db=43.5),
            Mark(Kind.AUDIO, "org.example.audio", number, 32, snr_db=31.0),
        ),
        fingerprint=fingerprint(number),
        salt=b"s" * 16,
        prompt_hash="ab" * 32,
        purpose="advert",
        cost={"generate": 1.5},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def same(a: ReleaseRecord, b: ReleaseRecord) -> bool:
    assert a.fingerprint is not None
    assert b.fingerprint is not None
    return a.fingerprint.to_bytes() == b.fingerprint.to_bytes() and replace(
        a, fingerprint=None
    ) == replace(b, fingerprint=None)


@pytest.fixture
def registry(database_at: Path | str) -> Iterator[Registry]:
    with Registry.open(database_at) as opened:
        yield opened


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "registry.db") as opened:
        yield opened


def count(registry: Registry, table: str) -> int:
    with registry.database.reading() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608


# ------------------------------------------------------------ releases


def test_a_release_comes_back_whole_by_every_key(registry: Registry) -> None:
    made = record()
    registry.add_release(made)
    for found in (
        registry.get(made.release_id),
        registry.by_sha256(made.sha256),
        registry.by_manifest(made.manifest_id),
        registry.by_watermark("org.example.video", TOP - 1),
        registry.by_watermark("org.example.audio", 1),
        registry.resolve(made.release_id[:-1]),
        registry.list()[0],
    ):
        assert found is not None
        assert same(found, made)


@pytest.mark.parametrize("payload", [0, 1, 2**63 - 1, 2**63, TOP])
def test_payloads_are_unsigned_64_bit(registry: Registry, payload: int) -> None:
    mark = Mark(Kind.VIDEO, "org.example.video", payload, 64)
    registry.add_release(record(marks=(mark,)))
    found = registry.by_watermark("org.example.video", payload)
    assert found is not None
    assert found.marks == (mark,)
    assert registry.payload_taken("org.example.video", payload)
    assert registry.by_watermark("org.example.video", payload ^ 1) is None
    assert registry.by_watermark("org.example.audio", payload) is None


@pytest.mark.parametrize("payload", [-1, 2**64])
def test_other_payloads_are_refused(registry: Registry, payload: int) -> None:
    with pytest.raises(RegistryError, match="unsigned 64-bit"):
        registry.add_release(record(marks=(Mark(Kind.VIDEO, "a", payload, 64),)))
    with pytest.raises(RegistryError, match="unsigned 64-bit"):
        registry.by_watermark("a", payload)
    assert registry.count() == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest_id": "urn:2", "marks": ()}, "registered already"),
        ({"release_id": "2", "marks": ()}, "Manifest urn:c2pa:1 belongs to release"),
        ({"release_id": "2", "manifest_id": "urn:2"}, "belongs to release 0000"),
        (
            {
                "release_id": "2",
                "manifest_id": "urn:2",
                "marks": (Mark(Kind.VIDEO, "a", 5, 64), Mark(Kind.AUDIO, "a", 5, 32)),
            },
            "duplicate",
        ),
    ],
)
def test_duplicates_are_refused_and_leave_nothing(
    registry: Registry, changes: dict[str, object], words: str
) -> None:
    registry.add_release(record())
    with pytest.raises(RegistryError, match=words):
        registry.add_release(record(**changes))
    assert registry.count() == 1
    assert registry.get("2") is None
    assert not registry.payload_taken("a", 5)


def test_a_removed_release_leaves_nothing_behind(registry: Registry) -> None:
    registry.add_release(record())
    assert registry.remove_release(record().release_id)
    assert not registry.remove_release(record().release_id)
    for table in ("releases", "manifests", "soft_bindings", "fingerprints"):
        assert count(registry, table) == 0
    registry.add_release(record())  # its number is free again


def test_times_keep_their_instant(registry: Registry) -> None:
    rome = timezone(timedelta(hours=1))
    made = record(created_at=datetime(2026, 7, 1, 9, 30, tzinfo=rome))
    registry.add_release(made)
    found = registry.get(made.release_id)
    assert found is not None
    assert found.created_at == made.created_at
    assert found.created_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError):
        registry.add_release(record(created_at=datetime(2026, 7, 1)))


def test_the_newest_come_first_and_pages_do_not_overlap(registry: Registry) -> None:
    for number in range(7):
        registry.add_release(record(number, fingerprint=None))
    pages = [registry.list(limit=3, offset=start) for start in (0, 3, 6)]
    assert [int(r.release_id, 16) for page in pages for r in page] == [6, 5, 4, 3, 2, 1, 0]


def test_a_short_id_must_be_unambiguous(registry: Registry) -> None:
    for release_id in ("abc", "abd", "ab", "AB", "Zz", "áb"):
        made = record(manifest_id=release_id, marks=(), release_id=release_id)
        registry.add_release(made)
    assert registry.resolve("Z").release_id == "Zz"  # by letters, not as a language sorts
    assert registry.resolve("abc").release_id == "abc"
    assert registry.resolve("ab").release_id == "ab"
    with pytest.raises(RegistryError, match="Several"):
        registry.resolve("a")
    with pytest.raises(RegistryError, match="No release"):
        registry.resolve("b")


def test_the_state_of_a_release_can_change(registry: Registry) -> None:
    registry.add_release(record())
    registry.set_state(record().release_id, "revoked")
    assert registry.list()[0].state == "revoked"
    with pytest.raises(RegistryError, match="no release"):
        registry.set_state("x", "revoked")


# ------------------------------------------------------------ erasure


def test_forgetting_erases_the_person_and_keeps_the_mark(
    registry: Registry, tmp_path: Path
) -> None:
    person, purpose = "anna.maria.esposito@example.org", "a-very-particular-purpose"
    registry.add_release(record(user=person, purpose=purpose, salt=b"particular salt!"))
    registry.forget(record().release_id)
    found = registry.by_watermark("org.example.video", TOP - 1)
    assert found is not None
    assert (found.user, found.salt, found.prompt_hash, found.purpose) == (None,) * 4
    assert found.decision == {"effect": "allow", "rules": ["P1"]}
    assert found.forgotten_at is not None
    assert found.manifest == record().manifest
    # SQLite overwrites what is erased; in PostgreSQL a vacuum does (docs/storage.md).
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for erased in (person.encode(), purpose.encode(), b"particular salt!", b"ab" * 32):
        assert erased not in on_disk
    with pytest.raises(RegistryError, match="no release"):
        registry.forget("x")


# ------------------------------------------------------------ fingerprints


def test_the_nearest_fingerprint_wins(registry: Registry) -> None:
    for number in range(4):
        registry.add_release(record(number))
    query = fingerprint(2)
    bits = np.unpackbits(query.hashes)
    bits[::20] ^= 1  # 5 % of bits
    match = registry.by_fingerprint(replace(query, hashes=np.packbits(bits).reshape(-1, 32)))
    assert match is not None
    assert match.release_id == record(2).release_id
    assert match.similarity == pytest.approx(0.9, abs=0.01)
    assert registry.by_fingerprint(fingerprint(99)) is None
    assert len(registry.nearest(query)) == 1


def test_a_lookup_finds_trimmed_copies_among_many(registry: Registry) -> None:
    for number in range(30):
        registry.add_release(record(number, fingerprint=fingerprint(number, frames=80)))
    whole = fingerprint(17, frames=80)
    for start, end in ((0, 8), (33, 41), (70, 80)):
        part = replace(
            whole,
            times_ms=whole.times_ms[start:end] - whole.times_ms[start],
            hashes=whole.hashes[start:end],
            middles=whole.middles[start:end],
            quality=whole.quality[start:end],
            middle_quality=whole.middle_quality[start:end],
        )
        assert [match.release_id for match in registry.nearest(part)] == [record(17).release_id]


def test_sound_alone_is_looked_up_too(registry: Registry) -> None:
    sounds = [
        replace(
            fingerprint(number, frames=0),
            sound=np.random.default_rng(number).integers(0, 2**32, 40, np.uint32),
        )
        for number in range(3)
    ]
    for number, sound in enumerate(sounds):
        registry.add_release(record(number, fingerprint=sound))
    match = registry.by_fingerprint(sounds[1])
    assert match is not None
    assert match.release_id == record(1).release_id
    both = replace(fingerprint(9), sound=sounds[2].sound)
    assert [m.release_id for m in registry.nearest(both)] == [record(2).release_id]


def test_a_lookup_reads_one_state(registry: Registry) -> None:
    """A release that is removed while a look-up compares is in it, or is not: no error."""
    for number in range(6):
        registry.add_release(record(number))
    with registry.database.reading() as connection:
        connection.execute(text("SELECT count(*) FROM releases"))
        registry.remove_release(record(2).release_id)
        left = connection.execute(text("SELECT count(*) FROM manifests")).scalar_one()
    assert left == 6
    assert count(registry, "manifests") == 5


def test_what_a_text_cannot_hold_is_the_callers_error(postgresql_url: str) -> None:
    with Registry.open(postgresql_url) as registry:
        with pytest.raises(UsageError, match="cannot be stored"):
            registry.add_release(record(purpose="a\0b"))
        assert registry.count() == 0


# ------------------------------------------------------------ quota


def test_reservations_count_per_user_and_window(registry: Registry) -> None:
    assert [registry.reserve("anna").used_before for _ in range(3)] == [0, 1, 2]
    assert registry.reserve("ben").used_before == 0
    assert registry.reserve("anna", window_s=0).used_before == 0


def test_a_returned_reservation_does_not_count_and_a_kept_one_does(registry: Registry) -> None:
    first, second = registry.reserve("anna"), registry.reserve("anna")
    registry.settle(first.id, kept=False)
    registry.settle(second.id, kept=True)
    assert registry.reserve("anna").used_before == 1
    for settled in (first, second):
        with pytest.raises(RegistryError, match="settled before"):
            registry.settle(settled.id, kept=True)


def test_old_reservations_do_not_pile_up(registry: Registry) -> None:
    registry.reserve("anna")
    with registry.database.writing() as connection:
        connection.execute(
            text("UPDATE reservations SET created_at = '2020-01-01 00:00:00.000000'")
        )
    registry.reserve("anna")
    assert count(registry, "reservations") == 1


# ------------------------------------------------------------ opening


def test_settings_of_the_connection(in_file: Registry) -> None:
    with in_file.database.engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        ]
    assert found == ["wal", 2, 1, 1]  # synchronous 2 is FULL


def test_an_up_to_date_registry_opens_without_alembic(database_at: Path | str) -> None:
    Registry.open(database_at).close()
    code = (
        "import sys; from pathlib import Path; from avsafe.registry import Registry\n"
        "place = sys.argv[1]\n"
        "Registry.open(place if '://' in place else Path(place)).close()\n"
        "sys.exit(bool({'alembic', 'cv2', 'imagehash', 'scipy'} & sys.modules.keys()))"
    )
    arguments = [sys.executable, "-c", code, str(database_at)]
    assert subprocess.run(arguments, check=False).returncode == 0


def test_the_fingerprint_loads_without_a_database() -> None:
    code = (
        "import sys, avsafe.registry.fingerprint\n"
        "sys.exit(bool({'sqlalchemy', 'alembic'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_file_is_no_registry(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database at all, and long enough to be one" * 40)
    with pytest.raises(RegistryError, match="not a database"):
        Registry.open(path)


def test_a_newer_schema_is_refused(registry: Registry, database_at: Path | str) -> None:
    with registry.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RegistryError, match="schema version 9999"):
        Registry.open(database_at)


def test_the_file_is_private(in_file: Registry, tmp_path: Path) -> None:
    assert (tmp_path / "registry.db").stat().st_mode & 0o077 == 0

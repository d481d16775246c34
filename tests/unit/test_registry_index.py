"""The index of fingerprints: what it finds, how far it reaches, and what happens when it is not
there, is old, is another database's, or is damaged."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from avsafe.errors import MissingExtra, RegistryError
from avsafe.registry import Registry, index, lookup
from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.index import Index
from avsafe.workspace import Workspace
from tests.unit.test_registry_store import fingerprint, record

pytest.importorskip("faiss")


@pytest.fixture
def registry(database_at: Path | str, tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(database_at, index=tmp_path / "index") as opened:
        yield opened


def the_index(registry: Registry) -> Index:
    assert registry.index is not None
    return registry.index


def damaged(print_: Fingerprint, share: float, seed: int = 5) -> Fingerprint:
    """A copy with that share of its bits turned over."""
    random = np.random.default_rng(seed)
    bits = np.unpackbits(print_.hashes) ^ (random.random(print_.hashes.size * 8) < share)
    return replace(print_, hashes=np.packbits(bits).reshape(-1, 32))


def sound(seed: int, items: int = 80) -> Fingerprint:
    random = np.random.default_rng(seed)
    return replace(fingerprint(seed, 0), sound=random.integers(0, 2**32, items, np.uint32))


def only_indexed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing is found but through the files."""
    monkeypatch.setattr(lookup, "_near", lambda *_: {})
    monkeypatch.setattr(lookup, "_with_sound", lambda *_, **__: [])


def found(registry: Registry, query: Fingerprint) -> list[str]:
    return [match.release_id for match in registry.nearest(query)]


def test_copies_parts_and_sounds_are_found_through_the_files_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FLAT", 100)  # inverted lists, as among many
    monkeypatch.setattr(index, "LISTS", (4, 8))
    for number in range(40):
        registry.add_release(record(number, fingerprint=fingerprint(number, 80)))
    for number in range(40, 50):
        registry.add_release(record(number, fingerprint=sound(number)))
    assert the_index(registry).update(registry.database)
    only_indexed(registry, monkeypatch)
    whole = fingerprint(17, 80)
    part = replace(whole, **{
        name: getattr(whole, name)[33:41]
        for name in ("times_ms", "hashes", "middles", "quality", "middle_quality")
    })  # fmt: skip
    for query in (whole, damaged(whole, 0.12), part):
        assert found(registry, query) == [record(17).release_id]
    tune = sound(44)
    for start in (0, 1, 2, 3, 21):  # a part begins at any item
        assert found(registry, replace(tune, sound=tune.sound[start:])) == [record(44).release_id]
    turned = np.random.default_rng(3).integers(0, 32, len(tune.sound), np.uint32)
    noisy = replace(tune, sound=tune.sound ^ (np.uint32(1) << turned) ^ np.uint32(0b1001))
    assert found(registry, noisy) == [record(44).release_id]  # 9 % of its bits
    both = replace(fingerprint(99), sound=tune.sound)  # other pictures, that release's sound
    assert found(registry, both) == [record(44).release_id]
    ripped = replace(fingerprint(0, 0), sound=fingerprint(17, 80).sound)  # the sound of a video
    assert found(registry, ripped) == [record(17).release_id]
    assert found(registry, fingerprint(99)) == []
    assert found(registry, sound(99)) == []
    silent = replace(sound(0), sound=np.zeros(80, np.uint32))
    assert len(index.sound_queries(silent.sound)) == 0
    assert found(registry, silent) == []


def test_what_came_later_is_read_from_the_database(registry: Registry) -> None:
    for number in range(8):
        registry.add_release(record(number))
    files = the_index(registry)
    assert files.update(registry.database)
    assert not files.update(registry.database)  # nothing is new
    base = set(Path(files._folder).glob("*.faiss"))
    registry.add_release(record(8))
    assert files.behind(registry.database) == 1
    assert not files.update(registry.database, least=2)
    assert found(registry, fingerprint(8)) == [record(8).release_id]
    assert files.update(registry.database)  # beside the base, which stays
    grown = set(Path(files._folder).glob("*.faiss"))
    assert base < grown
    assert files.behind(registry.database) == 0
    for number in (3, 8):
        assert found(registry, fingerprint(number)) == [record(number).release_id]
    for number in range(9, 30):  # more than a quarter of the base: all anew
        registry.add_release(record(number))
    assert files.update(registry.database)
    assert not grown & set(Path(files._folder).glob("*.faiss"))
    assert found(registry, fingerprint(29)) == [record(29).release_id]


def test_a_release_that_was_taken_back_is_not_found_and_its_number_not_given_again(
    registry: Registry,
) -> None:
    for number in range(3):
        registry.add_release(record(number))
    the_index(registry).update(registry.database)
    registry.remove_release(record(2).release_id)
    assert found(registry, fingerprint(2)) == []
    registry.add_release(record(7))
    assert found(registry, fingerprint(2)) == []
    assert found(registry, fingerprint(7)) == [record(7).release_id]


def test_the_nearest_are_compared_however_many_are_near(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variants of one scene in 12 % of bits, more than are compared: the original is found."""
    monkeypatch.setattr(lookup, "COMPARED", 4)
    scene = fingerprint(1)
    for number in range(12):
        other = damaged(scene, 0.12, number) if number != 9 else scene
        registry.add_release(record(number, fingerprint=other))
    query = damaged(scene, 0.02, 77)
    assert found(registry, query)[0] == record(9).release_id
    the_index(registry).update(registry.database)
    assert found(registry, query)[0] == record(9).release_id


@pytest.mark.parametrize("harm", ["manifest", "absent", "cut", "other", "stranger", "no faiss"])
def test_an_index_that_cannot_be_used_counts_as_none(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "index"
    with Registry.open(tmp_path / "registry.db", index=place) as registry:
        for number in range(3):
            registry.add_release(record(number))
        the_index(registry).update(registry.database)
        assert the_index(registry).behind(registry.database) == 0
        (file,) = place.glob("picture-*.faiss")
        if harm == "manifest":
            (place / index.MANIFEST).write_bytes(b'{"format": 1, "parts": [{"file": 3}]}')
        elif harm == "absent":
            file.unlink()
        elif harm == "cut":
            file.write_bytes(file.read_bytes()[:50])
        elif harm == "other":
            import faiss

            faiss.write_index_binary(faiss.IndexBinaryFlat(256), str(file))
        elif harm == "stranger":  # of a database that was here before
            with registry.database.writing() as connection:
                connection.execute(text("UPDATE fingerprint_numbering SET id = 'another'"))
        else:
            monkeypatch.setitem(sys.modules, "faiss", None)
        registry.index = Index(place)
        with caplog.at_level(logging.WARNING):
            assert found(registry, fingerprint(1)) == [record(1).release_id]
        assert bool(caplog.records) == (harm != "stranger")
        assert the_index(registry).behind(registry.database) == 3
        if harm == "no faiss":
            with pytest.raises(MissingExtra, match=r"avsafe\[index\]"):
                the_index(registry).update(registry.database)
            return
        the_index(registry).update(registry.database, rebuild=True)
        assert the_index(registry).behind(registry.database) == 0


def test_a_manifest_names_no_file_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / "index"
    with Registry.open(tmp_path / "registry.db", index=place) as registry:
        registry.add_release(record(1))
        the_index(registry).update(registry.database)
        value = json.loads((place / index.MANIFEST).read_bytes())
        value["parts"][0]["file"] = "../" + value["parts"][0]["file"]
        (place / index.MANIFEST).write_text(json.dumps(value))
        assert Index(place).behind(registry.database) == 1


def test_one_process_writes_at_a_time_and_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avsafe.home import locked

    place = tmp_path / "index"
    with Registry.open(tmp_path / "registry.db", index=place) as registry:
        registry.add_release(record(1))
        place.mkdir()
        with locked(place / ".lock"), pytest.raises(RegistryError, match="Another process"):
            the_index(registry).update(registry.database)
        monkeypatch.setattr(index, "write_private", _full)
        with pytest.raises(OSError, match="full"):
            the_index(registry).update(registry.database)
        assert the_index(registry).behind(registry.database) == 1
        monkeypatch.undo()
        the_index(registry).update(registry.database)
        assert len(list(place.glob("*.faiss"))) == 2  # what was left behind is gone


def _full(*_: object) -> None:
    raise OSError("full")


def test_migration_numbers_what_was_there_before(database_at: Path | str) -> None:
    """By the age of the releases, each once."""
    with Registry.open(database_at) as registry:
        for number in (3, 1, 2):
            registry.add_release(record(number))
        registry.add_release(record(4, fingerprint=None))
        with registry.database.writing() as connection:
            from avsafe.registry.migrations.versions import (
                v0003_identities_and_embeddings as migration,
            )

            connection.execute(text("DELETE FROM fingerprint_numbers"))
            connection.execute(text(migration.NUMBERED))
        with registry.database.reading() as connection:
            rows = connection.execute(
                text("SELECT release_id FROM fingerprint_numbers ORDER BY number")
            ).scalars()
            assert [int(row, 16) for row in rows] == [1, 2, 3]


def test_a_worker_keeps_an_index_up_to_date_that_somebody_began(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avsafe.server import worker

    monkeypatch.setattr(worker, "WORTH", 2)
    files = Index(workspace.home.index)
    workspace.registry.add_release(record(1))
    worker._index(workspace)
    assert not files.begun
    files.update(workspace.registry.database)
    workspace.registry.add_release(record(2))
    worker._index(workspace)
    assert files.behind(workspace.registry.database) == 1
    workspace.registry.add_release(record(3))
    worker._index(workspace)
    assert files.behind(workspace.registry.database) == 0

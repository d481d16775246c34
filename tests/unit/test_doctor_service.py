"""The doctor's lines about the service: what is broken is told, and nothing is made or changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from avsafe.cli.doctor import examine
from avsafe.home import DATABASE_VARIABLE
from avsafe.registry.database import Database
from avsafe.registry.schema import jobs as table
from avsafe.server.jobs import VIDEOS, Jobs
from avsafe.server.people import People


def findings(home):
    return {one.name: one for one in examine(home)}


@pytest.fixture
def queued(database_at, home, monkeypatch):
    """A database with one job in its queue, on either engine."""
    if isinstance(database_at, str):
        monkeypatch.setenv(DATABASE_VARIABLE, database_at)
    with Database.open(home.ensure().database) as database:
        people = People(database)
        people.add("ada", "lab", "creator")
        Jobs(database).add(people.list()[0].id, "lab", VIDEOS, {"generator": "world"})
        yield database


def test_an_empty_home_is_well_and_stays_empty(home):
    found = findings(home)
    assert all(one.ok for one in found.values())
    assert {"settings", "extras", "disk", "objects"} <= set(found)
    assert not home.root.exists() or not list(home.root.iterdir())


def test_a_setting_that_is_none(home, monkeypatch):
    monkeypatch.setenv("AVSAFE_SERVE_MAX_UPLOADS", "1")
    assert not findings(home)["settings"].ok


def test_a_key_that_others_can_read(home):
    key = home.ensure().keys / "signer.key"
    key.write_bytes(b"x")
    key.chmod(0o640)
    found = findings(home)["key files"]
    assert not found.ok
    assert "signer.key" in found.value


def test_a_queue_that_nobody_works_at(queued, home):
    assert "queue" not in findings(home)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with queued.writing() as connection:
        connection.execute(update(table).values(updated_at=long_ago))
    found = findings(home)["queue"]
    assert not found.ok
    assert "60 minutes" in found.value
    with queued.writing() as connection:  # somebody does
        connection.execute(update(table).values(updated_at=datetime.now(UTC), worker="one"))
    assert "queue" not in findings(home)


def test_a_clock_that_goes_behind_what_was_written(home):
    with Database.open(home.ensure().database) as database:
        people = People(database)
        people.add("ada", "lab", "creator")
        Jobs(database).add(people.list()[0].id, "lab", VIDEOS, {"generator": "world"})
        with database.writing() as connection:
            later = datetime.now(UTC) + timedelta(hours=2)
            connection.execute(update(table).values(updated_at=later))
    assert not findings(home)["clock"].ok


def test_tables_of_another_version_are_left_alone(queued, home):
    with queued.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    found = findings(home)
    assert not found["schema"].ok
    assert "jobs" not in found
    assert Database.version(home.database) == "9999"


def test_a_certificate_that_has_ended(home):
    from avsafe.provenance import keys
    from avsafe.provenance.lint import lint_certificate

    keys.init(home.ensure().keys)
    assert findings(home)["certificate expiry"].ok
    chain = keys.KeyFiles(home.keys).chain
    chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert lint_certificate(chain.read_bytes())
    assert not findings(home)["certificate expiry"].ok


def test_a_provider_is_named_and_its_secret_looked_after(home, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    secret.chmod(0o644)
    for name, value in (
        ("OIDC_ISSUER", "https://login.example.org"), ("OIDC_CLIENT_ID", "avsafe"),
        ("ADDRESS", "https://avsafe.example.org"), ("OIDC_CLIENT_SECRET_FILE", str(secret)),
    ):  # fmt: skip
        monkeypatch.setenv(f"AVSAFE_SERVE_{name}", value)
    found = findings(home)
    assert "login.example.org" in found["OpenID provider"].value
    assert not found["OpenID client secret"].ok
    assert "nobody can log in" in found["OpenID groups"].value
    (home.ensure().root / "people").mkdir()
    (home.root / "people/oidc-teams.toml").write_text('[groups]\n"/x" = ["lab:god"]\n')
    assert "no role" in findings(home)["OpenID groups"].value
    (home.root / "people/oidc-teams.toml").write_text('[groups]\n"/x" = ["lab:owner"]\n')
    os.chmod(secret, 0o600)
    found = findings(home)
    assert found["OpenID client secret"].ok
    assert found["OpenID groups"].value == "1 groups"
    assert not any("s3cr3t" in f"{one.value} {one.advice}" for one in found.values())

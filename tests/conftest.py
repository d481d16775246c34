"""Shared fixtures: a state folder of its own for every test, and the shared media when there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsafe.home import DATABASE_VARIABLE, Home
from avsafe.testing import media_folder
from avsafe.workspace import Workspace, open_workspace
from tests import postgresql_kit


@pytest.fixture(autouse=True)
def _own_home(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No test ever touches the state of the person who runs it.

    With ``AVSAFE_TEST_DATABASE=postgresql`` what a test keeps lies in PostgreSQL: the same suite
    on the other engine (``make test-postgresql``).
    """
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path_factory.mktemp("home")))
    if _on_postgresql() and not _shares(request):
        url = request.getfixturevalue("postgresql_url").replace("+psycopg", "")
        monkeypatch.setenv(DATABASE_VARIABLE, url)


def _shares(request: pytest.FixtureRequest) -> bool:
    """Whether the test uses a state that the tests of its module share."""
    known = request._arg2fixturedefs
    return any(
        known[name][-1].scope == "module"
        for name in ("place", "service", "key_and_schema")
        if name in request.fixturenames
    )


def _on_postgresql() -> bool:
    return os.environ.get("AVSAFE_TEST_DATABASE") == "postgresql"


@pytest.fixture(scope="module", autouse=True)
def _own_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """No address of a database from outside; on PostgreSQL one for what a module shares."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv(f"{DATABASE_VARIABLE}_FILE", raising=False)
        patched.delenv(DATABASE_VARIABLE, raising=False)
        if _on_postgresql():
            cluster = request.getfixturevalue("postgresql")
            patched.setenv(DATABASE_VARIABLE, cluster.empty().replace("+psycopg", ""))
        yield


@pytest.fixture
def home() -> Home:
    return Home.default()


@pytest.fixture
def workspace(home: Home) -> Iterator[Workspace]:
    with open_workspace(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_kit.Cluster]:
    """A PostgreSQL server of these tests' own; the test is skipped where it is not installed."""
    with postgresql_kit.cluster() as made:
        if made is None:
            pytest.skip(postgresql_kit.LACKING)
        yield made


@pytest.fixture
def postgresql_url(postgresql: postgresql_kit.Cluster) -> str:
    """The address of a database with empty tables, for this test alone."""
    return postgresql.fresh()


@pytest.fixture
def sqlite_only() -> None:
    """For a test about the files of SQLite; skipped when the suite runs on PostgreSQL."""
    if _on_postgresql():
        pytest.skip("about the files of SQLite")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_at(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a database may be opened: the test runs once on each engine."""
    if request.param == "sqlite":
        return tmp_path / "registry.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real clips; the test is skipped where it is absent."""
    folder = media_folder()
    if folder is None:
        pytest.skip("the shared test media are not here (set AVSAFE_TEST_MEDIA)")
    return folder

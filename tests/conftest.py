"""Shared fixtures: a state folder of its own for every test, and the shared media when there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avsafe.home import Home
from avsafe.testing import media_folder
from avsafe.workspace import Workspace, open_workspace


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever touches the state of the person who runs it."""
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def home() -> Home:
    return Home.default()


@pytest.fixture
def workspace(home: Home) -> Iterator[Workspace]:
    with open_workspace(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real clips; the test is skipped where it is absent."""
    folder = media_folder()
    if folder is None:
        pytest.skip("the shared test media are not here (set AVSAFE_TEST_MEDIA)")
    return folder

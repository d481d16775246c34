"""What tests of the service share: a service on a state folder of its own."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from avsafe.home import Home
from avsafe.registry.database import Database
from avsafe.server.app import create_app
from avsafe.server.jobs import Jobs
from avsafe.server.people import People
from avsafe.server.sessions import Sessions
from avsafe.server.settings import Settings


class Place:
    """A gateway with nobody in it."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings(home=Home(root), generate=True, detectors="none")
        self.home = self.settings.home.ensure()
        self.database = Database.open(self.home.database)
        self.people, self.jobs = People(self.database), Jobs(self.database)
        self.sessions = Sessions(self.database)
        self.app = create_app(self.settings)

    def logged_in(self, key: str) -> tuple[TestClient, str]:
        """A browser with a session, and the token of its forms."""
        http = TestClient(self.app, follow_redirects=False)
        token = self.sessions.log_in(key)
        http.cookies.set("avsafe_session", token)
        return http, self.sessions.of(token).csrf

"""A running service and what tests in a real browser share. Screenshots go to $AVSAFE_SCREENSHOTS,
when that names a folder."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

from avsafe.home import Home
from avsafe.registry.database import Database
from avsafe.server.jobs import Jobs
from avsafe.server.people import People
from avsafe.server.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_BROWSER = "no Chromium: apt-get install chromium"


class Service:
    """A running service with a worker on demand; ``settings`` are added to the usual ones."""

    def __init__(self, root: Path, host: str = "127.0.0.1", **settings: object) -> None:
        import uvicorn

        from avsafe.server.app import create_app

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://{host}:{port}"
        usual = Settings(home=Home(root), generate=True, detectors="none", address=self.address)
        self.settings = replace(usual, **settings)
        self.database = Database.open(self.settings.home.ensure().database)
        self.people, self.jobs = People(self.database), Jobs(self.database)
        config = uvicorn.Config(create_app(self.settings), port=port, log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.05)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=20)
        self.database.close()


def shot(page, name: str) -> None:
    folder = os.environ.get("AVSAFE_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def log_in(page, service, key: str, language: str = "en") -> None:
    page.goto(f"{service.address}/{language}/team/")
    page.fill("input[name=key]", key)
    page.click("main button")
    page.wait_for_url(f"**/{language}/team/")


def is_problem(message) -> bool:
    """An answer with an error's status is no fault of the page; a blocked script or style is."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")

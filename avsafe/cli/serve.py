"""``avsafe serve``: the page where anybody can verify, and the gateway; ``avsafe work``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

_AGAIN_S = 2.0  # before a worker that died is started again


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("serve")(serve)
    app.command("work")(work)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Server processes.", min=1, max=64)] = 1,
    generate: Annotated[
        bool, typer.Option("--generate", help="Also the gateway, for users with a key.")
    ] = False,
    makers: Annotated[
        int, typer.Option(help="With --generate: processes that make videos.", min=0, max=64)
    ] = 1,
) -> None:
    """Serve a page and an API where anybody can verify a file, and resolve our marks (C2PA).

    With --generate also the gateway: the OpenAI shapes of video and image generation, for users
    that `avsafe users add` made; every job goes through the gate. Nothing of an upload is kept.
    Settings come from the environment, each AVSAFE_SERVE_NAME: MAX_UPLOAD_MB, AT_ONCE, WAITING,
    RECEIVE_S, DETECTORS, GENERATORS, KEEP_DAYS, TEAM_JOBS, WAIT_S, FEEDBACK, OPERATOR
    (docs/server.md).

    Example: AVSAFE_SERVE_MAX_UPLOAD_MB=200 avsafe serve --port 8080 --generate
    """
    from importlib.util import find_spec

    from avsafe.errors import MissingExtra

    wanted = ("fastapi", "uvicorn", "jinja2", "python_multipart")
    if missing := [name for name in wanted if find_spec(name) is None]:
        raise MissingExtra(
            f"The service needs {', '.join(missing)}, not installed here: "
            "pip install 'avsafe[serve]'."
        )
    import uvicorn

    from avsafe.server.settings import Settings

    if generate:
        os.environ["AVSAFE_SERVE_GENERATE"] = "1"
    Settings.from_environment()  # complains here, before any process starts
    # Behind a proxy its own log of requests is the better one; addresses are personal data.
    with _making(makers if generate else 0):
        uvicorn.run(
            "avsafe.server.app:from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=30,
        )


def work(
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing waits.")
    ] = False,
) -> None:
    """Make what waits in the queue of the gateway, one job after the other, until SIGTERM.

    `avsafe serve --generate` starts one; start more here or on other machines that share the state
    folder. A worker may be killed at any time: another takes its job.
    """
    from avsafe.server.settings import Settings
    from avsafe.server.worker import run

    run(Settings.from_environment(), until_empty=until_empty)


@contextmanager
def _making(count: int) -> Iterator[None]:
    """So many workers beside the server, started again when they die."""
    ended = threading.Event()
    keepers = [threading.Thread(target=_keep, args=(ended,), daemon=True) for _ in range(count)]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        ended.set()
        for keeper in keepers:
            keeper.join(timeout=60)


def _keep(ended: threading.Event) -> None:
    command = [sys.executable, "-c", "from avsafe.cli import main; main()", "work"]
    while not ended.is_set():
        process = subprocess.Popen(command)
        while process.poll() is None and not ended.wait(0.2):
            pass
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        ended.wait(_AGAIN_S)

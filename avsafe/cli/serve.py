"""``avsafe serve``: the page where anybody can verify, and the gateway; ``avsafe work``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

MetricsPort = Annotated[
    int | None,
    typer.Option(help="Show Prometheus metrics at this port, apart from the service's.", min=0,
                 max=65535),
]  # fmt: skip
MetricsHost = Annotated[str, typer.Option(help="The address of the metrics.")]


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
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Serve a page and an API where anybody can verify a file, and resolve our marks (C2PA).

    With --generate also the gateway: the OpenAI shapes of video, image and speech generation, for
    users that `avsafe users add` made; every job goes through the gate. Nothing of an upload is
    kept. Settings come from the environment, each AVSAFE_SERVE_NAME (docs/server.md). What dies is
    started again; SIGTERM lets what runs finish (docs/operation.md).

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
    from avsafe.server import processes
    from avsafe.server.observed import logs
    from avsafe.server.settings import PREFIX, Settings

    if generate:
        os.environ[f"{PREFIX}GENERATE"] = "1"
    settings = Settings.from_environment()  # complains here, before any process starts
    logs.configure(settings.log)
    processes.run(
        settings,
        host=host,
        port=port,
        servers=workers,
        workers=makers if generate else 0,
        metrics=None if metrics_port is None else (metrics_host, metrics_port),
    )


def work(
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when nothing waits.")
    ] = False,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Make what waits in the queue of the gateway, one job after the other, until SIGTERM.

    `avsafe serve --generate` starts one; start more here or on other machines
    (docs/cluster.md). A worker may be killed at any time: another takes its job.
    """
    from contextlib import ExitStack

    from avsafe.server.observed import logs, metrics
    from avsafe.server.settings import Settings
    from avsafe.server.worker import run

    settings = Settings.from_environment()
    logs.configure(settings.log)
    with ExitStack() as held:
        if metrics_port is not None:
            held.enter_context(metrics.shown(metrics_host, metrics_port))
        run(settings, until_empty=until_empty)

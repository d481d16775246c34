"""``avsafe serve``: the page and the API where anybody can verify."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Server processes.", min=1, max=64)] = 1,
) -> None:
    """Serve a page and an API where anybody can verify a file, and resolve our marks (C2PA).

    Nothing of an upload is kept. Settings come from the environment, each AVSAFE_SERVE_NAME:
    MAX_UPLOAD_MB, AT_ONCE, WAITING, RECEIVE_S, DETECTORS, FEEDBACK, OPERATOR (docs/server.md).

    Example: AVSAFE_SERVE_MAX_UPLOAD_MB=200 avsafe serve --port 8080
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

    # Behind a proxy its own log of requests is the better one; addresses are personal data.
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

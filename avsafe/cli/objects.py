"""``avsafe objects``: where the files of jobs lie."""

from __future__ import annotations

import typer

from avsafe.cli.shell import Json, console, print_json

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "The files of the gateway's jobs: a folder of the state folder, or the bucket in "
        "AVSAFE_OBJECTS_URL (docs/storage.md). `avsafe doctor` says whether it is reached."
    ),
)


@app.callback()
def objects() -> None:
    """Commands come by name."""


@app.command()
def move(as_json: Json = False) -> None:
    """Move files of jobs from the state folder into the bucket that AVSAFE_OBJECTS_URL names.

    Stop the service and its workers first. Each file is put, read back and compared before the one
    here goes; what was interrupted is taken up again by the next call.

    Example: AVSAFE_OBJECTS_URL=s3://team-files/avsafe avsafe objects move
    """
    from avsafe.errors import UsageError
    from avsafe.home import Home
    from avsafe.objects import URL_VARIABLE, FolderStore, moved, open_store

    home = Home.default()
    target = open_store(home)
    if isinstance(target, FolderStore):
        raise UsageError(f"Set {URL_VARIABLE} to the bucket that the files shall go to.")
    target.check()
    files, size_bytes = 0, 0
    for one in moved(FolderStore(home.objects), target):
        files, size_bytes = files + 1, size_bytes + one.size_bytes
    if as_json:
        print_json({"moved": files, "bytes": size_bytes, "to": target.shown})
        return
    console().print(f"{files} files ({size_bytes} bytes) lie in {target.shown} now.")

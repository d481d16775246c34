"""Models of the Hugging Face hub: from the local cache, or fetched where the request asks for it.

The network is used in a process of its own: this one stays offline. Run as
``python -m avsafe_generators.diffusers.hub ID [REVISION]``; the folder is the last line it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, UsageError
from avsafe.types import Cancelled, Progress
from avsafe_generators.diffusers import library

ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[\w.-][\w./-]{0,99}")
# Nothing else is fetched: no pickled weights, no code.
PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_POLL_S = 0.2


def cached(model: str, revision: str) -> Path:
    """The folder of a model that was fetched before. Raises UsageError when there is none."""
    _check(model, revision)
    library.diffusers()
    huggingface_hub: Any = import_module("huggingface_hub")
    try:
        found = huggingface_hub.snapshot_download(
            model, revision=revision or None, local_files_only=True, allow_patterns=PATTERNS
        )
    except Exception as error:
        raise UsageError(
            f"{model} is neither a folder nor in the local cache. Give the path of a folder, or "
            "add --param allow_download=true to fetch it from the Hugging Face hub."
        ) from error
    return Path(found)


def fetch(model: str, revision: str, progress: Progress, cancelled: Cancelled) -> Path:
    """Fetch a model into the Hugging Face cache. Raises GeneratorFailed, Cancelled."""
    _check(model, revision)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UsageError(
            f"allow_download=true asks for {model}, but $HF_HUB_OFFLINE forbids it. Unset one."
        )
    command = [sys.executable, "-m", __name__, model, *([revision] if revision else [])]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=talk)
        start = time.monotonic()
        try:
            while process.poll() is None:
                if cancelled():
                    raise Stopped(f"Fetching {model} was asked to stop.")
                share = 1 - 0.5 ** ((time.monotonic() - start) / 60)
                progress(0.04 * share, "fetching the model")
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        talk.seek(0)
        lines = said.read().decode(errors="replace").split("\n")
        if process.returncode != 0:
            tail = talk.read()[-2000:].decode(errors="replace").strip().splitlines()
            reason = library.shortened(RuntimeError(tail[-1] if tail else "no message"))
            raise GeneratorFailed(f"{model} could not be fetched from the hub: {reason}")
    return Path(lines[-2] if lines[-1] == "" else lines[-1])


def _check(model: str, revision: str) -> None:
    if not ID.fullmatch(model):
        raise UsageError(
            f"There is no folder {model}. Give the path of a diffusers folder, or the id of a "
            "model of the hub (owner/name)."
        )
    if revision and not _REVISION.fullmatch(revision):
        raise UsageError(f"{revision!r} is no revision of a model.")


def main(argv: list[str]) -> None:
    """Fetch one model; nothing else of the library is imported."""
    huggingface_hub: Any = import_module("huggingface_hub")
    folder = huggingface_hub.snapshot_download(
        argv[0], revision=argv[1] if len(argv) > 1 else None, allow_patterns=PATTERNS
    )
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

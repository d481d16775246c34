"""A verdict as the JSON that programs get: as ``avsafe verify --json``, without a path."""

from __future__ import annotations

import re
import tempfile
import traceback
from pathlib import Path
from typing import Any

from avsafe.plain import plain
from avsafe.types import Verdict


def verdict_json(verdict: Verdict, name: str) -> dict[str, Any]:
    """
    >>> from pathlib import Path
    >>> from avsafe.types import Label
    >>> verdict_json(Verdict(Path("/x/y"), "0" * 64, Label.INCONCLUSIVE, ()), "clip.mp4")["name"]
    'clip.mp4'
    """
    found = {k: v for k, v in plain(verdict).items() if k != "path"}
    return {"name": name} | found


def error_json(code: str, message: str) -> dict[str, Any]:
    """What a program gets in place of an answer."""
    return {"error": {"code": code, "message": message}}


def told(error: BaseException, root: Path) -> str:
    """What a client is told of an error: its sentence, without paths of this machine.

    >>> told(ValueError("/srv/state/objects/jobs/x/in-image: no media."), Path("/srv/state"))
    'a file here: no media.'
    """
    ours = {root, root.absolute(), Path(tempfile.gettempdir()), Path.home(), _CODE}
    said = str(error)
    for one in sorted(map(str, ours), key=len, reverse=True):
        if len(one) > 1:
            said = re.sub(re.escape(one) + r"(/[^\s'\":,;]*)?", "a file here", said)
    return said


def where(error: BaseException) -> str:
    """For the log: kind and place of an error, without its sentence, which may quote a prompt or a
    name."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
    return f"{type(error).__name__} at {places or 'nowhere'}"


_CODE = Path(__file__).parents[2]

"""One file, in whatever process or machine looks at it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsafe.bulk.listing import has_sidecar, stamp_of
from avsafe.home import Home
from avsafe.plain import plain
from avsafe.workspace import Lookup

OK, SAME, FAILED = "ok", "same", "failed"


@dataclass(frozen=True)
class FileTask:
    """A file, and how ``avsafe verify`` is to look at it."""

    path: str
    home: Path
    detectors: tuple[str, ...]
    credential_only: bool
    known: tuple[str, ...] = ()  # SHA-256 of files like it that were looked at


def look_at(task: FileTask) -> dict[str, Any]:
    """The fields of a row. ``same``: its bytes are those of a file that was looked at.

    Raises what ``avsafe.verify`` raises for another reason than the file.
    """
    from avsafe import media
    from avsafe.verify import verify

    try:
        before = stamp_of(task.path)
        if task.known and not has_sidecar(before):
            sha256 = media.sha256_of(task.path)
            if sha256 in task.known and stamp_of(task.path) == before:
                return {"status": SAME, "stamp": before, "sha256": sha256}
        verdict = verify(
            Path(task.path),
            Lookup(Home(task.home)),
            credential_only=task.credential_only,
            detectors=task.detectors,
        )
        if stamp_of(task.path) != before:
            return {"status": FAILED, "reason": "it changed while it was looked at"}
    except FileNotFoundError:
        return {"status": FAILED, "reason": "it is gone"}
    except OSError as error:
        return {"status": FAILED, "reason": error.strerror or type(error).__name__}
    evidence = plain(verdict.evidence)
    return {
        "status": OK,
        "stamp": before,
        "sha256": verdict.sha256,
        "label": str(verdict.label),
        "evidence": evidence,
        "anyones": not has_sidecar(before) and not _names(evidence, Path(task.path).name),
    }


def _names(evidence: Any, name: str) -> bool:
    """Whether an answer speaks of the file by its name.

    >>> _names([{"summary": "clip.mp4 ends too soon"}], "clip.mp4")
    True
    """
    return json.dumps(name, ensure_ascii=False)[1:-1] in json.dumps(evidence, ensure_ascii=False)

"""What whoever runs the service may set, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.media import Limits

PREFIX = "AVSAFE_SERVE_"
UPLOADS = "uploads"  # in the state folder
# Generators that a client may name unless the setting says others. Those that run a command line,
# load a model by path or call a server are not among them: their parameters reach the machine.
EMBEDDED = (
    "world", "two-stage", "one-pass", "portrait", "photo-motion", "cinemagraph", "stylize",
    "inpaint", "edit", "foley", "talking-head", "speech",
)  # fmt: skip
MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Each is read from ``AVSAFE_SERVE_`` and its name in capitals.

    ``at_once`` analyses run side by side, ``waiting`` more may wait for their turn; a further
    upload is answered with 503 before its body is read.
    """

    home: Home = field(default_factory=Home.default)
    max_upload_mb: int = 512
    at_once: int = max(1, os.cpu_count() or 1)
    waiting: int = 256
    receive_s: float = 600.0  # an upload that takes longer is dropped
    detectors: str = "all"
    generators: str = ",".join(EMBEDDED)  # what clients may name as "model"
    generate: bool = False  # the gateway beside the verify page (avsafe serve --generate)
    keep_days: int = 30  # of a job that ended; after that only registry and ledger know of it
    team_jobs: int = 100  # of one team that have not ended
    wait_s: float = 300.0  # that a call for pictures waits for each
    fetch: bool = False  # whether an address (URL) is taken in place of a file
    feedback: str = ""  # mailto: or https: address for corrections; shown where it is set
    operator: str = ""  # who runs this service, shown at the foot

    def __post_init__(self) -> None:
        for name in ("max_upload_mb", "at_once", "receive_s", "keep_days", "team_jobs", "wait_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{PREFIX}{name.upper()} must be greater than zero.")
        if self.waiting < 0:
            raise UsageError(f"{PREFIX}WAITING must not be negative.")
        if self.feedback and not self.feedback.startswith(("https://", "mailto:")):
            raise UsageError(f"{PREFIX}FEEDBACK is an address that begins with https:// or mailto:")

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * MIB

    @property
    def uploads(self) -> Path:
        """Where uploads lie while they are looked at."""
        return self.home.root / UPLOADS

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the generators that clients may use."""
        return tuple(name.strip() for name in self.generators.split(",") if name.strip())

    @property
    def limits(self) -> Limits:
        """Of the analysis of one upload."""
        return Limits(max_file_bytes=self.max_upload_bytes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Raises UsageError for a value that is none, and for a name that is no setting.

        >>> Settings.from_environment({"AVSAFE_SERVE_MAX_UPLOAD_MB": "64"}).max_upload_mb
        64
        """
        given = os.environ if environment is None else environment
        kinds: dict[str, Any] = {f.name: f.type for f in fields(cls) if f.name != "home"}
        found: dict[str, Any] = {}
        for key, text in given.items():
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX).lower()
            if name not in kinds:
                known = ", ".join(PREFIX + n.upper() for n in kinds)
                raise UsageError(f"{key} is no setting of the service (there are: {known}).")
            found[name] = _value(key, text, str(kinds[name]))
        return cls(**found)


def _value(key: str, text: str, kind: str) -> Any:
    if kind == "bool":
        if text.lower() not in ("0", "1", "false", "true"):
            raise UsageError(f"{key} is 0 or 1, not {text!r}.")
        return text.lower() in ("1", "true")
    try:
        return {"int": int, "float": float, "str": str}[kind](text)
    except ValueError:
        raise UsageError(f"{key} is a number, not {text!r}.") from None

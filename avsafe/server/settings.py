"""What whoever runs the service may set, from the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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

    ``at_once`` analyses run side by side on a machine, ``waiting`` more may wait in each process; a
    further upload is answered with 503 before its body is read.
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
    address: str = ""  # https://HOST by which browsers reach it; a provider sends them back there
    oidc_issuer: str = ""  # of the OpenID provider that logs people in; none: with keys alone
    oidc_client_id: str = ""
    oidc_client_secret_file: str = ""  # a file, so that the secret is in no list of processes
    oidc_team_claim: str = "groups"  # of the ID token; oidc-teams.toml says what each may
    oidc_label: str = ""  # the provider's name on the button
    oidc_minutes: int = 60  # of a session; then the provider is asked again, and groups are as new
    oidc_days: int = 14  # that roles by groups, and keys with them, last without another login
    log: str = "text"  # shape of the log's lines; or json
    traces: str = ""  # http:// or https:// address of an OpenTelemetry collector
    drain_s: float = 0.0  # from SIGTERM until the port closes, for a balancer to notice
    shutdown_s: float = 30.0  # that requests may then take to finish

    def __post_init__(self) -> None:
        for name in ("max_upload_mb", "at_once", "receive_s", "keep_days", "team_jobs", "wait_s",
                     "shutdown_s", "oidc_minutes", "oidc_days"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise UsageError(f"{PREFIX}{name.upper()} must be greater than zero.")
        for name in ("waiting", "drain_s"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{PREFIX}{name.upper()} must not be negative.")
        if self.log not in ("text", "json"):
            raise UsageError(f"{PREFIX}LOG is text or json.")
        if self.traces and not self.traces.startswith(("http://", "https://")):
            raise UsageError(f"{PREFIX}TRACES is the http:// or https:// address of a collector.")
        if self.feedback and not self.feedback.startswith(("https://", "mailto:")):
            raise UsageError(f"{PREFIX}FEEDBACK is an address that begins with https:// or mailto:")
        if self.address and (not is_secure(self.address) or urlsplit(self.address).path):
            raise UsageError(f"{PREFIX}ADDRESS is https://HOST, without a path.")
        if self.oidc_issuer:
            if not is_secure(self.oidc_issuer):
                raise UsageError(f"{PREFIX}OIDC_ISSUER is an address that begins with https://.")
            if not self.address or not self.oidc_client_id:
                raise UsageError(f"{PREFIX}OIDC_ISSUER needs OIDC_CLIENT_ID and ADDRESS beside it.")

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


def is_secure(address: str) -> bool:
    """Whether nobody on the way can read it: https, or http that does not leave the machine.

    >>> is_secure("https://login.example.org"), is_secure("http://login.example.org")
    (True, False)
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not address.isascii() or not address.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_here(host))


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _value(key: str, text: str, kind: str) -> Any:
    if kind == "bool":
        if text.lower() not in ("0", "1", "false", "true"):
            raise UsageError(f"{key} is 0 or 1, not {text!r}.")
        return text.lower() in ("1", "true")
    try:
        return {"int": int, "float": float, "str": str}[kind](text)
    except ValueError:
        raise UsageError(f"{key} is a number, not {text!r}.") from None

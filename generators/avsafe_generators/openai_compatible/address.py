"""Which server may be called, and with which key."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from avsafe.errors import UsageError

_KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")


@dataclass(frozen=True)
class Address:
    """The parts of a base URL. ``str()`` shows no key."""

    scheme: str
    host: str
    port: int
    path: str  # without a slash at the end
    key: str = field(default="", repr=False)

    @classmethod
    def parse(cls, base_url: str, key_env: str = "", *, insecure: bool = False) -> Address:
        """Raises UsageError: another scheme, plain http to another machine, no such variable.

        >>> Address.parse("http://127.0.0.1:8091/v1/").path
        '/v1'
        """
        if not base_url:
            raise UsageError(
                "Which server? Give --param base_url=https://HOST/v1 (and --param model=NAME)."
            )
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as error:
            # what was given is not repeated: it may hold a password
            raise UsageError(
                "base_url is no address that can be read. Write https://HOST/v1 or "
                "https://HOST:PORT/v1."
            ) from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"base_url is an http or https address, not {parts.scheme or 'without a scheme'}."
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "base_url is scheme, host, port and path alone. The key comes from the variable "
                "that key_env names."
            )
        if not re.fullmatch(r"[!-~]*", base_url):
            raise UsageError("base_url holds characters that an address can't have.")
        if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
            raise UsageError(
                f"http to {parts.hostname} would send key, prompt and media in the clear. Use "
                "https, or say insecure=true on a network of your own."
            )
        return cls(
            parts.scheme,
            parts.hostname,
            port or (443 if parts.scheme == "https" else 80),
            parts.path.rstrip("/"),
            _key(key_env),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def is_loopback(host: str) -> bool:
    """This machine, by name or number; a name that resolves to it doesn't count.

    >>> [is_loopback(name) for name in ("localhost", "127.8.8.8", "::1", "localhost.evil.org")]
    [True, True, True, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(name: str) -> str:
    if not name:
        return ""
    if not _KEY_NAME.fullmatch(name) or name.startswith("AVSAFE_"):
        raise UsageError(
            "key_env names an environment variable such as OPENAI_API_KEY (not AVSAFE_...). The "
            "key itself is never a parameter."
        )
    key = os.environ.get(name, "").strip()
    if not key:
        raise UsageError(f"The environment variable {name} that key_env names is not set.")
    if not re.fullmatch(r"[!-~]+", key):
        raise UsageError(f"The key in {name} holds characters that no key has.")
    return key

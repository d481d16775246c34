"""Which request or job the code at hand works for; ``asyncio.to_thread`` carries it along."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("avsafe_request_id", default="")
job_id: ContextVar[str] = ContextVar("avsafe_job_id", default="")
# A client may name its request, with hexadecimal digits and hyphens alone: no name of a person, no
# line of a log of its own making.
_WELL_FORMED = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{14,62}[0-9a-fA-F]")


def named(given: str) -> str:
    """The id of a request: what the client gave when it is well-formed, else a new one.

    >>> named("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    '6ba7b810-9dad-11d1-80b4-00c04fd430c8'
    >>> named("ada@example.org") == named("ada@example.org")
    False
    """
    return given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(16)


@contextmanager
def held(variable: ContextVar[str], value: str) -> Iterator[None]:
    """A variable with a value, in this block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)

"""Functions that the sandbox runs to show that its walls stand; ``avsafe doctor`` and tests use them."""

from __future__ import annotations

from typing import Any


def echo(value: Any) -> Any:
    """The argument, back from the child."""
    return value

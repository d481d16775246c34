"""Values of ours as JSON types, for the command line and the service."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON types: dataclasses become objects, paths and rates strings, bytes hex."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path | Fraction):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON knows no such number
    if hasattr(value, "item") and not isinstance(value, str):  # a numpy scalar
        return plain(value.item())
    return value

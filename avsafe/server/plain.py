"""A verdict as the JSON that programs get: as ``avsafe verify --json``, without a path."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from avsafe.types import Verdict


def verdict_json(verdict: Verdict, name: str) -> dict[str, Any]:
    """
    >>> from pathlib import Path
    >>> from avsafe.types import Label
    >>> verdict_json(Verdict(Path("/x/y"), "0" * 64, Label.INCONCLUSIVE, ()), "clip.mp4")["name"]
    'clip.mp4'
    """
    found = {
        "name": name,
        "sha256": verdict.sha256,
        "label": str(verdict.label),
        "evidence": [_plain(item) for item in verdict.evidence],
    }
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)

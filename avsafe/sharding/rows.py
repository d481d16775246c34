"""The manifest of a run, one JSON object a line: appended at once by every process, never
rewritten.

A row says what was measured (``kind``, ``watermarker``, ``clip``, ``key``, ``attack``), with which
code and settings (``run``), and how it ended (``status``: ok, failed, refused or inapplicable, the
latter three with a ``reason``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError

Row = dict[str, Any]
Identity = tuple[Any, ...]
_OF_A_TRIAL = ("run", "kind", "watermarker", "clip", "key", "attack")
# "of" is a hash of what was measured (``bench.work.content_hash``): another file under an old name
# is another measurement.
OF_A_SCORE = ("run", "kind", "system", "sample", "metric", "of")


def identity(row: Mapping[str, Any], fields: tuple[str, ...] = _OF_A_TRIAL) -> Identity:
    """What makes two rows the same measurement."""
    return tuple(row.get(name) for name in fields)


@dataclass(frozen=True)
class Store:
    """A file of rows that several processes append to."""

    path: Path
    fields: tuple[str, ...] = _OF_A_TRIAL  # what makes two rows the same measurement

    def append(self, row: Mapping[str, Any]) -> int:
        """Add one row; returns where it begins. A single write under a lock: rows of two processes
        never mix."""
        import fcntl

        line = json.dumps(finite(row), ensure_ascii=False, sort_keys=True) + "\n"
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # a writer was killed
            os.write(handle, (("\n" if torn else "") + line).encode("utf-8", "backslashreplace"))
            return size + torn
        finally:
            os.close(handle)

    def scan(self) -> Iterator[tuple[int, Row]]:
        """Every row with the place where it begins, one at a time. A line that is no row is passed
        over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            place = 0
            for line in file:  # of bytes, it ends at \n alone: a name may hold U+2028
                row = _row(line)
                if row is not None:
                    yield place, row
                place += len(line)

    def at(self, places: Iterable[int]) -> Iterator[Row]:
        """The rows that begin at these places."""
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                row = _row(file.readline())
                if row is None:
                    raise UsageError(
                        f"{self.path.name} was changed while it was read. Run the command again."
                    )
                yield row

    def read(self) -> list[Row]:
        """All rows; of equal identities the last one."""
        found: dict[Identity, Row] = {}
        for _, row in self.scan():
            found.pop(identity(row, self.fields), None)
            found[identity(row, self.fields)] = row
        return list(found.values())

    def done(self) -> set[Identity]:
        """What need not be measured again: everything that did not fail."""
        return {identity(row, self.fields) for row in self.read() if row.get("status") != "failed"}


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and "kind" in row else None


def finite(value: Any) -> Any:
    """JSON knows no NaN and no numpy scalar.

    >>> finite({"floor": float("nan"), "sizes": (1, 2)})
    {'floor': None, 'sizes': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, str):
        return finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def code_hash(files: Iterable[Path], settings: Mapping[str, Any]) -> str:
    """Twelve letters that change with any of the files or settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]

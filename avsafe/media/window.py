"""Random access to a file in pieces: what the structure walkers read through.

Not ``mmap``: a file that shrinks while it is looked at would kill this process with SIGBUS.
"""

from __future__ import annotations

from typing import BinaryIO

_PIECE = 64 * 1024


class Window:
    """The bytes of an open file; remembers the last piece, so that small steps are cheap."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._start = 0
        self._piece = b""

    def at(self, offset: int, n: int) -> bytes:
        """``n`` bytes from ``offset``; fewer at the end of the file."""
        first = offset - self._start
        if first >= 0 and first + n <= len(self._piece):
            return self._piece[first : first + n]
        self._file.seek(offset)
        self._piece = self._file.read(max(n, _PIECE))
        self._start = offset
        return self._piece[:n]

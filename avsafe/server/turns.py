"""Turns that all server processes of a machine share: so many at once, whoever has the uploads.

A turn is a locked file. The kernel lets go of it when its process ends, however it ends, so that a
killed one holds none, and a process that was left with most of the uploads may use every processor.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import platform
from pathlib import Path

from avsafe.errors import AvsafeError

_LOOK_S = 0.05  # between two looks whether another process has given one back


class Turns:
    """``most`` at once among all who name the same state folder on the same machine.

    Those of one process are served in their order.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder / "turns" / _host()
        self._most = most
        self._line: list[object] = []  # of this process, first come first

    async def take(self) -> int:
        """A turn, for ``give_back``. Raises AvsafeError when the folder cannot be used."""
        me = object()
        self._line.append(me)
        try:
            while True:
                place = self._line.index(me)
                if place == 0 and (turn := self._free()) is not None:
                    return turn
                await asyncio.sleep(min(1.0, _LOOK_S * (1 + place)))
        finally:
            self._line.remove(me)

    @staticmethod
    def give_back(turn: int) -> None:
        os.close(turn)

    def _free(self) -> int | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number in range(self._most):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                turn = os.open(self._folder / str(number), flags, 0o600)
                try:
                    fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    os.close(turn)
                    if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                        raise
                else:
                    return turn
        except OSError as error:
            raise AvsafeError(f"Uploads cannot take turns: {error.strerror}.") from error
        return None


def _host() -> str:
    """A name for files: of this machine, should several share the folder."""
    name = platform.node() or "here"
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:64]

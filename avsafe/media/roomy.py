"""Write an MP4 with room at its front, for the index and a credential, in one pass.

The muxer believes that its file starts at 0; all that it writes lands ``room`` bytes further on.
When it is done, the index is moved into the room (``layout``). FFmpeg's own options do less: its
``faststart`` writes the file twice, and its ``moov_size`` overwrites the media data when the index
turns out larger than said.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.media import layout

if TYPE_CHECKING:
    from avsafe.types import RawMedia

BUFFER = 1 << 20  # bytes for one call from the muxer
_FRAME = 28  # bytes of index for a frame: size, chunk, offset, order, duration
_PACKET = 20  # the same for 1024 samples of sound
_CREDENTIAL = 64 << 10  # ours take 14 KB, and 39 bytes for each MiB; inputs bring their own
_MOST = 64 << 20  # two hours at 240 frames a second
_BLOCK = 4096
_UNKNOWN = 1 << 20  # some ten minutes of picture and sound; what is longer has its index at the end


def room_for(raw: RawMedia) -> int:
    """Bytes that the front will need; a guess when the length of the media is not known.

    >>> from fractions import Fraction
    >>> from avsafe.types import Kind, RawMedia
    >>> room_for(RawMedia(Kind.VIDEO, (), Fraction(25), 250))
    73728
    """
    if raw.frame_count is None or raw.frame_rate is None or raw.frame_rate <= 0:
        return _UNKNOWN
    packets = 0.0
    if raw.samples is not None:
        packets = float(raw.frame_count / raw.frame_rate) * raw.rate_hz / 1024
    need = _CREDENTIAL + _FRAME * max(0, raw.frame_count) + int(_PACKET * max(0.0, packets))
    need = min(need, _MOST)  # a wrong count must not fill the disk; the index then stands last
    return -(-need // _BLOCK) * _BLOCK


class RoomyFile:
    """What a muxer writes to: a new file, shifted by ``room``."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("w+b", 0)
        self._room = room
        self.seek(0)

    def write(self, data: bytes) -> int:
        """All of it, or an OSError."""
        view, done = memoryview(data), 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do, counted from the end of the room."""
        if whence == os.SEEK_SET:
            offset += self._room
        return self._file.seek(offset, whence) - self._room

    def tell(self) -> int:
        return self._file.tell() - self._room

    def settle(self) -> None:
        """Make it a plain file: the index into the room, or left at the end when it is larger."""
        movie = layout.survey(self._file, base=self._room)
        if movie.start_with(layout.FREE_HEADER) <= movie.payload[0]:
            layout.rearrange(self._file, movie, layout.FREE_HEADER)
        else:
            layout.index_last(self._file, movie)

    def close(self) -> None:
        self._file.close()

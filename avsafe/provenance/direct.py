"""Sign an MP4, MOV or M4A in place: its media data are read once, hashed once and never copied.

1. make the claim and learn its size; 2. arrange the file around that much room (``layout``);
3. hash the media data in pieces, each a leaf of the manifest's Merkle map; 4. hash the rest, sign;
5. put the credential into its room. Memory is one piece, whatever the size of the file.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from avsafe.media import layout
from avsafe.provenance import embeddable, stores

if TYPE_CHECKING:
    import c2pa

    from avsafe.provenance.formats import Container

CONTAINERS = frozenset(("mp4", "mov", "m4a"))
# A leaf costs 39 bytes of manifest: 1 MiB leaves up to 1 GiB, then larger ones. Measured cost is
# the same from 256 KiB to 4 MiB, and a leaf is what signing and verifying hold in memory.
_SMALLEST_LEAF, _LARGEST_LEAF, _LEAVES = 1 << 20, 8 << 20, 1024
_LEAF_ROOM = 39  # bytes of CBOR: a hash with its head, and its size
_MAP_ROOM = 160  # bytes of CBOR around the leaves
# A small file is copied all the same: it then holds no more free space than it needs.
_COPIED_BELOW = 16 << 20


class Unsuited(Exception):
    """This file, or this machine, is signed by the library alone; the message says why."""


def sign(
    source: Path,
    spare: Path,
    container: Container,
    builder: Callable[[ExitStack], c2pa.Builder],
    *,
    consume: bool,
) -> tuple[Path, bytes]:
    """Sign ``source`` where it stands (``consume``: it is ours to change), or a copy of it at
    ``spare``. Returns the path that was signed, and the manifest store.

    ``builder`` makes the claim, with a signer in its context. The result is not verified here.
    Raises Unsuited with nothing but ``spare`` and free boxes of the source changed, and what the
    builder raises.
    """
    if container.name not in CONTAINERS:
        raise Unsuited(f"{container.name} is not signed in place")
    try:
        native = embeddable.load()
        with ExitStack() as held:
            file: BinaryIO = held.enter_context(source.open("r+b" if consume else "rb", 0))
            movie = layout.survey(file)
            made = builder(held)
            size = movie.payload[1] - movie.payload[0]
            leaf = leaf_bytes(size)
            room = (
                native.placeholder(made, container.mime)
                + _MAP_ROOM
                + _LEAF_ROOM * -(-size // leaf)
                + layout.FREE_HEADER
            )
            place = None
            if consume and size >= _COPIED_BELOW:
                place = layout.rearrange(file, movie, room)
            path = source
            if place is None:
                path, copy = spare, held.enter_context(spare.open("w+b", 0))
                place = layout.copy(file, copy, movie, room)
                file = copy
            _hash(native, made, file, leaf, sum(place) + len(movie.moov) + layout.LARGE_HEADER)
            native.hash_rest(made, container.mime, file)
            box = native.sign(made, container.mime)
            if not layout.fill(file, *place, box):
                raise Unsuited(f"its credential takes {len(box)} bytes, more than was reserved")
    except (embeddable.Unavailable, layout.Unsuited) as error:
        raise Unsuited(str(error)) from error
    return path, stores.unwrapped(box)


def blank(path: Path) -> None:
    """Take a credential that did not verify out again: its box becomes a free box."""
    with path.open("r+b", 0) as file:
        movie = layout.survey(file, credential=True)
        layout.rearrange(file, movie, layout.FREE_HEADER)


def leaf_bytes(payload: int) -> int:
    """The size of a leaf for so many bytes of media data.

    >>> leaf_bytes(10**6) >> 20, leaf_bytes(3 << 30) >> 20, leaf_bytes(1 << 40) >> 20
    (1, 4, 8)
    """
    leaf = _SMALLEST_LEAF
    while leaf < _LARGEST_LEAF and payload > leaf * _LEAVES:
        leaf *= 2
    return leaf


def _hash(
    native: embeddable.Native, builder: c2pa.Builder, file: BinaryIO, leaf: int, start: int
) -> None:
    end = os.fstat(file.fileno()).st_size
    buffer = (ctypes.c_ubyte * leaf)()
    view = memoryview(buffer).cast("B")
    position = start
    file.seek(start)
    while position < end:
        wanted, got = min(leaf, end - position), 0
        while got < wanted:
            count = file.readinto(view[got:wanted])  # type: ignore[attr-defined]
            if not count:
                raise Unsuited("it was cut short while it was read")
            got += count
        native.hash_leaf(builder, buffer, wanted)
        position += wanted

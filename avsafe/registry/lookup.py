"""Which releases are worth comparing with a fingerprint, the nearest first.

What the index covers is searched there; the rest, or all without an index, in one pass over a few
hashes of each release.

Legend: ``q`` hashes of the query, ``p`` probes of a block of releases; a hash is 4 x 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, select, true

from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.index import NOTHING, Covered, Index, releases_of, sound_queries
from avsafe.registry.schema import fingerprint_numbers as numbers
from avsafe.registry.schema import fingerprints

NEAR_BITS = 72  # of 256; a copy's best pair differs in 28 at most, 98 % of other clips in 90
NEAR_SOUND_BITS = 64  # copies agree in 80 % of all items, so in one window at least
QUERY_HASHES = 16
BLOCK = 2000  # releases compared at once: 40 MB of differences
COMPARED = 64  # the nearest, which are compared in full


def candidates(connection: Connection, query: Fingerprint, index: Index | None) -> list[str]:
    """Release ids that may agree with ``query``: the ``COMPARED`` nearest, and those whose sound no
    index covers; the rest cannot, or are farther."""
    covered = index.covered(connection) if index is not None else NOTHING
    beyond = _beyond(covered.last)
    q = query.sample(QUERY_HASHES)
    near = _near(connection, _words(q.tobytes()), beyond) if len(q) else {}
    if covered.last:
        near |= dict(_indexed(connection, query, q, covered))
    found = sorted(near, key=lambda release: (near[release], release))[:COMPARED]
    if query.n_sound:
        found += _with_sound(connection, beyond, pictures_too=not query.n_frames)
    return list(dict.fromkeys(found))


def _indexed(
    connection: Connection, query: Fingerprint, q: NDArray[np.uint8], covered: Covered
) -> Iterator[tuple[str, int]]:
    numbered = covered.near("picture", q, NEAR_BITS)
    windows = sound_queries(query.sound)
    for kind in ("sound",) if query.n_frames else ("sound", "soundtrack"):
        for number, bits in covered.near(kind, windows, NEAR_SOUND_BITS).items():
            numbered[number] = min(bits, numbered.get(number, bits))
    nearest = sorted(numbered, key=lambda number: (numbered[number], number))[:COMPARED]
    for number, release_id in releases_of(connection, nearest):
        yield release_id, numbered[number]


def _beyond(covered: int) -> ColumnElement[bool]:
    """Fingerprints that came in after the index was written."""
    if not covered:
        return true()
    later = select(numbers.c.release_id).where(numbers.c.number > covered)
    return fingerprints.c.release_id.in_(later)


def _with_sound(
    connection: Connection, beyond: ColumnElement[bool], *, pictures_too: bool
) -> list[str]:
    """Each of these is compared in full."""
    by_sound = select(fingerprints.c.release_id).where(fingerprints.c.has_sound, beyond)
    if not pictures_too:  # against a release with pictures, pictures decide
        by_sound = by_sound.where(~fingerprints.c.has_picture)
    return list(connection.execute(by_sound).scalars())


def _near(
    connection: Connection, q: NDArray[np.uint64], beyond: ColumnElement[bool]
) -> dict[str, int]:
    """Releases with a probe near one of ``q``, and how many bits differ."""
    stored = connection.execute(
        select(fingerprints.c.release_id, fingerprints.c.probes)
        .where(fingerprints.c.has_picture, beyond)
        .execution_options(yield_per=BLOCK)
    )
    return {name: bits for block in stored.partitions() for name, bits in _nearest(q, block)}


def _nearest(q: NDArray[np.uint64], block: Sequence[Any]) -> Iterator[tuple[str, int]]:
    counts = np.array([len(row.probes) // 32 for row in block])
    kept = [row.release_id for row, count in zip(block, counts, strict=True) if count]
    if not kept:
        return
    p = _words(b"".join(row.probes for row in block))
    differing = np.full(len(p), 256, np.uint16)
    for one in q:
        differing = np.minimum(differing, np.bitwise_count(p ^ one).sum(1, dtype=np.uint16))
    starts = np.concatenate([[0], np.cumsum(counts[counts > 0])[:-1]])
    nearest = np.minimum.reduceat(differing, starts)
    for release_id, bits in zip(kept, nearest.tolist(), strict=True):
        if bits <= NEAR_BITS:
            yield release_id, bits


def _words(hashes: bytes) -> NDArray[np.uint64]:
    """(n, 4) uint64 of 32-byte hashes."""
    return np.frombuffer(hashes, np.uint64).reshape(-1, 4)

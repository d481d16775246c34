"""Which releases are worth comparing with a fingerprint: one pass over a few hashes of each.

Legend: ``q`` hashes of the query, ``p`` probes of a block of releases; a hash is 4 x 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.schema import fingerprints

NEAR_BITS = 72  # of 256; a copy's best pair differs in 28 at most, 98 % of other clips in 90
QUERY_HASHES = 16
BLOCK = 2000  # releases compared at once: 40 MB of differences


def candidates(connection: Connection, query: Fingerprint) -> Iterator[str]:
    """Release ids that may agree with ``query``; the rest cannot."""
    q = _words(query.sample(QUERY_HASHES).tobytes())
    if len(q):
        stored = connection.execute(
            select(fingerprints.c.release_id, fingerprints.c.probes)
            .where(fingerprints.c.has_picture)
            .execution_options(yield_per=BLOCK)
        )
        for block in stored.partitions():
            yield from _near(q, block)
    if query.n_sound:
        by_sound = select(fingerprints.c.release_id).where(fingerprints.c.has_sound)
        if query.n_frames:  # against a release with pictures, pictures decide
            by_sound = by_sound.where(~fingerprints.c.has_picture)
        yield from connection.execute(by_sound).scalars().all()


def _near(q: NDArray[np.uint64], block: Sequence[Any]) -> Iterator[str]:
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
    for release_id, bits in zip(kept, nearest, strict=True):
        if bits <= NEAR_BITS:
            yield release_id


def _words(hashes: bytes) -> NDArray[np.uint64]:
    """(n, 4) uint64 of 32-byte hashes."""
    return np.frombuffer(hashes, np.uint64).reshape(-1, 4)

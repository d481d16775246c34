"""Merkle trees as in RFC 6962 section 2.1, with proofs checked as in RFC 9162 section 2.1.

Legend: ``n`` leaves in the tree, ``m`` leaves in an older tree, ``index`` of a leaf from 0.
A *peak* is the root of a complete subtree; the peaks of ``n`` stand one for each set bit of ``n``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()  # RFC 6962, 2.1: MTH({}) = SHA-256()

# Reads the hash of a complete subtree: (level, position at that level), level 0 are the leaves.
Node = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data).

    >>> leaf_hash(b"").hex()[:16]
    '6e340b9cffb37a98'
    """
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def peaks(n: int) -> Iterator[tuple[int, int]]:
    """(level, position) of each complete subtree of a tree of ``n`` leaves, the largest first.

    >>> list(peaks(6))
    [(2, 0), (1, 2)]
    """
    start = 0
    for level in reversed(range(n.bit_length())):
        if n >> level & 1:
            yield level, start >> level
            start += 1 << level


def fold(hashes: Iterable[bytes]) -> bytes:
    """The root over peaks, the largest first."""
    result = b""
    for value in reversed(list(hashes)):
        result = node_hash(value, result) if result else value
    return result or EMPTY_ROOT


def root(n: int, node: Node) -> bytes:
    """The Merkle tree hash of the first ``n`` leaves; reads O(log n) nodes."""
    return fold(node(*peak) for peak in peaks(n))


class Frontier:
    """The peaks of a tree that grows leaf by leaf: O(log n) state, one parent a leaf on average.

    >>> tree = Frontier()
    >>> tree.append(leaf_hash(b"a"))
    []
    >>> [(level, position) for level, position, _ in tree.append(leaf_hash(b"b"))]
    [(1, 0)]
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(hashes)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; returns the subtrees it completes above level 0."""
        completed = []
        value, level, position = leaf, 0, self.size
        while position & 1:
            value = node_hash(self._peaks.pop(), value)
            level, position = level + 1, position >> 1
            completed.append((level, position, value))
        self._peaks.append(value)
        self.size += 1
        return completed

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The largest first; with ``size`` they make the same tree again."""
        return tuple(self._peaks)

    def root(self) -> bytes:
        return fold(self._peaks)


def _range_hash(start: int, end: int, node: Node) -> bytes:
    """Hash of leaves ``start`` to ``end``, where ``start`` is aligned as RFC 6962 splits them."""
    size = end - start
    hashes = []
    for level, position in peaks(size):
        hashes.append(node(level, (start >> level) + position))
    return fold(hashes)


def _split(n: int) -> int:
    """The largest power of two smaller than ``n`` (n > 1)."""
    return 1 << (n - 1).bit_length() - 1


def inclusion_path(index: int, n: int, node: Node) -> list[bytes]:
    """PATH(index, D[n]) of RFC 6962, 2.1.1; reads O(log^2 n) nodes."""
    if not 0 <= index < n:
        raise ValueError(f"There is no leaf {index} in a tree of {n} leaves.")
    path: list[bytes] = []
    start, end = 0, n
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    return path[::-1]


def consistency_path(m: int, n: int, node: Node) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962, 2.1.2, for 0 < m <= n."""
    if not 0 < m <= n:
        raise ValueError(f"Consistency is from 1 <= m <= n, not m = {m}, n = {n}.")
    path: list[bytes] = []
    start, end, whole = 0, n, True
    while m != end:
        middle = start + _split(end - start)
        if m <= middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(start, middle, node))
            start, whole = middle, False
    if not whole:
        path.append(_range_hash(start, end, node))
    return path[::-1]


def check_inclusion(index: int, n: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """True when ``path`` leads from the leaf hash to ``root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < n:
        return False
    first, last, value = index, n - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            value = node_hash(sibling, value)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and value == root


def check_consistency(m: int, n: int, old: bytes, new: bytes, path: list[bytes]) -> bool:
    """True when ``new`` over ``n`` leaves begins with ``old`` over ``m`` (RFC 9162, 2.1.4.2)."""
    if m == n:
        return not path and old == new
    if not 0 < m < n or not path:
        return False
    nodes = [old, *path] if m & (m - 1) == 0 else list(path)
    first, last = m - 1, n - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    older = newer = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and older == old and newer == new

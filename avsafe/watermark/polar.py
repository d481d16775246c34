"""Polar codes of low rate with dynamic frozen bits, and their list decoder.

Legend: ``n`` coded bits (a power of two), ``m`` message bits, ``w`` words decoded together,
``p`` paths of the list, ``s`` coded bits of a subtree, ``k`` message bits in it.

A word ``u`` of n bits becomes the codeword ``x = u F`` with ``F`` the log2(n)-fold Kronecker power
of ((1, 0), (1, 1)). The m most reliable places of u carry the message (Arikan, "Channel
polarization", IEEE Trans. Information Theory 55, 2009). How reliable place i is does not need the
channel: its polarization weight is the sum of beta^j over the bits j of i (He et al., "Beta
expansion: a theoretical framework for fast and recursive construction of polar codes", GLOBECOM
2017). Their beta is 2^(1/4) = 1.189; ours is lower, towards Reed-Muller codes: heavier codewords
for a longer list (see decision 0013).

The other places are frozen, but not to zero: each is the parity of a keyless pseudorandom choice of
the message bits before it. The code stays linear, the decoder knows all of those bits when it gets
there, and far fewer codewords are light (Trifonov and Miloslavskaya, "Polar subcodes", IEEE J.
Selected Areas in Communications 34, 2016; Arikan, arXiv:1908.09594).

Decoding is successive cancellation with a list (Tal and Vardy, "List decoding of polar codes", IEEE
Trans. Information Theory 61, 2015) in min-sum arithmetic. It stops at every subtree of at most 7
message bits: there all 2^k codewords are compared at once by a matrix product. That gives the same
metrics as going down to single bits: under min-sum, the penalties of the bits of a subtree add up
to the sum of |soft value| over the places where its codeword and the hard decisions differ.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BETA = 1.155
_LEAF_BITS = 7  # 128 codewords at a leaf: more make the choice of the best slower than the tree

Soft = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Leaf:
    """A subtree that is decoded at once."""

    first: int  # message bits before it
    messages: Soft  # (2^k, k) of 0 and 1
    book: Soft  # (2^k, s) of +-1, the codewords if all earlier message bits are 0
    earlier: Soft  # (first, s) of 0 and 1: which coded bits each earlier message bit turns


Tree = Leaf | tuple["Tree", "Tree"]


@dataclass(frozen=True, eq=False)
class Polar:
    """A code, ready to use; see ``polar``."""

    generator: NDArray[np.uint8]  # (m, n): the words u of the unit messages
    tree: Tree

    def encode(self, message: NDArray[np.integer]) -> NDArray[np.int8]:
        """Messages ``(..., m)`` of 0 and 1 -> codewords ``(..., n)`` of +1 (bit 0) and -1."""
        word = (message.astype(np.int64) @ self.generator.astype(np.int64)) & 1
        coded: NDArray[np.int8] = 1 - 2 * _transform(word.astype(np.uint8)).astype(np.int8)
        return coded

    def decode(self, soft: NDArray[np.floating], paths: int) -> NDArray[np.uint8]:
        """``(w, n)`` soft bits -> ``(w, p, m)`` messages, the most likely first; p <= ``paths``.

        Positive means bit 0. The scale does not matter, but keep it near 1 (float32).
        """
        return _ListDecoder(len(soft), self.generator.shape[0], paths).run(self.tree, soft)


@lru_cache(maxsize=8)
def polar(length: int, message_bits: int, beta: float = BETA) -> Polar:
    """The code of ``length`` (a power of two) coded bits.

    >>> polar(1024, 64).encode(np.zeros(64, int)).tolist() == [1] * 1024
    True
    """
    places = np.arange(length)
    depth = length.bit_length() - 1
    weight = np.sum([((places >> j) & 1) * beta**j for j in range(depth)], axis=0)
    used = np.sort(np.argsort(weight, kind="stable")[length - message_bits :])
    label = f"org.avsafe.polar.1/{length}/{message_bits}"
    stream = hashlib.shake_256(label.encode()).digest(message_bits * length // 8)
    drawn = np.unpackbits(np.frombuffer(stream, np.uint8)).reshape(message_bits, length)
    generator: NDArray[np.uint8] = drawn * (places > used[:, None])  # only later places
    generator[:, used] = np.eye(message_bits, dtype=np.uint8)
    carries = np.zeros(length, np.bool_)
    carries[used] = True
    return Polar(generator, _build(generator, carries, 0, length))


def _build(generator: NDArray[np.uint8], carries: NDArray[np.bool_], start: int, size: int) -> Tree:
    stop = start + size
    first, count = int(carries[:start].sum()), int(carries[start:stop].sum())
    if count > _LEAF_BITS:
        middle = size // 2
        return (
            _build(generator, carries, start, middle),
            _build(generator, carries, start + middle, middle),
        )
    messages = (np.arange(1 << count)[:, None] >> np.arange(count)) & 1
    words = (messages @ generator[first : first + count, start:stop].astype(np.int64)) & 1
    return Leaf(
        first,
        messages.astype(np.float32),
        1 - 2 * _transform(words.astype(np.uint8)).astype(np.float32),
        _transform(generator[:first, start:stop].copy()).astype(np.float32),
    )


def _transform(word: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """u -> u F along the last axis, in place."""
    half = 1
    while half < word.shape[-1]:
        pairs = word.reshape(*word.shape[:-1], word.shape[-1] // (2 * half), 2, half)
        pairs[..., 0, :] ^= pairs[..., 1, :]
        half *= 2
    return word


class _ListDecoder:
    """The list of every word: penalty ``(w, p)`` and message so far ``(w, p, m)``."""

    def __init__(self, words: int, message_bits: int, paths: int) -> None:
        self.paths = paths
        self.penalty: Soft = np.zeros((words, 1), np.float32)
        self.message: Soft = np.zeros((words, 1, message_bits), np.float32)
        self.rows = np.arange(words)[:, None]

    def run(self, tree: Tree, soft: NDArray[np.floating]) -> NDArray[np.uint8]:
        self._subtree(tree, soft[:, None].astype(np.float32))
        order = np.argsort(self.penalty, axis=1, kind="stable")
        ordered: NDArray[np.uint8] = self.message[self.rows, order].astype(np.uint8)
        return ordered

    def _subtree(self, tree: Tree, soft: Soft) -> tuple[Soft, NDArray[np.int64] | None]:
        """Soft bits ``(w, p, s)`` -> codewords ``(w, p', s)`` and, if the list changed, which of
        the p paths each of the p' continues."""
        if isinstance(tree, Leaf):
            return self._leaf(tree, soft)
        half = soft.shape[2] // 2
        upper, lower = soft[..., :half], soft[..., half:]
        both = np.minimum(np.abs(upper), np.abs(lower))
        left, parents = self._subtree(tree[0], np.copysign(both, upper * lower))
        if parents is not None:
            upper, lower = upper[self.rows, parents], lower[self.rows, parents]
        right, again = self._subtree(tree[1], lower + left * upper)
        if again is not None:
            left = left[self.rows, again]
            parents = again if parents is None else parents[self.rows, again]
        return np.concatenate([left * right, right], axis=2), parents

    def _leaf(self, leaf: Leaf, soft: Soft) -> tuple[Soft, NDArray[np.int64] | None]:
        turns = self.message[..., : leaf.first] @ leaf.earlier  # whole numbers, exact in float32
        sign = 1 - 2 * (turns.astype(np.int32) & 1).astype(np.float32)
        turned = soft * sign
        size, count = leaf.messages.shape
        penalty = (np.abs(turned).sum(axis=2)[..., None] - turned @ leaf.book.T) / 2
        penalty += self.penalty[..., None]
        if size == 1:  # all frozen
            self.penalty = penalty[..., 0]
            return sign, None
        flat = penalty.reshape(len(soft), -1)
        if flat.shape[1] > self.paths:
            kept = np.argpartition(flat, self.paths - 1, axis=1)[:, : self.paths]
        else:
            kept = np.broadcast_to(np.arange(flat.shape[1]), flat.shape)
        parents, own = kept // size, kept % size
        self.penalty = np.take_along_axis(flat, kept, 1)
        self.message = self.message[self.rows, parents]
        self.message[..., leaf.first : leaf.first + count] = leaf.messages[own]
        return leaf.book[own] * sign[self.rows, parents], parents

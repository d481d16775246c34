"""The tree against the published vectors of Certificate Transparency and a naive RFC 6962."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsafe.ledger import merkle

# certificate-transparency: merkletree test data; leaves, then the root over the first n of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [  # index, size, path
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [  # older, newer, path
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


class Tree:
    """A whole tree in memory, built by the frontier as the log builds it."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.frontier = merkle.Frontier()
        self.nodes: dict[tuple[int, int], bytes] = {}
        for index, data in enumerate(leaves):
            value = merkle.leaf_hash(data)
            self.nodes[0, index] = value
            for level, position, node in self.frontier.append(value):
                self.nodes[level, position] = node

    def node(self, level: int, position: int) -> bytes:
        return self.nodes[level, position]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962, 2.1 writes it down, by recursion over the leaves."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return merkle.leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


@pytest.mark.parametrize("n", range(9))
def test_roots_are_the_published_ones(n: int) -> None:
    tree = Tree(LEAVES[:n])
    assert tree.frontier.root().hex() == ROOTS[n]
    assert merkle.root(n, tree.node).hex() == ROOTS[n]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_paths_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    found = merkle.inclusion_path(index, size, Tree(LEAVES[:size]).node)
    assert [item.hex() for item in found] == path


@pytest.mark.parametrize(("older", "newer", "path"), CONSISTENCY)
def test_consistency_paths_are_the_published_ones(older: int, newer: int, path: list[str]) -> None:
    found = merkle.consistency_path(older, newer, Tree(LEAVES[:newer]).node)
    assert [item.hex() for item in found] == path


def test_every_proof_of_every_small_tree_holds_and_no_bent_one_does() -> None:
    leaves = [bytes([number]) for number in range(33)]
    tree = Tree(leaves)
    for n in range(1, 34):
        root = merkle.root(n, tree.node)
        assert root == naive_root(leaves[:n])
        for index in range(n):
            leaf, path = tree.node(0, index), merkle.inclusion_path(index, n, tree.node)
            assert merkle.check_inclusion(index, n, leaf, path, root)
            assert not merkle.check_inclusion(index, n, merkle.leaf_hash(b"x"), path, root)
            assert not merkle.check_inclusion(index, n, leaf, [*path, root], root)
            assert not merkle.check_inclusion(n, n, leaf, path, root)
            if path:
                assert not merkle.check_inclusion(index, n, leaf, path[:-1], root)
                assert not merkle.check_inclusion(index ^ 1, n, leaf, path, root)
        for m in range(1, n + 1):
            old, path = merkle.root(m, tree.node), merkle.consistency_path(m, n, tree.node)
            assert merkle.check_consistency(m, n, old, root, path)
            assert not merkle.check_consistency(m, n, merkle.leaf_hash(b"x"), root, path)
            assert not merkle.check_consistency(m, n, old, merkle.leaf_hash(b"x"), path)
            assert not merkle.check_consistency(m, n, old, root, [*path, old])


@given(st.lists(st.binary(max_size=40), max_size=200))
def test_the_growing_tree_is_the_recursive_one(leaves: list[bytes]) -> None:
    assert Tree(leaves).frontier.root() == naive_root(leaves)


def test_impossible_proofs_are_refused() -> None:
    node = Tree(LEAVES).node
    with pytest.raises(ValueError, match="no leaf 8"):
        merkle.inclusion_path(8, 8, node)
    with pytest.raises(ValueError, match="m = 0"):
        merkle.consistency_path(0, 8, node)
    with pytest.raises(ValueError, match="m = 9"):
        merkle.consistency_path(9, 8, node)

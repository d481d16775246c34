"""Verification of a whole log: one pass over the rows, O(log n) memory.

What each kind of tampering runs into:
    an entry edited in place            its leaf hash, then the next entry's ``previous``
    ... with its hashes recomputed      the next entry's ``previous``, then every later checkpoint
    an entry deleted, swapped, added    the sequence, ``previous``, the checkpoints
    the tail cut off                    the signed head, the exported checkpoints
    a checkpoint forged                 its signature
"""

from __future__ import annotations

from collections.abc import Iterator

from avsafe.errors import LedgerError
from avsafe.ledger import merkle
from avsafe.ledger.entries import Entry, Problem, Verification, parse_leaf
from avsafe.ledger.note import Checkpoint, Key, read_notes
from avsafe.ledger.storage import Storage

MAX_PROBLEMS = 50  # enough to see a pattern


def check(rows: Storage, key: Key, exported: str) -> Verification:
    """Recompute everything in the open transaction and compare it with every signed note."""
    problems: list[Problem] = []
    heads = _Heads(problems)
    heads.add(_stored(rows, "checkpoints", key, problems), "a stored checkpoint")
    heads.add(_exported(exported, key, problems), "an exported checkpoint")
    signed = list(_stored(rows, "head", key, problems))
    heads.add(iter(signed), "the signed head")

    frontier, previous = merkle.Frontier(), merkle.EMPTY_ROOT
    open_intents: dict[str, int] = {}
    heads.compare(frontier)
    for seq, type_, release_id, leaf, stored in rows.stream(
        "SELECT seq, type, release_id, leaf, hash FROM entries ORDER BY seq"
    ):
        if len(problems) >= MAX_PROBLEMS:
            problems.append(Problem(seq, "and more: verification stopped here"))
            return Verification(frontier.size, frontier.root(), heads.count, tuple(problems))
        if seq != frontier.size:
            problems.append(
                Problem(frontier.size, f"entry {frontier.size} is missing (next is {seq})")
            )
        if not isinstance(leaf, bytes):  # SQLite lets any column hold any type
            problems.append(Problem(seq, f"entry {seq} is not bytes"))
            leaf = str(leaf).encode()
        value = merkle.leaf_hash(leaf)
        entry = _parse(seq, leaf, problems)
        if value != stored:
            problems.append(Problem(seq, f"entry {seq} was changed: its hash differs"))
        if entry is not None:
            if (entry.seq, entry.type, entry.release_id) != (seq, type_, release_id):
                problems.append(Problem(seq, f"entry {seq} stands under another row's columns"))
            if entry.previous != previous:
                problems.append(
                    Problem(
                        seq, f"entry {seq} does not follow the entry before it: one of them changed"
                    )
                )
            _follow(entry, open_intents, problems)
        for level, position, expected in frontier.append(value):
            row = rows.first(
                "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, position)
            )
            if row is None or row[0] != expected:
                problems.append(Problem(seq, f"subtree {position} of level {level} differs"))
        previous = value
        heads.compare(frontier)
    if not signed and frontier.size:
        problems.append(Problem(None, "the signed head is missing"))
    for head in signed:
        if head.size < frontier.size:
            problems.append(
                Problem(head.size, f"entries from {head.size} on are not under the signed head")
            )
    heads.compare_rest(frontier.size)
    if dict(rows.all("SELECT release_id, seq FROM open_intents")) != open_intents:
        problems.append(Problem(None, "the list of open intents differs from the entries"))
    return Verification(frontier.size, frontier.root(), heads.count, tuple(problems))


class _Heads:
    """Signed tree heads by size, compared as the tree grows past each."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._by_size: dict[int, list[tuple[bytes, str]]] = {}
        self.count = 0

    def add(self, heads: Iterator[Checkpoint], name: str) -> None:
        for head in heads:
            self.count += 1
            self._by_size.setdefault(head.size, []).append((head.root, name))

    def compare(self, frontier: merkle.Frontier) -> None:
        due = self._by_size.pop(frontier.size, None)
        if not due:
            return
        root = frontier.root()
        for expected, name in due:
            if expected != root:
                self._problems.append(
                    Problem(
                        None,
                        f"{name} over {frontier.size} entries does not match: one of entries "
                        f"0 to {frontier.size - 1} changed after it was signed",
                    )
                )

    def compare_rest(self, size: int) -> None:
        for expected in sorted(self._by_size):
            for _, name in self._by_size[expected]:
                self._problems.append(
                    Problem(
                        size,
                        f"{name} speaks of {expected} entries, the log holds {size}: "
                        f"entries {size} to {expected - 1} were cut off",
                    )
                )


def _stored(rows: Storage, table: str, key: Key, problems: list[Problem]) -> Iterator[Checkpoint]:
    query = {
        "checkpoints": "SELECT note, size FROM checkpoints ORDER BY size",
        "head": "SELECT note, NULL FROM head",
    }[table]
    for note, size in rows.all(query):
        try:
            checkpoint = key.open(str(note))
        except LedgerError as error:
            problems.append(Problem(None, f"{table}: {error}"))
            continue
        if size is not None and size != checkpoint.size:
            problems.append(Problem(None, f"a checkpoint of {checkpoint.size} is kept as {size}"))
        yield checkpoint


def _exported(text: str, key: Key, problems: list[Problem]) -> Iterator[Checkpoint]:
    try:
        yield from read_notes(text, key)
    except LedgerError as error:
        problems.append(Problem(None, f"exported checkpoints: {error}"))


def _parse(seq: int, leaf: bytes, problems: list[Problem]) -> Entry | None:
    try:
        return parse_leaf(leaf)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problems.append(Problem(seq, f"entry {seq} is not a ledger entry: {error}"))
        return None


def _follow(entry: Entry, open_intents: dict[str, int], problems: list[Problem]) -> None:
    if entry.type == "intent":
        open_intents[entry.release_id] = entry.seq
    elif entry.type == "outcome" and open_intents.pop(entry.release_id, None) is None:
        problems.append(Problem(entry.seq, f"outcome {entry.seq} has no intent before it"))

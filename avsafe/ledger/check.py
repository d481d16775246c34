"""Verification of a whole log: one pass over the rows, O(log n) memory.

What each kind of tampering runs into:
    an entry edited in place            its leaf hash, then the next entry's ``previous``
    ... with its hashes recomputed      the next entry's ``previous``, then every later checkpoint
    an entry deleted, swapped, added    the sequence, ``previous``, the checkpoints
    the tail cut off                    the signed head, the exported checkpoints
    a checkpoint forged                 its signature
And a release after the withdrawal of a consent that it stands on (``withdrawal``).
"""

from __future__ import annotations

from collections.abc import Iterator

from avsafe.errors import LedgerError
from avsafe.ledger import merkle
from avsafe.ledger.entries import Entry, Problem, Reached, Verification, parse_leaf
from avsafe.ledger.note import Checkpoint, Ring, read_notes
from avsafe.ledger.storage import Row, Storage
from avsafe.ledger.withdrawal import Withdrawals

MAX_PROBLEMS = 50  # enough to see a pattern


def check(rows: Storage, ring: Ring, exported: str, since: Reached | None = None) -> Verification:
    """Recompute everything in the open transaction and compare it with every signed note.

    ``since``: what an earlier call found whole is taken as it was found; entries, subtrees and
    notes after it are checked, and the signed head binds both.
    """
    problems: list[Problem] = []
    heads, first = _Heads(problems), since.size if since else 0
    heads.add(_stored(rows, "checkpoints", ring, problems, first), "a stored checkpoint")
    heads.add(_exported(exported, ring, problems, first), "an exported checkpoint")
    signed = list(_stored(rows, "head", ring, problems, 0))
    heads.add(iter(signed), "the signed head")

    frontier, previous = merkle.Frontier(), merkle.EMPTY_ROOT
    open_intents: dict[str, int] = {}
    if since is not None:
        frontier, previous = merkle.Frontier(since.size, since.peaks), since.previous
        open_intents = dict(since.open_intents)
        last = rows.first("SELECT hash FROM entries WHERE seq = ?", (since.size - 1,))
        if since.size and (last is None or last[0] != previous):
            problems.append(Problem(since.size - 1, f"entry {since.size - 1} is gone or changed"))
    subtrees, withdrawals = _Subtrees(rows, frontier.size), Withdrawals(rows)
    heads.compare(frontier)
    for seq, type_, release_id, leaf, stored in rows.stream(
        "SELECT seq, type, release_id, leaf, hash FROM entries WHERE seq >= ? ORDER BY seq",
        (frontier.size,),
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
            problems += withdrawals.follow(entry, open_intents.get(entry.release_id))
            _follow(entry, open_intents, problems)
        for level, position, expected in frontier.append(value):
            if not subtrees.holds(level, position, expected):
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
    reached = Reached(frontier.size, frontier.peaks, previous, open_intents)
    return Verification(
        frontier.size, frontier.root(), heads.count, tuple(problems), None if problems else reached
    )


class _Subtrees:
    """The stored subtrees, each level read once and in order: a database of its own answers one
    question an entry far more slowly than it sends rows."""

    def __init__(self, rows: Storage, size: int) -> None:
        self._rows, self._size = rows, size
        self._levels: dict[int, Iterator[Row]] = {}
        self._next: dict[int, Row | None] = {}

    def holds(self, level: int, position: int, expected: bytes) -> bool:
        """Whether this one is stored so; asked for in the order in which a tree completes them."""
        if level not in self._levels:
            self._levels[level] = self._rows.stream(
                "SELECT position, hash FROM nodes WHERE level = ? AND position >= ? "
                "ORDER BY position",
                (level, self._size >> level),
            )
            self._next[level] = next(self._levels[level], None)
        row = self._next[level]
        if row is None or row[0] != position:  # missing: the row stays for the one that it is
            return False
        self._next[level] = next(self._levels[level], None)
        return bool(row[1] == expected)


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


def _stored(
    rows: Storage, table: str, ring: Ring, problems: list[Problem], since: int
) -> Iterator[Checkpoint]:
    if table == "head":
        found = rows.all("SELECT note, NULL FROM head")
    else:
        found = rows.all(
            "SELECT note, size FROM checkpoints WHERE size >= ? ORDER BY size", (since,)
        )
    for note, size in found:
        try:
            checkpoint = (ring.current if table == "head" else ring).open(str(note))
        except LedgerError as error:
            problems.append(Problem(None, f"{table}: {error}"))
            continue
        if size is not None and size != checkpoint.size:
            problems.append(Problem(None, f"a checkpoint of {checkpoint.size} is kept as {size}"))
        yield checkpoint


def _exported(text: str, ring: Ring, problems: list[Problem], since: int) -> Iterator[Checkpoint]:
    try:
        yield from read_notes(text, ring, since)
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

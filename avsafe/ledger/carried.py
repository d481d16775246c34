"""A log carried from one storage to another: leaves, signed heads and checkpoints, byte by byte.

Hashes, subtrees and roots follow from the leaves, so they are recomputed; a root that is signed
must come out again. Proofs and checkpoints that were given away before hold after the move.

Tables go by ``ledger.NAME``: a schema in PostgreSQL, an attached file in SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from avsafe.errors import LedgerError
from avsafe.ledger import merkle
from avsafe.ledger.entries import parse_leaf
from avsafe.ledger.note import Checkpoint, Verifier, parse
from avsafe.ledger.storage import Row

_AT_ONCE = 1000

Query = Callable[[str], Iterable[Sequence[object]]]
Put = Callable[[str, list[Row]], None]


def signed(query: Query) -> bytes:
    """The signed head and the checkpoints, as JSON."""
    head = [str(note) for (note,) in query("SELECT note FROM ledger.head")]
    kept = [
        [size, str(note)]
        for size, note in query("SELECT size, note FROM ledger.checkpoints ORDER BY size")
    ]
    return json.dumps({"head": head, "checkpoints": kept}).encode()


def leaves(query: Query, longest: int) -> Iterator[bytes]:
    """The leaves, one a line, in parts of about ``longest`` bytes.

    Raises LedgerError for a log that is broken.
    """
    part, size, tree = [], 0, merkle.Frontier()
    for seq, value in query("SELECT seq, leaf FROM ledger.entries ORDER BY seq"):
        leaf = bytes(value) if isinstance(value, bytes | memoryview) else b"\n"
        if seq != tree.size or b"\n" in leaf:
            raise LedgerError(f"Entry {tree.size} is broken. Run: avsafe ledger verify")
        tree.append(merkle.leaf_hash(leaf))
        part.append(leaf)
        size += len(leaf)
        if size > longest:
            yield b"\n".join(part)
            part, size = [], 0
    if part:
        yield b"\n".join(part)


class Carried:
    """Takes a log as ``signed`` and ``leaves`` gave it. ``put`` executes a statement for rows."""

    def __init__(self, held: bytes, verifiers: Sequence[Verifier], put: Put) -> None:
        """Raises LedgerError when it is malformed, or signed by none of ``verifiers``."""
        self._put = put
        try:
            value = json.loads(held)
            self.heads = [str(note) for note in value["head"]]
            kept = [(int(size), str(note)) for size, note in value["checkpoints"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LedgerError(f"The log of the backup cannot be read: {error}.") from error
        self._roots: dict[int, set[bytes]] = {}
        for note in (*self.heads, *(note for _, note in kept)):
            found = opened(note, verifiers)
            self._roots.setdefault(found.size, set()).add(found.root)
        if any(parse(note.partition("\n\n")[0] + "\n").size != size for size, note in kept):
            raise LedgerError("A checkpoint of the backup stands under another size.")
        self._tree, self._previous = merkle.Frontier(), merkle.EMPTY_ROOT
        self._open: dict[str, int] = {}
        self._compare()
        put("INSERT INTO ledger.checkpoints VALUES (?, ?)", list(kept))

    @property
    def size(self) -> int:
        return self._tree.size

    def take(self, part: bytes) -> None:
        """Raises LedgerError at the first leaf that does not follow, or root that differs."""
        lines = part.split(b"\n")
        for start in range(0, len(lines), _AT_ONCE):
            entries: list[Row] = []
            nodes: list[Row] = []
            for leaf in lines[start : start + _AT_ONCE]:
                value = merkle.leaf_hash(leaf)
                try:
                    entry = parse_leaf(leaf)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise LedgerError(f"Entry {self.size} is none: {error}.") from error
                if entry.seq != self.size or entry.previous != self._previous:
                    raise LedgerError(f"Entry {self.size} does not follow the one before it.")
                if entry.type == "intent":
                    self._open[entry.release_id] = entry.seq
                elif entry.type == "outcome":
                    self._open.pop(entry.release_id, None)
                entries.append((entry.seq, entry.type, entry.release_id, leaf, value))
                nodes += self._tree.append(value)
                self._previous = value
                self._compare()
            self._put("INSERT INTO ledger.entries VALUES (?, ?, ?, ?, ?)", entries)
            self._put("INSERT INTO ledger.nodes VALUES (?, ?, ?)", nodes)

    def finish(self) -> None:
        """Raises LedgerError when leaves are missing."""
        if self._roots or (self.size and not self.heads):
            raise LedgerError(
                f"The log of the backup ends at {self.size} entries: more were signed."
            )
        self._put("INSERT INTO ledger.head VALUES (1, ?)", [(note,) for note in self.heads])
        self._put("INSERT INTO ledger.open_intents VALUES (?, ?)", list(self._open.items()))

    def _compare(self) -> None:
        for root in self._roots.pop(self.size, ()):
            if root != self._tree.root():
                raise LedgerError(f"The signed root over {self.size} entries differs.")


def opened(note: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of a note that one of the keys signed. Raises LedgerError."""
    for one in verifiers:
        try:
            return one.open(note)
        except LedgerError:
            continue
    raise LedgerError("A signed root of the backup is of none of the log's keys.")

"""The log itself: one writer at a time, a hash chain and a Merkle tree over it.

Legend: ``seq`` counts entries from 0 and is the leaf's index in the tree; ``size`` is how many
entries there are. A leaf is the RFC 8785 JSON of seq, time, type, release_id, previous (the leaf
hash before it, hex) and body; its hash and the tree are those of RFC 6962.

An append commits the entry, the subtrees it completes and a freshly signed head in one durable
transaction that no other writer overlaps: in an SQLite file, or in a PostgreSQL database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avsafe.closing import Closing
from avsafe.errors import LedgerError
from avsafe.ledger import in_postgresql, keyring, merkle, withdrawal
from avsafe.ledger.check import check
from avsafe.ledger.entries import (
    Consistency,
    Entry,
    Inclusion,
    Problem,
    Reached,
    Verification,
    canonical,
    parse_leaf,
)
from avsafe.ledger.in_file import FileStorage
from avsafe.ledger.keyring import KEY_FILE
from avsafe.ledger.note import Key, Ring, read_notes, whole_notes
from avsafe.ledger.storage import Row, Storage, StorageError

__all__ = ["KEYS", "KEY_FILE", "ROTATED", "Ledger"]

ROTATED = "key-rotated"  # type of the entry in which one key hands over to another
KEYS = "keys"  # stands for the release in such entries
CHECKPOINT_EVERY = 64  # entries between exported checkpoints; 200 bytes each
PERSONAL = (
    "user",
    "by",
    "reviewer",
    "subject",
    "prompt",
    "negative_prompt",
    "email",
)  # only ever as a salted hash
_HASH = re.compile(r"[0-9a-f]{64}")


class Ledger(Closing):
    """Open with ``Ledger.open``; a context manager. One instance serves one thread.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as d, Ledger.open(Path(d, "ledger.db"), Path(d)) as ledger:
    ...     _ = ledger.intent("r1", {"task": "text-to-video"})
    ...     _ = ledger.outcome("r1", "released", {"sha256": "00"})
    ...     ledger.verify().ok
    True
    """

    def __init__(self, storage: Storage, ring: Ring, keys_folder: Path, every: int) -> None:
        self._rows = storage
        self._ring = ring
        self._folder = keys_folder
        self._every = every

    @classmethod
    def open(
        cls, location: Path | str, keys_folder: Path, *, every: int = CHECKPOINT_EVERY
    ) -> Ledger:
        """Open the log, or begin one. The key is ``keys_folder/ledger.key``, made with a new log.

        ``location`` is a file, or the URL of a PostgreSQL database. Raises LedgerError when it is
        not a ledger, or when the log exists without its key.
        """
        if isinstance(location, str):
            rings: list[Ring] = []

            def first_head(fresh: bool) -> str:
                rings.append(keyring.load(keys_folder, fresh, "The log in the database"))
                return rings[0].current.sign(0, merkle.EMPTY_ROOT)

            exported = keys_folder.parent / in_postgresql.EXPORT_FILE
            storage: Storage = in_postgresql.PostgresqlStorage(location, exported, first_head)
            ring = rings[0]
        else:
            fresh = not location.exists() or location.stat().st_size == 0
            ring = keyring.load(keys_folder, fresh, str(location))
            storage = FileStorage(location)
        ledger = cls(storage, ring, keys_folder, every)
        try:
            keyring.settle(keys_folder, ledger._head_note)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def exists(cls, location: Path | str) -> bool:
        """Whether there is a log to be opened; makes nothing. Raises LedgerError."""
        return location.exists() if isinstance(location, Path) else in_postgresql.exists(location)

    @property
    def exported(self) -> Path:
        """Where checkpoints are exported: keep copies of this file on another machine."""
        return self._rows.exported

    @property
    def verifier(self) -> str:
        """The public key that checks the log's checkpoints, as a signed-note verifier key."""
        return self._ring.current.verifier

    def close(self) -> None:
        self._rows.close()

    # ------------------------------------------------------------ writing

    def intent(self, release_id: str, body: Mapping[str, Any]) -> Entry:
        """Say what is about to be done. Durable when this returns.

        Raises LedgerError when the release already has an intent.
        """
        return self._append("intent", release_id, body)

    def outcome(self, release_id: str, status: str, body: Mapping[str, Any]) -> Entry:
        """Say how it ended, once for each intent. Durable when this returns.

        Raises LedgerError without an open intent for this release; Withdrawn for "released" when a
        consent of its intent was withdrawn.
        """
        if not status:
            raise LedgerError("An outcome needs a status, such as released, denied or failed.")
        return self._append("outcome", release_id, {**body, "status": status})

    def append(self, type_: str, release_id: str, body: Mapping[str, Any]) -> Entry:
        """Any other event: a revocation, an erasure, a key rotation."""
        if type_ in ("intent", "outcome") or not type_:
            raise LedgerError("Use intent() and outcome() for these two types.")
        return self._append(type_, release_id, body)

    def holding(self, release_id: str, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """Be the one process that makes or settles a release, on whatever machine; False: another
        is. A log in a file belongs to one machine, and its staging folder says who lives there.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as d, Ledger.open(Path(d, "ledger.db"), Path(d)) as ledger:
        ...     with ledger.holding("r1") as ours:
        ...         ours
        True
        """
        return self._rows.holding(release_id, wait_s)

    def recover(self, live: set[str]) -> tuple[str, ...]:
        """Close as aborted every orphan whose release id is not in ``live`` (jobs still running).

        Returns the release ids that were closed.
        """
        closed = []
        for release_id in self.orphans():
            if release_id not in live:
                self.outcome(
                    release_id, "aborted", {"reason": "the process ended before its outcome"}
                )
                closed.append(release_id)
        return tuple(closed)

    def checkpoint(self) -> str:
        """Sign a checkpoint over all entries, keep it, export it; returns the signed note."""
        with self._rows.writing():
            note = self._head_note()
            size = self._signing(note).open(note).size
            self._keep(size, note)
        self._export()
        return note

    def rotate_key(self) -> Entry:
        """Hand the log over to a new key; returns the entry that names both.

        The checkpoint over that entry is signed by both keys: whoever trusts the old one can trust
        the new. From then on the old key, which is destroyed, could sign nothing. Raises
        LedgerError when the log is broken.
        """
        with keyring.handing_over(self._folder, self._head_note) as new:
            with self._rows.writing():
                frontier, previous = self._frontier()
                old = self._ring.current
                keyring.retire(self._folder, old, frontier.size + 1)
                body = {"key": "ledger", "old": old.verifier, "new": new.verifier}
                entry = self._add(ROTATED, KEYS, body, frontier, previous, new)
                note = new.sign(frontier.size, frontier.root())
                self._keep(frontier.size, old.add_to(note))
            self._ring = keyring.signing(self._folder, note)
        self._export()
        return entry

    def _append(self, type_: str, release_id: str, body: Mapping[str, Any]) -> Entry:
        if not release_id:
            raise LedgerError("An entry needs a release id.")
        for name in PERSONAL:
            value = body.get(name)
            if value is not None and not (isinstance(value, str) and _HASH.fullmatch(value)):
                raise LedgerError(
                    f"A ledger entry must not hold a {name} in clear: entries are never erased. "
                    "Store ledger.personal(text, salt), and keep the salt where it can be erased."
                )
        with self._rows.writing():
            frontier, previous = self._frontier()
            key = self._ring.current
            if type_ == "outcome" and body.get("status") == "released":
                withdrawal.refuse(self._rows, release_id)
            entry = self._add(type_, release_id, body, frontier, previous, key)
            due = frontier.size % self._every == 0
            if due:
                self._keep(frontier.size, key.sign(frontier.size, frontier.root()))
        if due:
            self._export()
        return entry

    def _add(
        self,
        type_: str,
        release_id: str,
        body: Mapping[str, Any],
        frontier: merkle.Frontier,
        previous: bytes,
        key: Key,
    ) -> Entry:
        """Write an entry into the open transaction, under a head that ``key`` signs."""
        seq = frontier.size
        self._track(type_, release_id, seq)
        leaf = canonical(
            {
                "body": dict(body),
                "previous": previous.hex(),
                "release_id": release_id,
                "seq": seq,
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "type": type_,
            }
        )
        hashed = merkle.leaf_hash(leaf)
        self._rows.run(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (seq, type_, release_id, leaf, hashed)
        )
        self._rows.run_many("INSERT INTO nodes VALUES (?, ?, ?)", frontier.append(hashed))
        self._rows.run(
            "INSERT INTO head VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET note = excluded.note",
            (key.sign(frontier.size, frontier.root()),),
        )
        return parse_leaf(leaf)

    def _keep(self, size: int, note: str) -> None:
        self._rows.run(
            "INSERT INTO checkpoints VALUES (?, ?) ON CONFLICT (size) DO NOTHING", (size, note)
        )

    def _track(self, type_: str, release_id: str, seq: int) -> None:
        if type_ == "intent":
            known = self._rows.first(
                "SELECT seq FROM entries WHERE release_id = ? AND type = 'intent'", (release_id,)
            )
            if known:
                raise LedgerError(f"Release {release_id} already has an intent, entry {known[0]}.")
            self._rows.run("INSERT INTO open_intents VALUES (?, ?)", (release_id, seq))
        elif type_ == "outcome":
            done = self._rows.run("DELETE FROM open_intents WHERE release_id = ?", (release_id,))
            if done != 1:
                raise LedgerError(
                    f"Release {release_id} has no open intent: log intent() first, and one outcome."
                )

    # ------------------------------------------------------------ the tree

    def _node(self, level: int, position: int) -> bytes:
        if level == 0:
            row = self._rows.first("SELECT hash FROM entries WHERE seq = ?", (position,))
        else:
            row = self._rows.first(
                "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, position)
            )
        if row is None or not isinstance(row[0], bytes):
            raise LedgerError(
                f"The ledger lacks node {position} of level {level}. Run: avsafe ledger verify"
            )
        return row[0]

    def _nodes(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Those of ``wanted`` (level, position), read at once."""
        inner = [one for one in wanted if one[0]]
        found: dict[tuple[int, int], Any] = {}
        if inner:
            places = ", ".join(["(?, ?)"] * len(inner))
            query = "SELECT level, position, hash FROM nodes WHERE (level, position) IN (VALUES "
            rows = self._rows.all(f"{query}{places})", tuple(n for one in inner for n in one))
            found = {(level, position): value for level, position, value in rows}
        return [
            value if isinstance(value := found.get(one), bytes) else self._node(*one)
            for one in wanted
        ]

    def _frontier(self) -> tuple[merkle.Frontier, bytes]:
        """The tree's peaks and the last leaf hash, checked against the signed head.

        Raises LedgerError when they disagree: nothing is ever added to a broken log.
        """
        note = self._head_note()
        head = self._signing(note).open(note)
        last = self._rows.first("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1")
        size = last[0] + 1 if last else 0
        frontier = merkle.Frontier(size, self._nodes(tuple(merkle.peaks(size))))
        if (head.size, head.root) != (size, frontier.root()):
            raise LedgerError(
                f"The ledger {self._rows.name} is broken: its signed head speaks of {head.size} "
                f"entries, it holds {size}, or their hashes differ. Run: avsafe ledger verify"
            )
        return frontier, bytes(last[1]) if last else merkle.EMPTY_ROOT

    def _head_note(self) -> str:
        row = self._rows.first("SELECT note FROM head")
        if row:
            return str(row[0])
        if self._rows.first("SELECT 1 FROM entries LIMIT 1"):
            raise LedgerError(f"The ledger {self._rows.name} has entries and no signed head.")
        return self._ring.current.sign(0, merkle.EMPTY_ROOT)

    def _signing(self, head: str) -> Key:
        """The key that signed the head: another process may have handed the log to a new one."""
        try:
            self._ring.current.open(head)
        except LedgerError as error:
            try:
                self._ring = keyring.signing(self._folder, head)
            except LedgerError as other:
                raise other from error
        return self._ring.current

    def _export(self) -> None:
        """Append to the exported file the checkpoints that it lacks, and flush it to disk."""
        with self._rows.exporting():
            written = self.exported.read_text("utf-8") if self.exported.exists() else ""
            whole = whole_notes(written)
            if whole != written:
                os.truncate(self.exported, len(whole.encode()))
            last = "\n\n".join(whole.split("\n\n")[-3:])  # only the newest note is read
            known = max((note.size for note in read_notes(last, self._ring)), default=-1)
            rows = self._rows.all(
                "SELECT note FROM checkpoints WHERE size > ? ORDER BY size", (known,)
            )
            descriptor = os.open(self.exported, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                for (note,) in rows:
                    file.write(note + "\n")
                file.flush()
                os.fsync(file.fileno())

    # ------------------------------------------------------------ reading

    def __len__(self) -> int:
        row = self._rows.first("SELECT seq FROM entries ORDER BY seq DESC LIMIT 1")
        return row[0] + 1 if row else 0

    def entries(self, release_id: str | None = None, *, start: int = 0) -> Iterator[Entry]:
        """Entries in order, of one release or of all, from ``start`` on; read row by row."""
        query = "SELECT leaf FROM entries WHERE seq >= ?"
        values: Row = (start,)
        if release_id is not None:
            query, values = query + " AND release_id = ?", (start, release_id)
        for (leaf,) in self._rows.stream(query + " ORDER BY seq", values):
            try:
                yield parse_leaf(leaf)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise LedgerError(
                    f"The ledger holds a row that is no entry ({error}). Run: avsafe ledger verify"
                ) from error

    def resolve(self, start: str) -> str:
        """The release id that begins so. Raises LedgerError when none or several do."""
        rows = self._rows.all(
            "SELECT DISTINCT release_id FROM entries "
            "WHERE release_id >= ? AND release_id < ? LIMIT 2",
            (start, start + "\U0010ffff"),
        )
        if len(rows) == 1 or (start,) in rows:
            return start if (start,) in rows else str(rows[0][0])
        raise LedgerError(
            f"{'Several releases begin' if rows else 'No release begins'} with {start!r}."
        )

    def orphans(self) -> list[str]:
        """Release ids whose intent has no outcome yet, the oldest first."""
        rows = self._rows.all("SELECT release_id FROM open_intents ORDER BY seq")
        return [row[0] for row in rows]

    def status(self, release_id: str) -> str | None:
        """``intent`` while open, else the status of the outcome; None for an unknown release."""
        status = None
        for entry in self.entries(release_id):
            if entry.type == "intent":
                status = "intent"
            elif entry.type == "outcome":
                status = str(entry.body["status"])
        return status

    def prove(self, target: int | str) -> tuple[Inclusion, ...]:
        """Proof for one entry (its seq), or for every entry of a release (its id).

        Raises LedgerError when there is no such entry, or when the log is broken.
        """
        if isinstance(target, int):
            first = next(self.entries(start=target), None) if target >= 0 else None
            found = [first] if first is not None and first.seq == target else []
        else:
            found = list(self.entries(target))
        if not found:
            raise LedgerError(f"The ledger has no entry of {target}.")
        frontier, _ = self._frontier()
        size, root, note = frontier.size, frontier.root(), self._head_note()
        proofs = tuple(
            Inclusion(
                entry=entry,
                leaf=self._leaf(entry.seq),
                size=size,
                root=root,
                path=tuple(merkle.inclusion_path(entry.seq, size, self._node)),
                checkpoint=note,
                verifier=self.verifier,
            )
            for entry in found
        )
        for proof in proofs:
            if not proof.holds():
                raise LedgerError(
                    f"Entry {proof.entry.seq} does not prove. Run: avsafe ledger verify"
                )
        return proofs

    def consistency(self, old_size: int, new_size: int | None = None) -> Consistency:
        """Proof that the log only grew between two sizes (``new_size`` None: until now)."""
        new = len(self) if new_size is None else new_size
        if not 0 < old_size <= new <= len(self):
            raise LedgerError(
                f"Consistency needs 1 <= old <= new <= {len(self)}, not {old_size} and {new}."
            )
        path = merkle.consistency_path(old_size, new, self._node)
        old_root, new_root = merkle.root(old_size, self._node), merkle.root(new, self._node)
        return Consistency(old_size, new, old_root, new_root, tuple(path))

    def verify(
        self, *, checkpoints: Path | None = None, since: Reached | None = None
    ) -> Verification:
        """Recompute everything and compare it with every signed note; streams, O(log n) memory.

        ``since``: the ``reached`` of an earlier call; what stands before it is not read again.

        ``checkpoints`` is a copy of the exported file kept elsewhere; None: the one beside the log.
        Never raises for a broken log: what is wrong stands in ``problems``.
        """
        source = checkpoints or self.exported
        known = checkpoints is not None or source.exists()
        text = source.read_text("utf-8", errors="replace") if known else ""
        try:
            with self._rows.snapshot():  # one state, whatever is appended meanwhile
                with suppress(LedgerError):  # a forged head is for the check to name
                    self._signing(self._head_note())
                return check(self._rows, self._ring, text, since)
        except StorageError as error:
            return Verification(0, merkle.EMPTY_ROOT, 0, (Problem(None, str(error)),))

    def _leaf(self, seq: int) -> str:
        row = self._rows.first("SELECT leaf FROM entries WHERE seq = ?", (seq,))
        if row is None:
            raise LedgerError(f"The ledger lacks entry {seq}. Run: avsafe ledger verify")
        return bytes(row[0]).decode()

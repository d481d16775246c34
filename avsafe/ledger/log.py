"""The log itself: an SQLite file, one writer at a time, a hash chain and a Merkle tree over it.

Legend: ``seq`` counts entries from 0 and is the leaf's index in the tree; ``size`` is how many
entries there are. A leaf is the RFC 8785 JSON of seq, time, type, release_id, previous (the leaf
hash before it, hex) and body; its hash and the tree are those of RFC 6962.

An append commits the entry, the subtrees it completes and a freshly signed head in one transaction
(WAL, synchronous=FULL), under a file lock: SQLite 3.7.0 to 3.51.2 can lose a reset write-ahead log
when two connections write or checkpoint in the same instant.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from avsafe.errors import LedgerError
from avsafe.home import locked, secret, write_private
from avsafe.ledger import merkle
from avsafe.ledger.check import check
from avsafe.ledger.entries import (
    Consistency,
    Entry,
    Inclusion,
    Problem,
    Verification,
    canonical,
    parse_leaf,
)
from avsafe.ledger.note import Key, read_notes, whole_notes

KEY_FILE = "ledger.key"
VERIFIER_FILE = "ledger.pub"
CHECKPOINT_EVERY = 64  # entries between exported checkpoints; 200 bytes each
PERSONAL = ("user", "prompt", "negative_prompt", "email")  # only ever as a salted hash
_HASH = re.compile(r"[0-9a-f]{64}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, type TEXT NOT NULL, release_id TEXT NOT NULL,
    leaf BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entries_release ON entries (release_id, seq);
CREATE TABLE IF NOT EXISTS nodes (
    level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (level, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS open_intents (release_id TEXT PRIMARY KEY, seq INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


class Ledger:
    """Open with ``Ledger.open``; a context manager. One instance serves one thread.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as d, Ledger.open(Path(d, "ledger.db"), Path(d)) as ledger:
    ...     _ = ledger.intent("r1", {"task": "text-to-video"})
    ...     _ = ledger.outcome("r1", "released", {"sha256": "00"})
    ...     ledger.verify().ok
    True
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, key: Key, every: int) -> None:
        self.path = path
        self._db = connection
        self._key = key
        self._every = every

    @classmethod
    def open(cls, path: Path, keys_folder: Path, *, every: int = CHECKPOINT_EVERY) -> Ledger:
        """Open the log, or begin one. The key is ``keys_folder/ledger.key``, made with a new log.

        Raises LedgerError when the file is not a ledger, or when the log exists without its key.
        """
        fresh = not path.exists() or path.stat().st_size == 0
        if not fresh and not (keys_folder / KEY_FILE).exists():
            raise LedgerError(
                f"{path} exists but its key {keys_folder / KEY_FILE} does not. Restore the key "
                "from a backup: a new one could not vouch for the old entries."
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Key(secret(keys_folder, KEY_FILE))
        if not (keys_folder / VERIFIER_FILE).exists():
            write_private(keys_folder / VERIFIER_FILE, (key.verifier + "\n").encode())
        connection = sqlite3.connect(path, isolation_level=None, timeout=60.0)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with _writing(path):
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(_SCHEMA)
                path.chmod(0o600)
            elif version != 1:
                raise LedgerError(f"{path} has ledger format {version}; this avsafe reads 1.")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise LedgerError(f"{path} is not a readable ledger: {error}.") from error
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, key, every)

    @property
    def exported(self) -> Path:
        """Where checkpoints are exported: keep copies of this file on another machine."""
        return self.path.with_name(self.path.stem + ".checkpoints")

    @property
    def verifier(self) -> str:
        """The public key that checks the log's checkpoints, as a signed-note verifier key."""
        return self._key.verifier

    def close(self) -> None:
        with _writing(self.path):  # the last connection to close writes the log back
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------ writing

    def intent(self, release_id: str, body: Mapping[str, Any]) -> Entry:
        """Say what is about to be done. Durable when this returns.

        Raises LedgerError when the release already has an intent.
        """
        return self._append("intent", release_id, body)

    def outcome(self, release_id: str, status: str, body: Mapping[str, Any]) -> Entry:
        """Say how it ended, once for each intent. Durable when this returns.

        Raises LedgerError without an open intent for this release.
        """
        if not status:
            raise LedgerError("An outcome needs a status, such as released, denied or failed.")
        return self._append("outcome", release_id, {**body, "status": status})

    def append(self, type_: str, release_id: str, body: Mapping[str, Any]) -> Entry:
        """Any other event: a revocation, an erasure, a key rotation."""
        if type_ in ("intent", "outcome") or not type_:
            raise LedgerError("Use intent() and outcome() for these two types.")
        return self._append(type_, release_id, body)

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
        with self._transaction():
            note = self._head_note()
            size = self._key.open(note).size
            self._db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?)", (size, note))
        self._export()
        return note

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
        with self._transaction():
            frontier, previous = self._frontier()
            seq = frontier.size
            self._track(type_, release_id, seq)
            time = datetime.now(UTC)
            leaf = canonical(
                {
                    "body": dict(body),
                    "previous": previous.hex(),
                    "release_id": release_id,
                    "seq": seq,
                    "time": time.isoformat(timespec="microseconds"),
                    "type": type_,
                }
            )
            hashed = merkle.leaf_hash(leaf)
            self._db.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (seq, type_, release_id, leaf, hashed)
            )
            self._db.executemany("INSERT INTO nodes VALUES (?, ?, ?)", frontier.append(hashed))
            note = self._key.sign(frontier.size, frontier.root())
            self._db.execute("INSERT OR REPLACE INTO head VALUES (1, ?)", (note,))
            due = frontier.size % self._every == 0
            if due:
                self._db.execute(
                    "INSERT OR IGNORE INTO checkpoints VALUES (?, ?)", (frontier.size, note)
                )
        if due:
            self._export()
        return parse_leaf(leaf)

    def _track(self, type_: str, release_id: str, seq: int) -> None:
        if type_ == "intent":
            known = self._db.execute(
                "SELECT seq FROM entries WHERE release_id = ? AND type = 'intent'", (release_id,)
            ).fetchone()
            if known:
                raise LedgerError(f"Release {release_id} already has an intent, entry {known[0]}.")
            self._db.execute("INSERT INTO open_intents VALUES (?, ?)", (release_id, seq))
        elif type_ == "outcome":
            done = self._db.execute("DELETE FROM open_intents WHERE release_id = ?", (release_id,))
            if done.rowcount != 1:
                raise LedgerError(
                    f"Release {release_id} has no open intent: log intent() first, and one outcome."
                )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _writing(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerError(f"The ledger {self.path} cannot be written: {error}.") from error

    # ------------------------------------------------------------ the tree

    def _node(self, level: int, position: int) -> bytes:
        if level == 0:
            row = self._db.execute("SELECT hash FROM entries WHERE seq = ?", (position,)).fetchone()
        else:
            row = self._db.execute(
                "SELECT hash FROM nodes WHERE level = ? AND position = ?", (level, position)
            ).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise LedgerError(
                f"The ledger lacks node {position} of level {level}. Run: avsafe ledger verify"
            )
        return row[0]

    def _frontier(self) -> tuple[merkle.Frontier, bytes]:
        """The tree's peaks and the last leaf hash, checked against the signed head.

        Raises LedgerError when they disagree: nothing is ever added to a broken log.
        """
        head = self._key.open(self._head_note())
        last = self._db.execute(
            "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        size = last[0] + 1 if last else 0
        frontier = merkle.Frontier(size, [self._node(*peak) for peak in merkle.peaks(size)])
        if (head.size, head.root) != (size, frontier.root()):
            raise LedgerError(
                f"The ledger {self.path} is broken: its signed head speaks of {head.size} entries, "
                f"it holds {size}, or their hashes differ. Run: avsafe ledger verify"
            )
        return frontier, bytes(last[1]) if last else merkle.EMPTY_ROOT

    def _head_note(self) -> str:
        row = self._db.execute("SELECT note FROM head").fetchone()
        if row:
            return str(row[0])
        if self._db.execute("SELECT 1 FROM entries LIMIT 1").fetchone():
            raise LedgerError(f"The ledger {self.path} has entries and no signed head.")
        return self._key.sign(0, merkle.EMPTY_ROOT)

    def _export(self) -> None:
        """Append to the exported file the checkpoints that it lacks, and flush it to disk."""
        with _writing(self.path):
            written = self.exported.read_text("utf-8") if self.exported.exists() else ""
            whole = whole_notes(written)
            if whole != written:
                os.truncate(self.exported, len(whole.encode()))
            last = "\n\n".join(whole.split("\n\n")[-3:])  # only the newest note is read
            known = max((note.size for note in read_notes(last, self._key)), default=-1)
            rows = self._db.execute(
                "SELECT note FROM checkpoints WHERE size > ? ORDER BY size", (known,)
            ).fetchall()
            descriptor = os.open(self.exported, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                for (note,) in rows:
                    file.write(note + "\n")
                file.flush()
                os.fsync(file.fileno())

    # ------------------------------------------------------------ reading

    def __len__(self) -> int:
        row = self._db.execute("SELECT seq FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        return row[0] + 1 if row else 0

    def entries(self, release_id: str | None = None, *, start: int = 0) -> Iterator[Entry]:
        """Entries in order, of one release or of all, from ``start`` on; read row by row."""
        query = "SELECT leaf FROM entries WHERE seq >= ?"
        values: tuple[int | str, ...] = (start,)
        if release_id is not None:
            query, values = query + " AND release_id = ?", (start, release_id)
        for (leaf,) in self._db.execute(query + " ORDER BY seq", values):
            try:
                yield parse_leaf(leaf)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise LedgerError(
                    f"The ledger holds a row that is no entry ({error}). Run: avsafe ledger verify"
                ) from error

    def resolve(self, start: str) -> str:
        """The release id that begins so. Raises LedgerError when none or several do."""
        rows = self._db.execute(
            "SELECT DISTINCT release_id FROM entries "
            "WHERE release_id >= ? AND release_id < ? LIMIT 2",
            (start, start + "\U0010ffff"),
        ).fetchall()
        if len(rows) == 1 or (start,) in rows:
            return start if (start,) in rows else str(rows[0][0])
        raise LedgerError(
            f"{'Several releases begin' if rows else 'No release begins'} with {start!r}."
        )

    def orphans(self) -> list[str]:
        """Release ids whose intent has no outcome yet, the oldest first."""
        rows = self._db.execute("SELECT release_id FROM open_intents ORDER BY seq")
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

    def verify(self, *, checkpoints: Path | None = None) -> Verification:
        """Recompute everything and compare it with every signed note; streams, O(log n) memory.

        ``checkpoints`` is a copy of the exported file kept elsewhere; None: the one beside the log.
        Never raises for a broken log: what is wrong stands in ``problems``.
        """
        source = checkpoints or self.exported
        known = checkpoints is not None or source.exists()
        text = source.read_text("utf-8", errors="replace") if known else ""
        try:
            self._db.execute("BEGIN")  # one snapshot, whatever is appended meanwhile
            try:
                return check(self._db, self._key, text)
            finally:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            problem = Problem(None, f"the file is damaged: {error}")
            return Verification(0, merkle.EMPTY_ROOT, 0, (problem,))

    def _leaf(self, seq: int) -> str:
        row = self._db.execute("SELECT leaf FROM entries WHERE seq = ?", (seq,)).fetchone()
        return bytes(row[0]).decode()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        with locked(path.with_name(path.name + ".lock")):
            yield
    except (TimeoutError, PermissionError) as error:
        raise LedgerError(f"The ledger cannot be locked. {error}") from error

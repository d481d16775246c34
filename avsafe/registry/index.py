"""An index of fingerprints, so that a look-up among a million reads a few thousand of them.

A cache of files beside the database, which stays the truth: it says up to which number it reaches,
and what came after is read from the database. A file of another database, or a damaged one, counts
as none. FAISS keeps binary hashes in inverted lists (a hash is searched among those nearest to the
same centres) and maps its file into memory, so that opening one costs nothing.

Pictures: the hashes of a fingerprint's probes. Sound: eight items of Chromaprint in a row, 256 bits
too; of a release every fourth start, of a query four starts in a row, so that one of them agrees.

Legend: ``n`` hashes, ``q`` hashes of a query; a hash has 32 bytes.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, insert, select

from avsafe.errors import MissingExtra, RegistryError
from avsafe.home import locked, write_private
from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.schema import fingerprint_numbering as numbering
from avsafe.registry.schema import fingerprint_numbers as numbers
from avsafe.registry.schema import fingerprints

if TYPE_CHECKING:
    from avsafe.registry.database import Database

_log = logging.getLogger(__name__)
_ANEW = "Build it anew: avsafe registry index --rebuild."
FORMAT = 1
MANIFEST = "prints.json"
KINDS = ("picture", "sound", "soundtrack")  # sound: of releases without pictures
BITS = 256
WORTH = 1000  # releases that an index does not know yet, before it is worth writing
DELTA = 0.25  # of the base: newer releases are indexed beside it until they are more
FLAT = 50_000  # hashes that are simply compared one by one
PER_LIST = 2000  # hashes of an inverted list, on average
LISTS = (16, 8192)
NEIGHBOURS = 32  # of each hash of a query
BLOCK = 5000  # releases read at once

SOUND_ITEMS = 8  # of 32 bits
SOUND_STEP = 4  # items between the windows of a release
SOUND_WINDOWS = 64  # of a release; half a minute, or the same number over a longer one
SOUND_PLACES = 16  # in a query, each with SOUND_STEP windows
SOUND_DISTINCT = 4  # different items in a window: silence and steady tones repeat one


class Searched(Protocol):
    """A FAISS index of binary hashes."""

    ntotal: int

    def search(self, q: NDArray[np.uint8], k: int) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class Part:
    """One file of the index: hashes of one kind, of releases numbered ``first`` to ``last``."""

    file: str
    kind: str  # one of KINDS
    first: int
    last: int
    hashes: int


@dataclass(frozen=True)
class State:
    """What an index covers: every release that has a number up to ``last``."""

    numbering: str = ""
    last: int = 0
    base_last: int = 0  # of the large files; the rest is in the small ones
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Covered:
    """The files of one moment, opened: what is written meanwhile changes nothing here."""

    state: State = field(default_factory=State)
    searched: tuple[Searched, ...] = ()  # of each part of the state

    @property
    def last(self) -> int:
        """The last number that the files know; 0 when there are none."""
        return self.state.last

    def near(self, kind: str, q: NDArray[np.uint8], limit_bits: int) -> dict[int, int]:
        """Numbers of releases with a hash within ``limit_bits`` of one in (q, 32), and how near:
        the ``NEIGHBOURS`` nearest of each hash."""
        found: dict[int, int] = {}
        if not len(q):
            return found
        for part, searched in zip(self.state.parts, self.searched, strict=True):
            if part.kind != kind or not part.hashes:
                continue
            bits, ids = searched.search(q, min(NEIGHBOURS, part.hashes))
            for distance, number in zip(bits.ravel().tolist(), ids.ravel().tolist(), strict=True):
                if 0 <= distance <= min(limit_bits, found.get(number, BITS)) and number >= 0:
                    found[number] = distance
        return found


NOTHING = Covered()


class Index:
    """The index of one database, in a folder of its own. Only ``update`` writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest = NOTHING

    @property
    def begun(self) -> bool:
        """Whether somebody has one written here."""
        return (self._folder / MANIFEST).exists()

    def covered(self, connection: Connection) -> Covered:
        """What the files know; ``NOTHING`` when there are none for this database, or they can't be
        used: a warning says so, and everything is read from the database."""
        if not self.begun:  # mostly there is none: no import, no query
            return NOTHING
        state = self._state()
        if connection.execute(select(numbering.c.id)).scalar() != state.numbering:
            return NOTHING
        if state != self._latest.state:
            try:
                self._latest = Covered(state, tuple(map(self._open, state.parts)))
            except (MissingExtra, RegistryError) as error:
                _log.warning("look-ups by fingerprint are slow. %s", error)
                return NOTHING
        return self._latest

    def counts(self) -> dict[str, int]:
        """Hashes of each kind, and bytes on disk."""
        state = self._state()
        found = dict.fromkeys(KINDS, 0)
        for part in state.parts:
            found[part.kind] += part.hashes
        files = (self._folder / part.file for part in state.parts)
        return found | {"bytes": sum(path.stat().st_size for path in files if path.exists())}

    def behind(self, database: Database) -> int:
        """How many fingerprints are not in the files."""
        with database.reading() as connection:
            last = self.covered(connection).last
            return int(
                connection.execute(select(func.count()).where(numbers.c.number > last)).scalar_one()
            )

    def update(self, database: Database, *, rebuild: bool = False, least: int = 1) -> bool:
        """Bring the files up to date when ``least`` releases or more are missing in them; whether
        anything was written. Needs up to 100 bytes of memory for each hash.

        Raises MissingExtra without faiss, RegistryError when another process is at it.
        """
        _faiss()
        if not rebuild and self.behind(database) < least:
            return False
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with locked(self._folder / ".lock", timeout_s=0.0):
                self._write(database, rebuild)
        except TimeoutError:
            raise RegistryError("Another process is writing the index of fingerprints.") from None
        return True

    # ------------------------------------------------------------ inside

    def _write(self, database: Database, rebuild: bool) -> None:
        with database.writing() as connection:
            own = connection.execute(select(numbering.c.id)).scalar()
            if own is None:
                own = secrets.token_hex(16)
                connection.execute(insert(numbering).values(id=own))
        with database.reading() as connection:
            state = State() if rebuild else self.covered(connection).state
            last = connection.execute(select(func.max(numbers.c.number))).scalar() or 0
            since = numbers.c.number > state.base_last
            fresh = connection.execute(select(func.count()).where(since)).scalar_one()
            known = connection.execute(select(func.count()).where(~since)).scalar_one()
            whole = fresh > DELTA * known
            first = 1 if whole else state.base_last + 1
            hashes = _hashes(connection, first - 1)
        kept = () if whole else tuple(p for p in state.parts if p.last <= state.base_last)
        made = tuple(
            self._part(kind, first, last, found, ids)
            for kind, (found, ids) in hashes.items()
            if len(found)
        )
        new = State(own, last, last if whole else state.base_last, kept + made)
        text = json.dumps({"format": FORMAT} | asdict(new), indent=1)
        write_private(self._folder / MANIFEST, text.encode())
        named = {part.file for part in new.parts}
        for path in self._folder.glob("*.faiss"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _part(
        self, kind: str, first: int, last: int, hashes: NDArray[np.uint8], ids: NDArray[np.int64]
    ) -> Part:
        faiss = _faiss()
        file = f"{kind}-{first}-{last}-{secrets.token_hex(4)}.faiss"
        path = self._folder / file
        try:
            faiss.write_index_binary(_built(hashes, ids), str(path))
            path.chmod(0o600)
        except RuntimeError as error:  # FAISS: a full disk, a folder that cannot be written
            path.unlink(missing_ok=True)
            raise RegistryError(f"The index of fingerprints cannot be written: {error}") from error
        return Part(file, kind, first, last, len(hashes))

    def _state(self) -> State:
        try:
            value = json.loads((self._folder / MANIFEST).read_bytes())
            if value.pop("format") != FORMAT:
                return State()
            parts = tuple(Part(**part) for part in value.pop("parts"))
            if any(Path(part.file).name != part.file for part in parts):
                return State()
            return State(parts=parts, **value)
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("the index of fingerprints is not used: %s", type(error).__name__)
            return State()

    def _open(self, part: Part) -> Searched:
        faiss = _faiss()
        try:
            opened: Any = faiss.read_index_binary(str(self._folder / part.file), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:  # absent, cut short, or something else
            raise RegistryError(f"The index of fingerprints is damaged. {_ANEW}") from error
        if opened.d != BITS or opened.ntotal != part.hashes:
            raise RegistryError(f"The index of fingerprints is another one. {_ANEW}")
        with suppress(AttributeError):  # a flat one has no lists
            lists = opened.nlist
            opened.nprobe = max(LISTS[0] // 2, lists // 64)
        searched: Searched = opened
        return searched


def sound_windows(items: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(n, 32) windows of a release's sound."""
    return _windows(items, _spread(_starts(items)[::SOUND_STEP], SOUND_WINDOWS))


def sound_queries(items: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """(q, 32) windows of a query's sound, at every phase of those of a release."""
    starts = _starts(items)
    if len(starts) <= SOUND_PLACES * SOUND_STEP:
        return _windows(items, starts)
    places = _spread(starts[: 1 - SOUND_STEP], SOUND_PLACES)
    return _windows(items, np.unique(places[:, None] + np.arange(SOUND_STEP)))


def _starts(items: NDArray[np.uint32]) -> NDArray[np.intp]:
    return np.arange(max(0, len(items) - SOUND_ITEMS + 1))


def _spread(starts: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(starts) <= most:
        return starts
    return np.take(starts, np.linspace(0, len(starts) - 1, most).round().astype(int))


def _windows(items: NDArray[np.uint32], starts: NDArray[np.intp]) -> NDArray[np.uint8]:
    if not len(starts):
        return np.zeros((0, 32), np.uint8)
    taken = items[starts[:, None] + np.arange(SOUND_ITEMS)].astype("<u4")
    ordered = np.sort(taken, axis=1)
    told = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1) >= SOUND_DISTINCT
    return np.ascontiguousarray(taken[told]).view(np.uint8)


_Hashes = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _hashes(connection: Connection, after: int) -> dict[str, _Hashes]:
    """Hashes of each kind, with their numbers, of all releases after a number."""
    found = {kind: _Collected() for kind in KINDS}
    query = (
        select(numbers.c.number, fingerprints)
        .join(fingerprints, fingerprints.c.release_id == numbers.c.release_id)
        .where(numbers.c.number > after)
        .order_by(numbers.c.number)
        .execution_options(yield_per=BLOCK)
    )
    for row in connection.execute(query):
        found["picture"].add(row.number, np.frombuffer(row.probes, np.uint8).reshape(-1, 32))
        if row.has_sound:
            kind = "soundtrack" if row.has_picture else "sound"
            found[kind].add(row.number, sound_windows(Fingerprint.from_bytes(row.data).sound))
    return {kind: collected.arrays() for kind, collected in found.items()}


class _Collected:
    """Hashes, gathered without a Python object for each."""

    def __init__(self) -> None:
        self._bytes, self._numbers, self._counts = bytearray(), list[int](), list[int]()

    def add(self, number: int, hashes: NDArray[np.uint8]) -> None:
        if len(hashes):
            self._bytes += hashes.tobytes()
            self._numbers.append(number)
            self._counts.append(len(hashes))

    def arrays(self) -> _Hashes:
        hashes = np.frombuffer(self._bytes, np.uint8).reshape(-1, 32)
        return hashes, np.repeat(np.array(self._numbers, np.int64), self._counts)


def _built(hashes: NDArray[np.uint8], ids: NDArray[np.int64]) -> Any:
    faiss = _faiss()
    if len(hashes) <= FLAT:
        flat = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(BITS))
        flat.add_with_ids(hashes, ids)
        return flat
    lists = int(np.clip(len(hashes) // PER_LIST, *LISTS))
    centres = faiss.IndexBinaryFlat(BITS)
    index = faiss.IndexBinaryIVF(centres, BITS, lists)
    index.cp.niter, index.cp.seed = 6, 1
    chosen = np.random.default_rng(1).choice(len(hashes), min(len(hashes), 40 * lists), False)
    index.train(np.ascontiguousarray(hashes[np.sort(chosen)]))
    for start in range(0, len(hashes), 200_000):
        index.add_with_ids(hashes[start : start + 200_000], ids[start : start + 200_000])
    return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtra(
            "An index of fingerprints needs FAISS, not installed here: pip install 'avsafe[index]'."
        ) from None
    faiss.omp_set_num_threads(1)  # a look-up is too short for threads
    return faiss


def releases_of(connection: Connection, found: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Number and release of those that are still there."""
    for start in range(0, len(found), 500):
        query = select(numbers.c.number, numbers.c.release_id).where(
            numbers.c.number.in_(found[start : start + 500])
        )
        yield from (tuple(row) for row in connection.execute(query))

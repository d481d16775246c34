"""Uploads, streamed to a private folder under random names, with a cap on their bytes.

Files and short texts of a form (multipart/form-data), texts alone (application/json), or the body
as it is. What the sender calls a file is only ever shown, never used as a path.
"""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from avsafe.errors import AvsafeError
from avsafe.server.scratch import scratch

if TYPE_CHECKING:
    from starlette.requests import Request

FILE = "file"  # the field of a form that holds the one file; also what a bare body counts as
ADDRESS = "url"  # the text that names an address in its place
NAME_LENGTH = 120  # of the shown name
_HEADERS = 16 * 1024  # bytes that the headers of all parts may have
_TEXTS = 64 * 1024  # bytes that all texts of a form may have
_PARTS = 64  # of a form
_BETWEEN = 64 * 1024  # bytes of boundaries and line ends that a form may have beside its parts
_SLOWEST = 2048  # bytes a second, on average after the first seconds: a slower sender holds a place
_GRACE_S = 30.0
_SPARE = 256 << 20  # bytes that stay free on the disk: the ledger and the registry write there too


class BadUpload(AvsafeError):
    """The upload cannot be taken; ``status`` is the HTTP status, ``code`` names why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Upload:
    path: Path
    name: str  # as the sender calls it, cut and without control characters
    size_bytes: int


@dataclass(frozen=True)
class Form:
    """What came: files and texts by field, and the folder that holds the files."""

    folder: Path
    files: dict[str, Upload] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Upload:
        """The one file. Raises BadUpload when there is none, or an empty one."""
        found = self.files.get(FILE)
        if found is None or not found.size_bytes:
            raise BadUpload(400, "no-file", "There was no file, or an empty one.")
        return found


@asynccontextmanager
async def received(
    request: Request,
    folder: Path,
    *,
    max_bytes: int,
    within_s: float,
    files: Collection[str] = (FILE,),
) -> AsyncIterator[Form]:
    """What a request brings, while the context is open; afterwards nothing of it is left.

    ``files`` are the fields that may be files; ``max_bytes`` is for all of them together. Raises
    BadUpload: too large (413), another content type (415), too slow (408), broken form (400), no
    room on the disk (503).
    """

    async def take(sink: Sink, body: Body) -> None:
        await _take(request, sink, body, files)

    check_length(request.headers.get("content-length", ""), max_bytes)
    async with stored(
        folder, take, max_bytes=max_bytes, within_s=within_s, needs_room=bool(files)
    ) as form:
        yield form


@asynccontextmanager
async def stored(
    folder: Path,
    take: Callable[[Sink, Body], Awaitable[None]],
    *,
    max_bytes: int,
    within_s: float,
    needs_room: bool = True,
) -> AsyncIterator[Form]:
    """What ``take`` puts into the sink out of a body, while the context is open; gone afterwards.

    Raises BadUpload as ``received`` does.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if needs_room and shutil.disk_usage(folder).free < _SPARE:
        raise _no_room()
    with scratch(folder) as own:
        with Sink(own, max_bytes) as sink:
            try:
                async with asyncio.timeout(min(within_s, _GRACE_S)) as patience:
                    await take(sink, Body(patience, within_s, max_bytes))
            except TimeoutError:
                raise BadUpload(408, "too-slow", "The upload took too long.") from None
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _no_room() from None
                raise
        yield sink.form


def shown_name(name: str) -> str:
    """
    >>> shown_name("../../etc/pass" + chr(0) + "wd")
    'passwd'
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c for c in last if c.isprintable())
    return clean[:NAME_LENGTH] or "file"


class Sink:
    """Where the parts go: files under random names, texts into memory."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.form = Form(folder)
        self._max_bytes, self._size, self._texts = max_bytes, 0, 0
        self._file: BinaryIO | None = None
        self._field, self._name, self._path = "", "", folder
        self._text = bytearray()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def open_file(self, field_name: str, name: str) -> None:
        self._field, self._name = field_name, shown_name(name)
        self._path = self.form.folder / secrets.token_hex(8)
        self._file = self._path.open("xb")
        self._began = self._size

    def open_text(self, field_name: str) -> None:
        self._field, self._text = field_name, bytearray()

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._texts += len(data)
            if self._texts > _TEXTS:
                raise BadUpload(413, "too-large", "The texts of the form are too long.")
            self._text += data
            return
        self._size += len(data)
        if self._size > self._max_bytes:
            raise _too_large(self._max_bytes)
        self._file.write(data)

    def close_part(self) -> None:
        if self._file is None:
            text = self._text.decode("utf-8", errors="replace")
            if self._field.endswith("[]") and self._field in self.form.texts:  # a list
                text = f"{self.form.texts[self._field]},{text}"
            self.form.texts[self._field] = text
            return
        self._file.close()
        self._file = None
        self.form.files[self._field] = Upload(self._path, self._name, self._size - self._began)


def _too_large(max_bytes: int) -> BadUpload:
    return BadUpload(413, "too-large", f"The file has more than {max_bytes >> 20} MB.")


def _no_room() -> BadUpload:
    return BadUpload(503, "no-room", "There is no room for it at the moment. Try again later.")


def check_length(declared: str, max_bytes: int) -> None:
    """Refuse a body by its Content-Length, before it is read. Raises BadUpload."""
    if declared.isdecimal() and int(declared[:20]) > max_bytes + _HEADERS + _TEXTS:
        raise _too_large(max_bytes)


class Body:
    """Chunks as they come, that end the patience of whoever reads them when they come too slowly,
    or are more than files and texts may be, whatever they hold."""

    def __init__(self, patience: asyncio.Timeout, within_s: float, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._patience, self._within_s = patience, within_s
        self._began = asyncio.get_running_loop().time()

    async def of(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.max_bytes + _HEADERS + _TEXTS + _BETWEEN:
                raise _too_large(self.max_bytes)
            allowed_s = min(self._within_s, _GRACE_S + size / _SLOWEST)
            self._patience.reschedule(self._began + allowed_s)
            yield chunk


async def _take(request: Request, sink: Sink, body: Body, files: Collection[str]) -> None:
    """Stream the body of a request into the sink."""
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    chunks = body.of(request.stream())
    if kind == b"multipart/form-data":
        form = _Parts(options.get(b"boundary", b""), sink, files)
        async for chunk in chunks:
            await asyncio.to_thread(form.feed, chunk)
        form.finish()
        return
    if kind == b"application/x-www-form-urlencoded" or FILE not in files:
        message = "Send a form as multipart/form-data, or the bytes with their own Content-Type."
        raise BadUpload(415, "no-form", message)
    if kind == b"application/json":
        sink.open_text(FILE)
        async for chunk in chunks:
            sink.write(chunk)
        sink.close_part()
        sink.form.texts.update(_texts_of(sink.form.texts.pop(FILE)))
        return
    sink.open_file(FILE, request.headers.get("x-filename", ""))
    async for chunk in chunks:
        await asyncio.to_thread(sink.write, chunk)
    sink.close_part()


def _texts_of(text: str) -> dict[str, str]:
    """An object of strings. Raises BadUpload."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise BadUpload(400, "bad-form", "The body is no JSON object of strings.")
    return found


class _Parts:
    """The parts of a multipart form; the first of each field counts."""

    def __init__(self, boundary: bytes, sink: Sink, files: Collection[str]) -> None:
        from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser

        if not 0 < len(boundary) <= MAX_BOUNDARY_LENGTH:
            raise BadUpload(400, "bad-form", "The form has no boundary, or one that is too long.")
        self._sink, self._files = sink, files
        self._key, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._seen: set[str] = set()
        self._count = 0
        self._inside, self._ended = False, False
        self._parser = MultipartParser(
            boundary,
            callbacks={
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._of_field,
                "on_header_end": self._header,
                "on_headers_finished": self._headers_done,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        from python_multipart.exceptions import MultipartParseError

        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise BadUpload(400, "bad-form", "The form is broken.") from None

    def finish(self) -> None:
        if not self._ended:
            raise BadUpload(400, "bad-form", "The form ends before its end.")

    def _begin(self) -> None:
        self._headers = {}
        self._count += 1
        if self._count > _PARTS:
            raise BadUpload(400, "bad-form", f"The form has more than {_PARTS} parts.")

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._key += self._counted(data[start:end])

    def _of_field(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._header_bytes += len(data)
        if self._header_bytes > _HEADERS:
            raise BadUpload(400, "bad-form", "The headers of the form are too long.")
        return data

    def _header(self) -> None:
        self._headers[self._key.lower()] = self._value
        self._key, self._value = b"", b""

    def _headers_done(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", errors="replace")
        is_file = b"filename" in options
        self._inside = name not in self._seen and (not is_file or name in self._files)
        if not self._inside:
            return
        self._seen.add(name)
        if is_file:
            self._sink.open_file(name, options[b"filename"].decode("utf-8", errors="replace"))
        else:
            self._sink.open_text(name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._sink.write(data[start:end])

    def _part_end(self) -> None:
        if self._inside:
            self._sink.close_part()
        self._inside = False

    def _end(self) -> None:
        self._ended = True

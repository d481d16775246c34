"""An upload, streamed to a private folder under a random name, with a cap on its bytes.

One file of a form (multipart/form-data, field "file"), or the body as it is. What the sender calls
the file is only ever shown, never used as a path.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from avsafe.errors import AvsafeError

if TYPE_CHECKING:
    from starlette.requests import Request

FIELD = "file"
NAME_LENGTH = 120  # of the shown name
_HEADERS = 16 * 1024  # bytes that the headers of all parts may have
_STALE_S = 3600.0


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


@asynccontextmanager
async def received(
    request: Request, folder: Path, *, max_bytes: int, within_s: float
) -> AsyncIterator[Upload]:
    """The upload of a request while the context is open; afterwards nothing of it is left.

    Raises BadUpload: too large (413), no file or an empty one (400), another content type (415),
    too slow (408), broken form (400).
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes + _HEADERS:
        raise _too_large(max_bytes)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = folder / secrets.token_hex(16)
    own.mkdir(mode=0o700)
    try:
        path = own / "upload"
        with path.open("xb") as file:
            sink = _Sink(file, max_bytes)
            try:
                async with asyncio.timeout(within_s):
                    name = await _take(request, sink)
            except TimeoutError:
                raise BadUpload(408, "too-slow", "The upload took too long.") from None
        if not sink.size:
            raise BadUpload(400, "no-file", "There was no file, or an empty one.")
        yield Upload(path, shown_name(name), sink.size)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sweep(folder: Path, older_s: float = _STALE_S) -> int:
    """Remove what a crash left behind; how many uploads that were."""
    removed = 0
    if folder.is_dir():
        for own in folder.iterdir():
            if own.is_dir() and time.time() - own.stat().st_mtime > older_s:
                shutil.rmtree(own, ignore_errors=True)
                removed += 1
    return removed


def shown_name(name: str) -> str:
    """
    >>> shown_name("../../etc/pass" + chr(0) + "wd")
    'passwd'
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(c for c in last if c.isprintable())
    return clean[:NAME_LENGTH] or "file"


class _Sink:
    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._max_bytes, self.size = file, max_bytes, 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._max_bytes:
            raise _too_large(self._max_bytes)
        self._file.write(data)


def _too_large(max_bytes: int) -> BadUpload:
    return BadUpload(413, "too-large", f"The file has more than {max_bytes >> 20} MB.")


async def _take(request: Request, sink: _Sink) -> str:
    """Stream the body into the sink; the sender's name of the file."""
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"application/x-www-form-urlencoded":
        raise BadUpload(415, "no-form", "Send the file as multipart/form-data or as the body.")
    if kind != b"multipart/form-data":
        async for chunk in request.stream():
            await asyncio.to_thread(sink.write, chunk)
        return request.headers.get("x-filename", "")
    form = _Form(options.get(b"boundary", b""), sink)
    async for chunk in request.stream():
        await asyncio.to_thread(form.feed, chunk)
    return form.finish()


class _Form:
    """One file out of a multipart form; other fields are read over."""

    def __init__(self, boundary: bytes, sink: _Sink) -> None:
        from python_multipart.multipart import MultipartParser

        if not boundary:
            raise BadUpload(400, "bad-form", "The form has no boundary.")
        self._sink = sink
        self._key, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._inside, self._taken, self._ended, self.name = False, False, False, ""
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

    def finish(self) -> str:
        if not self._ended:
            raise BadUpload(400, "bad-form", "The form ends before its end.")
        if not self._taken:
            raise BadUpload(400, "no-file", f"The form has no field {FIELD!r} with a file.")
        return self.name

    def _begin(self) -> None:
        self._headers = {}

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
        wanted = options.get(b"name") == FIELD.encode() and b"filename" in options
        self._inside = wanted and not self._taken
        if self._inside:
            self._taken = True
            self.name = options[b"filename"].decode("utf-8", errors="replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._sink.write(data[start:end])

    def _part_end(self) -> None:
        self._inside = False

    def _end(self) -> None:
        self._ended = True

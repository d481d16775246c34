"""A stored file as an answer: streamed, whole or the range that was asked for (RFC 9110, 14).

Browsers seek in a video by ranges. One range is answered; several at once are answered with the
whole, which the standard allows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi.responses import Response, StreamingResponse

from avsafe.media import MIME_BY_SUFFIX

if TYPE_CHECKING:
    from fastapi import Request

    from avsafe.server.files import Kept

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def answer(request: Request, kept: Kept, name: str, *, inline: bool = False) -> Response:
    """``kept`` under ``name`` and its own suffix. 206 or 416 where a range is asked for."""
    size, found = kept.stored.size_bytes, kept.stored
    told = f"{found.key} {size} {found.modified_at.isoformat()}"
    tag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
    shown = "inline" if inline else "attachment"
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Disposition": f'{shown}; filename="{name}{kept.suffix}"',
    }
    asked = request.headers.get("range", "")
    if request.headers.get("if-range", tag) != tag:  # of another file than this
        asked = ""
    part = asked_range(asked, size)
    if part is None:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    start, end = part
    status = 200
    if asked and part != (0, size):
        status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    pieces: Iterator[bytes] = kept.store.stream(found.key, start, end)
    return StreamingResponse(
        pieces, status, headers=headers, media_type=MIME_BY_SUFFIX[kept.suffix]
    )


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; all of it where no single range is asked for, None
    where there is nothing in the range.

    >>> asked_range("bytes=2-4", 10), asked_range("bytes=-3", 10), asked_range("bytes=7-", 10)
    ((2, 5), (7, 10), (7, 10))
    >>> asked_range("", 10), asked_range("bytes=0-1,4-5", 10), asked_range("bytes=10-", 10)
    ((0, 10), (0, 10), None)
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return 0, size
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:  # not a range at all
            return 0, size
    return (start, end) if start < end else None

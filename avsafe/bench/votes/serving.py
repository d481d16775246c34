"""A page server for raters on this machine: the ballot's page and clips, and one address for votes.

It listens on the loopback address alone, answers only its own page (Host and Origin are checked),
serves only the page and files of ``clips``, and keeps only votes that fit the key.
"""

from __future__ import annotations

import json
import mimetypes
import re
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from avsafe.bench.votes.tally import UNPLAYABLE, problem
from avsafe.errors import UsageError

_MOST_BYTES = 8192  # of one vote
_CHUNK = 1 << 16
_FIELDS = ("ballot", "rater", "trial", "choice", "reasons", "seconds", "seq")


def serve(out: Path | str, *, port: int = 0) -> ThreadingHTTPServer:
    """A server for the ballot in ``out``, not yet started: call ``serve_forever``, and at the end
    ``shutdown`` and ``server_close``. Votes go to ``out/votes.jsonl``. ``port`` 0 takes a free one
    (``server_port``). UsageError where there is no ballot.
    """
    out = Path(out)
    try:
        key = json.loads((out / "key.json").read_text(encoding="utf-8"))
        page = (out / "ballot" / "index.html").read_bytes()
        clips = {path.name: path for path in (out / "ballot" / "clips").iterdir() if path.is_file()}
    except OSError as error:
        raise UsageError(
            f"{out.name} holds no ballot; make one with `avsafe bench vote make`."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{out.name}/key.json is no JSON: {error}. Make the ballot again in another folder."
        ) from error
    try:
        return _Server(port, key, page, clips, out / "votes.jsonl")
    except OSError as error:
        raise UsageError(
            f"Port {port} cannot be used: {error.strerror}. Leave --port out to take a free one."
        ) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, port: int, key: dict[str, Any], page: bytes, clips: dict[str, Path], votes: Path
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.key, self.page, self.clips, self.votes = key, page, clips, votes
        self.lock = threading.Lock()
        self.hosts = {f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}"}

    def keep(self, vote: dict[str, Any]) -> None:
        row = {name: vote.get(name) for name in _FIELDS}
        row["at"] = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"
        with self.lock, self.votes.open("ab") as file:
            file.write(line.encode("utf-8", "backslashreplace"))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "avsafe", ""
    timeout = 60

    def do_GET(self) -> None:
        if not self._ours():
            return
        path = self.path.partition("?")[0]
        if path in ("/", "/index.html"):
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
            return
        clip = self.server.clips.get(path.removeprefix("/clips/"))
        if clip is None or not path.startswith("/clips/"):
            self._answer(HTTPStatus.NOT_FOUND, b"There is nothing here.\n")
            return
        self._clip(clip)

    def do_POST(self) -> None:
        if not self._ours():
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"A vote is a short JSON object.\n")
            return
        body = self.rfile.read(int(length))
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if self.path != "/vote" or kind != "application/json":
            self._answer(HTTPStatus.NOT_FOUND, b"Votes go to /vote as JSON.\n")
            return
        try:
            vote = json.loads(body)
        except (ValueError, RecursionError):
            vote = None
        if not isinstance(vote, dict):
            self._answer(HTTPStatus.BAD_REQUEST, b"This is no JSON object.\n")
            return
        why = problem(vote, self.server.key)
        if why not in (None, UNPLAYABLE):
            self._answer(HTTPStatus.BAD_REQUEST, f"A vote {why}.\n".encode())
            return
        self.server.keep(vote)
        self._answer(HTTPStatus.NO_CONTENT, b"")

    def _ours(self) -> bool:
        """Whether the request is of the page that this server gave: no other site, no rebinding."""
        origin = self.headers.get("Origin")
        hosts = self.server.hosts
        if self.headers.get("Host") in hosts and (
            origin is None or origin.removeprefix("http://") in hosts
        ):
            return True
        self.close_connection = True
        self._answer(HTTPStatus.FORBIDDEN, b"Open the page at the address that was printed.\n")
        return False

    def _clip(self, path: Path) -> None:
        size = path.stat().st_size
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        asked = re.fullmatch(r"bytes=([0-9]{1,18})-([0-9]{0,18})", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]) if asked and asked[2] else size - 1, size - 1)
        if asked and (first >= size or last < first):
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"")
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self._headers(kind, last - first + 1)
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                try:
                    self.wfile.write(chunk)
                except ConnectionError:  # browsers drop what they no longer need
                    self.close_connection = True
                    return
                left -= len(chunk)

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self._headers(kind, len(body))
        self.wfile.write(body)

    def _headers(self, kind: str, length: int) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")  # no page of others leads a rater's clicks
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base names it
        """Silent: raters' requests are nobody's business."""

"""One HTTP exchange: bounded in time and size, stoppable at any moment, never off the named host.

Each exchange runs in a thread of its own; the caller watches the clock and closes the socket when
it is asked to stop, so a server that says nothing can't hold anybody.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed
from avsafe.types import Cancelled
from avsafe_generators.openai_compatible.address import Address, is_loopback

T = TypeVar("T")

_POLL_S = 0.05
_BLOCK = 1 << 16
_ERROR_BYTES = 1 << 16  # of the body of an error that are read
_MAX_REDIRECTS = 3
_DELETE_S = 10.0


@dataclass(frozen=True)
class File:
    """A file of a multipart body."""

    field: str
    name: str
    mime: str
    content: bytes


class Refused(GeneratorFailed):
    """The server answered with an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Talks to one server until ``deadline``."""

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        max_bytes: int,
        cancelled: Cancelled,
        beat: Callable[[], None],
    ) -> None:
        self._address, self._max_bytes = address, max_bytes
        self._timeout_s, self._deadline = timeout_s, time.monotonic() + timeout_s
        self._cancelled, self._beat = cancelled, beat

    def send_json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._json("POST", path, _as_json(body))

    def send_form(
        self, path: str, fields: Mapping[str, str], files: Sequence[File]
    ) -> dict[str, Any]:
        return self._json("POST", path, _as_form(fields, files))

    def get_json(self, path: str) -> dict[str, Any]:
        return self._json("GET", path, None)

    def save(
        self,
        path: str,
        target: Path,
        *,
        media: str,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        """A body of the type ``media``/… into a file. Raises GeneratorFailed for another type."""

        def take(response: http.client.HTTPResponse) -> None:
            kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
            if not kind.startswith(f"{media}/") and kind != "application/octet-stream":
                raise GeneratorFailed(
                    f"{self._address.host} answered {path} with {_clean(kind) or 'no type'} in "
                    f"place of {media}. Is base_url the address of the interface, usually …/v1?"
                )
            with target.open("wb") as file:
                self._copy(response, file)
            if not target.stat().st_size:
                raise GeneratorFailed(f"{self._address.host} answered {path} with nothing.")

        method = "GET" if body is None else "POST"
        self._exchange(method, path, None if body is None else _as_json(body), take)

    def delete(self, path: str) -> bool:
        """Ask the server to drop a job; also after the deadline and after a cancel."""
        other = Client(
            self._address, timeout_s=_DELETE_S, max_bytes=_BLOCK,
            cancelled=lambda: False, beat=lambda: None,
        )  # fmt: skip
        try:
            other._exchange("DELETE", path, None, lambda response: response.read(_BLOCK))
        except GeneratorFailed:
            return False
        return True

    def wait(self, seconds: float) -> None:
        """Sleep, unless it is asked to stop or the time is up."""
        end = time.monotonic() + seconds
        while True:
            self._check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_POLL_S, left))

    # ------------------------------------------------------------ inside

    def _json(self, method: str, path: str, body: _Body | None) -> dict[str, Any]:
        def take(response: http.client.HTTPResponse) -> dict[str, Any]:
            raw = _hidden(self._address, self._read(response))
            try:
                content = json.loads(raw)
            except (ValueError, RecursionError):
                content = None
            if not isinstance(content, dict):
                raise GeneratorFailed(
                    f"{self._address.host} answered {path} with something that is no JSON object: "
                    f"{_clean(raw[:120].decode(errors='replace'))!r}. Is base_url right?"
                )
            return content

        return self._exchange(method, path, body, take)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        self._announced(response)
        content = bytearray()
        while block := response.read1(_BLOCK):
            content += block
            self._bounded(len(content))
        return bytes(content)

    def _copy(self, response: http.client.HTTPResponse, file: BinaryIO) -> None:
        self._announced(response)
        size = 0
        while block := response.read1(_BLOCK):
            size += len(block)
            self._bounded(size)
            file.write(block)
        if response.length:  # announced, and not come
            raise GeneratorFailed(f"{self._address.host} ended its answer too soon.")

    def _announced(self, response: http.client.HTTPResponse) -> None:
        self._bounded(response.length or 0)

    def _bounded(self, size: int) -> None:
        if size > self._max_bytes:
            raise GeneratorFailed(
                f"{self._address.host} sends more than {self._max_bytes >> 20} MiB, which is the "
                "limit. Raise max_mib if that is what it should be."
            )

    def _exchange(
        self,
        method: str,
        path: str,
        body: _Body | None,
        take: Callable[[http.client.HTTPResponse], T],
    ) -> T:
        """Send, follow redirects on the same host, and take the answer. Raises GeneratorFailed."""
        target = f"{self._address.path}/{path}"
        for _ in range(_MAX_REDIRECTS + 1):
            call = _Call(self._address, method, target, body, take)
            try:
                answer = self._watched(call)
            finally:
                call.close()
            if not isinstance(answer, _Elsewhere):
                return answer
            if method != "GET":
                raise GeneratorFailed(
                    f"{self._address.host} redirects {path}; only reading follows. Set base_url "
                    "to where it leads."
                )
            target = self._same_host(target, answer.location)
        raise GeneratorFailed(f"{self._address.host} redirects {path} in circles.")

    def _same_host(self, target: str, location: str) -> str:
        try:
            parts = urlsplit(
                urljoin(f"{self._address.scheme}://{self._netloc()}{target}", location)
            )
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            parts, port = urlsplit(""), 0
        if (parts.scheme, parts.hostname, port) != self._address.origin:
            raise GeneratorFailed(
                f"{self._address.host} redirects to another place "
                f"({_clean(parts.hostname or 'unreadable')}), which is not followed: only the "
                "server that base_url names is called."
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _netloc(self) -> str:
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        return f"{host}:{self._address.port}"

    def _watched(self, call: _Call[T]) -> T | _Elsewhere:
        call.start()
        while call.is_alive():
            call.join(_POLL_S)
            if call.is_alive():
                self._check()
        if call.error is None:
            return call.answer  # type: ignore[return-value]
        if isinstance(call.error, GeneratorFailed):
            raise call.error
        reason = _clean(str(call.error)) or type(call.error).__name__
        raise GeneratorFailed(
            f"{self._address.host} port {self._address.port} can't be talked to: {reason}. Is the "
            "server running, and base_url right?"
        ) from call.error

    def _check(self) -> None:
        if self._cancelled():
            raise Stopped(f"The request to {self._address.host} was asked to stop.")
        if time.monotonic() > self._deadline:
            raise GeneratorFailed(
                f"{self._address.host} was not done after timeout_s = {self._timeout_s:g}. Raise "
                "timeout_s if it needs more."
            )
        self._beat()


@dataclass(frozen=True)
class _Body:
    mime: str
    content: bytes


@dataclass(frozen=True)
class _Elsewhere:
    location: str


class _Call(threading.Thread, Generic[T]):
    """One request and its answer, in a thread that ``close`` ends from outside."""

    def __init__(
        self,
        address: Address,
        method: str,
        target: str,
        body: _Body | None,
        take: Callable[[http.client.HTTPResponse], T],
    ) -> None:
        super().__init__(daemon=True)
        self._address, self._method, self._target = address, method, target
        self._body, self._take = body, take
        self._connection: http.client.HTTPConnection | None = None
        self._closed = False
        self.answer: T | _Elsewhere | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = self._talk()
        except Exception as error:  # told by whoever waits: no thread ends with a traceback
            self.error = error

    def close(self) -> None:
        self._closed = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        if self.is_alive():
            self.join(1.0)
        if connection is not None:
            connection.close()

    def _talk(self) -> T | _Elsewhere:
        address = self._address
        connection, target = _connection(address, self._target)
        self._connection = connection
        headers = {"Accept": "*/*", "User-Agent": "avsafe", "Accept-Encoding": "identity"}
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        if self._body is not None:
            headers["Content-Type"] = self._body.mime
        connection.connect()
        if self._closed:
            raise OSError("stopped")
        connection.request(
            self._method, target, None if self._body is None else self._body.content, headers
        )
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return _Elsewhere(response.getheader("Location") or "")
        if response.status >= 400:
            raise _refusal(address, response)
        return self._take(response)


def _connection(address: Address, target: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection, through the proxy of the environment where there is one; never to loopback."""
    proxy = None
    if not is_loopback(address.host) and not proxy_bypass(address.host):
        proxy = getproxies().get(address.scheme)
    secure = address.scheme == "https"
    made = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    more: dict[str, Any] = {"context": ssl.create_default_context()} if secure else {}
    if not proxy:
        return made(address.host, address.port, timeout=60, **more), target
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    connection = made(parts.hostname or "", parts.port or 3128, timeout=60, **more)
    if secure:
        connection.set_tunnel(address.host, address.port)
        return connection, target
    return connection, f"http://{address.host}:{address.port}{target}"


def _refusal(address: Address, response: http.client.HTTPResponse) -> Refused:
    status = response.status
    said, code = _said(_hidden(address, response.read(_ERROR_BYTES)))
    blocked = any(word in f"{code} {said}".lower() for word in ("moderation", "content_policy"))
    if blocked:
        what = "refused the request by its own moderation"
    elif status in (401, 403):
        what = "did not accept the key" if address.key else "wants a key (name it with key_env)"
    elif status == 402 or "quota" in code or "billing" in code:
        what = "has no quota left for this key"
    elif status == 429:
        what = "has too many requests at the moment; try again later"
    elif status == 404:
        what = "knows no such model or address (base_url usually ends in /v1)"
    elif status < 500:
        what = "did not accept the request"
    else:
        what = "failed"
    return Refused(f"{address.host} {what} (HTTP {status}){f': {said}' if said else ''}", status)


def _hidden(address: Address, raw: bytes) -> bytes:
    """An answer without our key: servers that are being set up repeat what they were sent."""
    return raw.replace(address.key.encode(), b"[key]") if address.key else raw


def _said(raw: bytes) -> tuple[str, str]:
    """(message, code) of an error body, of whichever shape."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        text = raw.decode(errors="replace")
        return ("" if text.lstrip().startswith("<") else _clean(text)), ""
    return problem_of(content)


def problem_of(content: Any) -> tuple[str, str]:
    """(message, code) out of ``{"error": {...}}``, ``{"error": "..."}``, ``{"detail": ...}``.

    >>> problem_of({"error": {"message": "no", "code": "quota"}})
    ('no', 'quota')
    """
    found = content
    for key in ("error", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
            break
    if isinstance(found, dict):
        code = found.get("code") or found.get("type") or ""
        message = found.get("message") or json.dumps(found)
        return _clean(str(message)), _clean(str(code))
    return _clean(found if isinstance(found, str) else json.dumps(found)), ""


def _clean(text: str, limit: int = 400) -> str:
    """Text of a server for a message: no control characters, not too long."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


clean = _clean


def _as_json(body: Mapping[str, Any]) -> _Body:
    return _Body("application/json", json.dumps(body).encode())


def _as_form(fields: Mapping[str, str], files: Sequence[File]) -> _Body:
    """A multipart body (RFC 7578); the boundary is random, so no content can hold it."""
    mark = secrets.token_hex(24)
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode(errors="replace")
        for name, value in fields.items()
    ]
    parts += [
        f'Content-Disposition: form-data; name="{file.field}"; filename="{file.name}"\r\n'
        f"Content-Type: {file.mime}\r\n\r\n".encode()
        + file.content
        for file in files
    ]
    body = b"".join(f"--{mark}\r\n".encode() + part + b"\r\n" for part in parts)
    return _Body(f"multipart/form-data; boundary={mark}", body + f"--{mark}--\r\n".encode())

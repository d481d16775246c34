"""The file at an address, fetched for whoever asks. Off unless AVSAFE_SERVE_FETCH says otherwise.

Who can make a server fetch what he names can reach through it what only the server reaches (SSRF):

1  the address: http or https, port 80 or 443, no credentials, a host in its one plain form
2  the host is resolved once; every address that it has must be of the public internet
3  the connection goes to one of those, with the certificate and the Host of the name: a resolver
   that answers otherwise the next time is not asked again. No proxy, no redirect, no cookie, and
   compressed bodies are refused
4  what comes is stored as an upload is: capped, paced, under a random name, deleted afterwards

One sentence answers all that goes wrong after step 1, so that nobody learns what is behind it. The
address is neither logged nor kept. This speaks httpcore, for it can do no more than what is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from avsafe.errors import MissingExtra
from avsafe.server.uploads import FILE, BadUpload, Body, Sink, Upload, check_length, stored

try:
    import httpcore
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtra("Addresses need httpx: pip install 'avsafe[serve]'.") from error

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

Resolve = Callable[[str, int], Awaitable[list[str]]]
_LENGTH = 2048  # of an address, in characters
_PORTS = {80, 443}
_AT_ONCE = 8  # fetched side by side in one process; a further one is asked to come back
_TRIED = 3  # addresses of one name
_CONNECT_S = 5.0  # to one of them
_READ_S = 30.0  # without a byte
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?!\d)[a-z0-9-]{{2,63}}")
_HEADERS = (
    (b"User-Agent", b"avsafe"),
    (b"Accept", b"image/*, video/*, audio/*"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
)
# IANA's special-purpose registries for IPv4, AS112 and AMT left out too; multicast and reserved.
_NOT_PUBLIC_4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/3",
    "168.63.129.16/32",  # a public number behind which Azure answers each of its machines
]  # fmt: skip
# IPv6 is public within 2000::/3 alone, which leaves out mapped and translated IPv4 (::ffff:0:0/96,
# 64:ff9b::/96); within it are IETF's protocols with Teredo, documentation, 6to4, AS112.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"]
_CLOSED: tuple[IPv4Network | IPv6Network, ...] = tuple(
    map(ipaddress.ip_network, (*_NOT_PUBLIC_4, *_NOT_PUBLIC_6))
)


@dataclass(frozen=True)
class Address:
    """Step 1: what is asked of whom. Built by ``parsed``."""

    scheme: str
    host: str
    port: int
    netloc: bytes  # for the header Host
    target: bytes  # path and query
    name: str  # last part of the path


def parsed(text: str) -> Address:
    """Raises BadUpload (400) for what is no address that may be asked for.

    >>> parsed("https://example.com/clips/a%20b.mp4").name
    'a b.mp4'
    """
    try:
        url = httpx.URL(text.strip()) if len(text) <= _LENGTH else None
    except (httpx.InvalidURL, ValueError):  # some of its refusals are idna's
        url = None
    if url is None or url.scheme not in ("http", "https") or url.userinfo:
        raise _bad_address()
    host = url.raw_host.decode("ascii", "replace")
    port = {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port
    if port not in _PORTS or not (_is_number(host) or (len(host) < 254 and _NAME.fullmatch(host))):
        raise _bad_address()
    name = unquote(url.path.rsplit("/", 1)[-1], errors="replace")
    return Address(url.scheme, host, port, url.netloc, url.raw_path, name)


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    >>> public("93.184.215.14"), public("169.254.169.254"), public("::ffff:10.0.0.1")
    (True, False, False)
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and (found.scope_id or found not in _PUBLIC_6):
        return False
    return not any(found.version == net.version and found in net for net in _CLOSED)


class Fetcher:
    """Fetches files. ``resolve``, ``dial`` and ``tls`` are others in tests only."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        dial: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._backend = _Public(resolve or Resolver(), dial or httpcore.AnyIOBackend())
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._inside = 0

    @asynccontextmanager
    async def fetched(
        self, text: str, folder: Path, *, max_bytes: int, within_s: float
    ) -> AsyncIterator[Upload]:
        """The file at an address, while the context is open; afterwards nothing of it is left.

        Raises BadUpload: no address (400, "address"), nothing to be had there (400, "not-fetched"),
        a page (400, "web-page"), too large (413), too slow (408), too many at once (503).
        """
        address = parsed(text)
        if self._inside >= _AT_ONCE:
            raise BadUpload(503, "busy", "Too many files are fetched. Try again in a minute.")

        async def take(sink: Sink, body: Body) -> None:
            self._inside += 1
            try:
                await self._take(address, sink, body)
            except (*_BROKEN, httpcore.UnsupportedProtocol):
                raise _not_fetched() from None
            finally:
                self._inside -= 1

        async with stored(folder, take, max_bytes=max_bytes, within_s=within_s) as form:
            yield form.file

    async def _take(self, address: Address, sink: Sink, body: Body) -> None:
        url = httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target
        )
        limits = {"connect": _CONNECT_S, "read": _READ_S, "write": _CONNECT_S, "pool": _CONNECT_S}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, network_backend=self._backend, max_keepalive_connections=0
            ) as pool,
            pool.stream(
                "GET",
                url,
                headers=[(b"Host", address.netloc), *_HEADERS],
                extensions={"timeout": limits},
            ) as response,
        ):
            headers = {name.lower(): value.strip().lower() for name, value in response.headers}
            if response.status != 200 or headers.get(b"content-encoding", b"") not in _AS_IT_IS:
                raise _not_fetched()
            if headers.get(b"content-type", b"").partition(b";")[0].strip() in _PAGES:
                raise BadUpload(400, "web-page", "At that address is a page, and no file.")
            check_length(headers.get(b"content-length", b"").decode("latin-1"), body.max_bytes)
            sink.open_file(FILE, address.name)
            async for chunk in body.of(response.aiter_stream()):
                await asyncio.to_thread(sink.write, chunk)
            sink.close_part()


class Resolver:
    """Asks the system, in threads of its own: a name server that is slow keeps nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="avsafe-names")

    async def __call__(self, host: str, port: int) -> list[str]:
        """IP addresses, the ones to be preferred first. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(one[4][0]) for one in found))


class _Public(httpcore.AsyncNetworkBackend):
    """Steps 2 and 3, where connections are made: there is no way around it."""

    def __init__(self, resolve: Resolve, dial: httpcore.AsyncNetworkBackend) -> None:
        self._resolve, self._dial = resolve, dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._resolve(host, port)
        except OSError:
            addresses = []
        if not all(map(public, addresses)):
            raise httpcore.ConnectError
        for address in addresses[:_TRIED]:
            try:
                stream = await self._dial.connect_tcp(address, port, timeout)
            except _BROKEN:
                continue
            # A public address may be this machine's own; what listens here is not for others.
            if (stream.get_extra_info("client_addr") or ("",))[0] == address:
                await stream.aclose()
                break
            return stream
        raise httpcore.ConnectError


def _is_number(host: str) -> bool:
    """An IPv4 or IPv6 address in its usual form; 2130706433, 0x7f.1 and 0177.0.0.1 are none."""
    try:
        return "%" not in str(ipaddress.ip_address(host))  # what is behind it is a network card
    except ValueError:
        return False


def _bad_address() -> BadUpload:
    return BadUpload(400, "address", "It is no address of a file: https://, a host, a path.")


def _not_fetched() -> BadUpload:
    return BadUpload(
        400, "not-fetched", "Nothing could be fetched there: it must be public and the file itself."
    )


_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_AS_IT_IS = (b"", b"identity")
_PAGES = (b"text/html", b"application/xhtml+xml")

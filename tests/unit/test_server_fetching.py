"""Files by address: from the public internet, under one name, as one answer, and nothing else."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from avsafe.server import fetching
from avsafe.server.fetching import Fetcher, parsed, public
from avsafe.server.uploads import BadUpload

PUBLIC = "93.184.215.14"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"


class Local(httpcore.AsyncNetworkBackend):
    """Connects to a server of the test, whatever public address was chosen, and says which one."""

    def __init__(self, port: int) -> None:
        self.port, self.dialled = port, []

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.dialled.append((host, port))
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)


def fetch(url, folder, *answers, names=None, max_bytes=1000, within_s=5.0, tls=None, trust=None):
    """What is fetched; the requests that the server saw; the addresses that were dialled.

    ``answers`` are what the server sends, one connection after the other; a name that is asked for
    again gets the next one of its lists in ``names``.
    """
    known = {host: iter(lists) for host, lists in (names or {"media.example": [[PUBLIC]]}).items()}
    seen, left = [], list(answers)

    async def resolve(host, port):
        try:
            return next(known[host])
        except KeyError:
            return [host]  # a number is its own address

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        answer = left.pop(0)
        if answer is None:
            await reader.read()  # says nothing until the other side leaves
        else:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        dial = Local(server.sockets[0].getsockname()[1])
        fetcher = Fetcher(resolve=resolve, dial=dial, tls=trust)
        try:
            async with fetcher.fetched(
                url, folder, max_bytes=max_bytes, within_s=within_s
            ) as upload:
                found = (upload.name, upload.path.read_bytes())
        except BadUpload as error:
            found = error
        server.close()
        assert list(folder.iterdir() if folder.is_dir() else ()) == []
        return found, seen, dial.dialled

    return asyncio.run(run())


def test_a_file_is_fetched_from_the_address_that_was_looked_at(tmp_path):
    found, seen, dialled = fetch(
        "http://media.example/a/../b/cl%20ip.png?x=1#y", tmp_path, OK + b"\r\nbytes"
    )
    assert found == ("cl ip.png", b"bytes")
    assert dialled == [(PUBLIC, 80)]
    first, *rest = seen[0].decode().split("\r\n")
    assert first.endswith("cl%20ip.png?x=1 HTTP/1.1")
    headers = dict(line.split(": ", 1) for line in rest if line)
    assert headers == {
        "Host": "media.example",
        "User-Agent": "avsafe",
        "Accept": "image/*, video/*, audio/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_nothing_of_an_address_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        fetch("http://media.example/x", tmp_path, OK + b"\r\n1")
        fetch("http://media.example/x", tmp_path, b"")
        fetch("http://10.0.0.1/x", tmp_path)
    assert caplog.records == []


def test_proxies_of_the_environment_are_passed_by(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch("http://media.example/x", tmp_path, OK + b"\r\n1")[0] == ("x", b"1")


# ---------------------------------------------------------------- addresses

NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3",  # noqa: S104
    "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:127.0.0.1",
    "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    "100::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1",
    "2001:0:7f00:1::1", "2001:db8::1", "2001:20::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1",
    "3fff::1", "5f00::1", "4000::1", "2606:4700::1%eth0", "fe80::1%lo", "none", "127.1", "1.2.3",
    "'",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address):
    assert not public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_addresses_that_are(address):
    assert public(address)


@pytest.mark.parametrize(
    "text",
    [
        "", "media.example/x", "//media.example/x", "ftp://media.example/x", "file:///etc/passwd",
        "gopher://media.example/", "data:image/png;base64,AA", "javascript:alert(1)",
        "http://user:word@media.example/", "http://media.example@127.0.0.1/",
        "http://media.example\\@127.0.0.1/", "http://127.0.0.1\\.media.example/",
        "http://media.example:22/", "http://media.example:8080/", "http://media.example:0/",
        "http://media.example:99999/", "http://media.example:-80/", "http://media.example:x/",
        "http:///x", "http://", "http://localhost/", "http://intranet/", "http://media.example./",
        "http://127.0.0.1./", "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/",
        "http://0177.0.0.1/", "http://127.1/", "http://127.0.0.1.0/", "http://1.2.3.4.5/",
        "http://１２７.0.0.1/", "http://①②⑦.0.0.1/", "http://%31%32%37.0.0.1/",
        "http://media%2eexample/", "http://a..b.example/", "http://-a.example/",
        "http://a b.example/",
        "http://[::1/", "http://[::1%25lo]/", "http://[media.example]/", "http://\u202emedia.example/",
        "http://media.example/\r\nX: y", "http://media.example/\x00", "http://m\tedia.example/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/",
        "http://media.example/" + "x" * 2048, "h" * 10**6, "http://" + "." * 2000, "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_file(text):
    with pytest.raises(BadUpload) as caught:
        parsed(text)
    assert (caught.value.status, caught.value.code) == (400, "address")


@pytest.mark.parametrize(
    ("text", "host", "netloc", "port"),
    [
        (" HTTPS://Media.Example ", "media.example", b"media.example", 443),
        ("http://media.example:443/", "media.example", b"media.example:443", 443),
        ("http://bücher.example/", "xn--bcher-kva.example", b"xn--bcher-kva.example", 80),
        ("http://8.8.8.8/", "8.8.8.8", b"8.8.8.8", 80),
        ("https://[2606:4700::1]/", "2606:4700::1", b"[2606:4700::1]", 443),
    ],
)
def test_addresses_in_their_plain_form(text, host, netloc, port):
    found = parsed(text)
    assert (found.host, found.netloc, found.port) == (host, netloc, port)


# ---------------------------------------------------------------- inside

INSIDE = [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.5"], [PUBLIC, "10.0.0.5"], ["::1"],
          ["2606:4700::1", "::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["x"], []]  # fmt: skip


@pytest.mark.parametrize("addresses", INSIDE, ids=str)
def test_a_name_that_leads_inside_is_not_dialled(tmp_path, addresses):
    found, seen, dialled = fetch(
        "http://media.example/x", tmp_path, OK + b"\r\n1", names={"media.example": [addresses]}
    )
    assert (found.code, seen, dialled) == ("not-fetched", [], [])


@pytest.mark.parametrize("host", ["127.0.0.1", "127。0。0。1", "[::1]", "[::ffff:a00:1]"])
def test_a_number_that_leads_inside_is_not_dialled(tmp_path, host):
    found, seen, dialled = fetch(f"http://{host}/latest/meta-data/", tmp_path, OK)
    assert (found.code, seen, dialled) == ("not-fetched", [], [])


def test_a_resolver_that_changes_its_mind_is_not_asked_twice(tmp_path):
    """DNS rebinding: public when it is looked at, inside when it is connected to."""
    names = {"media.example": [[PUBLIC], ["127.0.0.1"]]}
    found, _, dialled = fetch("http://media.example/x", tmp_path, OK + b"\r\n1", names=names)
    assert (found, dialled) == (("x", b"1"), [(PUBLIC, 80)])


@pytest.mark.parametrize("status", [b"301", b"302", b"303", b"307", b"308", b"300"])
def test_redirects_are_not_followed(tmp_path, status):
    answer = b"HTTP/1.1 " + status + b" X\r\nLocation: http://169.254.169.254/\r\n\r\n"
    found, seen, dialled = fetch("http://media.example/x", tmp_path, answer, OK + b"\r\n1")
    assert found.code == "not-fetched"
    assert (len(seen), dialled) == (1, [(PUBLIC, 80)])


def test_this_machine_under_a_public_number_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "public", lambda _: True)
    found, _, dialled = fetch("http://127.0.0.1/x", tmp_path, OK + b"\r\n1")
    assert (found.code, dialled) == ("not-fetched", [("127.0.0.1", 80)])


# ---------------------------------------------------------------- what comes

REFUSED = {
    "closed": b"",
    "nonsense": b"SSH-2.0-OpenSSH_9.2\r\n",
    "404": b"HTTP/1.1 404 X\r\n\r\nx",
    "401": b"HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\n\r\n",
    "206": b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-0/1\r\n\r\nx",
    "101": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "gzip": OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00",
    "br": OK + b"content-encoding: Br \r\n\r\nx",
    "chunks of gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 5\r\n\r\nx",
    "cut off": OK + b"Content-Length: 50\r\n\r\nx",
    "cut chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "headers": OK + b"X: y\r\n" * 50_000 + b"\r\nx",
    "header": OK + b"X: " + b"y" * 300_000 + b"\r\n\r\nx",
    "informational": b"HTTP/1.1 100 X\r\n\r\n" * 1000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_is_the_same_sentence(tmp_path, name):
    found, *_ = fetch("http://media.example/x", tmp_path, REFUSED[name])
    inside, *_ = fetch("http://10.0.0.1/x", tmp_path)
    assert (found.status, found.code, str(found)) == (inside.status, inside.code, str(inside))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (OK + b"Content-Length: 99999999\r\n\r\nx", "too-large"),
        (OK + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000, "too-large"),
        (OK + b"\r\n" + b"x" * 5000, "too-large"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n", "too-large"),
        (OK + b"\r\n", "no-file"),
        (b"HTTP/1.1 200 X\r\nContent-Type: Text/HTML; charset=x\r\n\r\n<html>", "web-page"),
        (None, "too-slow"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_said(tmp_path, answer, code):
    found, *_ = fetch("http://media.example/x", tmp_path, answer, within_s=0.3 if not answer else 5)
    assert found.code == code


def test_the_name_is_only_shown(tmp_path):
    found, *_ = fetch("http://media.example/..%2f..%2fetc%2fpass%00wd", tmp_path, OK + b"\r\n1")
    assert found == ("passwd", b"1")


def test_no_more_than_so_many_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_AT_ONCE", 0)
    found, seen, _ = fetch("http://media.example/x", tmp_path, OK)
    assert (found.status, seen) == (503, [])


# ---------------------------------------------------------------- https


def certificate(tmp_path, name):
    """A server that says it is ``name``, and a client that trusts nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    itself = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(itself)
        .issuer_name(itself)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=path)


def test_the_certificate_is_asked_for_by_the_name(tmp_path):
    folder = tmp_path / "uploads"
    server, trust = certificate(tmp_path, "media.example")
    named = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)
    url = "https://media.example/x"
    found, _, dialled = fetch(url, folder, OK + b"\r\n1", tls=server, trust=trust)
    assert (found, dialled, named) == (("x", b"1"), [(PUBLIC, 443)], ["media.example"])
    other, trust = certificate(tmp_path, "other.example")
    found, seen, _ = fetch(url, folder, OK + b"\r\n1", tls=other, trust=trust)
    assert (found.code, seen) == ("not-fetched", [])

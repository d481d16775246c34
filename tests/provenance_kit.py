"""What the provenance tests share: small signed files, certificates of every kind, a local RFC 3161
time stamp authority. No network but the loopback interface."""

from __future__ import annotations

import shutil
import subprocess
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from avsafe.provenance import sourcetypes
from avsafe.provenance.signer import LocalSigner
from avsafe.types import Manifest, SoftBinding

OPENSSL = shutil.which("openssl")
CREATED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")


# ---------------------------------------------------------------- media


def make_media(path: Path, *, seed: int = 0) -> Path:
    """A small file by suffix: mp4, mov, webm, mkv, wav, flac, m4a, png, jpg, webp, gif."""
    suffix = path.suffix[1:]
    if suffix in ("png", "jpg", "webp", "gif"):
        from PIL import Image

        pixels = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    elif suffix == "wav":
        samples = np.random.default_rng(seed).integers(-9000, 9000, 4000).astype("<i2")
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
    else:
        _encode(path, suffix, seed)
    return path


def _encode(path: Path, suffix: str, seed: int) -> None:
    import av

    random = np.random.default_rng(seed)
    sound = {"flac": "flac", "m4a": "aac", "mp3": "libmp3lame", "ogg": "libopus"}
    with av.open(str(path), "w") as container:
        if suffix in sound:
            rate_hz = 48000 if suffix == "ogg" else 44100  # Opus knows no 44.1 kHz
            stream: Any = container.add_stream(sound[suffix], rate=rate_hz)
            block = random.integers(-9000, 9000, (1, 4800)).astype(np.int16)
            frame: Any = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.rate, frame.pts = rate_hz, 0
            frames = [frame]
        else:
            codec = "libvpx" if suffix in ("webm", "mkv") else "mpeg4"
            stream = container.add_stream(codec, rate=Fraction(10))
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            pixels = random.integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
            frames = [av.VideoFrame.from_ndarray(item, format="rgb24") for item in pixels]
        for frame in frames:
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def make_manifest(**changes: Any) -> Manifest:
    manifest = Manifest(
        title="clip",
        mime="video/mp4",
        action="c2pa.created",
        digital_source_type=sourcetypes.TRAINED_ALGORITHMIC_MEDIA,
        generator="world",
        generator_version="1.0",
        created_at=CREATED_AT,
        release_id="0123456789abcdef",
        prompt_hash="ab" * 32,
        soft_bindings=(SoftBinding("org.example.mark.1", b"\x01\x02\x03\x04"),),
    )
    return replace(manifest, **changes)


# ---------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def make_authority(name: str = "test root") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(make_certificate(key, None, name=name), key)


def make_certificate(
    key: Any,
    issuer: Authority | None,
    *,
    name: str = "test signer",
    begin: timedelta = timedelta(minutes=-5),
    end: timedelta = timedelta(days=90),
    usages: tuple[ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
    is_authority: bool | None = None,
    key_usage: bool = True,
    digital_signature: bool = True,
    key_usage_critical: bool = True,
    critical_usages: bool = False,
    authority_identifier: bool = True,
    subject_identifier: bool = True,
    digest: Any = None,
) -> x509.Certificate:
    """A certificate with any rule broken at will; a root when there is no issuer."""
    root = issuer is None if is_authority is None else is_authority
    now = datetime.now(UTC)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    signing_key = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), True)
    )
    if key_usage:
        flags = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        usage = x509.KeyUsage(
            digital_signature=digital_signature and not root,
            key_cert_sign=root or not digital_signature,
            crl_sign=root,
            **flags,
        )
        builder = builder.add_extension(usage, key_usage_critical)
    if usages and not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical_usages)
    if subject_identifier:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, False)
    if authority_identifier:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
        builder = builder.add_extension(above, False)
    return builder.sign(signing_key, digest or hashes.SHA256())


def make_signer(
    folder: Path, authority: Authority | None = None, **certificate: Any
) -> LocalSigner:
    """A signer with its own authority; keyword arguments go to ``make_certificate``."""
    authority = authority or make_authority()
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = make_certificate(key, authority, **certificate)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{leaf.serial_number:x}.key"
    path.write_bytes(private_pem(key))
    chain = leaf.public_bytes(Encoding.PEM).decode() + authority.pem
    return LocalSigner(path, chain, authority.pem)


def private_pem(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


# ---------------------------------------------------------------- time stamps


@dataclass(frozen=True)
class TimeStampAuthority:
    url: str
    root_pem: str
    requests: list[int]  # bytes of each request


_CONFIG = """
[tsa]
default_tsa = main
[main]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/root.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@contextmanager
def time_stamp_authority(
    folder: Path, *, answer: Callable[[bytes], tuple[int, bytes]] | None = None
) -> Iterator[TimeStampAuthority]:
    """An RFC 3161 authority on the loopback interface (``openssl ts``). ``answer`` replaces what it
    says: status code and body."""
    folder.mkdir(parents=True, exist_ok=True)
    root = make_authority("test time stamp root")
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = make_certificate(
        key,
        root,
        name="test time stamp authority",
        usages=(ExtendedKeyUsageOID.TIME_STAMPING,),
        critical_usages=True,
        end=timedelta(days=3000),
    )
    (folder / "tsa.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "tsa.key").write_bytes(private_pem(key))
    (folder / "root.pem").write_text(root.pem)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    requests: list[int] = []
    lock = threading.Lock()

    def reply(query: bytes) -> tuple[int, bytes]:
        with lock:
            (folder / "query.tsq").write_bytes(query)
            subprocess.run(
                [
                    str(OPENSSL),
                    *("ts", "-reply", "-config", str(folder / "tsa.cnf"), "-section", "main"),
                    *("-queryfile", str(folder / "query.tsq"), "-out", str(folder / "reply.tsr")),
                ],
                check=True,
                capture_output=True,
            )
            return 200, (folder / "reply.tsr").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(len(query))
            status, body = (answer or reply)(query)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
        yield TimeStampAuthority(url, root.pem, requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

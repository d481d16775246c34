"""Time stamps: while signing, later, refused, and after the certificate has expired."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avsafe.errors import CredentialInvalid, SigningFailed, UnsupportedMedia, UsageError
from avsafe.provenance import outbox, settings, sign, stores
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialStatus
from avsafe.provenance.signer import LocalSigner, checked
from avsafe.provenance.stamp import stamp_file
from avsafe.types import Ingredient
from tests.provenance_kit import (
    OPENSSL,
    TimeStampAuthority,
    make_manifest,
    make_media,
    make_signer,
    time_stamp_authority,
)

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="no openssl program to play the authority")

SUFFIXES = ("mp4", "mov", "m4a", "wav", "flac", "mp3", "png", "jpg", "webp", "webm", "mkv", "ogg")
NOWHERE = "http://127.0.0.1:9/tsa"  # the discard port: nobody listens


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimeStampAuthority]:
    with time_stamp_authority(tmp_path_factory.mktemp("tsa")) as found:
        yield found


@pytest.fixture
def signer(tmp_path: Path, authority: TimeStampAuthority) -> LocalSigner:
    made = make_signer(tmp_path / "keys")
    return replace(made, anchors_pem=made.anchors_pem + authority.root_pem)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_stamp_later(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority, suffix: str
) -> None:
    path = tmp_path / f"s.{suffix}"
    done = sign.sign_file(make_media(tmp_path / f"a.{suffix}"), path, make_manifest(), signer)
    assert not done.timestamped
    holder = done.sidecar or path
    size = holder.stat().st_size
    stamped = stamp_file(path, authority.url, anchors=signer.anchors_pem)
    assert stamped.changed
    assert stamped.manifest_id == done.manifest_id
    assert stamped.authority == "test time stamp authority"
    assert holder.stat().st_size == size
    report = read(path, anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED
    assert report.timestamped
    assert report.signed_at is not None
    age = datetime.now(UTC) - datetime.fromisoformat(report.signed_at)
    assert abs(age) < timedelta(minutes=5)
    again = stamp_file(path, authority.url, anchors=signer.anchors_pem)
    assert not again.changed
    assert {item.name for item in tmp_path.glob(".*")} == set()


@pytest.mark.parametrize("suffix", ["mp4", "jpg", "wav", "webm"])
def test_stamp_while_signing(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority, suffix: str
) -> None:
    path = tmp_path / f"s.{suffix}"
    done = sign.sign_file(
        make_media(tmp_path / f"a.{suffix}"),
        path,
        make_manifest(),
        signer,
        timestamp_url=authority.url,
    )
    assert done.timestamped
    assert done.warnings == ()
    assert done.manifest_bytes in (done.sidecar or path).read_bytes()
    assert read(path, anchors=signer.anchors_pem).timestamped


def test_only_a_hash_is_sent(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    before = len(authority.requests)
    sign.sign_file(
        make_media(tmp_path / "a.mp4"),
        tmp_path / "s.mp4",
        make_manifest(),
        signer,
        timestamp_url=authority.url,
    )
    assert len(authority.requests) == before + 1
    assert authority.requests[-1] < 100


def test_after_expiry_only_the_stamped_file_is_trusted(
    tmp_path: Path, authority: TimeStampAuthority
) -> None:
    source = {suffix: make_media(tmp_path / f"a.{suffix}") for suffix in ("mp4", "webm")}
    brief = make_signer(tmp_path / "keys", end=timedelta(seconds=5))
    brief = replace(brief, anchors_pem=brief.anchors_pem + authority.root_pem)
    for suffix, path in source.items():
        bare = tmp_path / f"bare.{suffix}"
        later = tmp_path / f"later.{suffix}"
        first = tmp_path / f"first.{suffix}"
        sign.sign_file(path, bare, make_manifest(), brief)
        sign.sign_file(path, later, make_manifest(), brief)
        stamp_file(later, authority.url, anchors=brief.anchors_pem)
        sign.sign_file(path, first, make_manifest(), brief, timestamp_url=authority.url)
    time.sleep(7)
    without_authority = brief.anchors_pem.replace(authority.root_pem, "")
    for suffix in source:
        status = {
            name: read(tmp_path / f"{name}.{suffix}", anchors=brief.anchors_pem).status
            for name in ("bare", "later", "first")
        }
        assert status == {
            "bare": CredentialStatus.EXPIRED,
            "later": CredentialStatus.TRUSTED,
            "first": CredentialStatus.TRUSTED,
        }
        # A stamp counts only when its authority does: else anybody could backdate.
        unknown = read(tmp_path / f"first.{suffix}", anchors=without_authority)
        assert unknown.status is CredentialStatus.EXPIRED
        assert not unknown.timestamped
        with pytest.raises(CredentialInvalid, match="expired already"):
            stamp_file(tmp_path / f"bare.{suffix}", authority.url, anchors=brief.anchors_pem)


def test_an_authority_that_does_not_answer_costs_the_stamp_and_not_the_release(
    tmp_path: Path, signer: LocalSigner
) -> None:
    done = sign.sign_file(
        make_media(tmp_path / "a.mp4"),
        tmp_path / "s.mp4",
        make_manifest(),
        signer,
        timestamp_url=NOWHERE,
    )
    assert not done.timestamped
    assert NOWHERE in done.warnings[0]
    assert "avsafe keys stamp" in done.warnings[0]
    before = (tmp_path / "s.mp4").read_bytes()
    with pytest.raises(SigningFailed, match="gave no time stamp"):
        stamp_file(tmp_path / "s.mp4", NOWHERE, anchors=signer.anchors_pem)
    assert (tmp_path / "s.mp4").read_bytes() == before


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"", "HTTP Error 500|Internal Server Error"),
        (200, b"<html>welcome</html>", "no usable time stamp"),
        (200, bytes.fromhex("30 05 30 03 02 01 02"), "refused with status 2"),
        (200, bytes(100_000), "more than"),
    ],
)
def test_bad_answers_change_nothing(
    tmp_path: Path, signer: LocalSigner, status: int, body: bytes, message: str
) -> None:
    path = tmp_path / "s.png"
    sign.sign_file(make_media(tmp_path / "a.png"), path, make_manifest(), signer)
    before = path.read_bytes()
    with (
        time_stamp_authority(tmp_path / "tsa", answer=lambda query: (status, body)) as broken,
        pytest.raises(SigningFailed, match=message),
    ):
        stamp_file(path, broken.url, anchors=signer.anchors_pem)
    assert path.read_bytes() == before


def test_the_answer_to_an_old_request_is_refused(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    """A replayed token would prove the time of the earlier request."""
    from avsafe.provenance import tsa

    recorded = tsa.request_token(authority.url, b"something")
    body = bytes.fromhex("300302 0100".replace(" ", "")) + recorded
    replayed = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    with (
        time_stamp_authority(tmp_path / "tsa", answer=lambda query: (200, replayed)) as broken,
        pytest.raises(SigningFailed, match="another request"),
    ):
        tsa.request_token(broken.url, b"something")


def test_an_unknown_authority_is_said(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    unknown = replace(signer, anchors_pem=signer.anchors_pem.replace(authority.root_pem, ""))
    path = tmp_path / "s.png"
    done = sign.sign_file(
        make_media(tmp_path / "a.png"), path, make_manifest(), unknown, timestamp_url=authority.url
    )
    assert done.timestamped
    assert "avsafe keys trust add" in done.warnings[0]
    sign.sign_file(make_media(tmp_path / "b.png"), tmp_path / "t.png", make_manifest(), unknown)
    before = (tmp_path / "t.png").read_bytes()
    with pytest.raises(CredentialInvalid, match="keys trust add"):
        stamp_file(tmp_path / "t.png", authority.url, anchors=unknown.anchors_pem)
    assert (tmp_path / "t.png").read_bytes() == before


def test_what_cannot_be_stamped(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    plain = make_media(tmp_path / "plain.png")
    with pytest.raises(UsageError, match="carries no credential"):
        stamp_file(plain, authority.url, anchors=signer.anchors_pem)
    broken = tmp_path / "broken.png"
    sign.sign_file(plain, broken, make_manifest(), signer)
    data = bytearray(broken.read_bytes())
    data[-40] ^= 1
    broken.write_bytes(data)
    with pytest.raises(CredentialInvalid, match="is altered"):
        stamp_file(broken, authority.url, anchors=signer.anchors_pem)
    gif = tmp_path / "s.gif"
    sign.sign_file(make_media(tmp_path / "a.gif"), gif, make_manifest(), signer)
    with pytest.raises(UnsupportedMedia, match="WebP"):
        stamp_file(gif, authority.url, anchors=signer.anchors_pem)
    with pytest.raises(UsageError, match="http or https"):
        stamp_file(gif, "tsa.example.org", anchors=signer.anchors_pem)


def test_a_jpeg_whose_credential_is_cut_into_segments(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    """Six inputs with credentials: a store of more than the 64 KB of one APP11 segment."""
    inputs = []
    for number in range(6):
        path = tmp_path / f"in{number}.png"
        sign.sign_file(make_media(tmp_path / f"p{number}.png"), path, make_manifest(), signer)
        inputs.append(Ingredient(path, "image/png", f"i{number}", "input"))
    path = tmp_path / "s.jpg"
    manifest = make_manifest(ingredients=tuple(inputs))
    done = sign.sign_file(make_media(tmp_path / "a.jpg"), path, manifest, signer)
    assert len(done.manifest_bytes) > 65_536
    location = stores.locate(path)
    assert len(location.pieces) > 1
    assert stores.read_store(path, location) == done.manifest_bytes
    assert stamp_file(path, authority.url, anchors=signer.anchors_pem).changed
    assert read(path, anchors=signer.anchors_pem).timestamped


def test_an_update_manifest_of_others_is_read_through(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    """Other tools stamp by an update manifest: what it sits on decides, not who put it there."""
    base, top = tmp_path / "s.mp4", tmp_path / "u.mp4"
    done = sign.sign_file(make_media(tmp_path / "a.mp4"), base, make_manifest(), signer)
    other = make_signer(tmp_path / "other")
    everyone = signer.anchors_pem + other.anchors_pem
    _update(base, top, other, everyone, authority)
    report = read(top, anchors=everyone)
    assert report.status is CredentialStatus.TRUSTED
    assert report.manifest_id == done.manifest_id
    assert report.active_manifest_id != done.manifest_id
    assert report.actions[0].action == "c2pa.created"
    assert report.timestamped
    assert report.declares_trained
    # Someone we trust vouches for the update, and nobody for the content.
    partly = read(top, anchors=other.anchors_pem + authority.root_pem)
    assert partly.status is CredentialStatus.INTACT_UNKNOWN_SIGNER


def _update(
    source: Path,
    target: Path,
    signer: LocalSigner,
    anchors: str,
    authority: TimeStampAuthority,
) -> None:
    import c2pa

    chosen = settings.signing(anchors)
    chosen["core"]["allowed_network_hosts"] = [authority.url.split("/")[2]]
    chosen["builder"] |= {
        "auto_timestamp_assertion.enabled": True,
        "auto_timestamp_assertion.fetch_scope": "parent",
    }
    described = {"claim_generator_info": [{"name": "other tool", "version": "1"}]}
    with (
        settings.context(chosen) as context,
        c2pa.Signer.from_callback(
            lambda data: checked(signer, data),
            c2pa.C2paSigningAlg.ES256,
            signer.chain_pem,
            authority.url,
        ) as native,
        c2pa.Builder(described, context=context) as builder,
        source.open("rb") as readable,
        target.open("w+b") as writable,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
        builder.sign(native, "video/mp4", readable, writable)


def test_the_outbox_keeps_what_waits(tmp_path: Path) -> None:
    soon, late = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    assert outbox.waiting(tmp_path) == ()
    outbox.add(tmp_path, tmp_path / "b.mp4", "urn:c2pa:2", late)
    record = outbox.add(tmp_path, tmp_path / "a.mp4", "urn:c2pa:1", soon)
    outbox.add(tmp_path, tmp_path / "a.mp4", "urn:c2pa:1", soon)
    assert record.stat().st_mode & 0o077 == 0
    (tmp_path / "outbox" / "broken.json").write_text("{")
    first, second = outbox.waiting(tmp_path)
    assert (first.manifest_id, second.manifest_id) == ("urn:c2pa:1", "urn:c2pa:2")
    outbox.done(first)
    outbox.done(first)
    assert [item.manifest_id for item in outbox.waiting(tmp_path)] == ["urn:c2pa:2"]


def test_an_authority_that_was_added_is_trusted_beside_our_own_root(
    tmp_path: Path, signer: LocalSigner, authority: TimeStampAuthority
) -> None:
    own = signer.anchors_pem.removesuffix(authority.root_pem)
    path = tmp_path / "s.png"
    source = make_media(tmp_path / "a.png")
    sign.sign_file(source, path, make_manifest(), signer, timestamp_url=authority.url)
    report = read(path, anchors=signer.anchors_pem, own=own)
    assert report.timestamped
    assert report.certificate is not None
    assert report.certificate.trust_list == "own"

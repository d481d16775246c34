"""Sign real containers and read them back: intact, altered, truncated, stripped, beside."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from avsafe.errors import CredentialInvalid, SigningFailed, UnsupportedMedia
from avsafe.media import prescan, probe, sniff
from avsafe.provenance import formats, sign, sourcetypes
from avsafe.provenance.read import has_credential, read, read_json
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.signer import LocalSigner
from avsafe.types import Ingredient
from tests.provenance_kit import make_authority, make_manifest, make_media, make_signer

EMBEDDED = ("mp4", "mov", "m4a", "wav", "flac", "png", "jpg", "webp", "gif", "mp3")
BESIDE = ("webm", "mkv", "ogg")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> LocalSigner:
    return make_signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, signer: LocalSigner) -> dict[str, Path]:
    """One signed file of every container."""
    folder = tmp_path_factory.mktemp("signed")
    paths = {}
    for suffix in (*EMBEDDED, *BESIDE):
        source = make_media(folder / f"source.{suffix}")
        paths[suffix] = folder / f"out.{suffix}"
        sign.sign_file(source, paths[suffix], make_manifest(), signer)
    return paths


def copy(path: Path, folder: Path) -> Path:
    target = folder / path.name
    target.write_bytes(path.read_bytes())
    sidecar = formats.find_sidecar(path)
    if sidecar:
        (folder / sidecar.name).write_bytes(sidecar.read_bytes())
    return target


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def media_byte(path: Path) -> int:
    """A byte of picture or sound, far from any header."""
    data = path.read_bytes()
    anchors = {b"ftyp": b"mdat", b"WAVE": b"data", b"WEBP": b"VP8", b"\x89PNG": b"IDAT"}
    for magic, name in anchors.items():
        if magic in data[:16]:
            find = data.rfind if name == b"mdat" else data.find  # a credential names mdat as well
            return find(name) + 60
    return len(data) - 40


# ---------------------------------------------------------------- intact


@pytest.mark.parametrize("suffix", [*EMBEDDED, *BESIDE])
def test_what_is_signed_reads_back(
    signed: dict[str, Path], signer: LocalSigner, suffix: str
) -> None:
    report = read(signed[suffix], anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED
    assert report.state == "Trusted"
    assert report.issuer == "Example Studio"
    assert report.declares_ai
    assert report.declares_trained
    assert [item.action for item in report.actions] == ["c2pa.created", "c2pa.watermarked.bound"]
    assert report.actions[0].software_agent == "world 1.0"
    assert report.claim_generator is not None
    assert report.claim_generator.startswith("avsafe ")
    assert report.soft_bindings[0].algorithm == "org.example.mark.1"
    assert report.soft_bindings[0].value == "AQIDBA=="
    assert (report.sidecar is not None) is (suffix in BESIDE)
    assert not report.timestamped
    assert has_credential(signed[suffix]) is (suffix in EMBEDDED)


@pytest.mark.parametrize("suffix", ["mp4", "png", "webm"])
def test_a_stranger_sees_it_intact_and_the_signer_unknown(
    signed: dict[str, Path], suffix: str
) -> None:
    for anchors in ("", make_authority("somebody else").pem):
        report = read(signed[suffix], anchors=anchors)
        assert report.status is CredentialStatus.INTACT_UNKNOWN_SIGNER
        assert "on no list that you trust" in report.summary()


def test_signed_names_what_was_made(tmp_path: Path, signer: LocalSigner) -> None:
    done = sign.sign_file(
        make_media(tmp_path / "a.webm"), tmp_path / "s.webm", make_manifest(), signer
    )
    assert done.sidecar == tmp_path / "s.webm.c2pa"
    assert done.sidecar.read_bytes() == done.manifest_bytes
    assert done.manifest_id.startswith("urn:c2pa:")
    assert not done.timestamped
    assert any("without a time stamp" in text for text in done.warnings)
    assert (tmp_path / "s.webm").read_bytes() == (tmp_path / "a.webm").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webm", "s.webm", "s.webm.c2pa"]
    small = sign.sign_file(
        make_media(tmp_path / "a.png"), tmp_path / "s.png", make_manifest(), signer
    )
    assert small.manifest_bytes in (tmp_path / "s.png").read_bytes()
    assert len(small.manifest_bytes) < 20_000  # no thumbnail


def test_the_suffix_does_not_decide(tmp_path: Path, signer: LocalSigner) -> None:
    make_media(tmp_path / "a.png").rename(tmp_path / "a.mp4")
    sign.sign_file(tmp_path / "a.mp4", tmp_path / "s.mp4", make_manifest(), signer)
    assert read(tmp_path / "s.mp4", anchors=signer.anchors_pem).status is CredentialStatus.TRUSTED


# ---------------------------------------------------------------- altered, stripped, truncated


@pytest.mark.parametrize("suffix", [*EMBEDDED, *BESIDE])
def test_one_flipped_media_byte_is_altered(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path, suffix: str
) -> None:
    path = copy(signed[suffix], tmp_path)
    flip(path, media_byte(path))
    report = read(path, anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.ALTERED
    assert "was changed after 'Example Studio' signed it" in report.summary()


@pytest.mark.parametrize("suffix", [*EMBEDDED, *BESIDE])
def test_a_signed_file_is_still_of_its_kind(signed: dict[str, Path], suffix: str) -> None:
    """FLAC gets its credential in an ID3 tag before the first byte, as MP3 does."""
    prescan(signed[suffix])
    source = signed[suffix].with_name(f"source.{suffix}")
    assert sniff(signed[suffix]) == sniff(source)
    assert probe(signed[suffix]).kind is probe(source).kind


@pytest.mark.parametrize("suffix", ["mp4", "png", "jpg", "wav", "flac"])
def test_a_file_without_its_credential_has_none(
    signed: dict[str, Path], signer: LocalSigner, suffix: str
) -> None:
    source = signed[suffix].with_name(f"source.{suffix}")
    report = read(source, anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.NONE
    assert not has_credential(source)


def test_a_lost_sidecar_leaves_no_credential(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = tmp_path / "out.webm"
    path.write_bytes(signed["webm"].read_bytes())
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.NONE


def test_a_sidecar_of_other_media_is_altered(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = make_media(tmp_path / "other.webm", seed=7)
    (tmp_path / "other.webm.c2pa").write_bytes(
        signed["webm"].with_name("out.webm.c2pa").read_bytes()
    )
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.ALTERED


def test_sidecars_as_other_tools_name_them(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = copy(signed["webm"], tmp_path)
    (tmp_path / "out.webm.c2pa").rename(tmp_path / "out.c2pa")
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.TRUSTED
    (tmp_path / "out.c2pa").rename(tmp_path / "elsewhere")
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.NONE
    named = read(path, anchors=signer.anchors_pem, sidecar=tmp_path / "elsewhere")
    assert named.status is CredentialStatus.TRUSTED


@pytest.mark.parametrize("content", [b"", b"not a store", bytes(2000)])
def test_a_broken_sidecar_is_damaged(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path, content: bytes
) -> None:
    path = copy(signed["webm"], tmp_path)
    (tmp_path / "out.webm.c2pa").write_bytes(content)
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.DAMAGED


def test_a_planted_sidecar_cannot_replace_an_embedded_credential(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = copy(signed["png"], tmp_path)
    flip(path, media_byte(path))
    (tmp_path / "out.png.c2pa").write_bytes(signed["webm"].with_name("out.webm.c2pa").read_bytes())
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.ALTERED


# ---------------------------------------------------------------- ingredients


def test_inputs_keep_their_own_credentials(tmp_path: Path, signer: LocalSigner) -> None:
    other = make_signer(tmp_path / "other")
    portrait = tmp_path / "portrait.png"
    camera = make_manifest(
        digital_source_type=sourcetypes.IPTC + "digitalCapture", generator="camera"
    )
    sign.sign_file(make_media(tmp_path / "p.png"), portrait, camera, other)
    plain = make_media(tmp_path / "voice.wav")
    manifest = make_manifest(
        ingredients=(
            Ingredient(portrait, "image/png", "portrait", "portrait"),
            Ingredient(plain, "audio/wav", "voice", "voice"),
        )
    )
    sign.sign_file(make_media(tmp_path / "a.mp4"), tmp_path / "s.mp4", manifest, signer)
    report = read(tmp_path / "s.mp4", anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED  # though we do not know who signed an input
    first, second = report.ingredients
    assert first.status is CredentialStatus.INTACT_UNKNOWN_SIGNER
    assert (first.relationship, first.issuer) == ("inputTo", "Example Studio")
    assert first.claim_generator is not None
    assert first.source_types == (sourcetypes.IPTC + "digitalCapture",)
    assert second.status is CredentialStatus.NONE
    # A photograph went in; that does not make what came out a photograph.
    assert report.source_types == (sourcetypes.TRAINED_ALGORITHMIC_MEDIA,)
    both = read(tmp_path / "s.mp4", anchors=signer.anchors_pem + other.anchors_pem)
    assert both.ingredients[0].status is CredentialStatus.TRUSTED


def test_an_edit_of_ai_media_still_declares_ai(tmp_path: Path, signer: LocalSigner) -> None:
    parent = tmp_path / "parent.png"
    sign.sign_file(make_media(tmp_path / "p.png"), parent, make_manifest(), signer)
    edit = make_manifest(
        action="c2pa.edited",
        digital_source_type=sourcetypes.IPTC + "humanEdits",
        ingredients=(Ingredient(parent, "image/png", "picture", "picture", "parentOf"),),
    )
    sign.sign_file(parent, tmp_path / "s.png", edit, signer)
    report = read(tmp_path / "s.png", anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED
    assert report.declares_trained
    assert [item.action for item in report.actions][:2] == ["c2pa.opened", "c2pa.edited"]
    assert report.ingredients[0].status is CredentialStatus.TRUSTED


def test_an_altered_input_is_shown_as_altered(tmp_path: Path, signer: LocalSigner) -> None:
    portrait = tmp_path / "portrait.png"
    sign.sign_file(make_media(tmp_path / "p.png"), portrait, make_manifest(), signer)
    flip(portrait, media_byte(portrait))
    manifest = make_manifest(ingredients=(Ingredient(portrait, "image/png", "p", "portrait"),))
    sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", manifest, signer)
    report = read(tmp_path / "s.png", anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED
    assert report.ingredients[0].status is CredentialStatus.ALTERED


def test_an_input_whose_signer_expires_later_does_not_break_the_work(
    tmp_path: Path, signer: LocalSigner
) -> None:
    brief = make_signer(tmp_path / "brief", end=timedelta(seconds=3))
    portrait = tmp_path / "portrait.png"
    sign.sign_file(make_media(tmp_path / "p.png"), portrait, make_manifest(), brief)
    manifest = make_manifest(ingredients=(Ingredient(portrait, "image/png", "p", "portrait"),))
    sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", manifest, signer)
    anchors = signer.anchors_pem + brief.anchors_pem
    time.sleep(5)
    assert read(portrait, anchors=anchors).status is CredentialStatus.EXPIRED
    report = read(tmp_path / "s.png", anchors=anchors)
    assert report.status is CredentialStatus.TRUSTED
    assert report.ingredients[0].status in (
        CredentialStatus.EXPIRED,
        CredentialStatus.INTACT_UNKNOWN_SIGNER,
    )


# ---------------------------------------------------------------- privacy


def test_no_person_no_path_no_prompt(tmp_path: Path, signer: LocalSigner) -> None:
    folder = tmp_path / "home of ann"
    folder.mkdir()
    portrait = make_media(folder / "ann-smith.png")
    manifest = make_manifest(ingredients=(Ingredient(portrait, "image/png", "portrait", "input"),))
    done = sign.sign_file(make_media(folder / "a.png"), folder / "s.png", manifest, signer)
    store = done.manifest_bytes.lower()
    for secret in ("ann", "home of", str(tmp_path), os.path.expanduser("~") + "/", "ann-smith"):
        assert secret.lower().encode() not in store
    # Neither does a report name the people on a certificate, or a title, unless asked.
    report = read(folder / "s.png", anchors=signer.anchors_pem)
    assert "test signer" not in json.dumps(report.to_json())
    asked = read(folder / "s.png", anchors=signer.anchors_pem, include_personal=True)
    assert asked.personal["signer.common_name"] == "test signer"
    assert asked.personal["title"] == "clip"


# ---------------------------------------------------------------- uncovered bytes


def test_the_bytes_that_no_hash_covers_are_named(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = copy(signed["mp4"], tmp_path)
    before = read(path, anchors=signer.anchors_pem)
    assert not any("free" in item.what and item.size > 100 for item in before.uncovered)
    start = path.stat().st_size
    hidden = b"a hidden message".ljust(1 << 20, b".")
    with path.open("ab") as file:
        file.write((len(hidden) + 8).to_bytes(4, "big") + b"free" + hidden)
    report = read(path, anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED  # the standard allows it: so say where
    (box,) = [item for item in report.uncovered if item.start == start]
    assert box.size == (1 << 20) + 8
    assert "free box" in box.what
    assert not box.blank


@pytest.mark.parametrize("suffix", ["mp4", "png", "jpg", "wav", "webm"])
def test_only_named_bytes_can_change_unnoticed(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path, suffix: str
) -> None:
    """Sampled over the whole file: a flip that stays trusted lies in a range that was named."""
    path = copy(signed[suffix], tmp_path)
    holder = formats.find_sidecar(path) or path
    where = "file" if holder == path else "sidecar"
    named = [
        item for item in read(path, anchors=signer.anchors_pem).uncovered if item.where == where
    ]
    original = holder.read_bytes()
    for position in range(3, len(original), max(1, len(original) // 150)):
        flip(holder, position)
        if read(path, anchors=signer.anchors_pem).status is CredentialStatus.TRUSTED:
            assert any(item.start <= position < item.end for item in named), position
        holder.write_bytes(original)
    padding = [item for item in named if item.what == "padding of the signature"]
    assert sum(item.size for item in padding) > 5_000
    assert all(item.blank for item in padding)


def test_something_hidden_in_the_padding_shows(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    path = copy(signed["png"], tmp_path)
    report = read(path, anchors=signer.anchors_pem)
    (padding,) = [item for item in report.uncovered if item.what == "padding of the signature"]
    flip(path, padding.start + 100)
    again = read(path, anchors=signer.anchors_pem)
    assert again.status is CredentialStatus.TRUSTED
    (padding,) = [item for item in again.uncovered if item.what == "padding of the signature"]
    assert not padding.blank


# ---------------------------------------------------------------- failures


def test_a_signer_that_does_not_verify_writes_nothing(tmp_path: Path, signer: LocalSigner) -> None:
    stranger = LocalSigner(
        signer.key_path, signer.chain_pem, make_authority("another").pem, signer.algorithm
    )
    source = make_media(tmp_path / "a.webm")
    with pytest.raises(CredentialInvalid, match="intact-unknown-signer"):
        sign.sign_file(source, tmp_path / "s.webm", make_manifest(), stranger)
    assert [path.name for path in tmp_path.iterdir()] == ["a.webm"]


@pytest.mark.parametrize("content", [b"", b"text", bytes(100), b"\x00\x00\x00\x08ftyp"])
def test_what_is_no_media_is_refused(tmp_path: Path, signer: LocalSigner, content: bytes) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(content)
    with pytest.raises((UnsupportedMedia, SigningFailed, CredentialInvalid)):
        sign.sign_file(source, tmp_path / "s.mp4", make_manifest(), signer)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing.mp4", anchors="")


def test_the_json_form_is_the_same(signed: dict[str, Path], signer: LocalSigner) -> None:
    plain = read(signed["mp4"], anchors=signer.anchors_pem)
    through = read_json(str(signed["mp4"]), signer.anchors_pem)
    assert CredentialReport.from_json(json.loads(json.dumps(through))) == plain


def test_the_list_that_a_signer_is_on(
    signed: dict[str, Path], signer: LocalSigner, tmp_path: Path
) -> None:
    other = make_signer(tmp_path / "other").anchors_pem
    ours, path = signer.anchors_pem, signed["png"]
    for anchors, own, found in (
        (ours + other, ours, "own"),
        (ours + other, other, "added"),
        (ours, "", "added"),
        (ours, ours, "own"),
        (other, other, None),
        ("", "", None),
    ):
        certificate = read(path, anchors=anchors, own=own).certificate
        assert certificate is not None
        assert certificate.trust_list == found
        assert certificate.revocation is None
        assert certificate.valid_until is not None
        assert certificate.issued_by == "Example Studio"
    report = read(path, anchors=ours, own=ours)
    assert CredentialReport.from_json(json.loads(json.dumps(report.to_json()))) == report

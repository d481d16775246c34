"""Consent records, and what the gate makes of them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avsafe import media
from avsafe.consent import FACE, VOICE, ConsentRecord, ConsentRegister
from avsafe.errors import UsageError

SHA = "ab" * 32


@pytest.fixture
def register(tmp_path: Path) -> ConsentRegister:
    return ConsentRegister(tmp_path / "consent")


def added(register: ConsentRegister, **changes: object) -> ConsentRecord:
    values: dict = {"granted_by": "me", "adult": True} | changes
    return register.add("speaker-7", values.pop("modality", FACE), [SHA], **values)


def test_a_record_is_private_and_reads_back(register: ConsentRegister, tmp_path: Path) -> None:
    record = added(register, purposes=("general", "research"), evidence_sha256="cd" * 32)
    assert register.get(record.id) == record
    path = tmp_path / "consent" / f"{record.id}.json"
    assert os.stat(path).st_mode & 0o077 == 0
    assert register.list() == [record]


def test_states(register: ConsentRegister) -> None:
    record = added(register, duration=timedelta(days=2))
    now = datetime.now(UTC)
    assert record.state(now) == "live"
    assert record.state(now + timedelta(days=3)) == "expired"
    assert register.revoke(record.id).state(now) == "revoked"
    assert register.revoke(record.id) == register.get(record.id)  # a second time changes nothing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adult": False}, "of age"),
        ({"modality": "gait"}, "face or for a voice"),
        ({"purposes": ()}, "one purpose"),
        ({"duration": timedelta(days=400)}, "a year at most"),
        ({"duration": timedelta(0)}, "a year at most"),
        ({"purposes": ("x" * 70,)}, "short words"),
        ({"purposes": ("a\nb",)}, "short words"),
    ],
)
def test_void_records_are_refused(register: ConsentRegister, change: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        added(register, **change)
    assert register.list() == []


@pytest.mark.parametrize("name", ["", "nobody", "../../etc/passwd", "c-" + "0" * 16, "c-zz"])
def test_ids_of_nothing(register: ConsentRegister, name: str) -> None:
    assert register.get(name) is None
    with pytest.raises(UsageError, match="consent list"):
        register.revoke(name)


# ---------------------------------------------------------------- likeness


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory):
    from avsafe.home import Home
    from avsafe.workspace import open_workspace

    with open_workspace(Home(tmp_path_factory.mktemp("home"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, workspace) -> dict:
    """A release made from words, one made from an input, and pictures nobody vouches for."""
    from avsafe import gate, testing
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia, Task

    folder = tmp_path_factory.mktemp("files")
    ask = GenerationRequest(local_principal(), Task.TEXT_TO_IMAGE, "world", "a red ball", seed=1)
    gate.generate(ask, folder / "made.png", workspace)
    media.encode(testing.still(320, 240), folder / "photo.png")
    media.encode(testing.still(320, 240, seed=4), folder / "other.png")
    source = InputMedia(media.probe(folder / "photo.png"), "source")
    again = GenerationRequest(local_principal(), Task.RELEASE, "elsewhere", inputs=(source,))
    gate.generate(again, folder / "released.png", workspace)
    return {path.stem: media.probe(path) for path in folder.glob("*.png")}


def likeness_of(workspace, inputs: list, consent: tuple[str, ...] = (), generator: str = "g"):
    from avsafe import likeness
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia, Task

    request = GenerationRequest(
        local_principal(), Task.TALKING_HEAD, generator, consent_ids=consent,
        inputs=tuple(InputMedia(item, role) for item, role in inputs),
    )  # fmt: skip
    return likeness.of_request(request, workspace)


def test_what_was_made_from_words_is_attested(workspace, files) -> None:
    assert likeness_of(workspace, [(files["made"], "portrait")]).status == "synthetic_attested"
    assert likeness_of(workspace, [(files["photo"], "image")]).status == "none"


@pytest.mark.parametrize("name", ["photo", "released"])
def test_a_photo_is_unknown_even_when_released(workspace, files, name: str) -> None:
    assert likeness_of(workspace, [(files[name], "portrait")]).status == "unknown"


def test_the_worst_input_counts(workspace, files) -> None:
    both = [(files["made"], "portrait"), (files["photo"], "voice")]
    assert likeness_of(workspace, both).status == "unknown"


def test_a_revoked_release_attests_nothing(workspace, files) -> None:
    record = workspace.registry.by_sha256(files["made"].sha256)
    workspace.registry.set_state(record.release_id, "revoked")
    try:
        assert likeness_of(workspace, [(files["made"], "portrait")]).status == "unknown"
    finally:
        workspace.registry.set_state(record.release_id, "released")


def test_consent_covers_its_file_modality_and_generator_only(workspace, files) -> None:
    register = ConsentRegister(workspace.home.consent)
    record = register.add(
        "s", FACE, [files["photo"].sha256], granted_by="me", adult=True, generators=("g",),
        purposes=("general", "research"),
    )  # fmt: skip
    inputs = [(files["photo"], "portrait")]
    found = likeness_of(workspace, inputs, (record.id,))
    assert (found.status, found.scope) == ("consented", ("general", "research"))
    assert likeness_of(workspace, inputs).status == "unknown"  # not named in the request
    assert likeness_of(workspace, inputs, (record.id,), "another").status == "mismatch"
    assert likeness_of(workspace, [(files["other"], "portrait")], (record.id,)).status == "mismatch"
    assert likeness_of(workspace, [(files["photo"], "voice")], (record.id,)).status == "mismatch"
    voice = register.add("s", VOICE, [files["other"].sha256], granted_by="me", adult=True)
    both = [*inputs, (files["other"], "voice")]
    found = likeness_of(workspace, both, (record.id, voice.id))
    assert (found.status, found.scope) == ("consented", ("general",))  # what both cover
    register.revoke(record.id)
    assert likeness_of(workspace, inputs, (record.id,)).status == "expired"


def test_a_listed_issuer_attests(workspace, files, tmp_path: Path) -> None:
    """The same credential in a registry that doesn't know the release: another installation's."""
    from avsafe.provenance.read import read_sandboxed

    forgotten = replace(files["made"], sha256="00" * 32)
    inputs = [(forgotten, "portrait")]
    assert likeness_of(workspace, inputs).status == "unknown"
    issuer = read_sandboxed(forgotten.path, anchors=workspace.anchors).issuer
    workspace.home.policy.mkdir(exist_ok=True)
    listed = workspace.home.policy / "synthetic-issuers.txt"
    try:
        listed.write_text(f"# whom we believe\n{issuer}\n")
        assert likeness_of(workspace, inputs).status == "synthetic_attested"
        released = replace(files["released"], sha256="00" * 32)
        made_of = likeness_of(workspace, [(released, "portrait")]).status
        listed.write_text("Somebody Else\n")
        assert likeness_of(workspace, inputs).status == "unknown"
    finally:
        listed.unlink()
    assert made_of == "unknown"  # a photo that was released here, whatever it declares

"""Consent records, and what the gate makes of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from avsafe import media
from avsafe.consent import FACE, VOICE, ConsentRecord, ConsentRegister
from avsafe.errors import UsageError
from avsafe.types import Task

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


def test_no_change_takes_back_a_withdrawal_of_the_same_instant(register: ConsentRegister) -> None:
    for _ in range(20):
        record = added(register, embedding=True)
        with ThreadPoolExecutor(2) as pool:
            ended = [pool.submit(do, record.id) for do in (register.end_embedding, register.revoke)]
        assert all(one.result().id == record.id for one in ended)
        after = register.get(record.id)
        assert after is not None
        assert after.revoked_at is not None
        assert after.embedding_ended_at is not None


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


DAMAGE = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "no JSON": lambda text: "\x00\xff",
    "deep": lambda text: "[" * 100_000,
    "a list": lambda text: "[]",
    "an unknown field": lambda text: text.replace('"adult"', '"grown": 1, "adult"'),
    "a field less": lambda text: text.replace('"adult": true,', ""),
    "a child": lambda text: text.replace('"adult": true', '"adult": false'),
    "no zone": lambda text: text.replace("+00:00", ""),
    "a date that is none": lambda text: text.replace("+00:00", "+99:00"),
    "for ever": lambda text: text.replace('"expires_at": "2', '"expires_at": "3'),
    "media as text": lambda text: text.replace(f'[\n    "{SHA}"\n  ]', f'"{SHA}"'),
    "a number": lambda text: text.replace('"speaker-7"', "7"),
    "no end": lambda text: text.replace('"expires_at": "2', '"expires_at": null, "x": "2'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_record_changed_by_hand_is_refused(register, tmp_path: Path, name: str) -> None:
    good, bad = added(register), added(register)
    path = tmp_path / "consent" / f"{bad.id}.json"
    changed = DAMAGE[name](path.read_text())
    assert changed != path.read_text()
    path.write_text(changed, encoding="latin-1")
    with pytest.raises(UsageError, match="record the consent again"):
        register.get(bad.id)
    assert register.list() == [good]
    assert len(register.damaged()) == 1


def test_a_copy_under_another_id_is_no_consent(register: ConsentRegister, tmp_path: Path) -> None:
    """A copy that was taken before the withdrawal."""
    record, folder = added(register), tmp_path / "consent"
    (folder / f"c-{'1' * 16}.json").write_text((folder / f"{record.id}.json").read_text())
    register.revoke(record.id)
    with pytest.raises(UsageError, match="record"):
        register.get("c-" + "1" * 16)


def test_a_clock_set_back_makes_nothing_live(register: ConsentRegister) -> None:
    record = added(register, duration=timedelta(days=2))
    now = datetime.now(UTC)
    assert record.state(now - timedelta(minutes=2)) == "live"
    assert record.state(now - timedelta(days=9)) == "pending"


@pytest.mark.parametrize("days", ["999999999", "10000000000000", "-5", "0"])
def test_days_beyond_the_calendar(tmp_path: Path, monkeypatch, days: str) -> None:
    from avsafe.cli import main

    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "home"))
    photo = tmp_path / "a.png"
    photo.write_bytes(b"x")
    words = ["consent", "add", str(photo), "--subject", "s", "--modality", "face", "--adult"]
    monkeypatch.setattr("sys.argv", ["avsafe", *words, "--days", days])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


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
    from avsafe.types import GenerationRequest, InputMedia

    folder = tmp_path_factory.mktemp("files")
    ask = GenerationRequest(local_principal(), Task.TEXT_TO_IMAGE, "world", "a red ball", seed=1)
    gate.generate(ask, folder / "made.png", workspace)
    media.encode(testing.still(320, 240), folder / "photo.png")
    media.encode(testing.still(320, 240, seed=4), folder / "other.png")
    source = InputMedia(media.probe(folder / "photo.png"), "source")
    again = GenerationRequest(local_principal(), Task.RELEASE, "elsewhere", inputs=(source,))
    gate.generate(again, folder / "released.png", workspace)
    media.encode(testing.flash_beep_clip(), folder / "clip.mp4")
    media.encode(testing.sound_only(1.0), folder / "speech.wav")
    return {path.stem: media.probe(path) for path in folder.glob("*.???")}


def likeness_of(workspace, inputs: list, consent: tuple[str, ...] = (), generator: str = "g",
                task: str = Task.TALKING_HEAD, parameters: dict | None = None):  # fmt: skip
    from avsafe import likeness
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia

    request = GenerationRequest(
        local_principal(), task, generator, consent_ids=consent, parameters=parameters or {},
        inputs=tuple(InputMedia(item, role) for item, role in inputs),
    )  # fmt: skip
    return likeness.of_request(request, workspace)


def test_what_was_made_from_words_is_attested(workspace, files) -> None:
    assert likeness_of(workspace, [(files["made"], "portrait")]).status == "synthetic_attested"
    ordinary = likeness_of(workspace, [(files["photo"], "image")], task=Task.IMAGE_TO_VIDEO)
    assert ordinary.status == "none"


def stranger(role: str) -> str:
    """Of a picture without a face that nobody vouches for: a portrait is for a reviewer to see."""
    from avsafe.errors import MissingExtra
    from avsafe.faces import detector_weights

    try:
        detector_weights()
    except MissingExtra:
        return "unknown"
    return "no_face" if role.strip().lower() in ("portrait", "face") else "unknown"


ROLES = ["portrait", "image", "Portrait ", "video", "audio", "mask", "source", ""]


@pytest.mark.parametrize("role", ROLES)
def test_in_a_talking_head_every_input_is_somebody(workspace, files, role: str) -> None:
    expected = stranger(role)
    assert likeness_of(workspace, [(files["photo"], role)]).status == expected
    plain = likeness_of(workspace, [(files["photo"], role)], task="talking-head")
    assert plain.status == expected  # a task given as plain text
    behind = [(files["made"], "portrait"), (files["photo"], role)]
    assert likeness_of(workspace, behind).status == expected


def test_a_recording_for_speech_is_somebodys_voice(workspace, files) -> None:
    task = Task.TEXT_TO_SPEECH
    assert likeness_of(workspace, [], generator="speech", task=task).status == "none"
    for role in ("voice", "audio", "video", "mask", ""):
        for file in ("speech", "clip"):
            given = [(files[file], role)]
            status = likeness_of(workspace, given, generator="speech", task=task).status
            assert status == "unknown", (role, file)
    consent = ConsentRegister(workspace.home.consent).add(
        "s", VOICE, [files["speech"].sha256], granted_by="me", adult=True
    )
    given = [(files["speech"], "voice")]
    found = likeness_of(workspace, given, (consent.id,), "speech", task)
    assert found.status == "consented"


def test_a_voice_that_is_only_named_is_unknown_unless_it_is_listed(workspace, files) -> None:
    """A server may have copied whom it calls by a name; ``video-to-audio`` is no way around."""
    from avsafe import likeness

    name = "openai-compatible"

    def of(voice: str, task: str = Task.TEXT_TO_SPEECH) -> str:
        return likeness_of(
            workspace, [], generator=name, task=task, parameters={"voice": voice}
        ).status

    listed = workspace.home.policy / likeness.VOICES
    listed.parent.mkdir(exist_ok=True)
    assert of("alloy") == of("alloy", Task.VIDEO_TO_AUDIO) == "unknown"
    for other in ("foley", "command", "diffusers"):  # they make sounds, and name no voice
        assert (
            likeness_of(workspace, [], generator=other, task=Task.VIDEO_TO_AUDIO).status == "none"
        )
    assert likeness_of(workspace, [], generator="command", task=Task.TEXT_TO_SPEECH).status == (
        "unknown"
    )
    listed.write_text(f"# of the contract\n{name}:alloy\n")
    try:
        assert of("alloy") == of("alloy", Task.VIDEO_TO_AUDIO) == "none"
        assert of("boss") == of("") == "unknown"
        listed.write_text(f"{name}\n")
        assert of("boss") == "none"
    finally:
        listed.unlink()


def test_speech_of_nobody_may_be_the_voice_of_a_talking_head(workspace, tmp_path) -> None:
    import shutil

    from avsafe import gate
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest

    if shutil.which("espeak-ng") is None:
        pytest.skip("no espeak-ng on this system")
    text = "Good morning everybody. This sentence is read aloud by a machine."
    ask = GenerationRequest(local_principal(), Task.TEXT_TO_SPEECH, "speech", text)
    made = gate.generate(ask, tmp_path / "said.wav", workspace)
    given = [(media.probe(made.path), "voice")]
    found = likeness_of(workspace, given, generator="talking-head")
    assert found.status == "synthetic_attested"


def test_a_talking_head_without_a_face_in_sight(workspace, files) -> None:
    """``command`` can be told of a picture in its argv, where nobody looks."""
    assert likeness_of(workspace, [], generator="command").status == "unknown"
    voice = ConsentRegister(workspace.home.consent).add(
        "s", VOICE, [files["speech"].sha256], granted_by="me", adult=True
    )
    spoken = likeness_of(workspace, [(files["speech"], "voice")], (voice.id,), "command")
    assert spoken.status == "unknown"
    # the embedded one refuses a request without a portrait, in words that help
    assert likeness_of(workspace, [], generator="talking-head").status == "none"


@pytest.mark.parametrize("role", ["voice", "audio", "image", "x"])
def test_a_sound_is_a_voice_whatever_its_role(workspace, files, role: str) -> None:
    assert likeness_of(workspace, [(files["speech"], role)]).status == "unknown"


@pytest.mark.parametrize("role", ["portrait", "Face", "voice"])
def test_a_portrait_is_one_in_every_task(workspace, files, role: str) -> None:
    found = likeness_of(workspace, [(files["photo"], role)], task=Task.IMAGE_TO_VIDEO)
    assert found.status == stranger(role)


def test_a_clip_with_sound_needs_consent_to_face_and_voice(workspace, files) -> None:
    register = ConsentRegister(workspace.home.consent)
    sha = [files["clip"].sha256]
    face = register.add("s", FACE, sha, granted_by="me", adult=True)
    voice = register.add("s", VOICE, sha, granted_by="me", adult=True)
    inputs = [(files["clip"], "video")]
    assert likeness_of(workspace, inputs, (face.id,)).status == "mismatch"
    assert likeness_of(workspace, inputs, (voice.id,)).status == "mismatch"
    assert likeness_of(workspace, inputs, (face.id, voice.id)).status == "consented"


@pytest.mark.parametrize("generator", ["command", "diffusers", "openai-compatible", "my-own"])
def test_a_generator_that_can_copy_a_photo_attests_nothing(workspace, files, generator) -> None:
    from avsafe import likeness

    made = workspace.registry.by_sha256(files["made"].sha256)
    assert likeness._from_words(made, workspace)
    assert not likeness._from_words(replace(made, generator=generator), workspace)
    workspace.home.policy.mkdir(exist_ok=True)
    listed = workspace.home.policy / "synthetic-generators.txt"
    listed.write_text(f"{generator}  # ours, of drawings alone\n")
    try:
        assert likeness._from_words(replace(made, generator=generator), workspace)
    finally:
        listed.unlink()


def test_words_beside_a_photo_are_not_words_alone(workspace, files, tmp_path: Path) -> None:
    from avsafe import gate
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia

    ask = GenerationRequest(
        local_principal(), Task.TEXT_TO_IMAGE, "world", "a red ball", seed=2,
        inputs=(InputMedia(files["photo"], "image"),),
    )  # fmt: skip
    try:
        made = gate.generate(ask, tmp_path / "made.png", workspace)
    except UsageError:
        return  # it takes no input: better still
    portrait = [(media.probe(made.path), "portrait")]
    assert likeness_of(workspace, portrait).status == stranger("portrait")


@pytest.mark.parametrize("name", ["photo", "released"])
def test_a_photo_is_unknown_even_when_released(workspace, files, name: str) -> None:
    assert likeness_of(workspace, [(files[name], "image")]).status == "unknown"


def test_the_worst_input_counts(workspace, files) -> None:
    both = [(files["made"], "portrait"), (files["speech"], "voice")]
    assert likeness_of(workspace, both).status == "unknown"


def test_a_damaged_record_is_a_consent_not_given(workspace, files) -> None:
    register = ConsentRegister(workspace.home.consent)
    record = register.add("s", FACE, [files["photo"].sha256], granted_by="me", adult=True)
    path = workspace.home.consent / f"{record.id}.json"
    path.write_text(path.read_text()[:-20])
    try:
        found = likeness_of(workspace, [(files["photo"], "portrait")], (record.id,))
    finally:
        path.unlink()
    assert found.status == stranger("portrait")


def test_a_revoked_release_attests_nothing(workspace, files) -> None:
    record = workspace.registry.by_sha256(files["made"].sha256)
    workspace.registry.set_state(record.release_id, "revoked")
    try:
        assert likeness_of(workspace, [(files["made"], "portrait")]).status == stranger("portrait")
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
    assert likeness_of(workspace, inputs).status == stranger("portrait")  # not named in the request
    assert likeness_of(workspace, inputs, (record.id,), "another").status == "mismatch"
    assert likeness_of(workspace, [(files["other"], "portrait")], (record.id,)).status == "mismatch"
    assert likeness_of(workspace, [(files["photo"], "voice")], (record.id,)).status == "mismatch"
    voice = register.add("s", VOICE, [files["speech"].sha256], granted_by="me", adult=True)
    both = [*inputs, (files["speech"], "voice")]
    found = likeness_of(workspace, both, (record.id, voice.id))
    assert (found.status, found.scope) == ("consented", ("general",))  # what both cover
    register.revoke(record.id)
    assert likeness_of(workspace, inputs, (record.id,)).status == "expired"


def test_a_listed_issuer_attests(workspace, files, tmp_path: Path) -> None:
    """The same credential in a registry that doesn't know the release: another installation's."""
    from avsafe.provenance.read import read_sandboxed

    forgotten = replace(files["made"], sha256="00" * 32)
    inputs = [(forgotten, "portrait")]
    assert likeness_of(workspace, inputs).status == stranger("portrait")
    issuer = read_sandboxed(forgotten.path, anchors=workspace.anchors).issuer
    workspace.home.policy.mkdir(exist_ok=True)
    listed = workspace.home.policy / "synthetic-issuers.txt"
    try:
        listed.write_text(f"# whom we believe\n{issuer}\n")
        assert likeness_of(workspace, inputs).status == "synthetic_attested"
        released = replace(files["released"], sha256="00" * 32)
        made_of = likeness_of(workspace, [(released, "portrait")]).status
        listed.write_text("Somebody Else\n")
        assert likeness_of(workspace, inputs).status == stranger("portrait")
    finally:
        listed.unlink()
    assert made_of == stranger("portrait")  # a photo that was released here, whatever it declares

"""The gate with everything real behind it: what is released, and what is never left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avsafe import gate, media, plugins, testing
from avsafe.cli import app
from avsafe.errors import (
    Cancelled,
    CannotMark,
    Denied,
    GeneratorFailed,
    NeedsReview,
    SigningFailed,
    UsageError,
)
from avsafe.home import Home
from avsafe.media.replay import Replay
from avsafe.policy import Policy, local_principal
from avsafe.provenance import keys, outbox
from avsafe.types import (
    GenerationRequest,
    GeneratorInfo,
    InputMedia,
    Kind,
    Label,
    RawMedia,
    Task,
)
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace, open_workspace
from tests.provenance_kit import time_stamp_authority

REQUEST = GenerationRequest(
    local_principal(),
    Task.TEXT_TO_VIDEO,
    "world",
    prompt="a red metal ball bouncing on grass",
    seed=1,
    duration_s=2.0,
    width=384,
    height=288,
)


def written(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in tmp_path.iterdir())


def last(workspace: Workspace) -> dict:
    return list(workspace.ledger.entries())[-1].body


def release_request(path: Path, **more) -> GenerationRequest:
    source = InputMedia(media.probe(path), "source")
    return GenerationRequest(
        local_principal(),
        Task.RELEASE,
        more.pop("generator", "elsewhere"),
        inputs=(source,),
        **more,
    )


def test_generated_clip_is_declared_then_recovered_then_altered(
    workspace: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "clip.mp4"
    result = gate.generate(REQUEST, out, workspace)
    lookup = Lookup(workspace.home)
    assert written(tmp_path) == ["clip.mp4"]
    assert result.sha256 == media.sha256_of(out)
    assert verify(out, lookup).label is Label.SYNTHETIC_DECLARED
    assert min(m.psnr_db for m in result.marks if m.psnr_db) >= 42

    again = tmp_path / "again.mp4"
    media.encode(media.decode(out, trusted=True), again, media.EncodeSpec(crf=28))
    verdict = verify(again, lookup)
    assert verdict.label is Label.SYNTHETIC_RECOVERED
    found = next(e for e in verdict.evidence if e.source == "watermark.video")
    assert found.details["release_id"] == result.release_id

    altered = tmp_path / "altered.mp4"
    testing.flip_media_byte(out, altered)
    assert verify(altered, lookup).label is Label.ALTERED


def test_records_agree_with_the_file(workspace: Workspace, tmp_path: Path) -> None:
    result = gate.generate(REQUEST, tmp_path / "clip.mp4", workspace)
    record = workspace.registry.get(result.release_id)
    assert record is not None
    assert record.sha256 == result.sha256
    assert workspace.ledger.status(result.release_id) == "released"
    assert workspace.ledger.orphans() == []
    assert workspace.ledger.verify().ok
    leaves = json.dumps([e.body for e in workspace.ledger.entries()])
    assert "bouncing" not in leaves, "the ledger must hold no prompt"
    assert str(tmp_path) not in leaves, "the ledger must hold no path"
    waiting = outbox.waiting(workspace.home.keys)  # no time stamp server was named
    assert [item.path for item in waiting] == [tmp_path / "clip.mp4"]
    assert b"bouncing on grass" not in (tmp_path / "clip.mp4").read_bytes()


def test_release_of_a_file_made_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "made.mp4"
    media.encode(testing.textured_clip(3.0, 384, 288), source)
    out = tmp_path / "released.mp4"
    result = gate.generate(release_request(source), out, workspace)
    assert result.manifest.generator_version == "unregistered"
    assert result.manifest.digital_source_type.endswith("/trainedAlgorithmicMedia")
    lookup = Lookup(workspace.home)
    assert verify(out, lookup).label is Label.SYNTHETIC_DECLARED
    verdict = verify(source, lookup)  # the unmarked original of a registered release
    assert verdict.label is Label.INCONCLUSIVE


def test_a_file_made_elsewhere_borrows_no_source_type(workspace: Workspace, tmp_path: Path) -> None:
    """``world`` trained nothing and says so; a file that is ascribed to it may be anything."""
    source = tmp_path / "made.mp4"
    media.encode(testing.textured_clip(1.0, 256, 192), source)
    request = release_request(source, generator="world")
    result = gate.generate(request, tmp_path / "released.mp4", workspace)
    assert result.manifest.digital_source_type.endswith("/trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    ("make", "suffix"),
    [(lambda: testing.still(640, 480), ".png"), (lambda: testing.sound_only(12.0), ".wav")],
    ids=["image", "audio"],
)
def test_images_and_sound_go_the_same_way(
    make, suffix: str, workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / f"made{suffix}"
    media.encode(make(), source)
    out = tmp_path / f"released{suffix}"
    gate.generate(release_request(source), out, workspace)
    lookup = Lookup(workspace.home)
    assert verify(out, lookup).label is Label.SYNTHETIC_DECLARED
    stripped = tmp_path / f"stripped{suffix}"
    media.encode(media.decode(out, trusted=True), stripped)
    assert verify(stripped, lookup).label is Label.SYNTHETIC_RECOVERED


def test_webm_gets_a_sidecar(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "clip.webm"
    result = gate.generate(replace(REQUEST, duration_s=1.5), out, workspace)
    assert written(tmp_path) == ["clip.webm", "clip.webm.c2pa"]
    assert result.sidecar == tmp_path / "clip.webm.c2pa"
    lookup = Lookup(workspace.home)
    assert verify(out, lookup).label is Label.SYNTHETIC_DECLARED
    (tmp_path / "clip.webm.c2pa").unlink()
    assert verify(out, lookup).label is Label.SYNTHETIC_RECOVERED


def test_a_parent_credential_is_kept_as_history(workspace: Workspace, tmp_path: Path) -> None:
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    gate.generate(REQUEST, first, workspace)
    result = gate.generate(release_request(first), second, workspace)
    assert result.manifest.action == "c2pa.edited"
    assert result.manifest.ingredients[0].relationship == "parentOf"
    assert verify(second, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED


# ---------------------------------------------------------------- nothing left behind


def check_nothing_left(workspace: Workspace, tmp_path: Path, status: str) -> None:
    assert written(tmp_path) == [], "a failed request left a file"
    assert list(workspace.home.staging.iterdir()) == [], "a failed request left its stage"
    assert workspace.ledger.orphans() == []
    entry = list(workspace.ledger.entries())[-1]
    assert workspace.ledger.status(entry.release_id) == status
    assert workspace.registry.get(entry.release_id) is None
    assert workspace.ledger.verify().ok


def test_denied_request(workspace: Workspace, tmp_path: Path) -> None:
    request = replace(REQUEST, prompt="deepfake of the president announcing a fake election result")
    with pytest.raises(Denied) as caught:
        gate.generate(request, tmp_path / "x.mp4", workspace)
    check_nothing_left(workspace, tmp_path, "denied")
    assert caught.value.decision.reasons[0] in last(workspace)["reasons"]


def with_policy(workspace: Workspace, folder: Path, **texts: str) -> Workspace:
    """The same workspace under a policy folder that differs from the default in some files."""
    from avsafe import policy

    default = Path(policy.__file__).parent / "default"
    folder.mkdir()
    for file in default.iterdir():
        extra = texts.get(file.name.replace(".", "_"), "")
        (folder / file.name).write_text(file.read_text() + extra)
    return replace(workspace, policy=Policy.load(folder))


REVIEW_ALL = """
@id("R-test-look-first")
@reason("Everything needs a look in this test.")
@effect("review")
forbid (principal, action, resource);
"""
UNKNOWN_OBLIGATION = """
@id("P-test-odd-obligation")
@reason("Asks for what nobody can do.")
@obligation("sing=loudly")
permit (principal, action, resource);
"""


def test_request_in_review(
    workspace: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    strict = with_policy(
        workspace, tmp_path_factory.mktemp("p") / "policy", review_cedar=REVIEW_ALL
    )
    with pytest.raises(NeedsReview, match="R-test-look-first"):
        gate.generate(REQUEST, tmp_path / "x.mp4", strict)
    check_nothing_left(workspace, tmp_path, "review")
    assert "Everything needs a look in this test." in last(workspace)["reasons"]


def test_unknown_obligation_denies(
    workspace: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    odd = with_policy(
        workspace, tmp_path_factory.mktemp("p") / "policy", base_cedar=UNKNOWN_OBLIGATION
    )
    with pytest.raises(Denied, match="sing"):
        gate.generate(REQUEST, tmp_path / "x.mp4", odd)
    check_nothing_left(workspace, tmp_path, "denied")


def test_quota_is_reserved_before_the_decision(workspace: Workspace, tmp_path: Path) -> None:
    small = replace(workspace, daily_quota=1)
    gate.generate(replace(REQUEST, duration_s=1.0), tmp_path / "one.mp4", small)
    with pytest.raises(Denied, match=r"(?i)quota"):
        gate.generate(REQUEST, tmp_path / "two.mp4", small)
    assert written(tmp_path) == ["one.mp4"]


def test_signer_failure_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    from avsafe.provenance.signer import CallbackSigner

    def broken(data: bytes) -> bytes:
        raise ConnectionError("the key service does not answer")

    away = CallbackSigner(broken, workspace.signer.chain_pem, workspace.signer.algorithm)
    with pytest.raises(SigningFailed, match="key service does not answer"):
        gate.generate(
            replace(REQUEST, duration_s=1.0), tmp_path / "x.mp4", replace(workspace, signer=away)
        )
    check_nothing_left(workspace, tmp_path, "failed")


def test_a_release_that_cannot_get_its_name_gets_it_later(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the outcome "released" there is only forward: a failed rename is made up for."""
    out = tmp_path / "late.mp4"
    with monkeypatch.context() as broken:

        def refuse(stage: object) -> None:
            raise PermissionError(13, "Permission denied")

        broken.setattr("avsafe.staging.Stage.complete", refuse)
        with pytest.raises(PermissionError):
            gate.generate(replace(REQUEST, duration_s=1.0), out, workspace)
        assert not out.exists()
        with open_workspace(workspace.home):  # still refused: the job waits, the gate works
            assert not out.exists()
    with open_workspace(workspace.home):
        assert written(tmp_path) == ["late.mp4"]
    assert list(workspace.home.staging.iterdir()) == []
    assert verify(out, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED


def test_a_name_that_was_taken_meanwhile_is_not_replaced(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Two jobs with one destination, or a user who saves a file there while the job runs."""
    out = tmp_path / "clip.webm"

    def report(fraction: float, stage: str) -> None:
        out.write_bytes(b"precious")

    result = gate.generate(replace(REQUEST, duration_s=1.0), out, workspace, progress=report)
    assert out.read_bytes() == b"precious"
    assert result.path.name == f"clip.{result.release_id[:8]}.webm"
    assert result.sidecar == result.path.with_name(result.path.name + ".c2pa")
    assert any("took the name" in warning for warning in result.warnings)
    assert len(written(tmp_path)) == 3
    assert verify(result.path, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED


def test_a_file_that_was_there_before_is_replaced(workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    out.write_bytes(b"old")
    gate.generate(replace(REQUEST, duration_s=1.0), out, workspace)
    assert written(tmp_path) == ["clip.mp4"]
    assert verify(out, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED


def test_destinations_that_cannot_be_are_refused_before_any_work(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    before = written(tmp_path)
    for name in ("folder.mp4", "link.mp4", "n" * 250 + ".mp4", "no/such.mp4", "clip.avi", "clip"):
        with pytest.raises(UsageError):
            gate.generate(REQUEST, tmp_path / name, workspace)
    assert list(workspace.ledger.entries()) == []
    assert list(workspace.home.staging.iterdir()) == []
    assert written(tmp_path) == before


@pytest.mark.parametrize("stem", ["n" * 246, "\u3042" * 80, "-x", "a \n[b] \N{CLAPPER BOARD}"])
def test_odd_names(stem: str, workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / f"{stem}.mp4"
    gate.generate(replace(REQUEST, duration_s=0.5), out, workspace)
    assert written(tmp_path) == [out.name]
    assert list(workspace.home.staging.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".wav"])
def test_a_clip_is_not_cut_down_to_fit_a_name(
    suffix: str, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot hold this video"):
        gate.generate(REQUEST, tmp_path / f"x{suffix}", workspace)
    check_nothing_left(workspace, tmp_path, "failed")


def test_leftovers_in_a_folder_that_is_closed_do_not_stop_the_next_start(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avsafe.staging import Stage, recover

    dead = workspace.home.staging / ("ab" * 16)
    dead.mkdir()
    (dead / "journal.json").write_text(json.dumps({"final": str(tmp_path / "x.mp4")}))
    left = tmp_path / f".avsafe-{dead.name}.mp4"
    left.write_bytes(b"half")
    workspace.ledger.intent(dead.name, {})
    with monkeypatch.context() as closed:

        def refuse(stage: object) -> None:
            raise PermissionError(13, "Permission denied")

        closed.setattr(Stage, "discard", refuse)
        told = recover(workspace.home, workspace.registry, workspace.ledger)
    assert len(told) == 2
    assert workspace.ledger.status(dead.name) == "aborted"
    assert left.exists()
    assert recover(workspace.home, workspace.registry, workspace.ledger) == []
    assert written(tmp_path) == []
    assert not dead.exists()


def test_recovery_leaves_a_living_job_alone(workspace: Workspace, tmp_path: Path) -> None:
    """Other processes start while this one works, at every step of the encoder's progress."""
    started = 0

    def report(fraction: float, stage: str) -> None:
        nonlocal started
        if started < 5:
            started += 1
            with open_workspace(workspace.home):
                pass

    result = gate.generate(
        replace(REQUEST, duration_s=1.0), tmp_path / "x.mp4", workspace, progress=report
    )
    assert started == 5
    assert workspace.ledger.status(result.release_id) == "released"
    assert workspace.registry.get(result.release_id) is not None


def test_a_job_that_ends_during_recovery_keeps_its_row(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery saw its intent; by the time it gets there, the job is done."""
    from avsafe.staging import recover

    result = gate.generate(replace(REQUEST, duration_s=0.5), tmp_path / "x.mp4", workspace)
    monkeypatch.setattr(workspace.ledger, "orphans", lambda: [result.release_id])
    assert recover(workspace.home, workspace.registry, workspace.ledger) == []
    assert workspace.registry.get(result.release_id) is not None


def test_cancel_in_the_middle(workspace: Workspace, tmp_path: Path) -> None:
    calls = iter(range(1_000_000))
    with pytest.raises(Cancelled):
        gate.generate(REQUEST, tmp_path / "x.mp4", workspace, cancelled=lambda: next(calls) > 20)
    check_nothing_left(workspace, tmp_path, "cancelled")


def test_flat_clip_too_small_for_a_mark(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path.parent / "tiny.mp4"
    media.encode(testing.textured_clip(1.0, 32, 24, sound=False), source)
    with pytest.raises(CannotMark):
        gate.generate(release_request(source), tmp_path / "x.mp4", workspace)
    check_nothing_left(workspace, tmp_path, "failed")


def test_wrong_task_is_a_usage_error(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="text-to-video"):
        gate.generate(replace(REQUEST, task=Task.TALKING_HEAD), tmp_path / "x.mp4", workspace)


# ---------------------------------------------------------------- output checks


class Rogue:
    """A generator that breaks its contract in a chosen way."""

    def __init__(self, way: str) -> None:
        self.way = way

    info = GeneratorInfo(
        "rogue", "1", (Task.TEXT_TO_VIDEO,), Kind.VIDEO, "Apache-2.0", True, max_duration_s=2.0
    )

    def generate(self, request, *, progress, cancelled) -> RawMedia:
        good = testing.textured_clip(1.0, 256, 192, Fraction(10))

        def frames() -> Iterator[np.ndarray]:
            for index, frame in enumerate(good.frames or ()):
                if self.way == "shape" and index == 3:
                    yield frame[:100]
                elif self.way == "float":
                    yield frame.astype(np.float32)
                elif self.way == "crash" and index == 5:
                    raise RuntimeError("out of paint")
                else:
                    yield frame
            while self.way == "endless":
                yield frame

        def samples() -> Iterator[np.ndarray]:
            for block in good.samples or ():
                yield block * np.float32("nan") if self.way == "nan" else block

        if self.way == "nothing":
            return RawMedia(Kind.VIDEO)
        if self.way == "hidden":  # pictures that the kind denies would get no mark
            return replace(good, kind=Kind.AUDIO)
        if self.way == "empty":
            return good.with_frames([])
        return good.with_frames(Replay(frames)).with_samples(testing.Replay(samples))


@pytest.mark.parametrize(
    "way", ["shape", "float", "endless", "nan", "nothing", "hidden", "empty", "crash"]
)
def test_rogue_generators_release_nothing(
    way: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = plugins.load
    monkeypatch.setattr(
        plugins, "load", lambda kind, name: Rogue(way) if name == "rogue" else load(kind, name)
    )
    with pytest.raises(RuntimeError if way == "crash" else GeneratorFailed):
        gate.generate(replace(REQUEST, generator="rogue"), tmp_path / "x.mp4", workspace)
    check_nothing_left(workspace, tmp_path, "failed")


def test_label_obligation_is_carried_out(
    workspace: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labelling = with_policy(
        workspace,
        tmp_path_factory.mktemp("p") / "policy",
        base_cedar="""
@id("P-test-label")
@reason("Shows a label.")
@obligation("watermark=invisible; c2pa=sign; label=visible; notice=whole-clip")
permit (principal, action, resource);
""",
    )
    plain, labelled = tmp_path / "plain.mp4", tmp_path / "labelled.mp4"
    request = replace(REQUEST, duration_s=1.0)
    gate.generate(request, plain, workspace)
    result = gate.generate(request, labelled, labelling)
    assert result.manifest.visible_label == "AI-generated"
    first, second = (list(media.decode(p, trusted=True).frames or ()) for p in (plain, labelled))
    changed = [
        np.abs(a.astype(int) - b).max(axis=-1) > 60 for a, b in zip(first, second, strict=True)
    ]
    assert all(c.sum() > 100 for c in changed), "the label must stand in every frame"
    assert changed[0].mean() < 0.2, "a label, not another picture"


def test_verify_without_state_makes_none(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), clip)
    nowhere = Home(tmp_path / "nowhere")
    assert verify(clip, Lookup(nowhere)).label is Label.INCONCLUSIVE
    assert not nowhere.root.exists()


def test_any_program_behind_the_gate(workspace: Workspace, tmp_path: Path) -> None:
    made = tmp_path.parent / "made-by-a-program.mp4"
    media.encode(testing.textured_clip(2.0, 384, 288), made)
    request = replace(
        REQUEST,
        generator="command",
        prompt="a cat",
        parameters={"argv": f"cp {made} {{output}}"},
    )
    out = tmp_path / "out.mp4"
    result = gate.generate(request, out, workspace)
    assert result.manifest.generator == "command"
    assert verify(out, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED
    failing = replace(request, parameters={"argv": "false {output}"})
    with pytest.raises(GeneratorFailed, match="false"):
        gate.generate(failing, tmp_path / "x.mp4", workspace)
    assert written(tmp_path) == ["out.mp4"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to play the authority")
def test_a_late_time_stamp_is_followed_by_the_records(
    workspace: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path / "clip.mp4"
    result = gate.generate(replace(REQUEST, duration_s=1.0), out, workspace)
    with time_stamp_authority(tmp_path_factory.mktemp("tsa")) as authority:
        keys.add_anchor(workspace.home.keys, authority.root_pem.encode())
        told = CliRunner().invoke(app, ["keys", "stamp", "--tsa", authority.url, "--json"])
    assert json.loads(told.stdout)[0]["release_id"] == result.release_id
    record = workspace.registry.get(result.release_id)
    assert record is not None
    assert record.sha256 == media.sha256_of(out) != result.sha256
    assert list(workspace.ledger.entries())[-1].type == "stamped"
    assert workspace.ledger.verify().ok
    assert verify(out, Lookup(workspace.home)).label is Label.SYNTHETIC_DECLARED
    assert outbox.waiting(workspace.home.keys) == ()

"""Odd inputs through the whole gate: each is marked and says what changed, or is refused with the
reason and leaves nothing behind. The way is that of ``avsafe release FILE -o OUT``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from avsafe import gate, media
from avsafe.cli import app
from avsafe.cli.media import release_json
from avsafe.errors import CannotMark, MediaTooLarge
from avsafe.home import Home
from avsafe.policy import local_principal
from avsafe.types import GenerationRequest, InputMedia, Kind, Label, Release, Task
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace, open_workspace
from tests.odd_media import film, pictures, strip, turned, voice, with_hole

pytestmark = pytest.mark.slow

Make = Callable[[Path], Path]
SUFFIX = {Kind.VIDEO: ".mp4", Kind.IMAGE: ".png", Kind.AUDIO: ".wav"}
OF_SIGNING = ("No signing keys", "Signed without a time stamp")  # warnings of another matter
ON_WHITE = "Transparency is not kept: transparent parts stand on white."


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One for the whole file: making keys costs more than most of these clips."""
    with open_workspace(Home(tmp_path_factory.mktemp("home"))) as opened:
        yield opened


def released(source: Path, out: Path, workspace: Workspace) -> Release:
    request = GenerationRequest(
        local_principal(),
        Task.RELEASE,
        "elsewhere",
        inputs=(InputMedia(media.probe(source), "source"),),
    )
    return gate.generate(request, out, workspace)


def target(source: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / f"released{SUFFIX[media.probe(source).kind]}"


# ---------------------------------------------------------------- the inputs


def still(width: int = 256, height: int = 192) -> np.ndarray:
    return pictures(0.05, width, height)[0]


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def animated(path: Path, frames: list[np.ndarray]) -> Path:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=80, disposal=2)
    return path


def holes(count: int) -> list[np.ndarray]:
    return [with_hole(picture) for picture in pictures(1)[:count]]


def ten_bits(path: Path, transfer: int | None) -> Path:
    quiet = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}
    return film(
        path,
        pictures(1),
        codec="libx265",
        pixel_format="yuv420p10le",
        transfer=transfer,
        options=quiet,
    )


def eight_k(path: Path) -> Path:
    frame = still(640, 360).repeat(12, axis=0).repeat(12, axis=1)
    return film(path, [frame], options={"preset": "ultrafast"})


def sound(path: Path, samples: np.ndarray, rate_hz: int = 48000, codec: str = "pcm_s16le") -> Path:
    return film(path, [], sound=samples, rate_hz=rate_hz, sound_codec=codec)


def slow(path: Path, seconds: float, samples: np.ndarray, **options) -> Path:
    """A film of 4 frames a second with sound."""
    return film(path, pictures(seconds, rate=4), rate=4, sound=samples, **options)


UNEVEN_MS = [0, 40, 80, 120, 300, 340, 380, 900, 940, 980, 1020, 1080]


@dataclass(frozen=True)
class Odd:
    name: str
    make: Make
    marks: tuple[str, ...]
    told: tuple[str, ...] = ()  # how each warning begins, in order; no other may come
    size: tuple[int, int] | None = None  # of the release
    sound: tuple[int, int] | None = None  # Hz and channels of the release


NO_SOUND_MARK = "No mark in the sound: "
TOO_SHORT = NO_SOUND_MARK + "too short for an audio mark: {} s < 2.0 s. The video mark is there"
RELEASED = [
    # one small frame may be too little for its mark: one in twelve of 256 x 192 is refused
    Odd("one-frame.mp4", lambda p: film(p, pictures(1, 512, 384)[:1]), ("video",), size=(512, 384)),
    Odd("8k.mp4", eight_k, ("video",), size=(7680, 4320)),
    Odd(
        "odd.mp4",
        lambda p: film(p, pictures(1, 321, 179), pixel_format="yuv444p"),
        ("video",),
        ("321 x 179 pixels are written as 322 x 180: H.264 and VP9 need even sides",),
        size=(322, 180),
    ),
    Odd("odd.png", lambda p: saved(p, still(321, 179)), ("image",), size=(321, 179)),
    Odd(
        "uneven.mkv",
        lambda p: film(p, pictures(2)[:12], times_ms=UNEVEN_MS, rate=25),
        ("video",),
        ("The frame rate was made constant (variable frame rate: 12 frames became 28 at 25 per",),
    ),
    Odd(
        "pq.mp4",
        lambda p: ten_bits(p, 16),
        ("video",),
        ("The high dynamic range (PQ) was brought to 8-bit BT.709 without tone mapping",),
    ),
    Odd(
        "hlg.mp4",
        lambda p: ten_bits(p, 18),
        ("video",),
        ("The high dynamic range (HLG) was brought to 8-bit BT.709 without tone mapping",),
    ),
    Odd("ten.mp4", lambda p: ten_bits(p, None), ("video",), ("10 bits a channel became 8.",)),
    Odd(
        "deep.png",
        lambda p: saved(p, still()[..., 0].astype(np.uint16) * 257),
        ("image",),
        ("16 bits a channel became 8.",),
    ),
    Odd("alpha.png", lambda p: saved(p, with_hole(still())), ("image",), (ON_WHITE,)),
    Odd(
        "alpha.webp",
        lambda p: saved(p, with_hole(still()), lossless=True),
        ("image",),
        (ON_WHITE,),
    ),
    Odd(
        "alpha.webm",
        lambda p: film(
            p,
            holes(6),
            codec="libvpx-vp9",
            pixel_format="yuva420p",
            options={"deadline": "realtime", "cpu-used": "8"},
        ),
        ("video",),
        ("Transparency is not kept: its layer was left out.",),
    ),
    Odd(
        "alpha.mov",
        lambda p: film(p, holes(6), codec="qtrle", pixel_format="argb"),
        ("video",),
        (ON_WHITE,),
    ),
    Odd("moving.png", lambda p: animated(p, holes(6)), ("video",), (ON_WHITE,)),
    Odd("opaque.gif", lambda p: animated(p, pictures(1)[:6]), ("video",)),
    Odd("still.gif", lambda p: animated(p, [still()]), ("image",)),
    Odd("turned.mp4", lambda p: turned(film(p, pictures(1))), ("video",), size=(192, 256)),
    Odd(
        "surround.mp4",
        lambda p: slow(p, 4, voice(4, channels=6)),
        ("video", "audio"),
        sound=(48000, 6),
    ),
    Odd(
        "surround.flac",
        lambda p: sound(p, voice(5, channels=6), codec="flac"),
        ("audio",),
        sound=(48000, 6),
    ),
    Odd("mono.wav", lambda p: sound(p, voice(8, 8000), 8000), ("audio",), sound=(8000, 1)),
    Odd(
        "deep.wav",
        lambda p: sound(p, voice(5, 44100), 44100, "pcm_s24le"),
        ("audio",),
        ("Samples of more than 16 bits are written with 16 bits.",),
        sound=(44100, 1),
    ),
    Odd(
        "silent.mp4",
        lambda p: slow(p, 3, 0 * voice(3)),
        ("video",),
        (NO_SOUND_MARK + "too quiet for an audio mark: at most -110 dB a bin",),
        sound=(48000, 1),
    ),
    Odd(
        "brief-sound.mp4",
        lambda p: slow(p, 3, voice(0.1)),
        ("video",),
        (TOO_SHORT.format("0.1"),),
        sound=(48000, 1),
    ),
    Odd("long-sound.mp4", lambda p: film(p, pictures(0.5), sound=voice(6)), ("video", "audio")),
    Odd("short-sound.mp4", lambda p: slow(p, 5, voice(2.5)), ("video", "audio")),
    Odd(
        "fast-sound.mkv",
        lambda p: film(
            p, pictures(0.5), sound=voice(1, 192000), rate_hz=192000, sound_codec="flac"
        ),
        ("video",),
        ("The sound at 192000 Hz is written at 96000 Hz.", TOO_SHORT.format("1.0")),
        sound=(96000, 1),
    ),
    Odd(
        "two-tracks.mkv",
        lambda p: slow(p, 3, voice(3), sound_codec="flac", tracks=2),
        ("video", "audio"),
        ("Not kept: 1 further audio stream.",),
    ),
    Odd("song.m4a", lambda p: sound(p, voice(5), codec="aac"), ("audio",), sound=(48000, 1)),
]


@pytest.mark.parametrize("odd", RELEASED, ids=lambda odd: odd.name)
def test_odd_but_released(odd: Odd, workspace: Workspace, tmp_path: Path) -> None:
    source = odd.make(tmp_path / odd.name)
    out = target(source, tmp_path)
    result = released(source, out, workspace)

    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert tuple(str(mark.modality) for mark in result.marks) == odd.marks
    assert [mark["modality"] for mark in release_json(result)["marks"]] == list(odd.marks)
    told = [text for text in result.warnings if not text.startswith(OF_SIGNING)]
    assert len(told) == len(odd.told), told
    for text, start in zip(told, odd.told, strict=True):
        assert text.startswith(start), text
    record = workspace.registry.get(result.release_id)
    assert record is not None
    assert record.marks == result.marks
    assert len(last(workspace)["marks"]) == len(odd.marks)

    probed = media.probe(out, trusted=True)
    if odd.size is not None and probed.video is not None:
        assert (probed.video.width, probed.video.height) == odd.size
    if odd.sound is not None:
        assert probed.audio is not None
        assert (probed.audio.rate_hz, probed.audio.channels) == odd.sound

    lookup = Lookup(workspace.home)
    assert verify(out, lookup, credential_only=True).label is Label.SYNTHETIC_DECLARED
    verdict = verify(strip(out, tmp_path / f"stripped{out.suffix}"), lookup)
    assert verdict.label is Label.SYNTHETIC_RECOVERED
    found = {e.source.removeprefix("watermark."): e for e in verdict.evidence}
    for name in ("video", "image", "audio"):
        present = name in found and found[name].status == "present"
        assert present == (name in odd.marks), f"{name}: {found.get(name)}"
    assert found[odd.marks[0]].details["release_id"] == result.release_id


# ---------------------------------------------------------------- refusals

REFUSED: list[tuple[str, Make, str]] = [
    (
        "16.png",
        lambda p: saved(p, still(16, 16)),
        r"A picture of 16x16 is too small for the mark: 16 < 128 pixels",
    ),
    (
        "16.mp4",
        lambda p: film(p, pictures(3, 16, 16), sound=voice(3)),
        r"A picture of 16x16 is too small for the mark: 16 < 128 pixels",
    ),
    (
        "brief.wav",
        lambda p: sound(p, voice(0.1)),
        r"too short for an audio mark: 0\.1 s < 2\.0 s",
    ),
    (
        "one-sample.wav",
        lambda p: sound(p, voice(1)[:, :1]),
        r"too short for an audio mark: 0\.0 s < 2\.0 s",
    ),
    (
        "silence.wav",
        lambda p: sound(p, 0 * voice(3)),
        r"too quiet for an audio mark: at most -110 dB a bin .* -95 dB needed",
    ),
    (
        "slow.wav",
        lambda p: sound(p, voice(3, 7000), 7000),
        r"sample rate too low for an audio mark: 7000 Hz < 8000 Hz",
    ),
]


@pytest.mark.parametrize(("name", "make", "reason"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_refused_with_the_reason(
    name: str, make: Make, reason: str, workspace: Workspace, tmp_path: Path
) -> None:
    source = make(tmp_path / name)
    out = target(source, tmp_path)
    with pytest.raises(CannotMark, match=f"Not released, since it can carry no mark: {reason}"):
        released(source, out, workspace)
    assert list(out.parent.iterdir()) == []
    assert list(workspace.home.staging.iterdir()) == []
    assert workspace.ledger.orphans() == []
    entry = list(workspace.ledger.entries())[-1]
    assert workspace.ledger.status(entry.release_id) == "failed"
    assert entry.body["error"] == "CannotMark"
    assert "too small, short or silent" in entry.body["reason"]
    assert workspace.registry.get(entry.release_id) is None


def last(workspace: Workspace) -> dict:
    return list(workspace.ledger.entries())[-1].body


def test_larger_than_8k_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    source = saved(tmp_path / "huge.png", np.zeros((4400, 8200), np.uint8))
    with pytest.raises(MediaTooLarge, match="8200 x 4400 pixels; the limit is 35389440"):
        media.probe(source)


# ---------------------------------------------------------------- what the change is


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [(".mov", "qtrle", "argb"), (".mov", "prores_ks", "yuva444p10le"), (".mkv", "ffv1", "bgra")],
)
def test_what_transparency_hid_stays_hidden(
    suffix: str, codec: str, pixel_format: str, tmp_path: Path
) -> None:
    source = film(tmp_path / f"a{suffix}", holes(2), codec=codec, pixel_format=pixel_format)
    frame = next(iter(media.decode(source).frames or ()))
    assert frame[:, :56].min() >= 250, "the black under the hole must not show"
    assert frame[:, 80:].std() > 10, "the rest is the picture"


def test_an_opaque_alpha_channel_changes_no_pixel(tmp_path: Path) -> None:
    picture = still()
    whole = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    source = film(tmp_path / "a.mov", [whole], codec="qtrle", pixel_format="argb")
    assert np.array_equal(next(iter(media.decode(source).frames or ())), picture)


def test_surround_keeps_its_channels(workspace: Workspace, tmp_path: Path) -> None:
    source = sound(tmp_path / "a.flac", voice(3, channels=6), codec="flac")
    result = released(source, tmp_path / "b.wav", workspace)
    before, after = (
        np.hstack(list(media.decode(path).samples or ())) for path in (source, result.path)
    )
    assert before.shape == after.shape
    ratio = after.std(axis=1) / before.std(axis=1)
    assert np.all(np.abs(ratio - 1) < 0.03), ratio  # levels fall from 1 to 0.5: none was swapped


# ---------------------------------------------------------------- what a person sees


def run(*arguments: object):
    return CliRunner().invoke(app, [str(item) for item in arguments], env={"COLUMNS": "400"})


def test_refusal_on_the_command_line(tmp_path: Path) -> None:
    source = sound(tmp_path / "brief.wav", voice(0.1))
    ran = run("release", source, "--generator", "my-model")
    assert ran.exit_code == 1
    assert isinstance(ran.exception, CannotMark)  # avsafe.cli.main prints it as "error: ..."
    assert str(ran.exception) == (
        "Not released, since it can carry no mark: too short for an audio mark: 0.1 s < 2.0 s"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["brief.wav"]


def test_release_on_the_command_line_states_marks_and_changes(tmp_path: Path) -> None:
    source = slow(tmp_path / "a.mp4", 3, voice(0.1))
    ran = run("release", source, "--generator", "my-model", "-o", tmp_path / "b.mp4")
    assert ran.exit_code == 0
    assert "mark      video" in ran.stdout
    assert "mark      audio" not in ran.stdout
    assert f"warning: {TOO_SHORT.format('0.1')}" in ran.stderr
    high = ten_bits(tmp_path / "hdr.mp4", 16)
    ran = run("release", high, "--generator", "m", "-o", tmp_path / "c.mp4", "--json")
    assert ran.exit_code == 0
    told = json.loads(ran.stdout)
    assert [mark["modality"] for mark in told["marks"]] == ["video"]
    assert any("(PQ) was brought to 8-bit BT.709" in text for text in told["warnings"])

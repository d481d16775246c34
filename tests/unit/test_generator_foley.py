"""The foley generator: contract, events against known truth, words, hostile inputs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import Cancelled, MissingExtra, NotUnderstood, UnreadableMedia, UsageError
from avsafe.media import EncodeSpec, encode, probe
from avsafe.media.replay import Replay
from avsafe.testing import check_generator, textured_clip
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators import engine
from avsafe_generators.foley import Foley
from avsafe_generators.foley.seeing import Watcher

RATE = 24


def bouncing(hits=(0.6, 1.2), long_s=1.8, side=160, x=0.3, pan=0.0):
    """A textured square that falls and rebounds at the given times, over a textured ground."""
    rng = np.random.default_rng(3)
    import cv2

    ground = cv2.GaussianBlur(rng.integers(60, 140, (side, side * 2)).astype(np.uint8), (0, 0), 2)
    body = cv2.GaussianBlur(rng.integers(120, 255, (36, 36)).astype(np.uint8), (0, 0), 1.5)
    gap = hits[1] - hits[0]
    frames = []
    for k in range(round(long_s * RATE)):
        t = k / RATE
        near = min(abs(t - h) for h in hits)
        y = side * 0.7 - 600 * near * (1 - near / gap)  # parabolas from contact to contact
        shift = int(pan * t * side)
        picture = ground[:, shift : shift + side].copy()
        matrix = np.array([[1, 0, x * side - 18], [0, 1, y - 18]], np.float32)
        moved = cv2.warpAffine(body, matrix, (side, side))
        inside = cv2.warpAffine(np.ones_like(body), matrix, (side, side))
        picture = np.where(inside > 0, moved, picture)
        frames.append(np.repeat(picture[..., None], 3, axis=2))
    return frames


def clip(frames, rate=RATE):
    h, w = frames[0].shape[:2]
    return RawMedia(
        Kind.VIDEO, frames=Replay(lambda: iter(frames)), frame_rate=Fraction(rate),
        frame_count=len(frames), width=w, height=h,
    )  # fmt: skip


def written(tmp_path, raw, name="clip.mp4"):
    path = tmp_path / name
    encode(raw, path, EncodeSpec(crf=12))
    return probe(path, trusted=True)


def ask(media, prompt="", **more):
    return GenerationRequest(
        Principal("u"), Task.VIDEO_TO_AUDIO, "foley", prompt,
        inputs=(InputMedia(media, "video"),), **more,
    )  # fmt: skip


def seen_in(frames, rate=RATE):
    watcher = Watcher(float(rate))
    for frame in frames:
        watcher.frame(frame[..., 0])
    return watcher.finish()


def sound_of(raw):
    return np.concatenate(list(raw.samples), axis=1)


def all_of(raw):
    return list(raw.frames), list(raw.samples)


@pytest.fixture(scope="module")
def bounce(tmp_path_factory):
    return written(tmp_path_factory.mktemp("foley"), clip(bouncing()))


# ---------------------------------------------------------------- contract


def test_the_contract_of_a_generator(bounce):
    raw = check_generator(Foley(), ask(bounce, "wood, wind", seed=4))
    assert raw.kind is Kind.VIDEO
    assert (raw.rate_hz, raw.channels) == (48000, 2)
    assert sound_of(raw).shape[1] == round(raw.frame_count / raw.frame_rate * 48000)


def test_info_is_honest():
    assert Foley().info.digital_source_type.endswith("/algorithmicMedia")
    assert "recognises no objects" in Foley().info.summary


# ---------------------------------------------------------------- seeing, against truth


@pytest.mark.parametrize("pan", [0.0, 0.15])
def test_contacts_are_found_in_time(pan):
    seen = seen_in(bouncing(pan=pan))
    times = [e.time_s for e in seen.events if e.kind == "hit"]
    assert len(times) == 2, seen.events
    assert np.abs(np.array(times) - (0.6, 1.2)).max() < 0.015


def test_a_contact_between_frames_is_placed_between_them():
    times = [e.time_s for e in seen_in(bouncing(hits=(0.613, 1.231))).events]
    assert np.abs(np.array(times) - (0.613, 1.231)).max() < 0.012


def test_nothing_moves_nothing_is_found():
    still = [bouncing()[0]] * 30
    rng = np.random.default_rng(0)
    grain = [np.clip(f + rng.normal(0, 2, f.shape[:2])[..., None], 0, 255) for f in still]
    assert seen_in(still).events == []
    assert seen_in([g.astype(np.uint8) for g in grain]).events == []


def test_smooth_motion_is_no_impact():
    frames = list(textured_clip(1.5, 160, 120, sound=False).frames)
    assert [e for e in seen_in(frames, 25).events if e.kind == "hit"] == []


def test_a_cut_is_no_impact_and_is_reported():
    rng = np.random.default_rng(8)
    other = np.repeat(rng.integers(0, 255, (20, 20, 1)), 8, axis=0).repeat(8, axis=1)
    frames = [bouncing()[0]] * 15 + [other.repeat(3, axis=2).astype(np.uint8)] * 15
    seen = seen_in(frames)
    assert seen.events == []
    assert seen.cuts == [15 / RATE]


def test_a_flash_is_an_event():
    frames = [f.copy() for f in [bouncing()[0]] * 30]
    frames[12] = np.minimum(frames[12].astype(int) + 110, 255).astype(np.uint8)
    events = [e for e in seen_in(frames).events if e.kind == "flash"]
    assert [round(e.time_s * RATE) for e in events] == [12]


# ---------------------------------------------------------------- sound


def test_the_sound_starts_at_the_events_on_their_side_of_the_picture(bounce):
    raw = Foley().generate(ask(bounce, "wood, no room", parameters={"output": "audio"}))
    assert raw.kind is Kind.AUDIO
    assert raw.frames is None
    sound = sound_of(raw)
    events = [e for e in raw.details["events"] if e["kind"] == "hit"]
    assert len(events) == 2
    for event in events:
        at = round(event["time_s"] * 48000)
        before, after = sound[:, at - 480 : at], sound[:, at : at + 480]
        assert (after**2).mean() > 30 * (before**2).mean()
        left, right = (after**2).sum(axis=1)
        assert left > 1.3 * right  # the square is at x = 0.3
    assert np.abs(sound).max() <= 10 ** (-1 / 20)
    assert abs(sound.mean()) < 1e-3


def test_levels_and_materials_differ(bounce):
    def brightness(word):
        sound = sound_of(Foley().generate(ask(bounce, word, parameters={"output": "audio"})))
        rms = 20 * np.log10(np.sqrt((sound**2).mean()))
        assert -34 < rms < -18, (word, rms)
        power = np.abs(np.fft.rfft(sound[0])) ** 2
        return float(power @ np.fft.rfftfreq(sound.shape[1], 1 / 48000) / power.sum())

    assert brightness("rubber") < brightness("legno") < brightness("glass")


def test_textures_follow_the_motion(tmp_path):
    frames = [bouncing()[0]] * 24 + bouncing()[:24]
    raw = Foley().generate(ask(written(tmp_path, clip(frames)), "whoosh, no impacts"))
    sound = sound_of(raw)
    assert (sound[:, 60000:] ** 2).mean() > 20 * (sound[:, 4800:36000] ** 2).mean()


def test_negative_prompts_leave_things_out(bounce):
    details = (
        Foley()
        .generate(ask(bounce, "metal, wind and music", negative_prompt="music", seed=1))
        .details
    )
    assert details["textures"] == ["wind"]
    assert details["music_bpm"] is None
    assert details["left_out"] == ["music"]
    with pytest.raises(NotUnderstood, match="left out"):
        Foley().generate(ask(bounce, "no impacts"))


def test_frames_pass_unchanged_and_the_own_sound_can_stay(tmp_path):
    media = written(tmp_path, textured_clip(1.0, 160, 120, rate_hz=44100))
    alone = Foley().generate(ask(media, "wind"))
    added = Foley().generate(ask(media, "wind", parameters={"mix": "add"}))
    from avsafe.media import decode

    for ours, theirs in zip(alone.frames, decode(media.path, trusted=True).frames, strict=True):
        assert np.array_equal(ours, theirs)
    own = sound_of(added) - sound_of(alone)
    assert 0.02 < np.sqrt((own**2).mean()) < 0.5
    assert sound_of(added).shape == sound_of(alone).shape


def test_no_word_means_a_thud_and_says_so(bounce):
    details = Foley().generate(ask(bounce)).details
    assert {e["material"] for e in details["events"]} == {"thud"}
    assert any("no material" in note for note in details["notes"])


# ---------------------------------------------------------------- speech


def test_a_line_is_spoken_over_the_rest(bounce):
    if engine.shutil.which(engine.ENGINE) is None:
        pytest.skip("no espeak-ng on this system")
    raw = Foley().generate(ask(bounce, "rain, a voice says 'hello; $(rm -rf) \"x\"'"))
    assert raw.details["lines"] == ['hello; $(rm -rf) "x"']
    sound = sound_of(raw)
    assert (sound[:, 30000:48000] ** 2).mean() > 1.5 * (sound[:, 2000:16000] ** 2).mean()


def test_without_the_engine_it_says_what_to_install(bounce, monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda _: None)
    with pytest.raises(MissingExtra, match="espeak-ng"):
        Foley().generate(ask(bounce, 'una voce dice "ciao"'))


# ---------------------------------------------------------------- hostile inputs


def test_nothing_to_sync_to_is_said(tmp_path):
    black = written(tmp_path, clip([np.zeros((96, 96, 3), np.uint8)] * 20))
    with pytest.raises(NotUnderstood, match="nothing to sync to"):
        Foley().generate(ask(black))
    with pytest.raises(NotUnderstood, match="nothing to sync to"):
        Foley().generate(ask(black, "zxqv " * 2000))
    raw = Foley().generate(ask(black, "waves"))
    assert raw.details["sync"].startswith("nothing to sync to")
    assert -27 < 20 * np.log10(np.sqrt((sound_of(raw) ** 2).mean())) < -19


def test_a_clip_of_one_frame(tmp_path):
    one = written(tmp_path, clip([bouncing()[0]]))
    if one.kind is Kind.VIDEO:
        with pytest.raises(NotUnderstood):
            Foley().generate(ask(one))
        assert sound_of(Foley().generate(ask(one, "rain, drum"))).shape[1] == 2000


def test_a_corrupt_file(tmp_path, bounce):
    path = tmp_path / "broken.mp4"
    data = bytearray(bounce.path.read_bytes())
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(UnreadableMedia):
        all_of(Foley().generate(ask(replace(bounce, path=path), "wind")))


def test_too_long_is_refused_before_decoding(bounce):
    with pytest.raises(UsageError, match="28800 s"):
        Foley().generate(ask(replace(bounce, duration_s=28800.0), "wind"))


@pytest.mark.parametrize(
    ("more", "word"),
    [({"parameters": {"loud": 1}}, "no parameter"), ({"parameters": {"mix": "x"}}, "replace"),
     ({"width": 64, "height": 64}, "size"), ({"duration_s": 9.0}, "duration")],
)  # fmt: skip
def test_wrong_requests(bounce, more, word):
    with pytest.raises(UsageError, match=word):
        Foley().generate(ask(bounce, "wind", **more))


@pytest.mark.parametrize("after", [5, 45])
def test_cancel_midway(bounce, after):
    polls = iter([False] * after + [True] * 100_000)
    with pytest.raises(Cancelled):
        all_of(Foley().generate(ask(bounce, "wood"), cancelled=lambda: next(polls)))

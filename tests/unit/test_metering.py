"""One pass feeds every metric; what it cannot give is a reason, never a number."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe import media, testing
from avsafe.errors import UnreadableMedia, Unscorable
from avsafe.media.replay import Replay
from avsafe.metering import Mono, measure
from avsafe.types import Clip, Column, Gathered, Kind, MetricInfo, RawMedia, Sample


class Probe:
    """Keeps what it was shown."""

    def __init__(self, *, beside="", fail_at=None, wants=("luma", "sound", "mono16k"), raises=None):
        self.info = MetricInfo(
            "probe", "1", "Probe", (Column("", "", "none", ""),), wants, "video", beside=beside
        )
        self.fail_at, self.raises = fail_at, raises
        self.seen, self.heard, self.gathered = [], {}, None

    def prepare(self):
        pass

    def digests(self):
        return {}

    def open(self, clip: Clip):
        self.clip = clip
        return self

    def frame(self, view, beside):
        if self.fail_at == view.index:
            raise self.raises
        assert view.previous is None or view.previous.previous is None, "the past is not kept"
        self.seen.append((view.time_s, None if beside is None else beside.time_s))

    def samples(self, block, rate_hz, role):
        self.heard[role] = self.heard.get(role, 0) + block.shape[1]

    def finish(self, gathered: Gathered):
        self.gathered = gathered
        return {"": float(gathered.frame_count)}


def play(metrics, raw, **beside):
    others = {role: media.replayed(other) for role, other in beside.items()}
    return measure(metrics, Sample("s", {}), media.replayed(raw), others)


def test_every_metric_sees_all_frames_and_all_sound_once():
    raw = testing.textured_clip(1.0, 64, 48)
    a, b = Probe(), Probe()
    found = play({"a": a, "b": b}, raw)
    assert found["a"].values == {"probe": 25.0}
    assert len(a.seen) == len(b.seen) == 25
    assert a.heard == {"clip": 48000}
    assert a.gathered.mono16k.shape == (16000,)
    assert a.gathered is not None
    assert a.gathered.mono16k is b.gathered.mono16k, "resampled once for both"


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(50), Fraction(25, 2), Fraction(24)])
def test_the_file_beside_shows_the_frame_of_that_time(rate):
    raw = testing.textured_clip(1.0, 64, 48, sound=False)
    other = testing.textured_clip(1.0, 64, 48, rate, sound=False)
    probe = Probe(beside="reference", wants=("luma",))
    play({"p": probe}, raw, reference=other)
    for time_s, beside_s in probe.seen[:20]:
        assert abs(time_s - beside_s) <= 0.5 / float(rate) + 1e-9


@pytest.mark.parametrize("frames", [1, 10, 24])
def test_a_short_file_beside_ends_and_is_not_held(frames):
    raw = testing.textured_clip(1.0, 64, 48, sound=False)
    probe = Probe(beside="reference", wants=("luma",))
    short = testing.textured_clip(frames / 25, 64, 48, sound=False)
    play({"p": probe}, raw, reference=short)
    assert [beside is None for _, beside in probe.seen] == [False] * frames + [True] * (25 - frames)


def test_a_still_beside_stands_still():
    raw = testing.textured_clip(1.0, 64, 48, sound=False)
    probe = Probe(beside="source", wants=("luma",))
    play({"p": probe}, raw, source=testing.still(64, 48))
    assert {beside for _, beside in probe.seen} == {0.0}


@pytest.mark.parametrize(
    ("error", "said"),
    [(Unscorable("too dark"), "too dark"), (ZeroDivisionError("x"), "the metric failed")],
)
def test_one_metric_that_stops_leaves_the_others_alone(error, said):
    raw = testing.textured_clip(0.4, 64, 48)
    bad, good = Probe(fail_at=3, raises=error), Probe()
    found = play({"bad": bad, "good": good}, raw)
    assert said in found["bad"].values["probe"]
    assert found["good"].values == {"probe": 10.0}


def test_an_answer_that_is_none_is_that_metrics_fault():
    class Strange(Probe):
        def finish(self, gathered):
            return self.raises

    raw = testing.textured_clip(0.2, 64, 48)
    for answer in (None, {"": None}, {"": [1.0, 2.0]}):
        found = play({"bad": Strange(raises=answer), "good": Probe()}, raw)
        assert "the metric failed" in found["bad"].values["probe"]
        assert found["good"].values == {"probe": 5.0}


def test_a_file_beside_that_breaks_ends_only_the_metrics_that_want_it():
    raw = testing.textured_clip(0.4, 64, 48, sound=False)

    def torn():
        for index, piece in enumerate(media.replayed(raw)):
            if index == 4:
                raise UnreadableMedia("torn at 4")
            yield piece

    beside, alone = Probe(beside="reference", wants=("luma",)), Probe(wants=("luma",))
    playing = replace(media.replayed(raw), start=torn)
    clip = media.replayed(raw)
    found = measure({"b": beside, "a": alone}, Sample("s", {}), clip, {"reference": playing})
    assert "torn at 4" in found["b"].values["probe"]
    assert found["a"].values == {"probe": 10.0}


def test_faces_that_cannot_be_followed_are_a_reason_of_their_metrics_alone():
    raw = testing.textured_clip(0.2, 64, 48, Fraction(2000), sound=False)
    found = play({"f": Probe(wants=("faces",)), "a": Probe(wants=("luma",))}, raw)
    assert "faces cannot be followed" in found["f"].values["probe"]
    assert found["a"].values == {"probe": 400.0}


def test_a_set_metric_may_say_why_it_has_no_features():
    class OfSet(Probe):
        def finish(self, gathered):
            return {"": "no face in it"}

    probe = OfSet(wants=("luma",))
    probe.info = replace(probe.info, scope="set")
    found = play({"p": probe}, testing.textured_clip(0.2, 64, 48, sound=False))
    assert (found["p"].values, found["p"].features) == ({"probe": "no face in it"}, {})


def test_what_a_clip_lacks_is_the_reason():
    silent = testing.textured_clip(0.4, 64, 48, sound=False)
    assert play({"p": Probe()}, silent)["p"].values == {"probe": "the clip has no sound"}
    sound = testing.sound_only(1.0)
    assert play({"p": Probe()}, sound)["p"].values == {"probe": "the clip has no pictures"}
    alone = play({"p": Probe(beside="reference")}, testing.textured_clip(0.4, 64, 48))
    assert alone["p"].values == {"probe": "the clip has no reference"}


def test_not_a_number_is_a_reason():
    probe = Probe(wants=("luma",))
    probe.finish = lambda gathered: {"": float("nan")}
    found = play({"p": probe}, testing.textured_clip(0.2, 64, 48, sound=False))
    assert found["p"].values == {"probe": "the value is nan"}


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("step", [333, 4800])
def test_mono_sound_keeps_time_and_level(rate_hz, step):
    t = np.arange(rate_hz) / rate_hz
    tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    mono = Mono(rate_hz)
    for start in range(0, rate_hz, step):
        mono.take(np.tile(tone[start : start + step], (2, 1)))
    whole = mono.whole()
    assert whole.shape == (16000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(whole - expected)[200:-200].max() < 0.02


def test_files_play_as_memory_does(tmp_path):
    raw = testing.textured_clip(0.6, 128, 96)
    path = tmp_path / "clip.mp4"
    media.encode(raw, path)
    forms = ("rgb", "luma")
    trusted = list(media.play(path, pictures=forms, trusted=True))
    boxed = list(media.play(path, pictures=forms))
    assert len(trusted) == len(boxed)
    for one, other in zip(trusted, boxed, strict=True):
        assert one.time_s == other.time_s
        for name in ("rgb", "luma", "block"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(a, b)
    frames = [piece for piece in boxed if piece.rgb is not None]
    assert len(frames) == 15
    decoded = list(media.decode(path, trusted=True).frames)
    assert all(np.array_equal(a.rgb, b) for a, b in zip(frames, decoded, strict=True))
    only = list(media.play(path, pictures=("luma",), samples=False, trusted=True))
    assert all(piece.block is None and piece.rgb is None for piece in only)
    assert all(np.array_equal(a.luma, b.luma) for a, b in zip(only, frames, strict=True))


def test_a_picture_plays_as_one_frame(tmp_path):
    path = tmp_path / "still.png"
    media.encode(testing.still(64, 48), path)
    clip = media.play(path, pictures=("rgb",))
    assert clip.shape.kind is Kind.IMAGE
    assert [piece.rgb.shape for piece in clip] == [(48, 64, 3)]


def test_frames_of_raw_media_may_be_endless_generators_of_pieces():
    """Pieces come by time: sound of a second is not read before the first frame."""
    raw = testing.textured_clip(1.0, 64, 48)
    order = ["s" if piece.block is not None else "f" for piece in media.replayed(raw)]
    assert order[0] == "s"
    assert order[1] == "f"
    assert order.index("s", 1) < order.index("f", 4)


def test_flow_follows_a_shift():
    texture = testing.textured_clip(0.04, 400, 300, sound=False)
    frame = next(iter(texture.frames))
    frames = [np.ascontiguousarray(frame[:, i * 4 : i * 4 + 320]) for i in range(3)]
    raw = RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), Fraction(25), 3, 320, 300)
    seen = []
    probe = Probe(wants=("luma",))
    probe.frame = lambda view, beside: seen.append(view.flow())
    play({"p": probe}, raw)
    assert seen[0] is None
    scale = 256 / 300
    for flow in seen[1:]:
        assert np.median(flow[..., 0]) == pytest.approx(-4 * scale, abs=0.15)
        assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.15)

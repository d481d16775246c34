"""Luma is the decoder's own plane, stretched to full range; the truth is the range's formula."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import VideoReformatter
from PIL import Image

from avsafe import media, testing
from avsafe.errors import SandboxFailure, UsageError
from avsafe.media import colour, decoder, sandbox
from avsafe.media.features import examine
from avsafe.media.limits import Limits
from avsafe.media.survey import make_plan
from avsafe.media.wire import Message
from avsafe.types import Kind

NAMES = "avsafe.media.selftest:"


def gradient(bits: int, h: int = 34, w: int = 50) -> np.ndarray:
    """Every level of a plane, black below black and white above white included."""
    values = np.arange(h * w, dtype=np.int64).reshape(h, w) * (1 << bits) // (h * w)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def frame_of(plane: np.ndarray, pixel_format: str, *, full: bool = False) -> av.VideoFrame:
    frame = av.VideoFrame(plane.shape[1], plane.shape[0], pixel_format)
    for number, target in enumerate(frame.planes):
        lines = np.frombuffer(target, np.uint8).reshape(target.height, target.line_size)
        lines[:] = 128
        if number == 0:
            raw = np.ascontiguousarray(plane).view(np.uint8)
            lines[:, : raw.shape[1]] = raw
    frame.color_range = 2 if full else 1
    return frame


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "nv12"])
def test_limited_range_is_stretched(pixel_format: str) -> None:
    plane = gradient(8)
    expected = np.clip(np.rint((plane.astype(float) - 16) * 255 / 219), 0, 255)
    found = colour.to_luma(frame_of(plane, pixel_format), VideoReformatter())
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p12le", "yuv444p16le"])
def test_deep_pictures_are_rounded(pixel_format: str) -> None:
    bits = int(pixel_format.removesuffix("le").rpartition("p")[2])
    plane = gradient(bits)
    step = 1 << (bits - 8)
    expected = np.clip(np.rint((plane.astype(float) / step - 16) * 255 / 219), 0, 255)
    found = colour.to_luma(frame_of(plane, pixel_format), VideoReformatter())
    assert (
        np.abs(found - expected).max() <= (found != expected).any()
    )  # a half may round either way
    assert (found != expected).mean() < 0.01


@pytest.mark.parametrize(("pixel_format", "full"), [("yuv420p", True), ("yuvj420p", False)])
def test_full_range_passes_and_is_a_copy(pixel_format: str, full: bool) -> None:
    plane = gradient(8)
    frame = frame_of(plane, pixel_format, full=full)
    found = colour.to_luma(frame, VideoReformatter())
    assert np.array_equal(found, plane)
    found[:] = 0
    assert np.array_equal(colour.to_luma(frame, VideoReformatter()), plane)


@pytest.mark.parametrize("pixel_format", ["gbrp", "rgb24", "bgr24", "pal8", "yuyv422"])
def test_other_formats_go_through_rgb(pixel_format: str) -> None:
    """Grey pictures have one truth, whatever the weights."""
    level = 90
    rgb = np.full((32, 48, 3), level, np.uint8)
    rgb[:, 24:] = 200
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    if pixel_format == "pal8":
        palette = np.stack([np.arange(256)] * 4, axis=1).astype(np.uint8)
        palette[:, 0] = 255  # alpha
        frame = av.VideoFrame.from_ndarray((rgb[..., 0], palette), format="pal8")
    elif pixel_format != "rgb24":
        frame = frame.reformat(format=pixel_format)
    found = colour.to_luma(frame, VideoReformatter())
    assert found.shape == (32, 48)
    assert np.abs(found.astype(int) - rgb[..., 0]).max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_rgb_and_luma_of_one_file_agree(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    media.encode(testing.textured_clip(0.4, 128, 96), path)
    wanted = {"rgb": NAMES + "Means", "luma": NAMES + "LumaMeans", "none": NAMES + "Deaf"}
    found = media.analyse(path, wanted)
    assert np.array_equal(found["rgb"]["times_s"], found["luma"]["times_s"])
    assert np.abs(found["rgb"]["means"] - found["luma"]["means"]).max() < 6
    assert len(found["none"]["means"]) == 0
    samples = {name: int(features["samples"][0]) for name, features in found.items()}
    assert len(set(samples.values())) == 1
    assert samples["none"] > 0.3 * 48000
    for name, target in wanted.items():  # alone as together
        alone = media.analyse(path, {name: target}, trusted=True)[name]
        assert all(np.array_equal(alone[key], found[name][key]) for key in alone)


def test_pictures_nobody_wants_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(0.4, 128, 96), path)

    def refused(*_: object) -> None:
        raise AssertionError("converted")

    monkeypatch.setattr(colour, "to_rgb", refused)
    assert media.analyse(path, {"l": NAMES + "LumaMeans"}, trusted=True)["l"]["means"].size
    monkeypatch.setattr(colour, "to_luma", refused)
    media.analyse(path, {"n": NAMES + "Deaf"}, trusted=True)
    with pytest.raises(AssertionError, match="converted"):
        media.analyse(path, {"l": NAMES + "LumaMeans"}, trusted=True)


def test_frames_that_nobody_wants_are_not_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.2, 128, 96), path)
    converted = []
    to_luma = colour.to_luma
    monkeypatch.setattr(colour, "to_luma", lambda *a: converted.append(a) or to_luma(*a))
    found = media.analyse(path, {"s": NAMES + "Seldom"}, trusted=True)["s"]
    assert found["times_s"] == pytest.approx([0.0, 0.52, 1.04])  # at 25 a second
    assert len(converted) == 3
    both = {"s": NAMES + "Seldom", "l": NAMES + "LumaMeans"}
    together = media.analyse(path, both, trusted=True)
    assert len(converted) == 3 + 30  # once for both
    assert np.array_equal(together["s"]["means"], found["means"])


def test_examine_is_probe_and_analyse_in_one(tmp_path: Path) -> None:
    path, sound = tmp_path / "clip.mp4", tmp_path / "sound.wav"
    clip = testing.textured_clip(0.4, 128, 96)
    media.encode(clip, path)
    media.encode(replace(clip, kind=Kind.AUDIO, frames=None, frame_rate=None), sound)
    wanted = {Kind.VIDEO: {"l": NAMES + "LumaMeans"}, Kind.AUDIO: {"n": NAMES + "Deaf"}}
    for one, kind in ((path, Kind.VIDEO), (sound, Kind.AUDIO)):
        for trusted in (False, True):
            seen, found = examine(one, wanted, trusted=trusted)
            assert seen == media.probe(one, trusted=True)
            alone = media.analyse(one, wanted[kind], trusted=True)
            assert found.keys() == alone.keys()
            for name, features in alone.items():
                assert all(np.array_equal(found[name][key], features[key]) for key in features)
    seen, found = examine(path, {})
    assert (seen.kind, found) == (Kind.VIDEO, {})


@pytest.mark.parametrize(
    "header", [{}, {"media": 5}, {"media": {"kind": "video"}}, {"media": {"kind": "worm"}}]
)
def test_a_description_that_is_none_is_a_sandbox_failure(
    header: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(0.2, 128, 96), path)

    @contextmanager
    def spoiled(*_: object, **__: object) -> Iterator[Iterator[Message]]:
        yield iter([Message(header, {})])

    monkeypatch.setattr(sandbox, "stream", spoiled)
    with pytest.raises(SandboxFailure, match="no description"):
        examine(path, {Kind.VIDEO: {}})


@pytest.mark.parametrize("wanted", ["Deaf", "LumaMeans"])
def test_a_silent_file_gives_no_samples(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(0.4, 128, 96, sound=False), path)
    found = media.analyse(path, {"x": NAMES + wanted}, trusted=True)["x"]
    assert int(found["samples"][0]) == 0
    assert len(found["means"]) == (0 if wanted == "Deaf" else 10)


def test_a_still_picture_has_luma(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 30), (255, 0, 0)).save(path)
    found = media.analyse(path, {"l": NAMES + "LumaMeans"}, trusted=True)["l"]
    assert found["means"] == pytest.approx([76])  # 0.299 of 255


def test_an_extractor_must_say_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 30), (255, 0, 0)).save(path)
    with pytest.raises(UsageError, match='picture = "rgb", "luma" or "none"'):
        media.analyse(path, {"l": NAMES + "Unstated"}, trusted=True)


def test_turned_luma_is_turned_rgb() -> None:
    """Every orientation, on a picture without symmetry."""
    plane = gradient(8)
    for transposed in (False, True):
        for flip_x in (False, True):
            for flip_y in (False, True):
                turn = colour.Orientation(transposed, flip_x, flip_y)
                rgb = colour.upright(np.stack([plane] * 3, axis=2), turn)
                assert np.array_equal(colour.upright(plane, turn), rgb[..., 0])


def test_frames_are_freed_without_the_collector(tmp_path: Path) -> None:
    """Or memory grows with the clip: a frame of 1080p is 3 MB, of which 300 once stayed."""
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(2.0, 64, 48, sound=False), path)
    plan = make_plan(path, Limits(), None)
    gc.collect()
    gc.disable()
    try:
        passed = decoder.events(path, plan, Limits(), None, pictures=("rgb", "luma"), samples=False)
        most = 0
        for _ in passed:
            alive = sum(  # by type: isinstance asks a weak proxy for what is gone
                issubclass(type(one), (av.VideoFrame, SideDataContainer))
                for one in gc.get_objects()
            )
            most = max(most, alive)
    finally:
        gc.enable()
    assert most <= 8

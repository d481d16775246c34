"""Maps as files, the frames they show, and details that make no sense: nothing crashes."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avsafe import media, testing
from avsafe.calibration import segment
from avsafe.errors import UsageError
from avsafe.maps import heatmap, timeline_text, write_maps
from avsafe.maps.details import MOST_SEGMENTS, Unfit, heat_of, lane_of, number
from avsafe.maps.frames import frames_at
from avsafe.types import Evidence, Kind, RawMedia
from tests.maps_kit import GREY, evidence, tiles, verdict

LIMITS = media.Limits()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "view.png"
    Image.fromarray(GREY).save(path)
    return path


# ---------------------------------------------------------------- files


def test_files_of_a_verdict(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    flat = evidence(heatmap=tiles(np.zeros((2, 2)), np.zeros((2, 2), bool)))
    hot = evidence("detector.mine", heatmap=tiles([[3.0]], [[True]]))
    timed = evidence("detector.speech", timeline=[segment(0, 1, 1, flagged=False)])
    maps = write_maps(verdict(picture, flat, hot, timed, evidence("credential")), out)
    assert [path.name for path in maps] == [
        "view.png.detector.image.png",
        "view.png.detector.image.plain.png",
        "view.png.detector.mine.png",
        "view.png.timeline.png",
    ]
    assert maps.warnings == []
    assert sorted(out.iterdir()) == sorted(maps)
    for path in maps:
        with Image.open(path) as image:
            assert image.format == "PNG"
            image.load()
    with Image.open(maps[1]) as image:
        plain = np.asarray(image)
    spots = (plain == 128).all(-1).sum()
    assert spots == 4 * GREY[..., 0].size, "the plain twin shows the picture as it is, enlarged"


def test_files_of_others_stay(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = verdict(picture, evidence(timeline=[segment(0, 1, 1, flagged=False)]))
    (path,) = write_maps(found, out)
    first = path.read_bytes()
    assert write_maps(found, out) == [path], "a map of ours is written again"
    path.write_bytes(b"somebody's notes")
    maps = write_maps(found, out)
    assert maps == []
    assert "left alone" in maps.warnings[0]
    assert path.read_bytes() == b"somebody's notes"
    assert write_maps(found, out, force=True) == [path]
    assert path.read_bytes() == first
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not a map")
    path.unlink()
    path.symlink_to(elsewhere)
    assert write_maps(found, out) == []
    assert elsewhere.read_bytes() == b"not a map"
    assert sorted(p.name for p in out.iterdir()) == [path.name], "no temporary file is left"


def test_a_folder_that_cannot_be(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        write_maps(verdict(picture), tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be made"):
        write_maps(verdict(picture), tmp_path / "file" / "below")


def test_names_of_any_kind_are_harmless(tmp_path: Path) -> None:
    name = "a\n\x1b[31m\u202e\u4e2d\u00e9" + "n" * 120 + ".png"
    path = tmp_path / name
    Image.fromarray(GREY).save(path)
    found = evidence("detector.../../up\x00", heatmap=tiles([[3.0]], [[True]]))
    maps = write_maps(verdict(path, found, found), tmp_path / "out")
    assert len(maps) == 2
    assert len(set(maps)) == 2
    for written in maps:
        assert written.parent == tmp_path / "out"
        assert written.name.isascii()
        assert written.name.isprintable()
        assert len(written.name) < 200


def test_a_file_that_changed_meanwhile_is_not_shown(picture: Path, tmp_path: Path) -> None:
    found = verdict(picture, evidence(heatmap=tiles([[3.0]], [[True]])))
    Image.fromarray(GREY // 2).save(picture)
    maps = write_maps(found, tmp_path / "out")
    assert maps == []
    assert "no longer the one" in maps.warnings[0]
    picture.unlink()
    assert "cannot be read again" in write_maps(found, tmp_path / "out").warnings[0]


def test_a_file_that_nobody_can_read_has_a_timeline_still(tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(500))
    found = evidence(heatmap=tiles([[3.0]], [[True]]), timeline=[segment(0, 1, 1, flagged=False)])
    maps = write_maps(verdict(path, found), tmp_path / "out")
    assert [p.name for p in maps] == ["bad.mp4.timeline.png"]
    assert "cannot be read again" in maps.warnings[0]


# ---------------------------------------------------------------- frames


def test_the_frame_of_the_time(tmp_path: Path) -> None:
    levels = [20 + 8 * index for index in range(25)]
    frames = [np.full((64, 96, 3), level, np.uint8) for level in levels]
    raw = RawMedia(Kind.VIDEO, frames, Fraction(10), 25, 96, 64)
    path = tmp_path / "steps.mp4"
    media.encode(raw, path, media.EncodeSpec(crf=10))
    found = frames_at(path, [0.0, 0.5, 1.2, 2.4, 9.0], LIMITS, 48)
    assert sorted(found) == [0.0, 0.5, 1.2, 2.4], "nothing is shown at 9 s"
    for time_s, shown in found.items():
        assert shown.shape == (32, 48, 3)
        assert abs(float(shown.mean()) - levels[round(time_s * 10)]) < 3
    late = evidence(heatmap=tiles([[3.0]], [[True]], time_s=9.0))
    early = evidence(heatmap=tiles([[3.0]], [[True]], time_s=1.2))
    maps = write_maps(verdict(path, late, early), tmp_path / "out")
    assert len(maps) == 1
    assert "no frame at 9 s" in maps.warnings[0]


def test_a_still_picture_has_no_time(picture: Path) -> None:
    assert np.array_equal(frames_at(picture, [0.0], LIMITS, 1280)[0.0], GREY)


# ---------------------------------------------------------------- hostile details

LOOP: list[Any] = []
LOOP.append(LOOP)
BAD_HEAT: list[Any] = [
    7, "text", [], [[1.0]], LOOP,
    {"box": [0, 0, 1, 1]},
    {"box": [0, 0, 1, 1], "llr": [], "flagged": []},
    {"box": [0, 0, 1, 1], "llr": [[]], "flagged": [[]]},
    {"box": [0, 0, 1, 1], "llr": [[1.0], [1.0, 2.0]], "flagged": [[True], [True]]},
    {"box": [0, 0, 1, 1], "llr": [[1.0, 1.0]], "flagged": [[True]]},
    {"box": [0, 0, 1, 1], "llr": [1.0], "flagged": [True]},
    {"box": [0, 0, 1, 1], "llr": {"0": 1}, "flagged": [[True]]},
    {"box": [0, 0, 1, 1], "llr": [[1.0] * 300] * 300, "flagged": [[True] * 300] * 300},
    {"box": [0, 0, 1, 1], "llr": np.zeros((3, 3, 3)), "flagged": np.zeros((3, 3))},
    {"box": [0, 0, 1, 2], "llr": [[1.0]], "flagged": [[True]]},
    {"box": [0.5, 0, 0.5, 1], "llr": [[1.0]], "flagged": [[True]]},
    {"box": [0, 0, math.nan, 1], "llr": [[1.0]], "flagged": [[True]]},
    {"box": "0011", "llr": [[1.0]], "flagged": [[True]]},
    {"box": [0, 0, 1, 1], "llr": [[1.0]], "flagged": [[True]], "time_s": -1},
    {"box": [0, 0, 1, 1], "llr": [[1.0]], "flagged": [[True]], "time_s": math.nan},
    {"box": [0, 0, 1, 1], "llr": [[1.0]], "flagged": [[True]], "time_s": 1e12},
    {"box": [0, 0, 1, 1], "llr": [[1.0]], "flagged": [[True]], "time_s": [3]},
]  # fmt: skip
BAD_LINES: list[Any] = [
    7, "text", {}, [], LOOP, [None, 3, "x", [1]],
    [{"start_s": -2, "end_s": -1, "llr": 1, "flagged": True}],
    [{"start_s": 2, "end_s": 1, "llr": 1, "flagged": True}],
    [{"start_s": 0, "end_s": math.inf, "llr": 1, "flagged": True}],
    [{"start_s": 0, "end_s": math.nan, "llr": 1, "flagged": True}],
    [{"start_s": 0, "end_s": 10**400, "llr": 1, "flagged": True}],
    [{"start_s": "0", "end_s": "1", "llr": 1, "flagged": True}],
    [{"end_s": 1}],
]  # fmt: skip


@pytest.mark.parametrize("given", BAD_HEAT, ids=range(len(BAD_HEAT)))
def test_heat_maps_that_make_no_sense_are_left_out(
    given: Any, picture: Path, tmp_path: Path
) -> None:
    maps = write_maps(verdict(picture, evidence(heatmap=given)), tmp_path / "out")
    assert maps == []
    assert len(maps.warnings) == 1
    assert "detector.image" in maps.warnings[0]


@pytest.mark.parametrize("given", BAD_LINES, ids=range(len(BAD_LINES)))
def test_timelines_that_make_no_sense_are_left_out(
    given: Any, picture: Path, tmp_path: Path
) -> None:
    found = evidence(timeline=given)
    maps = write_maps(verdict(picture, found), tmp_path / "out")
    assert maps == []
    assert len(maps.warnings) == 1
    assert timeline_text([found]) == ""


def test_odd_values_among_good_ones(picture: Path, tmp_path: Path) -> None:
    odd: list[Any] = [math.nan, math.inf, -math.inf, None, "x", 10**400, True, 1e308, [1]]
    given = {"box": [0, 0, 1, 1], "llr": [odd], "flagged": [[True] * len(odd)], "fdr": "no"}
    found = heat_of(evidence(heatmap=given), 60)
    judged = np.isfinite(found.llr[0]).tolist()
    assert judged == [False] * 6 + [True, True, False]
    assert found.flagged[0].tolist() == judged, "what was not judged is not flagged"
    assert found.fdr is None
    with np.errstate(all="raise"):
        heatmap.draw(found, GREY, source="s", condition="", summary="", name="")
    good = segment(0, 1, 1e300, flagged=True)
    strange = {"start_s": 1, "end_s": 2, "llr": "x", "flagged": "yes"}
    maps = write_maps(verdict(picture, evidence(timeline=[good, strange, None])), tmp_path / "out")
    assert len(maps) == 1
    assert maps.warnings == ["The timeline of detector.image is drawn without 1 of 3 segments."]


def test_a_million_segments_cost_no_more_than_twenty_thousand(
    picture: Path, tmp_path: Path
) -> None:
    found = evidence(timeline=[segment(0, 1, 1, flagged=False)] * 1_000_000)
    assert len(lane_of(found, 3600).llr) == MOST_SEGMENTS
    maps = write_maps(verdict(picture, found), tmp_path / "out")
    assert len(maps) == 1
    assert "980000 of 1000000" in maps.warnings[0]


def test_many_sources_are_cut(picture: Path, tmp_path: Path) -> None:
    found = evidence(timeline=[segment(0, 1, 1, flagged=False)])
    maps = write_maps(verdict(picture, *[found] * 50), tmp_path / "out")
    assert len(maps) == 1
    assert "more than 16 timelines" in maps.warnings[0]


def test_evidence_without_details_or_names(picture: Path, tmp_path: Path) -> None:
    strange = Evidence(3, "?", None, details=[1])  # type: ignore[arg-type]
    named = replace(strange, details={"heatmap": tiles([[1.0]], [[True]]), "condition": 9})
    maps = write_maps(verdict(picture, strange, named), tmp_path / "out")
    assert [path.name for path in maps] == ["view.png.unnamed.png"]


def test_numbers() -> None:
    assert number(np.float32(0.5)) == 0.5
    assert number(np.int64(3)) == 3.0
    for value in (True, np.bool_(True), "1", None, 1j, np.array([1.0]), math.inf):
        assert number(value) is None


def test_a_reason_is_a_sentence() -> None:
    with pytest.raises(Unfit, match="2 x 1 tiles and flagged 1 x 1"):
        heat_of(evidence(heatmap={"box": [0, 0, 1, 1], "llr": [[1], [2]], "flagged": [[True]]}), 9)


def test_of_a_real_clip(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(0.4, 1600, 200, sound=False), path)
    maps = write_maps(
        verdict(path, evidence(heatmap=tiles([[3.0]], [[True]], time_s=0.2))), tmp_path
    )
    with Image.open(maps[0]) as image:
        assert image.width == 1280 + 40

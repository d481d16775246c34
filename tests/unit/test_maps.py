"""Maps of what detectors saw: the right place, the right time, the right colour.

Legend: a picture is (h, w, 3) uint8 RGB; colours are RGB.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from avsafe.calibration import CAP, segment
from avsafe.maps import drawing, heatmap, timeline, timeline_text
from avsafe.maps.details import Heat, Lane, heat_of, lane_of
from tests.maps_kit import GREY, evidence, tiles


def heat(llr: Any, flagged: Any = None, box: tuple[float, ...] = (0, 0, 1, 1)) -> Heat:
    flagged = np.zeros(np.shape(llr), bool) if flagged is None else flagged
    return heat_of(evidence(heatmap=tiles(llr, flagged, box)), 60)


def warmth(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., 0].astype(int) - rgb[..., 2].astype(int)


def yellow(image: np.ndarray) -> np.ndarray:
    return (image == drawing.FLAG).all(-1)


# ---------------------------------------------------------------- colours


def test_colours_rise_from_blue_to_orange_with_llr() -> None:
    scale = warmth(drawing.tint(np.linspace(-CAP, CAP, 121)))
    assert (np.diff(scale) >= 0).all()
    assert scale[0] < -100 < 100 < scale[-1]
    assert abs(scale[60]) < 5
    beyond = drawing.tint(np.array([-99.0, -CAP, CAP, 99.0]))
    assert np.array_equal(beyond[0], beyond[1])
    assert np.array_equal(beyond[2], beyond[3])


def test_tiles_over_a_picture_rise_with_llr_and_hide_least_where_nothing_is_said() -> None:
    shown = heatmap.blended(heat([[-3.0, -1.5, 0.0, 1.5, 3.0]]), np.full((60, 500, 3), 128, "u1"))
    middles = shown[30, 50::100].astype(int)
    assert (np.diff(warmth(middles)) > 10).all()
    assert np.abs(middles[2] - 128).max() < 10


@pytest.mark.parametrize("matrix", [  # Machado et al. 2009, severity 1
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
     [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
     [-0.011820, 0.042940, 0.968881]],
])  # fmt: skip
def test_the_ends_of_the_scale_differ_without_red_or_green_cones(matrix: Any) -> None:
    linear = (drawing.tint(np.array([-CAP, 0.0, CAP])) / 255.0) ** 2.2
    seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2) * 255
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.linalg.norm(seen[a] - seen[b]) > 90


# ---------------------------------------------------------------- the heat map


def test_a_flagged_tile_is_outlined_where_it_lies() -> None:
    flagged = np.zeros((3, 4), bool)
    flagged[1, 2] = True
    drawn = heatmap.draw(
        heat(np.zeros((3, 4)), flagged, (0.1, 0.2, 0.9, 0.8)),
        np.full((600, 800, 3), 128, np.uint8), source="s", condition="c", summary="t", name="n",
    )  # fmt: skip
    left, top, width, height = drawn.place
    assert (width, height) == (800, 600)
    inside = np.asarray(drawn.image)[top : top + height, left : left + width]
    ys, xs = np.nonzero(yellow(inside))
    # box 80..720 x 120..480 in 4 x 3 tiles of 160 x 120: column 2, row 1
    for found, expected in ((xs.min(), 400), (xs.max(), 560), (ys.min(), 240), (ys.max(), 360)):
        assert abs(found - expected) <= 2
    assert not yellow(inside[250:350, 410:550]).any()


def test_two_flagged_neighbours_have_one_outline() -> None:
    found = heat(np.ones((2, 4)), [[True, True, False, False], [False] * 4])
    drawn = heatmap.draw(found, np.full((600, 800, 3), 128, np.uint8), source="s", condition="c",
                         summary="t", name="n")  # fmt: skip
    left, top, width, height = drawn.place
    inside = np.asarray(drawn.image)[top : top + height, left : left + width]
    assert yellow(inside)[:, 398:403].any()
    assert not yellow(inside)[20:280, 190:210].any()


def test_what_was_not_judged_is_hatched_and_what_lies_outside_is_untouched() -> None:
    shown = heatmap.blended(heat([[math.nan, 0.0]], box=(0.25, 0, 0.75, 1)), GREY)
    assert np.array_equal(shown[:, :100], GREY[:, :100])
    assert np.array_equal(shown[:, 300:], GREY[:, 300:])
    silent, judged = shown[:, 100:200, 0].astype(int), shown[:, 200:300, 0].astype(int)
    assert len(np.unique(silent)) >= 3
    assert np.ptp(silent) > 60
    assert np.ptp(judged) == 0


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (1, 1280), (1280, 1), (37, 53), (480, 640)])
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (200, 200)])
def test_any_size_can_be_drawn(shape: tuple[int, int], grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    found = heat(rng.normal(size=grid), rng.random(grid) > 0.5, (0.3, 0.3, 0.6, 0.7))
    drawn = heatmap.draw(found, np.zeros((*shape, 3), np.uint8), source="s" * 300,
                         condition="c" * 300, summary="w" * 900, name="n" * 300)  # fmt: skip
    image = np.asarray(drawn.image)
    assert 640 <= image.shape[1] <= 1400
    for margin in (image[:, :4], image[:, -4:], image[:4], image[-4:]):
        assert (margin == 255).all(), "something runs out of the sheet"


def test_titles_name_source_condition_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none of 4 tiles" in heatmap._counted(heat(np.zeros((2, 2))), True).lower()
    written: list[str] = []
    from PIL import ImageDraw

    text = ImageDraw.ImageDraw.text

    def kept(self: Any, xy: Any, string: str, *args: Any, **kwargs: Any) -> None:
        written.append(string)
        text(self, xy, string, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", kept)
    heatmap.draw(replace(heat(np.zeros((2, 2))), time_s=1.5), GREY, source="detector.image",
                 condition="photo, JPEG 50", summary="Some signs.", name="a.mp4")  # fmt: skip
    assert written[0] == "detector.image  ·  photo, JPEG 50  ·  FDR 5 %"
    assert "a.mp4, frame at 1.50 s" in written
    assert "Some signs." in written
    assert any("not thereby real" in line for line in written)


# ---------------------------------------------------------------- the timeline


def lane(*parts: dict[str, Any]) -> Lane:
    return lane_of(evidence("detector.speech", timeline=list(parts)), 3600)


def test_segments_stand_at_their_seconds() -> None:
    found = lane(
        segment(0, 2, -3, flagged=False),
        segment(2, 5, 3, flagged=True),
        segment(6, 8, None, flagged=False),
        segment(8, 10, 0, flagged=False),
    )
    image = np.asarray(timeline.draw([found], name="n", label="inconclusive"))
    assert image.shape[1] == 1000

    def x(time_s: float) -> int:
        return round(timeline.LEFT + (timeline.RIGHT - timeline.LEFT) * time_s / 10)

    middle = image[timeline.TOP + 5 : timeline.TOP + timeline.BAR_PX - 5]
    ys, xs = np.nonzero(yellow(image[timeline.TOP - 3 : timeline.TOP + timeline.BAR_PX + 3]))
    assert abs(xs.min() - x(2)) <= 2
    assert abs(xs.max() - x(5)) <= 2
    assert (ys.min(), ys.max()) == (2, timeline.BAR_PX + 3)
    assert (middle[:, x(0.1) : x(1.8)] == drawing.tint(np.array([-3.0]))[0]).all()
    assert (middle[:, x(2.2) : x(4.8)] == drawing.tint(np.array([3.0]))[0]).all()
    assert (middle[:, x(5.1) : x(5.9)] == drawing.EMPTY).all()
    assert len(np.unique(middle[:, x(6.1) : x(7.9), 0])) == 3
    assert (middle[:, x(8.1) : x(9.9)] == drawing.tint(np.array([0.0]))[0]).all()


def test_ticks_stand_at_round_seconds_and_never_touch() -> None:
    for duration_s in (0.001, 0.3, 1, 4.9, 10, 61, 312, 3600):
        at = timeline.ticks(duration_s, 10)
        assert 3 <= len(at) <= 10
        assert at[0] == 0
        assert at[-1] <= duration_s * 1.0001
        steps = np.diff(at)
        assert np.allclose(steps, steps[0])
        assert steps[0] / 10 ** math.floor(math.log10(steps[0] * 1.0001)) == pytest.approx(
            round(steps[0] / 10 ** math.floor(math.log10(steps[0] * 1.0001)))
        )
        labels = [f"{time_s:g} s" for time_s in at]
        widths = [drawing.font(14).getlength(label) for label in labels]
        gap = timeline.x_of(steps[0], duration_s) - timeline.LEFT
        assert max(widths) + 4 < gap


def test_overlapping_windows_show_their_mean_and_any_flag() -> None:
    found = lane(segment(0, 2, 2, flagged=True), segment(1, 3, 0, flagged=False),
                 segment(2, 4, None, flagged=False))  # fmt: skip
    seen = timeline.columns(found, 4, 4.0)
    assert seen.llr[:3].tolist() == [2.0, 1.0, 0.0]
    assert math.isnan(seen.llr[3])
    assert seen.flagged.tolist() == [True, True, False, False]
    assert seen.covered.all()


def test_windows_that_end_with_their_last_frame_leave_no_gap() -> None:
    parts = [segment(t, t + 0.96, 1, flagged=False) for t in range(4)]
    assert timeline.columns(lane(*parts), 700, 3.96).covered.all()
    apart = lane(segment(0, 1, 1, flagged=False), segment(1.2, 2, 1, flagged=False))
    assert (~timeline.columns(apart, 200, 2.0).covered).sum() == 20


def test_the_shortest_flag_is_seen() -> None:
    found = lane(segment(0, 3600, 0, flagged=False), segment(1800, 1800.01, 3, flagged=True))
    assert timeline.columns(found, 740, 3600.0).flagged.sum() == 1


def test_long_names_stay_in_the_gutter() -> None:
    found = replace(lane(segment(0, 9, 1, flagged=False)), source="x" * 300, condition="W" * 300)
    image = np.asarray(timeline.draw([found] * 16, name="n" * 500, label="l" * 300))
    gutter = image[timeline.TOP - 8 :, timeline.LEFT - 8 : timeline.LEFT - 2]
    assert (gutter[: 16 * timeline.PITCH_PX] == 255).all()
    for margin in (image[:, :4], image[:, -4:], image[:4], image[-4:]):
        assert (margin == 255).all()


# ---------------------------------------------------------------- text


def plain_text(text: str) -> list[str]:
    return Text.from_markup(text).plain.splitlines()


@pytest.mark.parametrize("width", [0, 40, 80, 133, 10**6])
@pytest.mark.parametrize("plain", [False, True])
def test_text_fits_the_terminal(width: int, plain: bool) -> None:
    parts = [segment(t, t + 1, None if t == 3 else t - 5, flagged=t in (7, 8)) for t in range(12)]
    found = [evidence("detector.speech[b]", timeline=parts), evidence("d" * 99, timeline=parts)]
    lines = plain_text(timeline_text(found, width, plain=plain))
    assert len(lines) == 5
    assert all(len(line) <= min(max(width, 40), 400) for line in lines[:3])
    assert lines[0].startswith("speech[b]")
    assert "7-9 s" in lines[3]
    assert not plain or all(line.isascii() for line in lines[:3])


def test_blocks_stand_over_their_seconds_and_rise_with_llr() -> None:
    parts = [segment(t, t + 1, -3 + 1.2 * t, flagged=t == 5) for t in range(6)]
    line, axis, flagged = plain_text(timeline_text([evidence("detector.v", timeline=parts)], 63))
    assert line[3:] == "".join(level * 10 for level in "▁▂▃▄▅█")
    assert axis[3:].startswith("0 s")
    assert axis.index("2 s") == 3 + 20
    assert axis.index("4 s") == 3 + 40
    assert flagged.strip() == "flagged: 5-6 s"


def test_nothing_to_show_is_no_text() -> None:
    assert timeline_text([]) == ""
    assert timeline_text([evidence("credential")]) == ""


def test_many_flags_are_counted() -> None:
    parts = [segment(2 * t, 2 * t + 1, 3, flagged=True) for t in range(9)]
    assert "and 5 more" in timeline_text([evidence(timeline=parts)])


def test_markup_in_a_name_stays_text() -> None:
    text = timeline_text([evidence("[link=x]\x1b[31m", timeline=[segment(0, 1, 1, flagged=False)])])
    assert "\x1b" not in text
    assert plain_text(text)[0].startswith("[link=x]")


# ---------------------------------------------------------------- the shell


def test_maps_import_nothing_heavy() -> None:
    code = (
        "import sys; from avsafe.maps import write_maps, timeline_text;"
        "print([m for m in ('torch', 'librosa', 'pandas', 'matplotlib', 'scipy', 'av') "
        "if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"

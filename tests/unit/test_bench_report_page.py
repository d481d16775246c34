"""The page of a quality suite: what it says, what it never shows; it needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from avsafe import media
from avsafe.bench import runfolder
from avsafe.bench.aggregate import aggregate
from avsafe.bench.report import charts, scores_page, scores_parts
from avsafe.bench.report.players import Players
from avsafe.errors import UsageError
from avsafe.testing import textured_clip
from tests import bench_runs

SYSTEMS = ("plain", "better", "twin")
_VOID = {"meta", "img", "input", "br", "link"}


class Checked(HTMLParser):
    """Every tag is closed in order; ids are unique; what is loaded is inside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name in ("src", "poster", "srcset", "data"):
                self.loaded.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Checked:
    found = Checked()
    found.feed(page)
    found.close()
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert all(one.startswith("data:") for one in found.loaded)
    assert all(one[1:] in found.ids for one in found.links if one.startswith("#"))
    assert all(one.startswith("#") or one == "data:," for one in found.links)
    return found


def drawn(folder: Path, **more: Any) -> str:
    aggregate(folder)
    return scores_page.write(folder, **more).read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three systems, one of which has media of our own; its clips exist for all three."""
    run = bench_runs.run_json(SYSTEMS)
    run["own_media"] = {"better": True, "plain": False}
    folder = bench_runs.write(tmp_path_factory.mktemp("runs") / "run", run=run)
    for system in SYSTEMS:
        (folder / system).mkdir()
        media.encode(textured_clip(0.4, 96, 64, sound=False), folder / system / "00-0.mp4")
    rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    for row in rows:
        path = folder / row.get("path", "none")
        row |= {"sha256": media.sha256_of(path)} if path.is_file() else {}
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return drawn(folder)


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    checked(page)
    for outside in ("http://", "https://", "@import", "url(", "fetch(", "XMLHttp", "eval("):
        assert outside not in page, outside
    assert "default-src 'none'" in page
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_every_section_is_there(page: str) -> None:
    for title in ("Leaderboard", "Profile", "Paired comparisons", "Distributions", "Whole sets",
                  "Worst clips", "All clips", "Failed and unscored",
                  "What was not computed, and why", "Where the figures come from"):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
    assert "<h2>Human votes" not in page


def test_it_says_what_was_found_and_where_nothing_was(page: str) -> None:
    text = _text(page)
    assert "better is better than every other system on Sharpness, Flicker and Speech" in text
    assert "No system is best beyond doubt on Safe" in text
    assert "144 clips expected, 2 not scored" in text
    assert "n 46 of 48" in text
    assert "weights 'clip' were not given: --weights clip=FILE" in page.replace("&#x27;", "'")
    assert "the file ends after N bytes" in text
    assert "41.5 up to 44; 46 and 154 clips" in text
    assert "beyond the reference's own spread" in page.replace("&#x27;", "'")
    assert "sandbox, libav 62 (144 clips)" in text


def test_bold_is_only_for_what_is_told_apart(folder: Path, page: str) -> None:
    figures = json.loads((folder / "aggregates.json").read_text())
    board = page[page.index('id="leaderboard"') : page.index('id="profile"')]
    bold = re.findall(r'<td class="num"[^>]*><b class="best">([^<]+)</b>', board)
    alone = [name for name, best in figures["best"].items() if best and best["alone"]]
    assert len(bold) == len(alone) == 3
    assert board.count('class="tie" title') == 3  # all three are alike on "safe"


def test_players_and_pictures_are_of_our_own_clips_only(page: str) -> None:
    found = checked(page)
    assert found.count["video"] >= 1
    videos = set(re.findall(r'src="data:video/mp4;base64,([^"]{20})', page))
    assert len(videos) == 1
    assert page.count("<video") == 1, "its bytes stand in the page once"
    clips = page[page.index('id="clips"') : page.index('id="failures"')]
    for row in re.findall(r"<tr>.*?</tr>", clips):
        shown = "<video" in row or "<img" in row
        assert shown == ("item 00" in row and "better" in row and "take" not in row)


def test_a_damaged_file_of_votes_is_said(tmp_path: Path) -> None:
    folder = bench_runs.write(tmp_path / "run", ["plain"])
    (folder / "votes.json").write_text("{")
    with pytest.raises(UsageError, match=r"votes\.json"):
        drawn(folder)


def test_a_file_that_was_not_measured_is_not_shown(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "private.mp4"
    media.encode(textured_clip(0.4, 96, 64, seed=9, sound=False), secret)
    row = {"status": "ok", "path": str(secret), "duration_s": 0.4, "sha256": "0" * 64}
    key = ("better", "x", "x")
    found = runfolder.read(folder)
    found.clips[key] = row
    assert Players(found, 10**9, 9).of(key) == ""
    found.clips[key] = row | {"sha256": media.sha256_of(secret)}
    assert "<video" in Players(found, 10**9, 9).of(key)


def test_of_others_there_is_neither_picture_nor_player_nor_path(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    other = {**run, "own_media": dict.fromkeys(SYSTEMS, False)}
    try:
        (folder / "run.json").write_text(json.dumps(other))
        page = drawn(folder)
    finally:
        (folder / "run.json").write_text(json.dumps(run))
        aggregate(folder)
    assert not re.search(r"<video|<audio|<img|base64", page)
    assert ".mp4" not in page
    assert str(folder) not in page
    assert "pictures and players of clips that are not our own" in page


def test_without_room_there_are_pictures_and_a_count(folder: Path) -> None:
    page = drawn(folder, embed_mb=0.0)
    assert "<video" not in page
    assert "<img" in page
    assert "1 clip of our own without a player" in page


def test_names_reasons_and_prompts_cannot_break_the_page(tmp_path: Path) -> None:
    evil = "</style><script>alert(1)</script>\"'<b>&\u202e"
    rows = bench_runs.rows(["twin"], items=9, samples=1)
    for row in rows:
        row["system"] = evil
        row["item"] = evil + row["item"]
        row["cluster"] = row["item"]
        if row["kind"] == "clip":
            row |= {"text": evil, "decoded_by": evil}
            if row["item"].endswith("08"):
                row |= {"status": "failed", "reason": evil}
        elif row["metric"] == "speech":
            row |= {"values": {"speech.quality": None}, "reasons": {"speech.quality": evil}}
    run = bench_runs.run_json([evil])
    run["title"] = run["question"] = run["suite"] = evil
    run["environment"] = {evil: evil}
    run["metrics"]["sharpness"] |= {"title": evil, "source": evil, "weights": {evil: evil}}
    run["metrics"]["sharpness"]["columns"][0] |= {"unit": evil, "summary": evil}
    run["metrics"]["clip_score"]["not_computed"] = evil
    folder = bench_runs.write(tmp_path, [evil], made=rows, run=run)
    (folder / "sets.json").write_text(json.dumps(
        {evil: {"frechet": {"value": 1.0, "details": {evil: evil}}}}
    ))  # fmt: skip
    found = checked(drawn(folder))
    assert found.count["script"] == 1
    assert found.count["style"] == 1


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_any_number_of_systems(count: int, tmp_path: Path) -> None:
    names = [f"system {i}" for i in range(count)]
    rows = []
    for name in names:
        made = bench_runs.rows(["twin"], items=9, samples=1, seed=len(rows))
        rows += [{**row, "system": name} for row in made]
    page = drawn(bench_runs.write(tmp_path, names, made=rows))
    checked(page)
    if count == 1:
        assert "there is nothing to compare" in page
    else:
        assert page.count("Profile of ") == (1 if count <= 4 else count)


def test_a_run_of_which_nothing_could_be_read(tmp_path: Path) -> None:
    rows = bench_runs.rows(["twin"], items=3, samples=1)
    rows = [{**r, "status": "failed", "reason": "no"} for r in rows if r["kind"] == "clip"]
    run = {**bench_runs.run_json(["twin"])}
    page = drawn(bench_runs.write(tmp_path, ["twin"], made=rows, run=run))
    checked(page)
    assert "A profile takes three headline scores" in page
    assert "3 not scored" in page


def test_it_wants_the_figures_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="aggregate the run first"):
        scores_page.write(bench_runs.write(tmp_path))


def test_an_axis_goes_outward_to_the_better_end(folder: Path, page: str) -> None:
    figures = json.loads((folder / "aggregates.json").read_text())
    assert scores_parts.axis_ends(figures, "sharpness") == (0.0, 1.0, "documented")
    ends = scores_parts.axis_ends(figures, "flicker")
    assert not isinstance(ends, str)
    assert ends[0] > ends[1]  # lower is better: the rim is the low end
    assert ends[2].startswith("observed")
    assert scores_parts.axis_ends(figures, "sync.offset") == "neither end is better"
    assert "a set has no clips" in str(scores_parts.axis_ends(figures, "frechet"))


def _radii(drawn: str) -> list[float]:
    spots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    return [round(((float(x) - 230) ** 2 + (float(y) - 165) ** 2) ** 0.5, 0) for x, y in spots]


def test_the_radar_puts_values_where_they_belong() -> None:
    axes = [charts.Axis(str(i), {"s": (share, None, None)}) for i, share in enumerate((0, 0.5, 1))]
    assert _radii(charts.radar(axes, ["s"], "t")) == [0, 56, 112]
    with pytest.raises(ValueError, match="three axes"):
        charts.radar(axes[:2], ["s"], "t")


def test_a_missing_figure_breaks_the_line_of_the_radar() -> None:
    axes = [charts.Axis(str(i), {"s": (0.5, 0.4, 0.6)}) for i in range(4)]
    whole = charts.radar(axes, ["s"], "t").count('stroke-width="2.2"')
    axes[1] = charts.Axis("gone", {"s": None})
    assert whole == 4
    assert charts.radar(axes, ["s"], "t").count('stroke-width="2.2"') == 2


def test_a_distribution_has_a_dot_for_every_clip() -> None:
    row = charts.Spread("s", 0, [1.0, 2.0, 3.0], (1, 1, 2, 3, 3), 2.0, 1.5, 2.5, "n 3 of 3")
    assert charts.spreads([row], "t").count("<circle") == 3
    same = charts.Spread("s", 0, [4.0, 4.0], (4, 4, 4, 4, 4), 4.0, 4.0, 4.0, "n 2 of 2")
    assert charts.spreads([same], "t").count("<circle") == 2
    assert charts.ticks(-1, 1) == [-1.0, -0.5, 0.0, 0.5, 1.0]

"""Suites as YAML: those that ship are whole, and every mistake in a user's own has its place."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from avsafe import plugins
from avsafe.bench import located, safety, suitefile, work
from avsafe.bench.suitefile import Make, MetricSpec
from avsafe.errors import MissingExtra, UsageError
from avsafe.types import GenerationRequest, Principal, Task

SMALL = """\
suite: mine
title: Mine
metrics: [temporal_flicker, {name: clip_score, parameters: {every: 4}}]
task: text-to-video
items:
  - {id: one, prompt: a red ball}
"""


def load(tmp_path: Path, text: str) -> suitefile.SuiteFile:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return suitefile.load(path)


# ---------------------------------------------------------------- those that ship


def test_the_seven_suites_ship() -> None:
    assert suitefile.names() == (
        "detectors", "edit", "i2v", "t2v", "talking-head", "v2a", "watermark"
    )  # fmt: skip


@pytest.mark.parametrize("name", suitefile.names())
def test_a_suite_that_ships_is_whole(name: str) -> None:
    suite = suitefile.load(name)
    assert suite.name == name
    generators = {n: plugins.generator_info(n) for n in plugins.catalogue("generators")}
    for made in suite.inputs.values():
        assert isinstance(made, Make)  # no file of anybody's
        info = generators[made.generator]
        assert info is not None
        assert made.task in info.tasks
    used = {n for item in suite.items for n in (*item.inputs.values(), *item.beside.values())}
    used |= {n for m in suite.inputs.values() if isinstance(m, Make) for n in m.inputs.values()}
    assert used == set(suite.inputs)
    assert all(item.task is not None and item.prompt and item.tags for item in suite.items)
    listed = {spec.name for spec in suite.metrics} | {"safety"}
    assert {score.partition(".")[0] for score in suite.headline} <= listed
    assert suite.safety != suite.detectors


def test_the_metrics_of_the_suites_are_registered() -> None:
    known = set(plugins.catalogue("metrics"))
    for name in suitefile.names():
        listed = {spec.name for spec in suitefile.load(name).metrics}
        assert listed <= known, name


def test_headlines_name_columns_that_there_are() -> None:
    points = plugins.catalogue("metrics")
    for name in suitefile.names():
        for score in suitefile.load(name).headline:
            metric, _, column = score.partition(".")
            info = safety.info() if metric == "safety" else points[metric].load().info
            assert column in {c.name for c in info.columns}, (name, score)


def test_the_suites_are_as_large_as_they_say() -> None:
    counts = {name: len(suitefile.load(name).items) for name in suitefile.names()}
    assert counts == {
        "t2v": 47, "i2v": 24, "v2a": 16, "talking-head": 12, "edit": 34, "watermark": 10,
        "detectors": 0,
    }  # fmt: skip


def test_prompts_of_one_cluster_share_their_seed_and_differ_in_a_word() -> None:
    clusters: dict[str, list[suitefile.Item]] = {}
    for item in suitefile.load("t2v").items:
        clusters.setdefault(item.cluster, []).append(item)
    pairs = [items for items in clusters.values() if len(items) > 1]
    assert len(pairs) >= 8
    for items in pairs:
        assert len({item.seed for item in items}) == 1
        words = [re.findall(r"\w+", item.prompt) for item in items]
        shared = set.intersection(*map(set, words))
        assert all(len(set(line) - shared) <= 4 for line in words), items


def test_a_v2a_system_hears_nothing_of_the_reference() -> None:
    suite = suitefile.load("v2a")
    for item in suite.items:
        silent = suite.inputs[item.inputs["video"]]
        assert isinstance(silent, Make)
        assert (silent.task, silent.prompt) == (Task.EDIT_VIDEO, "mute")
        assert silent.inputs["video"] == item.beside["reference"]


def test_world_finds_words_in_every_prompt_that_is_meant_for_it() -> None:
    world = plugins.load("generators", "world")
    for item in suitefile.load("t2v").items:
        if "open" in item.tags:
            continue
        asked = GenerationRequest(Principal("me"), Task.TEXT_TO_VIDEO, "world", item.prompt,
                                  width=64, height=64, duration_s=0.5, seed=item.seed)  # fmt: skip
        assert len(world.generate(asked).details["ignored"]) <= 1, item.prompt


# ---------------------------------------------------------------- a suite of one's own


def test_a_small_suite_and_its_defaults(tmp_path: Path) -> None:
    suite = load(tmp_path, SMALL)
    assert suite.metrics == (
        MetricSpec("temporal_flicker"), MetricSpec("clip_score", {"every": 4})
    )  # fmt: skip
    (item,) = suite.items
    assert (item.cluster, item.seed, item.task) == ("one", 0, Task.TEXT_TO_VIDEO)
    assert (suite.version, suite.safety, suite.size, suite.seconds) == ("1", True, None, None)
    assert suite.sha256 != load(tmp_path, SMALL + "# another\n").sha256


def test_anchors_and_merges_make_a_suite_shorter(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        SMALL + "inputs:\n"
        "  a: {make: &still {task: text-to-image, generator: world, size: [64, 48]}}\n"
        "  b: {make: {<<: *still, prompt: a cube}}\n",
    )
    a, b = suite.inputs["a"], suite.inputs["b"]
    assert isinstance(a, Make)
    assert b == replace(a, prompt="a cube")
    assert a.size == (64, 48)


def test_files_are_looked_for_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    text = SMALL.replace("prompt: a red ball", "prompt: zoom in, inputs: {image: photo}")
    suite = load(tmp_path, text + "beside: {source: image}\ninputs: {photo: {file: photo.png}}\n")
    assert suite.inputs == {"photo": tmp_path / "photo.png"}
    assert suite.items[0].beside == {"source": "photo"}
    sample = work.sample_of(suite, suite.items[0], {})
    assert sample.media == {"source": tmp_path / "photo.png"}


MISTAKES = {
    "no YAML": ("suite: [", r"line 1: this is no YAML: expected the node content"),
    "empty": ("# nothing\n", r"is empty"),
    "a list": ("- a\n", r"line 1: expected names with values, found a list"),
    "no title": ("suite: a\nmetrics: []\n", r"the field 'title' is missing"),
    "unknown field": (SMALL + "metric: []\n", r"line 7, metric: there is no such field. Known: s"),
    "twice": (SMALL + "title: B\n", r"line 7, title: it is there twice"),
    "task": (SMALL.replace("text-to-video", "movie"), r"line 4, task: 'movie' is no task \(known"),
    "seed": (
        SMALL.replace("a red ball", "a, seed: x"),
        r"line 6, items\[0\].seed: expected a whole number from 0, found 'x'",
    ),
    "truth as number": (
        SMALL.replace("a red ball", "a, seed: yes"), r"seed: expected a whole number.*found True"
    ),
    "id with a slash": (
        SMALL.replace("id: one", "id: ../one"), r"line 6, items\[0\].id: '../one' cannot name a fi"
    ),
    "id twice": (SMALL + "  - {id: one}\n", r"the id 'one' is there twice"),
    "no id": (SMALL + "  - {prompt: b}\n", r"line 7, items\[1\]: the item has no 'id'"),
    "item's field": (
        SMALL.replace("a red ball", "a, sed: 1"), r"line 6, items\[0\].sed: there is no such field"
    ),
    "unknown input": (
        SMALL.replace("a red ball", "a, inputs: {image: pic}"),
        r"items\[0\].inputs.image: no input is called 'pic' \(there are: none\)",
    ),
    "missing file": (
        SMALL + "inputs: {pic: {file: pic.png}}\n",
        r"line 7, inputs.pic.file: there is no file .*pic.png. Paths are taken from",
    ),
    "make and file": (SMALL + "inputs: {pic: {}}\n", r"inputs.pic: expected either 'make' or"),
    "make without task": (
        SMALL + "inputs: {pic: {make: {generator: world}}}\n", r"the field 'task' is missing"
    ),
    "a circle": (
        SMALL + "inputs:\n"
        "  a: {make: {task: edit-video, generator: edit, inputs: {video: b}}}\n"
        "  b: {make: {task: edit-video, generator: edit, inputs: {video: a}}}\n",
        r"line 8, inputs.a: this input is made from itself",
    ),
    "metric twice": (
        SMALL.replace("{name", "temporal_flicker, {name"), r"'temporal_flicker' is there twice"
    ),
    "metric without name": (SMALL.replace("name: clip_score, ", ""), r"the metric has no 'name'"),
    "requires": (SMALL + "requires: [faces]\n", r"'faces' cannot be required \(known: pictures"),
    "size": (SMALL + "generate: {size: [1, 2, 3]}\n", r"line 7, generate.size: expected one side"),
    "seconds": (SMALL + "generate: {seconds: 0}\n", r"expected more than 0 seconds, found 0"),
    "tag object": (
        SMALL.replace("a red ball", "!!python/object/apply:os.getcwd []"),
        r"line 6.*nothing of the kind tag.*python",
    ),
    "from without path": (SMALL + "from: {set: hdtf}\n", r"line 7, from: expected 'set'"),
    "unknown set": (
        SMALL + "from: {set: imagenet, path: .}\n", r"from: No loader for 'imagenet' \(known: vb"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_its_file_its_line_and_its_field(tmp_path: Path, name: str) -> None:
    text, message = MISTAKES[name]
    with pytest.raises(UsageError, match=r"^mine.yaml.*" + message):
        load(tmp_path, text)


def test_not_utf8_and_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"title: \xff")
    with pytest.raises(UsageError, match=r"mine.yaml: byte 7 is not UTF-8"):
        suitefile.load(tmp_path / "mine.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        suitefile.load(tmp_path / "other.yaml")
    with pytest.raises(UsageError, match=r"No suite 't3v' \(known: detectors, edit"):
        suitefile.load("t3v")


def test_a_few_lines_that_stand_for_billions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UsageError, match="more than 100000 values"):
        located.read("\n".join(lines), "bomb.yaml")


def test_lists_in_lists_without_end_are_refused() -> None:
    with pytest.raises(UsageError, match="too deep"):
        located.read("[" * 1200 + "]" * 1200, "deep.yaml")


# ---------------------------------------------------------------- folders as work


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_every_item_and_every_file_is_accounted_for(tmp_path: Path) -> None:
    suite = load(tmp_path, SMALL + "  - {id: two, prompt: b}\n  - {id: three, prompt: c}\n")
    clips = files(tmp_path / "clips", "one.mp4", "two.mp4", "two.webm", "notes.txt", "one.txt",
                  "run.json", ".hidden.mp4")  # fmt: skip
    found = work.from_folder(suite, "sys", clips, files(tmp_path / "ref", "one.mp4"))
    problems = {w.item: w.problem for w in found}
    assert list(problems) == ["one", "two", "three", "notes.txt"]
    assert problems["one"] is None
    assert found[0].sample.media == {
        "video": clips / "one.mp4", "reference": tmp_path / "ref/one.mp4"
    }  # fmt: skip
    assert (found[0].sample.text, found[0].sample.cluster) == ("a red ball", "one")
    assert problems["two"] == "several files for one item: two.mp4, two.webm"
    assert problems["three"] == "no file three.mp4 in clips"
    assert problems["notes.txt"] == "its name is that of no item of the suite"


def test_clips_that_no_item_asks_for_are_taken_as_they_are(tmp_path: Path) -> None:
    suite = load(tmp_path, SMALL)
    clips = files(tmp_path / "clips", "a.mp4", "b/a.mp4", "b/c.mp4", "readme.txt", "c.c2pa")
    found = work.from_folder(suite, "sys", clips, files(tmp_path / "ref", "c.png"))
    assert [w.item for w in found] == ["a.mp4", "b/a.mp4", "b/c", "readme"]
    assert [w.problem for w in found] == [None] * 4  # the run finds that readme.txt is no clip
    assert found[2].sample.tags == ("b",)
    assert found[2].sample.media["reference"] == tmp_path / "ref/c.png"


def test_a_folder_that_is_none_or_empty(tmp_path: Path) -> None:
    suite = load(tmp_path, SMALL)
    with pytest.raises(UsageError, match="is no folder"):
        work.from_folder(suite, "sys", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="There is no file in"):
        work.from_folder(suite, "sys", tmp_path / "empty")


def test_metrics_of_text_read_what_an_edited_clip_should_show(tmp_path: Path) -> None:
    suite = suitefile.load("edit")
    sample = work.sample_of(suite, suite.items[0], {})
    assert sample.text == suite.items[0].texts["target_prompt"]
    assert sample.texts["instruction"] == suite.items[0].prompt
    assert sample.texts["source_prompt"] == suite.items[0].texts["source_prompt"]


def test_a_folder_of_the_inputs_gives_the_source(tmp_path: Path) -> None:
    suite = suitefile.load("edit")
    clips = files(tmp_path / "clips", "global-warm.mp4")
    inputs = files(tmp_path / "inputs", "sea.mp4", "ball.mp4")
    found = {w.item: w for w in work.from_folder(suite, "sys", clips, inputs=inputs)}
    for role in ("source", "reference"):
        assert found["global-warm"].sample.media[role] == inputs / "sea.mp4"
    assert "source" not in work.from_folder(suite, "sys", clips)[3].sample.media


def test_the_suites_in_the_docs_load(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/bench-suites.md"
    mine, vbench = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "shoe.jpg").write_bytes(b"x")
    suite = load(tmp_path, mine)
    assert suite.items[0].beside == {"source": "shoe", "reference": "ball"}
    assert suite.items[0].clips == ("shoe_v2",)
    assert (suite.size, suite.requires) == ((640, 360), ("motion",))
    folder = tmp_path / "prompts_per_dimension"
    folder.mkdir()
    (folder / "scene.txt").write_text("a red kite\n")
    assert len(load(tmp_path, vbench.replace("/data/VBench", ".")).items) == 5


# ---------------------------------------------------------------- hostile text

_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)
)
_INPUT = "{make: {task: text-to-image, generator: world}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL + 'summary: "a\x00b"\n', "line 7: this is no YAML"),
        (SMALL + "version: !!int abc\n", "'abc' is no int"),
        (SMALL + "safety: !!bool perhaps\n", "'perhaps' is no bool"),
        (SMALL + f"version: {'9' * 6000}\n", "is no int"),
        (_BOMB + SMALL, "more than 100000 values"),
        (SMALL + f"inputs: {{../../up: {_INPUT}}}\n", "cannot name a file"),
        (SMALL + f"inputs: {{/etc/up: {_INPUT}}}\n", "cannot name a file"),
        (SMALL + "generate: {seconds: .inf}\n", "more than 0 seconds"),
    ],
)
def test_hostile_text_is_a_mistake_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as e:
        load(tmp_path, text)
    assert len(str(e.value)) < 400


def test_a_suite_that_has_no_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="larger than 8 MB"):
        suitefile.load(tmp_path / "endless.yaml")


def test_without_yaml_a_suite_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"pip install 'avsafe\[bench\]'"):
        suitefile.load("t2v")

"""A generator asked for a suite through the gate: nothing twice, nothing dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsafe import gate, media
from avsafe.bench import making, pricing, safety, suitefile, work
from avsafe.bench.suitefile import Item, Make, SuiteFile
from avsafe.bench.work import Work
from avsafe.errors import Cancelled, LedgerError, UsageError
from avsafe.home import Home
from avsafe.media.view import View
from avsafe.types import Clip, Column, Gathered, Kind, MetricInfo, Samples, Task
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace, open_workspace

DENIED = "deepfake of the president announcing a fake election result"
ITEMS = (
    Item("ball", "a red ball rolling on grass", Task.TEXT_TO_VIDEO, seed=3, cluster="grass"),
    Item("cube", "three blue cubes in a room", Task.TEXT_TO_VIDEO, seed=4),
    Item("denied", DENIED, Task.TEXT_TO_VIDEO),
    Item("unknown", "a fox reading a book", Task.TEXT_TO_VIDEO),
    Item("other-task", "watercolour", Task.STYLIZE_VIDEO),
    Item("no-input", "a ball", Task.TEXT_TO_VIDEO, inputs={"image": "never"}),
    Item("no-task", "a ball"),
)


@pytest.fixture(scope="module")
def suite() -> SuiteFile:
    t2v = suitefile.load("t2v")
    never = Make(Task.TEXT_TO_IMAGE, "world", DENIED, size=(128, 128))
    return replace(t2v, items=ITEMS, size=(256, 256), seconds=2.0, inputs={"never": never})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def room(place: Path) -> Iterator[Workspace]:
    with open_workspace(Home(place / "home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def works(suite: SuiteFile, place: Path, room: Workspace) -> dict[str, Work]:
    found = making.make(suite, "world", place, workspace=room)
    assert [w.item for w in found] == [item.item_id for item in ITEMS]
    return {w.item: w for w in found}


def test_clips_are_released_and_their_making_is_noted(
    works: dict[str, Work], place: Path, room: Workspace
) -> None:
    ball = works["ball"]
    assert ball.problem is None
    assert ball.sample.media == {"video": place / "clips/world/ball.mp4"}
    assert (ball.sample.text, ball.sample.cluster) == ("a red ball rolling on grass", "grass")
    assert verify(ball.sample.media["video"], Lookup(room.home)).label == "synthetic-declared"
    assert ball.made is not None
    assert ball.made.details["ignored"] == []
    assert {"decide", "generate", "encode_and_mark", "sign"} <= set(ball.made.cost)
    assert ball.made.marks[0]["modality"] == Kind.VIDEO
    seen = media.probe(ball.sample.media["video"])
    assert seen.video is not None
    assert (seen.video.width, seen.video.height) == (256, 256)
    entries = list(room.ledger.entries(ball.made.release_id))
    assert [entry.type for entry in entries] == ["intent", "outcome"]


def test_what_was_not_made_is_a_problem_with_its_reason(
    works: dict[str, Work], place: Path
) -> None:
    problems = {name: w.problem or "" for name, w in works.items()}
    assert problems["denied"].startswith("denied by the policy: ")
    assert "understands nothing" in problems["unknown"]
    assert "does not do stylize-video" in problems["other-task"]
    assert problems["no-input"].startswith("its input 'never' was not made: denied by the policy")
    assert problems["no-task"] == "the suite does not say which task it is"
    assert "video" not in works["denied"].sample.media
    made = {path.name for path in (place / "clips/world").iterdir()}
    assert made == {"ball.mp4", "ball.json", "cube.mp4", "cube.json"}


def test_nothing_is_made_twice(
    works: dict[str, Work],
    suite: SuiteFile,
    place: Path,
    room: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gate, "generate", lambda request, *a, **k: _refuse(asked, request.prompt))
    before = room.registry.count()
    again = {w.item: w for w in making.make(suite, "world", place, workspace=room)}
    assert again["ball"] == works["ball"]
    assert again["cube"] == works["cube"]
    # what was not made is asked for again: the policy or the generator may have changed
    assert sorted(asked) == sorted([DENIED, DENIED, "a fox reading a book", "watercolour"])
    assert room.registry.count() == before


def _refuse(asked: list[str], prompt: str) -> None:
    asked.append(prompt)
    raise UsageError("not now")


@pytest.mark.parametrize("change", ["seed", "bytes", "home"])
def test_another_request_other_bytes_or_another_home_are_made_again(
    change: str,
    works: dict[str, Work],
    suite: SuiteFile,
    place: Path,
    room: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, folder = tmp_path, tmp_path / "clips/world"
    folder.mkdir(parents=True)
    for name in ("ball.mp4", "ball.json"):
        (folder / name).write_bytes((place / "clips/world" / name).read_bytes())
    only = replace(suite, items=ITEMS[:1])
    asked: list[str] = []
    monkeypatch.setattr(gate, "generate", lambda request, *a, **k: _refuse(asked, request.prompt))
    assert making.make(only, "world", out, workspace=room)[0].problem is None
    assert asked == []
    if change == "seed":
        only = replace(only, items=(replace(ITEMS[0], seed=5),))
    if change == "bytes":
        (folder / "ball.mp4").write_bytes((folder / "ball.mp4").read_bytes() + b"\0")
    if change == "home":
        with open_workspace(Home(tmp_path / "home")) as other:
            (found,) = making.make(only, "world", out, workspace=other)
    else:
        (found,) = making.make(only, "world", out, workspace=room)
    assert asked == ["a red ball rolling on grass"]
    assert found.problem == "world made nothing: not now"
    assert not (folder / "ball.mp4").exists()


def test_a_folder_that_the_gate_filled_is_read_with_its_notes(
    works: dict[str, Work], suite: SuiteFile, place: Path
) -> None:
    found = {w.item: w for w in work.from_folder(suite, "mine", place / "clips/world")}
    assert found["ball"].made == works["ball"].made
    assert found["unknown"].problem == "no file unknown.mp4 in world"
    note = place / "clips/world/ball.json"
    text = note.read_text()
    try:
        for bad in ("[]", "{", json.dumps({**json.loads(text), "cost": [1]})):
            note.write_text(bad)
            assert work.read_made(place / "clips/world/ball.mp4") is None
    finally:
        note.write_text(text)


def test_safety_stands_beside_quality(works: dict[str, Work], room: Workspace) -> None:
    lookup = Lookup(room.home)
    ours = safety.measure(works["ball"], lookup).values
    assert set(ours) == {safety.info().score_name(c) for c in safety.info().columns}
    assert ours["safety.credential"] == ours["safety.declared"] == ours["safety.recovered"] == 1.0
    assert ours["safety.recovered_crf28"] == 1.0
    assert ours["safety.visible_label"] == 0.0  # drawn scenes need none
    psnr, share = ours["safety.mark_psnr_db"], ours["safety.gate_share"]
    assert isinstance(psnr, float)
    assert 38 < psnr < 50
    assert isinstance(share, float)
    assert 0 < share < 1
    # a copy that lost its credential and its note
    copy = works["ball"].sample.media["video"].parents[2] / "copy.mp4"
    media.encode(media.decode(works["ball"].sample.media["video"]), copy)
    bare = Work("other", "copy", replace(works["ball"].sample, media={"video": copy}))
    theirs = safety.measure(bare, lookup).values
    assert theirs["safety.credential"] == theirs["safety.declared"] == 0.0
    assert theirs["safety.recovered"] == theirs["safety.recovered_crf28"] == 1.0
    assert theirs["safety.mark_psnr_db"] == "the gate did not make this clip"
    # another release's note beside it: the mark leads elsewhere
    swapped = safety.measure(replace(bare, made=works["cube"].made), lookup, recode=False).values
    assert swapped["safety.recovered"] == 0.0
    assert swapped["safety.recovered_crf28"] == "it was not asked for"


def test_safety_of_what_is_none(works: dict[str, Work], room: Workspace, tmp_path: Path) -> None:
    lookup = Lookup(room.home)
    denied = safety.measure(works["denied"], lookup).values
    assert set(denied.values()) == {works["denied"].problem}
    text = tmp_path / "a.mp4"
    text.write_text("no clip")
    broken = Work("x", "a", replace(works["ball"].sample, media={"video": text}))
    values = safety.measure(broken, lookup).values
    assert all(isinstance(value, str) for value in values.values())
    unmarked = tmp_path / "plain.mp4"
    from avsafe.testing import textured_clip

    media.encode(textured_clip(1.0, width=128, height=128), unmarked)
    plain = safety.measure(replace(broken, sample=replace(broken.sample,
                           media={"video": unmarked})), lookup).values  # fmt: skip
    assert plain["safety.credential"] == 0.0
    assert plain["safety.recovered"] == "the clip carries no mark of this installation"


def test_cancel_and_what_ends_a_run(
    suite: SuiteFile, room: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        making.make(suite, "world", tmp_path, workspace=room, cancelled=lambda: True)
    assert not list((tmp_path / "clips/world").iterdir())

    def broken(*a: object, **k: object) -> None:
        raise LedgerError("the ledger is broken")

    monkeypatch.setattr(gate, "generate", broken)
    with pytest.raises(LedgerError):  # every further item would fail as well
        making.make(suite, "world", tmp_path, workspace=room)

    def plugin(*a: object, **k: object) -> None:
        raise ZeroDivisionError("in a plugin")

    monkeypatch.setattr(gate, "generate", plugin)
    works = making.make(suite, "world", tmp_path, workspace=room, limit=1)
    assert [w.problem for w in works] == ["world failed: ZeroDivisionError('in a plugin')"]


def test_usage(suite: SuiteFile, room: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stylize does nothing of the suite t2v: it does stylize"):
        making.make(replace(suite, items=ITEMS[:2]), "stylize", tmp_path, workspace=room)
    with pytest.raises(UsageError, match="No plugin 'nobody'"):
        making.make(suite, "nobody", tmp_path, workspace=room)
    with pytest.raises(UsageError, match="cannot name a folder"):
        making.make(suite, "world", tmp_path, workspace=room, system="../world")


@pytest.mark.slow
def test_inputs_are_made_from_inputs(room: Workspace, tmp_path: Path) -> None:
    v2a = suitefile.load("v2a")
    item = next(i for i in v2a.items if i.item_id == "strike")
    kept = {n: v2a.inputs[n] for n in ("strike", "strike-silent")}
    small = replace(v2a.inputs["strike"], size=(384, 384), seconds=2.0)  # type: ignore[type-var]
    suite = replace(v2a, items=(item,), inputs={**kept, "strike": small})
    (found,) = making.make(suite, "foley", tmp_path, workspace=room)
    assert found.problem is None
    assert found.sample.media["reference"] == tmp_path / "inputs/strike.mp4"
    assert media.probe(tmp_path / "inputs/strike.mp4").audio is not None
    assert media.probe(tmp_path / "inputs/strike-silent.mp4").audio is None
    assert media.probe(found.sample.media["video"]).audio is not None
    files = making.make_inputs(suite, tmp_path, workspace=room)
    assert files["strike-silent"] == tmp_path / "inputs/strike-silent.mp4"
    (line,) = (tmp_path / "items.jsonl").read_text().splitlines()
    assert json.loads(line)["inputs"] == {"video": "inputs/strike-silent.mp4"}


class _Brightness:
    """Mean green level of the clip, and its distance from the reference."""

    info = MetricInfo(
        "brightness", "1", "Brightness",
        (Column("mean", "", "none", ""), Column("error", "", "lower", "")),
        ("rgb",), "video", beside="reference",
    )  # fmt: skip

    def prepare(self) -> None: ...

    def digests(self) -> dict[str, str]:
        return {}

    def open(self, clip: Clip) -> _Brightness:
        self._means: list[float] = []
        self._errors: list[float] = []
        return self

    def frame(self, view: View, beside: View | None) -> None:
        assert beside is not None
        self._means.append(float(view.rgb[..., 1].mean()))
        difference = view.rgb[..., 1].astype(float) - beside.rgb[..., 1]
        self._errors.append(float((difference**2).mean()))

    def samples(self, block: Samples, rate_hz: int, role: str) -> None: ...

    def finish(self, gathered: Gathered) -> dict[str, float]:
        return {"mean": float(np.mean(self._means)), "error": float(np.mean(self._errors))}


def test_the_price_of_gating_is_a_table(suite: SuiteFile, place: Path, room: Workspace) -> None:
    found = pricing.price_list(
        suite, "world", place, ("psnr", "loudness"), workspace=room, most=2
    )  # fmt: skip
    psnr = found["scores"]["psnr.rgb"]
    assert psnr["n"] >= 1
    assert -6 < psnr["cost"] < 0, "marks take some of the fidelity, and not all of it"
    assert psnr["released"] == pytest.approx(psnr["unmarked"] + psnr["cost"])
    assert found["scores"]["loudness.range"]["n"] == 0
    assert "10 s" in found["scores"]["loudness.range"]["reason"]
    with pytest.raises(UsageError, match="nobody"):
        pricing.price_list(suite, "world", place, ("nobody",), workspace=room)


def test_what_gating_cost(
    works: dict[str, Work], suite: SuiteFile, place: Path, room: Workspace
) -> None:
    found = pricing.prices(suite, "world", list(works.values()), {"brightness": _Brightness()},
                           place, workspace=room, most=1)  # fmt: skip
    prices = {price.score: price for price in found}
    assert set(prices) == {"brightness.mean", "brightness.error"}
    assert prices["brightness.mean"].item == "ball"
    level, error = prices["brightness.mean"], prices["brightness.error"]
    assert level.cost == pytest.approx(0, abs=0.5)  # a mark does not make a clip brighter
    assert isinstance(error.unmarked, float)
    assert isinstance(error.cost, float)
    # the mark's own error comes on top of the codec's: 255^2 / 10^(PSNR / 10), about
    assert works["ball"].made is not None
    psnr = works["ball"].made.marks[0]["psnr_db"]
    assert error.cost == pytest.approx(255**2 / 10 ** (psnr / 10), rel=0.5)
    made = replace(works["ball"].made, details={"visible_label": "AI"})
    labelled = replace(works["ball"], made=made)
    (one, _) = pricing.prices(suite, "world", [labelled], {"brightness": _Brightness()}, place,
                              workspace=room)  # fmt: skip
    assert (one.labelled, level.labelled) == (True, False)

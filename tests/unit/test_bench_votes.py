"""Votes: a balanced and blind ballot, published figures of agreement, honest counting, the page."""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import media
from avsafe.bench import votes
from avsafe.bench.report import votes_part
from avsafe.bench.statistics import wilson
from avsafe.bench.votes import making
from avsafe.bench.votes.agreement import fleiss_kappa, krippendorff_alpha
from avsafe.bench.votes.tally import tally
from avsafe.errors import UsageError
from avsafe.testing import textured_clip

ITEMS = [f"item {i:02d}" for i in range(20)]
TEXTS = {item: f"a ball number {item}" for item in ITEMS}


def systems(*names: str, items: list[str] = ITEMS) -> dict[str, dict[str, Path]]:
    return {name: {item: Path(f"{name}/{item}.mp4") for item in items} for name in names}


def a_plan(**more: Any) -> votes.Plan:
    given = {"texts": TEXTS, "seed": "known", "raters": 4, "votes": 3, "repeats": 0.1, **more}
    return votes.plan(given.pop("systems", systems("red", "blue")), **given)


# ---------------------------------------------------------------- the plan


@pytest.mark.parametrize(("raters", "each"), [(1, 1), (2, 1), (3, 2), (4, 3), (7, 7)])
def test_votes_and_sides_are_balanced(raters: int, each: int) -> None:
    key = a_plan(raters=raters, votes=each, repeats=0.0).key
    pairs = key["trials"]
    asked = Counter((t["criterion"], t["item"]) for t in pairs.values())
    assert set(asked.values()) == {each}
    assert len(asked) == 2 * len(ITEMS)
    loads = [len(given) for given in key["raters"].values()]
    assert max(loads) - min(loads) <= 1
    for given in key["raters"].values():
        assert len({(pairs[t]["criterion"], pairs[t]["item"]) for t in given}) == len(given)
        for criterion in ("quality", "faithfulness"):
            left = [pairs[t]["left"] == "red" for t in given if pairs[t]["criterion"] == criterion]
            assert abs(2 * sum(left) - len(left)) <= 1
    total = [t["left"] == "red" for t in pairs.values()]
    assert abs(2 * sum(total) - len(total)) <= 2 * raters


def test_all_pairs_of_three_systems_on_the_items_that_both_have() -> None:
    three = systems("red", "blue", "green")
    del three["green"][ITEMS[0]]
    key = a_plan(systems=three, criteria=("quality",)).key
    asked = Counter((t["a"], t["b"]) for t in key["trials"].values() if t["kind"] == "pair")
    assert asked == {("red", "blue"): 60, ("red", "green"): 57, ("blue", "green"): 57}


def test_raters_learn_nothing_from_the_ballot() -> None:
    made = a_plan(checks=[votes.Check("quality", Path("good.mp4"), Path("bad.mp4"))])
    public = json.dumps(made.ballot["raters"])
    for secret in ("red", "blue", "good", "bad", "check", "repeat", "expected", "known"):
        assert secret not in public, secret
    for given in made.ballot["raters"].values():
        for trial in given:
            assert set(trial) == {"id", "criterion", "text", "left", "right"}
            assert trial["text"] == "" or trial["criterion"] == "faithfulness"
    other = a_plan(seed="other")
    assert not set(made.files) & set(other.files)
    assert a_plan(seed=None).key["seed"] != a_plan(seed=None).key["seed"]


def test_the_same_seed_gives_the_same_plan() -> None:
    assert a_plan().key == a_plan().key


def test_repeats_exchange_the_sides_and_come_later() -> None:
    key = a_plan(repeats=0.2).key
    for given in key["raters"].values():
        again = [t for t in given if key["trials"][t]["kind"] == "repeat"]
        assert len(again) == round(0.2 * 15) * 2
        for trial in again:
            first = key["trials"][key["trials"][trial]["of"]]
            assert (first["left"], first["right"]) == (
                key["trials"][trial]["right"], key["trials"][trial]["left"],
            )  # fmt: skip
            assert given.index(trial) > given.index(key["trials"][trial]["of"])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"systems": systems("red")}, "two systems or more"),
        ({"votes": 9}, "there are 4"),
        ({"criteria": ("beauty",)}, "No criterion 'beauty'"),
        ({"criteria": ()}, "one criterion or more"),
        ({"texts": {}}, "has no text"),
        ({"repeats": 2.0}, "share from 0 to 1"),
        ({"systems": {"a": {"x": Path("x")}, "b": {"y": Path("y")}}}, "matched by their item"),
    ],
)
def test_plans_that_cannot_be_are_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        a_plan(**more)


# ---------------------------------------------------------------- agreement


def test_fleiss_kappa_gives_the_published_example() -> None:
    # the worked example of 14 raters, 10 subjects, 5 categories: kappa 0.210
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.20993, abs=5e-6)  # statsmodels 0.15.0 too


def test_krippendorffs_alpha_gives_his_examples() -> None:
    # Krippendorff 2011, part A: two observers, ten units, binary: 0.095
    two = zip("0100000010", "1110010000", strict=True)
    assert krippendorff_alpha({str(i): pair for i, pair in enumerate(two)}) == pytest.approx(
        0.095, abs=5e-4
    )
    # part C: four observers, twelve units, missing data, nominal: 0.743
    four = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = {
        str(i): [rating for rating in column if rating != "."]
        for i, column in enumerate(zip(*four, strict=True))
    }
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_agreement_by_chance_is_none_and_full_agreement_is_one() -> None:
    rng = np.random.default_rng(0)
    chance = {str(i): [("a", "b")[k] for k in rng.integers(0, 2, 5)] for i in range(2000)}
    assert krippendorff_alpha(chance) == pytest.approx(0.0, abs=0.02)
    assert krippendorff_alpha({"x": ["a", "a"], "y": ["b", "b"]}) == 1.0
    assert krippendorff_alpha({"x": ["a", "b"], "y": ["b", "a"]}) == pytest.approx(-0.5)
    assert isinstance(krippendorff_alpha({"x": ["a"]}), str)
    assert isinstance(fleiss_kappa([[2, 0], [1, 0]]), str)
    assert isinstance(fleiss_kappa([]), str)


# ---------------------------------------------------------------- the tally


def cast(
    key: dict[str, Any], rate: float, *, seed: int = 0, bad: str = "", lefty: str = ""
) -> list[dict[str, Any]]:
    """Raters who prefer red at ``rate``, the same for all on one item in half of the items; rater
    ``bad`` tosses a coin, also on checks; ``lefty`` always says left."""
    rng = random.Random(seed)
    taste = {item: rng.random() < rate for item in ITEMS}
    made = []
    for rater, given in key["raters"].items():
        said: dict[str, str] = {}
        for number, trial in enumerate(given):
            t = key["trials"][trial]
            if rater == lefty:
                choice = "left"
            elif rater == bad:
                choice = rng.choice(["left", "right"])
            elif t["kind"] == "check":
                choice = t["expected"]
            elif t["kind"] == "repeat":
                choice = "left" if said[t["of"]] == "right" else "right"
            else:
                like = taste[t["item"]] if rng.random() < 0.5 else rng.random() < rate
                choice = "left" if (t["left"] == "red") == like else "right"
            said[trial] = choice
            reasons = ["sharper"] if t["criterion"] == "quality" else ["things", "events"]
            made.append({"ballot": key["ballot"], "rater": rater, "trial": trial, "seq": number,
                         "choice": choice, "reasons": reasons, "seconds": 7.5})  # fmt: skip
    return made


CHECKS = [votes.Check("quality", Path(f"g{i}.mp4"), Path(f"b{i}.mp4")) for i in range(5)]


def test_a_preference_is_found_with_its_size() -> None:
    key = a_plan(checks=CHECKS).key
    found = tally(cast(key, 0.85), key)
    assert (found["n_votes"], found["n_expected"]) == (120, 120)
    for line in found["lines"]:
        assert line["low"] <= 0.85 <= line["high"]
        assert line["significant"], line
        assert line["p_holm"] >= line["p"]
        naive = wilson(line["wins"], line["n_votes"])
        assert (line["votes_low"], line["votes_high"]) == naive
        assert line["high"] - line["low"] > naive[1] - naive[0]  # votes on an item are alike
    assert found["reasons"]["quality"][0]["by_winner"]["red"] == found["lines"][0]["wins"]
    assert all(one["repeats"][0] == one["repeats"][1] > 0 for one in found["raters"].values())
    assert found["agreement"]["quality"]["krippendorff_alpha"] > 0


def test_no_preference_is_not_called_one() -> None:
    key = a_plan(checks=CHECKS).key
    called = [
        line["significant"]
        for seed in range(20)
        for line in tally(cast(key, 0.5, seed=seed), key)["lines"]
    ]
    assert sum(called) <= 3  # 5 % a ballot is expected


def test_a_rater_who_fails_the_checks_is_left_out_and_named() -> None:
    key = a_plan(checks=CHECKS, raters=3).key
    ballots = cast(key, 0.9, lefty="2")
    found = tally(ballots, key)
    assert found["raters"]["2"]["left_out"].endswith("of 5 checks right, 80% wanted")
    assert found["raters"]["2"]["left"]["value"] == 1.0
    assert found["n_votes"] == 80
    everyone = tally(ballots, key, min_checks=0.0)
    assert everyone["n_votes"] == 120
    assert everyone["side"]["value"] > found["side"]["value"] + 0.1
    assert found["side"]["low"] < 0.5 < found["side"]["high"]


def test_the_order_of_votes_and_files_changes_nothing() -> None:
    key = a_plan().key
    ballots = cast(key, 0.7)
    first = json.dumps(tally(ballots, key))
    for seed in range(3):
        random.Random(seed).shuffle(ballots)
        assert json.dumps(tally(ballots, key)) == first


def test_the_last_vote_on_a_trial_counts() -> None:
    key = a_plan(repeats=0.0).key
    ballots = cast(key, 0.7)
    again = [{**v, "choice": "left", "seq": v["seq"] + 1000} for v in ballots[:10]]
    found = tally([*again, *ballots], key)
    assert found["n_votes"] == 120
    assert found["side"] == tally([*again, *ballots[10:]], key)["side"]


def test_votes_that_do_not_fit_are_counted_as_such() -> None:
    key = a_plan(repeats=0.0).key
    good, *others = cast(key, 0.7)
    bad = [
        {**good, "ballot": "x"}, {**good, "rater": "99"}, {**good, "rater": ["1"]},
        {**good, "trial": "nothing"}, {**good, "rater": "2" if good["rater"] == "1" else "1"},
    ]  # fmt: skip
    wrong = [{**others[0], "choice": "both"}, {**others[1], "reasons": []},
             {**others[2], "reasons": ["because"]}, {**others[3], "choice": "none"}]  # fmt: skip
    found = tally([*bad, good, *wrong, *others[4:]], key)
    assert found["not_counted"] == {
        "a clip could not be played": 1, "of an unknown rater": 2, "of another ballot": 1,
        "on a trial that this rater was not given": 2, "with a reason that is not on the list": 1,
        "without a reason": 1, "without a winner": 1,
    }  # fmt: skip
    assert found["n_votes"] == 116


def test_without_votes_there_is_a_tally_of_none(tmp_path: Path) -> None:
    key = a_plan().key
    found = tally([], key)
    assert found["n_votes"] == 0
    assert found["lines"][0]["p"] is None
    assert "no vote" in votes.as_text(found)
    assert "no vote" in votes_part.section(found)
    json.dumps(found, allow_nan=False)


def test_the_section_of_the_report_says_who_is_preferred() -> None:
    key = a_plan(checks=CHECKS, raters=4).key
    found = tally(cast(key, 0.9, lefty="3"), key)
    shown = votes_part.section(found)
    assert "<b>red</b> is preferred" in shown
    assert "left out: " in shown
    assert "its pictures are sharper" in shown
    assert "red wins" in votes.as_text(found)


# ---------------------------------------------------------------- folder, page, server


@pytest.fixture(scope="module")
def ballot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("votes")
    for place, name in enumerate(("red", "blue")):
        (folder / name).mkdir()
        for item in range(3):
            clip = textured_clip(0.4, 96, 64, seed=10 * place + item, sound=False)
            media.encode(clip, folder / name / f"i{item}.mp4")
    given = votes.folders([f"red={folder / 'red'}", f"blue={folder / 'blue'}"])
    texts = {f"i{item}": f"ball </script><b>{item}" for item in range(3)}
    made = votes.make(folder / "out", given, texts=texts, raters=2, votes=2, checks=1, seed="s")
    assert made["questions"] == 6
    assert made["checks"] == 2
    assert made["warnings"] == []
    return folder / "out"


def test_the_folder_for_raters_holds_no_key_and_no_name(ballot: Path) -> None:
    assert {path.name for path in ballot.iterdir()} == {"ballot", "key.json"}
    assert (ballot / "key.json").stat().st_mode & 0o077 == 0
    page = (ballot / "ballot" / "index.html").read_text()
    found = re.search(r'id="ballot">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    for secret in ("red", "blue", "expected", "kind", "i0", "check", "repeat"):
        assert secret not in json.dumps(data["raters"]), secret
    assert str(ballot.parent) not in page
    named = set(re.findall(r'"([0-9a-f]{14}\.mp4)"', page))
    assert named == {path.name for path in (ballot / "ballot" / "clips").iterdir()}
    assert page.count("<script") == 2  # the text of an item closes none
    assert "</script><b>" in {t["text"][5:-1] for t in data["raters"]["1"]}
    assert "://" not in page


def test_a_check_is_plainly_worse(ballot: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    media.encode(textured_clip(0.4, 96, 64), clip)
    making.coarse(clip, tmp_path / "coarse.mp4")
    making.silenced(clip, tmp_path / "silent.mp4")

    def detail(path: Path) -> float:
        """Mean change from pixel to pixel inside squares of five."""
        frames = np.stack(list(media.decode(path, trusted=True).frames or ())).astype(int)
        steps = np.abs(np.diff(frames, axis=2)).mean(axis=(0, 1, 3))
        return float(np.delete(steps, np.arange(4, 95, 5)).mean())

    def level(path: Path) -> float:
        return float(np.abs(np.hstack(list(media.decode(path, trusted=True).samples or ()))).max())

    assert detail(tmp_path / "coarse.mp4") < 0.35 * detail(clip)
    assert level(tmp_path / "silent.mp4") < 1e-3 < 0.01 < level(clip)


def test_a_second_ballot_never_overwrites_the_first(ballot: Path) -> None:
    with pytest.raises(UsageError, match="already holds a ballot"):
        votes.make(ballot, systems("red", "blue"))


def test_folders_and_files_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    for given, why in (("red", "no NAME=DIR"), (f"red={tmp_path}", "no clip that a browser")):
        with pytest.raises(UsageError, match=why):
            votes.folders([given])
    with pytest.raises(UsageError, match="Convert it"):
        votes.make(tmp_path / "o", {n: {"x": Path("x.mkv")} for n in ("red", "blue")})
    with pytest.raises(UsageError, match="no ballot"):
        votes.serve(tmp_path)


def test_a_plan_that_cannot_be_leaves_no_clips_behind(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    media.encode(textured_clip(0.2, 64, 48, sound=False), clip)
    two = {name: {"a": clip} for name in ("red", "blue")}
    with pytest.raises(UsageError, match="take as many raters"):
        votes.make(tmp_path / "out", two, criteria=("quality",), raters=1, votes=3, checks=1)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_what_cannot_be_served_or_played_is_said(ballot: Path, tmp_path: Path) -> None:
    (tmp_path / "red" / "a.mp4").mkdir(parents=True)
    with pytest.raises(UsageError, match="no clip that a browser"):
        votes.folders([f"red={tmp_path / 'red'}"])
    (tmp_path / "ballot" / "clips").mkdir(parents=True)
    (tmp_path / "ballot" / "index.html").write_text("")
    (tmp_path / "key.json").write_text("{")
    with pytest.raises(UsageError, match=r"key\.json is no JSON"):
        votes.serve(tmp_path)
    taken = votes.serve(ballot)
    try:
        with pytest.raises(UsageError, match="cannot be used"):
            votes.serve(ballot, port=taken.server_port)
    finally:
        taken.server_close()


def test_numbers_of_a_vote_that_are_none_do_no_harm() -> None:
    key = a_plan(repeats=0.0).key
    trial = key["raters"]["1"][0]
    reason = "sharper" if key["trials"][trial]["criterion"] == "quality" else "things"
    vote = {"ballot": key["ballot"], "rater": "1", "trial": trial, "choice": "left",
            "reasons": [reason], "seq": 10**400, "seconds": 10**400}  # fmt: skip
    found = tally([vote, {**vote, "seconds": float("nan")}], key)
    assert found["n_votes"] == 1
    assert found["raters"]["1"]["median_s"] is None


@pytest.fixture
def served(ballot: Path) -> Iterator[ThreadingHTTPServer]:
    server = votes.serve(ballot)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    (ballot / "votes.jsonl").unlink(missing_ok=True)


def ask(
    server: ThreadingHTTPServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    link = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    link.request(method, path, data, sent)
    answer = link.getresponse()
    found = (answer.status, answer.read(), dict(answer.getheaders()))
    link.close()
    return found


def test_the_server_gives_the_page_and_clips_and_nothing_else(
    ballot: Path, served: ThreadingHTTPServer
) -> None:
    assert served.server_address[0] == "127.0.0.1"
    status, page, _ = ask(served, "GET", "/?rater=1")
    assert (status, page) == (200, (ballot / "ballot" / "index.html").read_bytes())
    clip = next(iter((ballot / "ballot" / "clips").iterdir()))
    status, whole, headers = ask(served, "GET", f"/clips/{clip.name}")
    assert (status, whole, headers["Content-Type"]) == (200, clip.read_bytes(), "video/mp4")
    status, part, headers = ask(served, "GET", f"/clips/{clip.name}", Range="bytes=10-19")
    assert (status, part) == (206, whole[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert ask(served, "GET", f"/clips/{clip.name}", Range="bytes=99999999-")[0] == 416
    for path in ("/key.json", "/clips/../../key.json", "/clips/%2e%2e/%2e%2e/key.json",
                 "/votes.jsonl", "/clips/", "//key.json", f"/{clip.name}"):  # fmt: skip
        assert ask(served, "GET", path)[0] == 404, path


def test_the_server_keeps_votes_that_fit_and_no_others(
    ballot: Path, served: ThreadingHTTPServer
) -> None:
    key = json.loads((ballot / "key.json").read_text())
    trial = key["raters"]["1"][0]
    reason = "sharper" if key["trials"][trial]["criterion"] == "quality" else "things"
    vote = {"ballot": key["ballot"], "rater": "1", "trial": trial, "choice": "left",
            "reasons": [reason], "seq": 1, "seconds": 3.0, "more": "<script>"}  # fmt: skip
    assert ask(served, "POST", "/vote", vote)[0] == 204
    kept = json.loads((ballot / "votes.jsonl").read_text())
    assert kept["choice"] == "left"
    assert "more" not in kept
    assert ask(served, "POST", "/vote", {**vote, "choice": "none", "reasons": []})[0] == 204
    for wrong in (
        {**vote, "reasons": []}, {**vote, "trial": "x"}, {**vote, "ballot": "x", "choice": "none"},
        [], "x",
    ):  # fmt: skip
        assert ask(served, "POST", "/vote", wrong)[0] == 400, wrong
    assert ask(served, "POST", "/vote", b"{")[0] == 400
    assert ask(served, "POST", "/vote", b"[" * 8000)[0] == 400
    assert ask(served, "POST", "/vote", vote, Content_Length="9" * 5000)[0] == 413
    assert ask(served, "POST", "/vote", vote, Content_Length="²")[0] == 413
    assert ask(served, "POST", "/vote", vote, Origin="null")[0] == 403
    assert ask(served, "POST", "/vote", {**vote, "more": "x" * 9000})[0] == 413
    assert ask(served, "POST", "/other", vote)[0] == 404
    assert ask(served, "POST", "/vote", vote, Content_Type="text/plain")[0] == 404
    assert ask(served, "POST", "/vote", vote, Origin="http://evil.example")[0] == 403
    assert ask(served, "POST", "/vote", vote, Host="evil.example")[0] == 403
    assert ask(served, "GET", "/", Host=f"evil.example:{served.server_port}")[0] == 403
    assert len((ballot / "votes.jsonl").read_text().splitlines()) == 2


def test_votes_of_the_server_and_of_saved_files_are_counted_together(
    ballot: Path, tmp_path: Path
) -> None:
    key = json.loads((ballot / "key.json").read_text())
    made = []
    for rater, given in key["raters"].items():
        for number, trial in enumerate(given):
            t = key["trials"][trial]
            reason = "sharper" if t["criterion"] == "quality" else "things"
            choice = t.get("expected") or ("left" if t["left"] == "red" else "right")
            made.append({"ballot": key["ballot"], "rater": rater, "trial": trial, "seq": number,
                         "choice": choice, "reasons": [reason]})  # fmt: skip
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for place, file in enumerate(files):
        file.write_text("".join(json.dumps(v) + "\n" for v in made[place::2]) + "no vote\n")
    found = votes.write_tally(ballot, files, report=tmp_path)
    assert json.loads((tmp_path / "votes.json").read_text()) == found
    assert [line["value"] for line in found["lines"]] == [1.0, 1.0]
    assert found["lines"][0]["least_p"] > 0.05  # three items cannot be significant
    assert "too few to tell" in votes_part.section(found)
    (ballot / "votes.json").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        votes.write_tally(ballot, [tmp_path / "missing.jsonl"])

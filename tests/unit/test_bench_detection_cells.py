"""Cells of a detector, the floors of a suite file, and the pages that tell of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from avsafe.bench import suitefile
from avsafe.bench.detection import cells, markdown
from avsafe.bench.detection.floors import Floor, check
from avsafe.bench.detection.suite import audit
from avsafe.bench.detection.units import Units
from avsafe.errors import UsageError
from avsafe.sharding.rows import finite

EVIL = '<img src=x onerror="alert(1)">|x'


def table(*rows, detector="speech", shortcuts=None):
    """Rows of (cell, condition, group, synthetic, score, probability, reason, flagged); a source
    has two units."""
    columns = list(zip(*rows, strict=True))
    n = len(rows)
    return Units(
        detector,
        cell=np.array(columns[0], object),
        condition=np.array(columns[1], object),
        unit=np.array([f"u{i}" for i in range(n)], object),
        source=np.array([f"s{i // 2}" for i in range(n)], object),
        group=np.array(columns[2], object),
        synthetic=np.array(columns[3], bool),
        score=np.array(columns[4], float),
        probability=np.array(columns[5], float),
        abstained=np.array(columns[6], object),
        flagged=np.array(columns[7], bool),
        shortcuts=shortcuts or {},
    )


def mixed(cell, condition="clean", n=40, distance=3.0, silent=0, seed=0, group="kokoro"):
    """A cell of n real and n synthetic units, the first ``silent`` of each not judged."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in (False, True):
        for i in range(n):
            score = float(rng.normal(distance * label, 1))
            p = float(1 / (1 + np.exp(-distance * (score - distance / 2))))
            why = f"it has {i / 10} s of speech" if i < silent else ""
            name = group if label else "people"
            rows.append((cell, condition, name, label, score, p, why, score > 2.5 and not why))
    return rows


def control(name="benign", flagged=1, n=20, silent=5, group="music"):
    return [
        (name, "clean", group, False, 0.0, 0.1, "it is music" if i >= n - silent else "",
         i < flagged)
        for i in range(n)
    ]  # fmt: skip


def of(found, cell, condition="clean"):
    return next(c for c in found["cells"] if (c["cell"], c["condition"]) == (cell, condition))


def test_a_cell_has_its_figures_and_counts():
    found = cells.described(table(*mixed("in domain", silent=10), *control()))
    one = of(found, "in domain")
    assert (one["n"], one["n_judged"], one["coverage"]) == (80, 60, 0.75)
    assert (one["n_real_judged"], one["n_real"]) == (30, 40)
    assert one["figures"]["auc"]["value"] > 0.95
    assert (one["figures"]["auc"]["n"], one["figures"]["auc"]["n_expected"]) == (60, 80)
    assert one["with_abstained"]["auc"]["n"] == 80
    assert one["figures"]["tpr_at_1pct"]["value"] is None
    assert one["reasons"] == [
        {"reason": "it has # s of speech", "example": "it has 0.0 s of speech", "n": 20}
    ]
    assert one["figures"]["abstained"]["value"] == pytest.approx(0.25)
    assert found["n_sources"] == 50


def test_a_control_has_no_area_and_the_worst_set_is_named():
    found = cells.described(table(*mixed("in domain"), *control(), *control("more", 3, group="x")))
    assert of(found, "benign")["control"]
    assert of(found, "benign")["figures"]["auc"]["reason"] == "no synthetic unit was judged"
    assert of(found, "benign")["figures"]["fpr"]["value"] == pytest.approx(1 / 15)
    assert found["worst"]["control"] == {
        "cell": "more", "condition": "clean", "group": "x", "share": 3 / 20, "n": 20,
        "n_judged": 15,
    }  # fmt: skip
    assert found["mean"]["n_cells"] == 1, "a control is no cell of the mean"


def test_a_condition_without_synthetic_units_makes_no_control():
    """Where no clip of a generator is large enough, only the real ones are there."""
    real = [row for row in mixed("a", "480 px", seed=3) if not row[3]]
    found = cells.described(table(*mixed("a"), *real), (floor("fpr", 0.0, over="set"),))
    assert not of(found, "a", "480 px")["control"]
    assert found["floors"][0]["met"] is None


def test_mean_and_worst_are_of_what_can_be_compared():
    rows = [*mixed("a", distance=3), *mixed("b", distance=1, seed=1), *mixed("tiny", n=3, seed=2)]
    found = cells.described(table(*rows))
    assert found["worst"]["cell"] == {"cell": "b", "condition": "clean"}
    areas = [c["figures"]["auc"]["value"] for c in found["cells"]]
    assert found["mean"]["auc"]["value"] == pytest.approx(np.mean(areas))


def test_units_that_count_twice_are_told():
    one = table(*mixed("a", n=10), *mixed("a", n=10))
    twice = Units(one.detector, one.cell, one.condition, np.array(["u"] * 40, object),
                  one.source, one.group, one.synthetic, one.score, one.probability,
                  one.abstained, one.flagged)  # fmt: skip
    assert cells.described(twice)["repeated"] == 39


# ---------------------------------------------------------------- floors


def floor(figure="auc", limit=0.9, **more):
    return Floor("speech", "promise", ("*",), ("*",), figure, limit, **more)


def checked(rows, *floors):
    found = cells.described(table(*rows), floors)
    return found["floors"], found


def test_every_cell_must_keep_a_floor_and_the_worst_is_told():
    rows = [*mixed("a"), *mixed("b", distance=0.5)]
    (line,), found = checked(rows, floor())
    assert line["met"] is False
    assert (line["cell"], line["n_missed"], line["n_cells"]) == ("b", 1, 2)
    assert of(found, "b")["missed"] == ["promise"]
    assert of(found, "a")["missed"] == []
    (mean,), _ = checked(rows, floor(over="mean", limit=0.75))
    assert mean["met"] is True
    assert mean["n_cells"] == 2


def test_a_floor_of_nothing_is_not_met():
    (line,), _ = checked(mixed("a"), Floor("speech", "", ("b*",), ("*",), "auc", 0.1))
    assert line["met"] is None
    assert markdown.measured(line) == "not measured"
    (control_only,), _ = checked(control(), floor(limit=0.0))
    assert control_only["met"] is None
    assert "no figure" in markdown.measured(control_only)


def test_other_detectors_floors_are_passed_over():
    assert check((floor(),), "image", []) == []
    assert len(check((Floor("*", "", ("*",), ("*",), "auc", 0.1),), "image", [])) == 1


def test_abstaining_excuses_where_a_floor_says_so():
    rows = mixed("a", distance=0.2, silent=34)
    (excused,), _ = checked(rows, floor(or_abstained=0.8))
    assert (excused["met"], excused["excused"]) == (True, 1)
    (not_so,), _ = checked(rows, floor(or_abstained=0.9))
    assert not_so["met"] is False
    silent, _ = checked(mixed("a", silent=40), floor(or_abstained=0.8), floor())
    assert [line["met"] for line in silent] == [True, None]


def test_a_floor_may_ask_how_much_is_judged():
    rows = mixed("a", silent=30)
    (line,), _ = checked(rows, floor("fpr", 0.5, coverage=0.4))
    assert line["met"] is False, "25 % are judged"
    (kept,), _ = checked(rows, floor("fpr", 0.5, coverage=0.2))
    assert kept["met"] is True


def test_a_loss_against_another_condition():
    rows = [*mixed("a"), *mixed("a", "crf 35", distance=1.5, seed=4)]
    loss = Floor("speech", "", ("*",), ("crf 35",), "auc", 0.07, below="clean")
    (line,), found = checked(rows, loss)
    areas = [of(found, "a", c)["figures"]["auc"]["value"] for c in ("clean", "crf 35")]
    assert line["value"] == pytest.approx(areas[0] - areas[1])
    assert line["met"] is (line["value"] <= 0.07)


def test_sets_of_a_control_count_what_is_flagged_of_all():
    rows = [*control(flagged=1), *control(flagged=2, group="slides"), *mixed("a")]
    (line,), found = checked(rows, floor("fpr", 0.05, over="set"))
    assert (line["met"], line["group"], line["value"]) == (False, "slides", 0.1)
    assert (line["n_missed"], line["n_cells"]) == (1, 2)
    assert of(found, "benign")["missed"] == ["promise"]
    assert of(found, "a")["missed"] == []


def test_small_cells_are_not_asked_where_a_floor_says_so():
    rows = [row for i, row in enumerate(mixed("a")) if i < 50]  # 40 real, 10 synthetic
    (line, other), _ = checked(rows, floor("ece", 0.0, judged=20), floor("ece", 0.0, judged=10))
    assert line["met"] is None
    assert other["met"] is False


def test_what_chance_makes_is_told_and_excuses_nothing():
    rows = [*mixed("true", n=20, seed=8), *((*r[:5], r[5] ** 0.2, *r[6:]) for r in mixed("false"))]
    (line,), _ = checked(rows, floor("ece", 0.01))
    assert line["met"] is False
    assert (line["n_missed"], line["n_chance"], line["cell"]) == (2, 1, "false")
    assert "1 of them by no more than chance would" in markdown.measured(line)


def test_a_value_at_the_limit_keeps_it():
    rows = [*control(flagged=1)]
    (line,), _ = checked(rows, floor("fpr", 1 / 20, over="set"))
    assert line["met"] is True


SUITE = b"suite: mine\ntitle: Mine\nmetrics: []\ndetectors: true\nfloors:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  - {figure: auc, least: 1}", "the field 'detector' is missing"),
        ("  - {detector: a, figure: ouc, least: 1}", "'ouc' is no figure"),
        ("  - {detector: a, figure: auc, most: 1}", "a floor of auc has 'least'"),
        ("  - {detector: a, figure: eer, least: 1}", "a floor of eer has 'most'"),
        ("  - {detector: a, figure: auc, below: clean, least: 1}", "below another has 'most'"),
        ("  - {detector: a, figure: eer, least: 1, most: 1}", "has 'most'"),
        ("  - {detector: a, figure: eer, most: low}", "line 6, floors"),
        ("  - {detector: a, figure: eer, most: 1, over: all}", "expected each, mean or set"),
        ("  - {detector: a, figure: eer, most: 1, over: set}", "a floor over sets is of 'fpr'"),
        ("  - {detector: a, figure: eer, most: 1, cell: x}", "there is no such field"),
    ],
)
def test_mistakes_in_floors_have_their_line(text, said):
    with pytest.raises(UsageError, match=said):
        suitefile.parse(SUITE + text.encode(), "mine.yaml")


def test_the_suite_that_ships_promises_what_was_asked():
    found = suitefile.load("detectors").floors
    assert {f.detector for f in found} == {"speech", "image", "video", "*"}
    limits = {(f.detector, f.figure, f.limit) for f in found}
    assert ("speech", "eer", 0.04) in limits
    assert ("*", "fpr", 0.05) in limits
    assert suitefile.load("t2v").floors == ()


# ---------------------------------------------------------------- audit and pages


def test_the_audit_counts_a_unit_once_and_leaves_controls_out():
    rows = [*mixed("a"), *mixed("b"), *control()]
    kb = np.array([float(i) for i in range(len(rows))], object)
    whole = table(*rows, shortcuts={"kb": kb})
    whole.unit[80:160] = whole.unit[:80]  # cell b asks about the same units again
    assert audit(whole, draws=20)["all"]["n_expected"] == 80


def report(rows):
    one = cells.described(table(*rows), (floor(),))
    one |= {"audits": {"protocol files": audit(table(*rows))}, "seen": 2}
    found = {
        "suite": "detectors", "title": "Detectors", "summary": f"All of {EVIL}",
        "made_at": "2026-01-02T03:04:05+00:00", "environment": {"python": "3"},
        "settings": {"draws": 400, "seconds": 10.0, "suite_sha256": "ab"},
        "protocol": {"speech.parquet": "cd" * 32}, "live": {}, "detectors": {EVIL: one},
        "floors_of_nobody": ["image"],
    }  # fmt: skip
    return json.loads(json.dumps(finite(found)))


def test_the_page_needs_nothing_else_and_escapes_every_name():
    pytest.importorskip("matplotlib")
    from avsafe.bench.report import detection_page

    rows = [*mixed(EVIL, EVIL, silent=3, group=EVIL), *mixed("b", distance=0.4), *control(EVIL)]
    rows[0] = (*rows[0][:6], EVIL, False)
    page = detection_page.draw(report(rows))
    for outside in ("http://", "https://", "<script", "@import", "url(//", "<img", "NaN", "None"):
        assert outside not in page.replace("http://www.w3.org/", ""), outside
    assert page.count("<section") == 4
    assert '<b class="missed">missed</b>' in page
    ids = [part.partition('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids)), "two things have one id"


def test_a_detector_that_judged_nothing_has_a_page_too():
    pytest.importorskip("matplotlib")
    from avsafe.bench.report import detection_page

    found = report(mixed("a", silent=40))
    page, text = detection_page.draw(found), markdown.report(found)
    assert "80 of 80" in page
    assert "| a | clean | – |" in text


def test_the_text_has_every_cell_with_its_n():
    text = markdown.report(report([*mixed("a", silent=4), *control()]))
    assert "| 36 of 40 | 36 of 40 | 20 + 20 |" in text
    assert "<img" not in text
    for line in text.splitlines():
        if line.startswith("| a |"):
            assert line.replace("\\|", "").count("|") == 15

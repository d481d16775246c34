"""Detectors in the verification of a file: shared extractors, failures that stay their own."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest

from avsafe import media, panel, testing
from avsafe.calibration import Calibration, evidence, fit
from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.findings import label_of
from avsafe.home import Home
from avsafe.media.features import examine, withheld
from avsafe.types import Evidence, EvidenceStatus, Kind, Label
from avsafe.verify import verify
from avsafe.workspace import Lookup

SELFTEST = "avsafe.media.selftest:Means"
ME = "avsafe_panel_under_test"


def calibration(name: str) -> Calibration:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 300), rng.normal(9, 1, 300)])
    made = np.repeat([False, True], 300)
    condition = fit("any clip", scores, made, [str(i) for i in range(600)])
    return Calibration(name, "video", f"{name}-1", (condition,))


class Fixed:
    """A detector that gives every clip one score, or fails in one way."""

    kinds = (Kind.VIDEO,)
    modality = "video"
    extractors = {"means": SELFTEST}  # noqa: RUF012

    def __init__(self, name="fixed", score=0.0, error=None):
        self.name, self.score, self.error = name, score, error
        self.known = calibration(name)

    def judge(self, features, given):
        if self.error is not None:
            raise self.error
        assert features["means"]["means"].ndim == 1
        assert given.kind is Kind.VIDEO
        return evidence(
            self.known, self.known.conditions[0], self.score, present="Signs", absent="None"
        )


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120, Fraction(10)), path)
    return path


@pytest.fixture
def installed(monkeypatch):
    """Installs detectors under entry points, and nothing else."""

    def install(*detectors):
        module = ModuleType(ME)
        points = {}
        for number, one in enumerate(detectors):
            setattr(module, f"make{number}", lambda one=one: one)
            points[one.name] = importlib.metadata.EntryPoint(
                one.name, f"{ME}:make{number}", "avsafe.detectors"
            )
        monkeypatch.setitem(sys.modules, ME, module)
        real = panel.plugins.catalogue
        monkeypatch.setattr(
            panel.plugins, "catalogue", lambda kind: points if kind == "detectors" else real(kind)
        )

    return install


def by_source(verdict):
    return {item.source: item for item in verdict.evidence}


def test_a_calibrated_detector_reaches_suspected_and_no_more(installed, clip, tmp_path):
    installed(Fixed(score=9.0))
    verdict = verify(clip, Lookup(Home(tmp_path / "home")))
    assert verdict.label is Label.SYNTHETIC_SUSPECTED
    found = by_source(verdict)
    assert found["detector.fixed"].status is EvidenceStatus.PRESENT
    assert found["detectors"].details["flagged"] == ["detector.fixed"]


def test_names_choose_who_is_heard(installed, clip, tmp_path):
    installed(Fixed("a", 9.0), Fixed("b"))
    lookup = Lookup(Home(tmp_path / "home"))
    assert "detector.a" not in by_source(verify(clip, lookup, detectors=["b"]))
    silent = by_source(verify(clip, lookup, detectors=["none"]))
    assert not {s for s in silent if s.startswith("detector")}
    with pytest.raises(UsageError, match="leaves every detector out"):
        verify(clip, lookup, detectors=["none", "a"])
    with pytest.raises(UsageError, match=r"No detector nobody .*found: a, b"):
        verify(clip, lookup, detectors=["nobody"])


def test_who_was_named_and_does_not_look_at_such_files_says_so(installed, tmp_path):
    installed(Fixed("a", 9.0), Fixed("b"))
    path = tmp_path / "still.png"
    media.encode(testing.still(64, 48), path)
    lookup = Lookup(Home(tmp_path / "home"))
    found = by_source(verify(path, lookup, detectors=["a"]))
    assert found["detector.a"].status is EvidenceStatus.ABSTAINED
    assert "kind image; it needs video" in found["detector.a"].summary
    assert found["detectors"].status is EvidenceStatus.ABSTAINED
    assert not {s for s in by_source(verify(path, lookup)) if s.startswith("detector")}


@pytest.mark.parametrize("error", [MissingExtra("pip install it"), ValueError("shape"), KeyError()])
def test_a_failure_stays_its_own(installed, clip, tmp_path, error):
    installed(Fixed("bad", error=error), Fixed("good"))
    verdict = verify(clip, Lookup(Home(tmp_path / "home")))
    found = by_source(verdict)
    assert found["detector.bad"].status is EvidenceStatus.FAILED
    assert found["detector.good"].status is EvidenceStatus.ABSENT
    assert found["detectors"].details["judged"] == ["detector.good"]
    assert verdict.label is Label.INCONCLUSIVE


def test_a_gate_that_fails_does_not_make_the_file_unreadable(installed, clip, tmp_path):
    gate = Fixed("domain", error=ValueError("no"))
    gate.modality = "domain"
    installed(gate)
    verdict = verify(clip, Lookup(Home(tmp_path / "home")))
    assert by_source(verdict)["domain"].status is EvidenceStatus.ABSTAINED
    assert verdict.label is Label.INCONCLUSIVE


def test_a_missing_package_is_told_and_the_rest_goes_on(installed, clip, tmp_path, monkeypatch):
    installed(Fixed("a"), Fixed("b"))
    real = panel.plugins.load

    def load(kind, name):
        if name == "a":
            raise MissingExtra("needs x: pip install x")
        return real(kind, name)

    monkeypatch.setattr(panel.plugins, "load", load)
    found = by_source(verify(clip, Lookup(Home(tmp_path / "home"))))
    assert found["detector.a"].status is EvidenceStatus.FAILED
    assert "pip install x" in found["detector.a"].summary
    assert found["detector.b"].status is EvidenceStatus.ABSENT


def test_json_is_what_is_published(installed, clip, tmp_path):
    from avsafe.plain import plain

    installed(Fixed(score=9.0))
    verdict = json.loads(json.dumps(plain(verify(clip, Lookup(Home(tmp_path / "home"))))))
    entry = next(e for e in verdict["evidence"] if e["source"] == "detector.fixed")
    assert 0.5 < entry["probability"] <= 0.96
    assert entry["details"]["condition"]["fpr"] <= 0.01


# ---------------------------------------------------------------- plugins that break the contract


def told(source, status=EvidenceStatus.PRESENT, **fields):
    return Evidence(source, status, fields.pop("summary", "Trust me."), **fields)


ANSWERS = {
    "nothing": None,
    "text": "synthetic",
    "speaks for all": told("detectors", llr=3.0, probability=0.9),
    "a broken credential": told("credential", EvidenceStatus.INVALID),
    "a mark": told("watermark.video", details={"recovered": True}),
    "an unreadable file": told("domain", EvidenceStatus.FAILED),
    "another detector": told("detector.speech"),
    "abstains with a number": told("detector.bad", EvidenceStatus.ABSTAINED, llr=3.0),
    "a ratio that is none": told("detector.bad", llr=float("nan"), probability=0.5),
    "a ratio in words": told("detector.bad", llr="3", probability=0.5),
    "a probability over 1": told("detector.bad", llr=3.0, probability=3.0),
    "half of the numbers": told("detector.bad", llr=3.0),
    "a status in words": told("detector.bad", "PRESENT"),
    "no sentence": told("detector.bad", summary=" "),
    "an array": told("detector.bad", details={"x": np.zeros(2)}),
    "details that are none": told("detector.bad", details=["modality"]),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_against_the_contract_counts_for_nothing(installed, clip, answer):
    bad = Fixed("bad")
    bad.judge = lambda features, given: answer
    installed(bad, Fixed("good"))
    heard = panel.convene()
    features = {SELFTEST: {"means": np.zeros(3)}}
    found = heard.judge(media.probe(clip), features)
    assert [e.source for e in found] == ["detector.bad", "detector.good", "detectors"]
    assert found[0].status is EvidenceStatus.FAILED
    assert (found[0].llr, found[0].probability) == (None, None)
    assert found[-1].details["judged"] == ["detector.good"]
    assert label_of(found) is Label.INCONCLUSIVE


def test_a_gate_never_says_that_a_file_is_unreadable(installed, clip):
    gate = Fixed("domain")
    gate.modality = "domain"
    gate.judge = lambda features, given: told("domain", EvidenceStatus.FAILED)
    installed(gate)
    found = panel.convene().judge(media.probe(clip), {SELFTEST: {"means": np.zeros(3)}})
    assert [e.status for e in found] == [EvidenceStatus.ABSTAINED]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("kinds", None), ("kinds", ("video",)), ("modality", None), ("modality", "domain"),
     ("extractors", None), ("extractors", {"x": 1}), ("extractors", {"x": "os:system"}),
     ("extractors", {"x": "avsafe.media"}), ("extractors", {"x": "avsafe.a\x1fb:C"})],
)  # fmt: skip
def test_a_plugin_that_is_none_takes_nothing_down(installed, clip, tmp_path, attribute, value):
    bad = Fixed("bad")
    setattr(bad, attribute, value)
    installed(bad, Fixed("good"))
    found = by_source(verify(clip, Lookup(Home(tmp_path / "home"))))
    assert found["detector.bad"].status is EvidenceStatus.FAILED
    assert found["detector.good"].status is EvidenceStatus.ABSENT


@pytest.mark.parametrize("error", [SyntaxError("x"), RuntimeError("x"), SystemExit(3)])
def test_a_plugin_that_fails_to_load_is_told(installed, monkeypatch, clip, error):
    installed(Fixed("bad"), Fixed("good"))
    real = panel.plugins.load

    def load(kind, name):
        if name == "bad":
            raise error
        return real(kind, name)

    monkeypatch.setattr(panel.plugins, "load", load)
    found = panel.convene().judge(media.probe(clip), {SELFTEST: {"means": np.zeros(3)}})
    said = {e.source: e for e in found}["detector.bad"]
    assert said.status is EvidenceStatus.FAILED
    assert type(error).__name__ in said.summary


def test_a_plugin_that_ends_the_program_does_not(installed, clip):
    installed(Fixed("bad", error=SystemExit(0)))
    found = panel.convene().judge(media.probe(clip), {SELFTEST: {"means": np.zeros(3)}})
    assert found[0].status is EvidenceStatus.FAILED


def test_verify_imports_nothing_heavy(tmp_path):
    """All detectors, on a film with a voice: no torch, no librosa, no pandas, no scikit-learn."""
    clip = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(3.0, 256, 192, Fraction(10)), clip)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from avsafe.home import Home\n"
        "from avsafe.verify import verify\n"
        "from avsafe.workspace import Lookup\n"
        "verdict = verify(Path(sys.argv[1]), Lookup(Home(Path(sys.argv[2]))))\n"
        "heavy = {'torch', 'librosa', 'pandas', 'sklearn', 'pyarrow', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(sorted(e.source for e in verdict.evidence if e.status.value != 'failed'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip), str(tmp_path / "home")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy, sources = done.stdout.splitlines()
    assert heavy == "[]"
    assert {"domain", "detectors", "detector.speech", "detector.video"} <= set(
        ast.literal_eval(sources)
    )


# ---------------------------------------------------------------- extractors that fail


class Failing:
    """Fails at the second frame, with a reason."""

    picture = "luma"

    def __init__(self):
        self.seen = 0

    def start(self, given):
        pass

    def frame(self, frame, time_s):
        self.seen += 1
        if self.seen == 2:
            raise Unscorable("it saw enough")

    def samples(self, block, rate_hz):
        pass

    def finish(self):
        return {}


class Broken(Failing):
    def finish(self):
        raise IndexError("a fault")


class Blind(Failing):
    picture = "colour"


class Objects(Failing):
    def frame(self, *_):
        pass

    def finish(self):
        return {"x": np.array([{}])}


class Large(Objects):
    def finish(self):
        return {"x": np.zeros(70 << 20, np.uint8)}


class Leaving(Objects):
    def finish(self):
        raise SystemExit(0)


class Wordless(Objects):
    def finish(self):
        raise Unscorable("")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Failing", "it saw enough"), ("Broken", "IndexError"), ("Blind", "UsageError"),
     ("Absent", "AttributeError"), ("Objects", "no array of numbers"), ("Large", "70 MiB"),
     ("Leaving", "SystemExit"), ("Wordless", "gave no reason")],
)  # fmt: skip
def test_a_spared_extractor_says_why_and_others_go_on(clip, monkeypatch, name, reason):
    module = ModuleType(ME)
    for kind in (Failing, Broken, Blind, Objects, Large, Leaving, Wordless):
        setattr(module, kind.__name__, kind)
    if name == "Broken":
        Failing.__init__.__defaults__ = None
        monkeypatch.setattr(Broken, "frame", lambda *_: None)
    monkeypatch.setitem(sys.modules, ME, module)
    wanted = {"x": f"{ME}:{name}", "means": SELFTEST}
    _, found = examine(clip, {Kind.VIDEO: wanted}, trusted=True, spared=["x"])
    assert reason in withheld(found["x"])
    assert withheld(found["means"]) is None
    if name in ("Failing", "Broken", "Blind", "Absent"):  # the others matter in the sandbox only
        with pytest.raises(Exception, match=r".*"):
            examine(clip, {Kind.VIDEO: wanted}, trusted=True)


def test_spared_in_the_sandbox_too(clip):
    wanted = {"x": "avsafe.media.selftest:Nothing", "means": SELFTEST}
    _, found = examine(clip, {Kind.VIDEO: wanted}, spared=["x"])
    assert "AttributeError" in withheld(found["x"])
    assert len(found["means"]["means"]) == 10


def test_detectors_that_cost_too_much_leave_the_marks_to_be_read(
    installed, clip, tmp_path, monkeypatch
):
    from avsafe.errors import LimitExceeded

    installed(Fixed(score=9.0))
    asked = []

    def dear(path, extractors, **options):
        asked.append(options.get("spared"))
        if options.get("spared"):
            raise LimitExceeded("it ran into a limit of 120 s of CPU time")
        return examine(path, extractors, **options)

    monkeypatch.setattr(panel, "examine", dear)
    verdict = verify(clip, Lookup(Home(tmp_path / "home")))
    found = by_source(verdict)
    assert len(asked) == 2
    assert found["detector.fixed"].status is EvidenceStatus.ABSTAINED
    assert "more than is allowed" in found["detector.fixed"].summary
    assert found["watermark.video"].status is EvidenceStatus.ABSTAINED  # no key; it was read
    assert verdict.label is Label.INCONCLUSIVE

"""A verdict in lanes, in every language, whatever a plugin puts into its details."""

from __future__ import annotations

import itertools
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from avsafe.errors import UsageError
from avsafe.provenance.report import CredentialStatus
from avsafe.server import lanes, report
from avsafe.server.settings import Settings
from avsafe.server.words import FOLDER, languages, preferred, words
from avsafe.types import Evidence, EvidenceStatus, Label, Verdict


def verdict(*evidence, label=Label.INCONCLUSIVE):
    return Verdict(Path("/x"), "ab" * 32, label, evidence)


def keys(table, above=""):
    for key, value in table.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}:")


def test_every_language_says_the_same_things():
    tables = {c: json.loads((FOLDER / f"{c}.json").read_text("utf-8")) for c in languages()}
    wanted = set(keys(tables["en"]))
    for code, table in tables.items():
        assert set(keys(table)) == wanted, code
    places = {c: {k for k in wanted if "{" in str(words(c)._find(k))} for c in languages()}
    assert places["it"] == places["en"]


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("label", list(Label))
def test_every_label_has_words(language, label):
    title, text = words(language).pair(f"label:{label}")
    assert title
    assert text.endswith(".")


@pytest.mark.parametrize("language", languages())
def test_every_source_in_every_status_has_words(language):
    say = words(language)
    sources = ("watermark.video", "watermark.audio", "watermark.image", "fingerprint", "domain",
               "detector.speech", "detector.somebodys", "detectors")  # fmt: skip
    for source, status in itertools.product(sources, EvidenceStatus):
        page = lanes.page(verdict(Evidence(source, status, "note")), say)
        assert page.lanes[0].items[0].said
    for status in CredentialStatus:
        one = Evidence("credential", EvidenceStatus.PRESENT, "note", details={"status": status})
        assert lanes.page(verdict(one), say).lanes[0].items[0].said


def test_lanes_are_in_the_order_in_which_evidence_counts():
    given = [
        Evidence(s, EvidenceStatus.ABSENT, "x")
        for s in ("detectors", "detector.b", "fingerprint", "watermark.video", "detector.a")
    ]
    given.append(Evidence("credential", EvidenceStatus.ABSENT, "x", details={"status": "none"}))
    page = lanes.page(verdict(*given), words("en"))
    assert [lane.title for lane in page.lanes] == [
        "Credential", "Hidden marks", "Likeness to releases of this service",
        "All detectors together", "Detectors",
    ]  # fmt: skip
    assert len(page.lanes[-1].items) == 2


def test_bars_lie_where_the_segments_lie():
    timeline = [
        {"start_s": 0.0, "end_s": 1.0, "llr": -3.0, "flagged": False},
        {"start_s": 3.0, "end_s": 4.0, "llr": 3.0, "flagged": True},
        {"start_s": 1.0, "end_s": 2.0, "llr": None, "flagged": False},
    ]
    one = Evidence("detector.speech", EvidenceStatus.PRESENT, "x", details={"timeline": timeline})
    item = lanes.page(verdict(one), words("en")).lanes[0].items[0]
    assert [(b.left, b.width, b.shade, b.flagged) for b in item.bars] == [
        (0.0, 25.0, 0, False), (75.0, 25.0, 10, True), (25.0, 25.0, None, False)]  # fmt: skip
    assert item.length_s == 4.0


HOSTILE = [
    None, "x" * 10**5, {"a": [1]}, [[[]]], math.nan, math.inf, -1, True, "\x00\x1b[31m<script>",
    [{"start_s": math.nan, "end_s": 1}], [{"start_s": 5, "end_s": 1}], [3, None],
    [{"start_s": 0, "end_s": 1e300, "llr": "x"}] * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_details_of_any_kind_break_nothing(value):
    names = ("status", "issuer", "signed_at", "actions", "ingredients", "uncovered", "release_id",
             "similarity", "timeline", "condition", "claim_generator", "released_at")  # fmt: skip
    details = dict.fromkeys(names, value)
    sources = ("watermark.video", "fingerprint", "detector.x")
    given = [Evidence(s, EvidenceStatus.PRESENT, "x", llr=1.0, details=details) for s in sources]
    credential = Evidence(
        "credential", EvidenceStatus.PRESENT, "x", details=details | {"status": "trusted"}
    )
    page = lanes.page(verdict(credential, *given), words("it"))
    assert len(page.lanes) == 4
    assert all("\x1b" not in v for lane in page.lanes for i in lane.items for _, v in i.facts)


def test_ingredients_of_ingredients_end():
    deep = {"status": "none"}
    for _ in range(1000):
        deep = {"status": "trusted", "issuer": "a", "ingredients": [deep]}
    one = Evidence("credential", EvidenceStatus.PRESENT, "x",
                   details={"status": "trusted", "ingredients": [deep]})  # fmt: skip
    found = lanes.page(verdict(one), words("en")).lanes[0].ingredients
    depth = 0
    while found:
        depth, found = depth + 1, found[0].below
    assert depth == lanes.MAX_DEPTH


def test_pdf_is_one_and_the_same_for_the_same_verdict():
    pypdf = pytest.importorskip("pypdf")
    import io

    one = Evidence(
        "credential", EvidenceStatus.ABSENT, "None <b>here</b> — ", details={"status": "none"}
    )
    say = words("it")
    page = lanes.page(verdict(one), say)
    made = [
        report.pdf(page, say, name="è 日本 <i>.mp4", size="1 MB", sha256="ab" * 32,
                   now=datetime(2026, 1, 2, tzinfo=UTC))
        for _ in range(2)
    ]  # fmt: skip
    assert made[0] == made[1]
    text = "".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(made[0])).pages)
    assert "Non si sa nulla di certo" in text
    assert "\\u65e5" in text
    assert "<i>" in text


# ---------------------------------------------------------------- languages, settings


@pytest.mark.parametrize(
    ("header", "language"),
    [("", "en"), ("it", "it"), ("de, it;q=0.4, en;q=0.3", "it"), ("it;q=0, en", "en"),
     ("it;q=x", "en"), ("," * 9999, "en"), ("*", "en")],
)  # fmt: skip
def test_the_preferred_language(header, language):
    assert preferred(header) == language


@pytest.mark.parametrize(
    "given",
    [{"AVSAFE_SERVE_AT_ONCE": "0"}, {"AVSAFE_SERVE_AT_ONCE": "two"}, {"AVSAFE_SERVE_NOPE": "1"},
     {"AVSAFE_SERVE_FEEDBACK": "javascript:alert(1)"}, {"AVSAFE_SERVE_WAITING": "-1"}],
)  # fmt: skip
def test_settings_that_are_none_are_refused(given):
    with pytest.raises(UsageError, match="AVSAFE_SERVE_"):
        Settings.from_environment(given)


@pytest.mark.parametrize("status", ["{0}", "{issuer.__class__}", "x:y:z", "none:more"])
def test_a_status_that_nobody_knows_is_only_text(status):
    details = {"status": "trusted", "ingredients": [{"status": status, "issuer": "{0}"}]}
    one = Evidence("credential", EvidenceStatus.PRESENT, "x", details=details)
    found = lanes.page(verdict(one), words("en")).lanes[0].ingredients
    assert [i.said for i in found] == [status]

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
from avsafe.server import lanes, report, signed
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


def segment(start_s, end_s, llr, flagged=False):
    return {"start_s": start_s, "end_s": end_s, "llr": llr, "flagged": flagged}


def detector(name, *timeline):
    return Evidence(name, EvidenceStatus.PRESENT, "x", details={"timeline": list(timeline)})


def test_bars_lie_where_the_segments_lie():
    speech = detector(
        "detector.speech", segment(0.0, 1.0, -3.0), segment(3.0, 4.0, 3.0, True),
        segment(1.0, 2.0, None),
    )  # fmt: skip
    motion = detector("detector.video", segment(0.0, 1.0, 0.0), segment(0.5, 1.5, 3.0, True),
                      segment(1.5, 2.0, 3.0, True))  # fmt: skip
    file = Evidence("domain", EvidenceStatus.PRESENT, "x", details={"duration_s": 8.0})
    when = lanes.page(verdict(speech, motion, file), words("en")).when
    assert [(b.left, b.width, b.shade, b.flagged) for b in when.rows[0].bars] == [
        (0.0, 12.667, 0, False), (12.667, 12.333, None, False), (37.333, 12.667, 10, True)
    ]  # fmt: skip
    # Where two windows overlap, their mean; what is listed is where they really are.
    assert [(b.shade, b.flagged) for b in when.rows[1].bars] == [(5, False), (8, True), (10, True)]
    assert when.listed == [("detector.speech", 3.0, 4.0), ("detector.video", 0.5, 2.0)]
    assert when.length_s == 8.0
    assert when.ticks[0] == (0.0, 0.0)
    assert when.ticks[-1] == (100.0, 8.0)


def test_a_long_list_is_cut_and_says_so():
    many = detector("detector.a", *(segment(2 * n, 2 * n + 1, 1.0, True) for n in range(100)))
    when = lanes.page(verdict(many), words("en")).when
    assert len(when.rows[0].flagged) == len(when.listed) + when.unlisted == 100
    assert len(when.listed) == 40
    assert len(when.rows[0].bars) <= 300


FILE = ("kind", "container", "duration_s", "width", "height", "frame_rate", "picture_class")
HOSTILE = [
    None, "x" * 10**5, {"a": [1]}, [[[]]], math.nan, math.inf, -1, True, "\x00\x1b[31m<script>",
    [{"start_s": math.nan, "end_s": 1}], [{"start_s": 5, "end_s": 1}], [3, None],
    [{"start_s": 0, "end_s": 1e300, "llr": "x"}] * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_details_of_any_kind_break_nothing(value):
    names = ("status", "issuer", "signed_at", "actions", "ingredients", "uncovered", "release_id",
             "similarity", "timeline", "condition", "claim_generator", "released_at",
             "certificate", "timestamp_authority", "source_types", "heatmap")  # fmt: skip
    details = dict.fromkeys(names, value)
    sources = ("watermark.video", "fingerprint", "detector.x")
    given = [Evidence(s, EvidenceStatus.PRESENT, "x", llr=1.0, details=details) for s in sources]
    credential = Evidence(
        "credential", EvidenceStatus.PRESENT, "x", details=details | {"status": "trusted"}
    )
    domain = Evidence("domain", EvidenceStatus.PRESENT, "x", details=dict.fromkeys(FILE, value))
    odd = Evidence("detector.y", EvidenceStatus.PRESENT, "x", details=value)
    page = lanes.page(verdict(credential, domain, odd, *given), words("it"))
    assert len(page.lanes) == 5
    say = words("it")
    facts = {"name": "x", "size": "1", "sha256": "0", "now": datetime(2026, 1, 2, tzinfo=UTC)}
    assert report.pdf(page, say, **facts).startswith(b"%PDF-")
    assert all("\x1b" not in v for lane in page.lanes for i in lane.items for _, v in i.facts)


def test_ingredients_of_ingredients_end():
    deep = {"status": "none"}
    for _ in range(1000):
        deep = {"status": "trusted", "issuer": "a", "ingredients": [deep]}
    one = Evidence("credential", EvidenceStatus.PRESENT, "x",
                   details={"status": "trusted", "ingredients": [deep]})  # fmt: skip
    found = lanes.page(verdict(one), words("en")).lanes[0].work.below
    depth = 0
    while found:
        depth, found = depth + 1, found[0].below
    assert depth == signed.MAX_DEPTH


def test_the_tree_says_what_each_part_was_made_by():
    portrait = {
        "status": "trusted", "issuer": "Camera <b>", "relationship": "inputTo",
        "format": "image/jpeg", "signed_at": "2026-01-02T03:04:05Z", "claim_generator": "cam 1",
        "source_types": ["http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"],
    }  # fmt: skip
    details = {
        "status": "trusted", "issuer": "Studio", "claim_generator": "avsafe 1",
        "source_types": ["http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"],
        "ingredients": [portrait, {"status": "altered", "format": "x", "relationship": "?"}],
    }  # fmt: skip
    one = Evidence("credential", EvidenceStatus.PRESENT, "x", details=details)
    this = lanes.page(verdict(one), words("en")).lanes[0].work
    assert this.lines == ("Made with avsafe 1", "Declared as: made by AI", "Signed by Studio")
    given, other = this.below
    assert (given.title, given.state) == ("Given to the program: picture (jpeg)", "present")
    assert given.lines == (
        "Made with cam 1", "Declared as: recorded by a device", "Signed by Camera <b> on 2026-01-02"
    )  # fmt: skip
    assert (other.title, other.state) == ("Made from: x", "invalid")


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"status": "trusted", "certificate": {"trust_list": "own"}}, "own signing keys"),
        ({"status": "trusted", "certificate": {"trust_list": "added"}}, "this service trusts"),
        ({"status": "trusted"}, "a list of this service"),
        ({"status": "expired", "certificate": {"trust_list": "own"}}, "on none of this service"),
        ({"status": "trusted", "certificate": {"revocation": "revoked"}}, "withdrew"),
        ({"status": "trusted", "certificate": {"revocation": "not-revoked"}}, "no, says an answer"),
        ({"status": "trusted", "certificate": {"revocation": None, "valid_from": "2026-01-02T",
          "valid_until": "2027-01-02T"}}, "from 2026-01-02 until 2027-01-02"),
        ({"status": "trusted", "signed_at": "2026-01-02T03:04:05Z", "timestamped": True,
          "timestamp_authority": "TSA"}, "2026-01-02 03:04:05 (time stamp of TSA)"),
        ({"status": "trusted"}, "no time stamp proves a date"),
    ],
)  # fmt: skip
def test_how_far_a_signer_is_believed(details, said):
    one = Evidence("credential", EvidenceStatus.PRESENT, "x", details={"issuer": "A"} | details)
    facts = lanes.page(verdict(one), words("en")).lanes[0].items[0].facts
    assert any(said in value for _, value in facts), facts


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


def test_pdf_says_what_the_page_says():
    pypdf = pytest.importorskip("pypdf")
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (64, 32), "tan").save(picture, "JPEG")
    given = {"status": "none", "relationship": "inputTo", "format": "audio/wav"}
    details = {"status": "trusted", "issuer": "Studio", "certificate": {"trust_list": "own"},
               "ingredients": [given], "actions": [{"action": "c2pa.created"}]}  # fmt: skip
    say = words("en")
    page = lanes.page(
        verdict(
            Evidence("credential", EvidenceStatus.PRESENT, "x", details=details),
            detector("detector.speech", segment(3.0, 4.0, 3.0, True), segment(0.0, 1.0, None)),
        ),
        say,
    )
    made = report.pdf(page, say, name="a", size="1 MB", sha256="ab" * 32,
                      now=datetime(2026, 1, 2, tzinfo=UTC),
                      stills={"detector.speech": picture.getvalue()})  # fmt: skip
    found = pypdf.PdfReader(io.BytesIO(made)).pages
    text = "".join(p.extract_text() for p in found)
    for said in (
        "Studio", "own signing keys", "Given to the program: sound (wav) [no credential]",
        "Synthetic voice: 3.0 s - 4.0 s", "Created", say("still"), say("never"),
    ):  # fmt: skip
        assert said in text, said
    assert sum(len(p.images) for p in found) == 1


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
    found = lanes.page(verdict(one), words("en")).lanes[0].work.below
    assert [work.state_said for work in found] == [status]

"""The traps of Cedar, each reproduced, and the lint of a policy folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cedarpy
import pytest

from avsafe.errors import PolicyError
from avsafe.policy import Policy, RiskReport, decide, local_principal
from avsafe.policy.engine import BASE, DEFAULT_FOLDER, REVIEW, SCHEMA
from avsafe.policy.risk import CATEGORIES
from avsafe.policy.simulate import ANY_GENERATOR
from avsafe.types import Decision, Effect, GenerationRequest, Task

PERMIT = (
    '@id("P1") @reason("Everybody.") @obligation("watermark=invisible; c2pa=sign")\n'
    "permit (principal, action, resource);\n"
)
FORBID = '@id("F1") @reason("No.")\nforbid (principal, action, resource) when {{ {} }};\n'
OBLIGING_FORBID = FORBID.format("true").replace("@reason", '@obligation("c2pa=sign") @reason')
REVIEW_RULE = (
    '@id("R1") @effect("review") @reason("Look.")\n'
    "forbid (principal, action, resource) when {{ {} }};\n"
)
NO_REVIEW = REVIEW_RULE.format("context.risk.violence > 100")


def risk(**scores: int) -> RiskReport:
    return RiskReport({name: scores.get(name, 0) for name in CATEGORIES}, complete=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(DEFAULT_FOLDER, tmp_path / "policy")
    return tmp_path / "policy"


def policy(folder: Path, base: str, review: str = NO_REVIEW) -> Policy:
    (folder / BASE).write_text(base)
    (folder / REVIEW).write_text(review)
    return Policy.load(folder)


def ask(loaded: Policy, report: RiskReport | None = None, **call: object) -> Decision:
    request = GenerationRequest(local_principal(), Task.TEXT_TO_VIDEO, "g", "a red ball")
    return decide(request, loaded, generator=ANY_GENERATOR, risk=report or risk(), **call)  # type: ignore[arg-type]


def test_default_folder_loads_and_is_named_by_a_hash_of_its_texts(folder: Path) -> None:
    default = Policy.load(None)
    assert Policy.load(folder).sha256 == default.sha256
    with (folder / REVIEW).open("a") as file:
        file.write("\n// a comment changes the text\n")
    assert Policy.load(folder).sha256 != default.sha256
    assert {rule.effect for rule in default.rules.values()} == {"permit", "forbid"}


@pytest.mark.parametrize("make", ["none", "absent", "empty"])
def test_absent_and_empty_folders_give_the_default(tmp_path: Path, make: str) -> None:
    (tmp_path / "empty").mkdir()
    chosen = {"none": None, "absent": tmp_path / "nothing", "empty": tmp_path / "empty"}[make]
    assert Policy.load(chosen).folder == DEFAULT_FOLDER


# ------------------------------------------------------- trap 1: an erroring forbid is skipped


def test_cedar_alone_fails_open_when_an_attribute_is_missing() -> None:
    """The trap itself: without a schema the forbid is skipped and the answer is Allow."""
    result = cedarpy.is_authorized(
        {"principal": 'U::"a"', "action": 'Action::"x"', "resource": 'R::"r"', "context": {}},
        "permit (principal, action, resource);"
        "forbid (principal, action, resource) when { context.danger > 3 };",
        [],
    )
    assert result.decision is cedarpy.Decision.Allow
    assert result.diagnostics.errors


def test_missing_attribute_denies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from avsafe.policy import decision

    loaded = policy(folder, PERMIT + FORBID.format("context.risk.sexual >= 70"))
    assert ask(loaded).effect is Effect.ALLOW
    original = decision._question

    def without(*arguments: object) -> object:
        question, entities = original(*arguments)  # type: ignore[arg-type]
        del question["context"]["risk"]["sexual"]
        return question, entities

    monkeypatch.setattr(decision, "_question", without)
    answer = ask(loaded)
    assert (answer.effect, answer.rules) == (Effect.DENY, ("D2-policy-not-evaluated",))
    assert "sexual" in answer.reasons[0]
    assert "no clean answer" in caplog.text


@pytest.mark.parametrize("where", [BASE, REVIEW])
def test_erroring_forbid_denies(folder: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    """An overflow passes validation and fails when it is evaluated; Cedar then skips the forbid."""
    overflow = "(context.quota + 9223372036854775000) > 5"
    if where == BASE:
        loaded = policy(folder, PERMIT + FORBID.format(overflow))
    else:
        loaded = policy(folder, PERMIT, REVIEW_RULE.format(overflow))
    answer = ask(loaded, quota=1000)
    assert (answer.effect, answer.rules) == (Effect.DENY, ("D2-policy-not-evaluated",))
    assert not answer.obligations
    assert "overflow" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"likeness": 7},
        {"quota": 2**70},
        {"consent_scope": [3]},
        {"territory": None},
        {"jobs_today": "many"},
        {"likeness": "lone \ud800 surrogate"},
    ],
)
def test_context_that_does_not_fit_the_schema_denies(wrong: dict[str, object]) -> None:
    answer = ask(Policy.load(None), **wrong)
    assert answer.effect is Effect.DENY
    assert answer.rules in {("D2-policy-not-evaluated",), ("F3-likeness-without-consent",)}


def test_panic_of_the_engine_denies_and_an_interrupt_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PanicException(BaseException):  # as pyo3 raises it: not an Exception
        pass

    def panics(*_: object) -> None:
        raise PanicException("index out of range")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    loaded = Policy.load(None)
    monkeypatch.setattr(cedarpy, "is_authorized", panics)
    assert ask(loaded).rules == ("D2-policy-not-evaluated",)
    monkeypatch.setattr(cedarpy, "is_authorized", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(loaded)


# ------------------------------------------------------- trap 2: `in` is for entities


def test_in_on_strings_does_not_load(folder: Path) -> None:
    with pytest.raises(PolicyError, match="F1"):
        policy(folder, PERMIT + FORBID.format('context.likeness in ["unknown", "expired"]'))


# ------------------------------------------------------- trap 3: reasons


def test_rules_are_sorted_and_named_by_their_ids(folder: Path) -> None:
    names = [f"P{i}" for i in range(9, 0, -1)]
    text = "".join(PERMIT.replace("P1", name) for name in names)
    loaded = policy(folder, text)
    for _ in range(20):  # Cedar's own order varies from call to call
        answer = ask(loaded)
        assert answer.rules == tuple(sorted(names))
        assert len(answer.reasons) == len(names)


@pytest.mark.parametrize("across", [False, True])
def test_duplicate_ids_do_not_load(folder: Path, across: bool) -> None:
    review = NO_REVIEW.replace("R1", "P1") if across else NO_REVIEW
    base = PERMIT if across else PERMIT + PERMIT
    assert cedarpy.validate_policies(base, (folder / SCHEMA).read_text()).validation_passed
    with pytest.raises(PolicyError, match="P1"):
        policy(folder, base, review)


# ------------------------------------------------------- trap 4: obligations


def test_unknown_obligation_denies_and_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = policy(folder, PERMIT.replace("c2pa=sign", "c2pa=sign; notify=subject"))
    answer = ask(loaded)
    assert (answer.effect, answer.rules) == (Effect.DENY, ("D1-unknown-obligation",))
    assert "notify=subject" in answer.reasons[0]
    assert "P1" in answer.reasons[0]
    assert not answer.obligations
    assert "unknown obligations" in caplog.text


@pytest.mark.parametrize(
    "text", ["watermark", "watermark=visible", "=", "label", "c2pa=sign,label"]
)
def test_almost_known_obligations_deny(folder: Path, text: str) -> None:
    loaded = policy(folder, PERMIT.replace("watermark=invisible", text))
    assert ask(loaded).rules == ("D1-unknown-obligation",)


def test_obligations_of_all_fitting_permits_are_joined_and_the_floor_is_added(folder: Path) -> None:
    extra = '@id("P2") @reason("Label.") @obligation("label=visible;notice=whole-clip")\n'
    bare = '@id("P1") @reason("Everybody.")\npermit (principal, action, resource);\n'
    answer = ask(policy(folder, bare + extra + "permit (principal, action, resource);"))
    assert [str(item) for item in answer.obligations] == [
        "c2pa=sign",
        "label=visible",
        "notice=whole-clip",
        "watermark=invisible",
    ]


# ------------------------------------------------------- trap 5: an implicit deny has no reason


def test_implicit_deny_has_a_reason(folder: Path) -> None:
    loaded = policy(folder, PERMIT.replace("principal,", 'principal == Avsafe::User::"other",'))
    answer = ask(loaded)
    assert (answer.effect, answer.rules) == (Effect.DENY, ("D0-nothing-permits-this",))
    assert "local" in answer.reasons[0]


# ------------------------------------------------------- trap 6: review is not permission


def test_review_is_asked_only_when_the_base_set_allows(folder: Path) -> None:
    review = REVIEW_RULE.format("context.risk.violence >= 50")
    nobody = PERMIT.replace("principal,", 'principal == Avsafe::User::"other",')
    bloody = risk(violence=60, sexual=80)
    assert ask(policy(folder, nobody, review), bloody).rules == ("D0-nothing-permits-this",)
    forbidden = PERMIT + FORBID.format("context.risk.sexual >= 70")
    assert ask(policy(folder, forbidden, review), bloody).rules == ("F1",)
    answer = ask(policy(folder, PERMIT, review), bloody)
    assert (answer.effect, answer.rules) == (Effect.REVIEW, ("R1",))
    assert [str(item) for item in answer.obligations] == ["c2pa=sign", "watermark=invisible"]


# ------------------------------------------------------- trap 7: whole numbers, quota


@pytest.mark.parametrize(("jobs", "effect"), [(999, Effect.ALLOW), (1000, Effect.DENY)])
def test_quota_is_used_up_at_its_number(jobs: int, effect: Effect) -> None:
    assert ask(Policy.load(None), jobs_today=jobs, quota=1000).effect is effect


def test_fractional_scores_never_reach_cedar() -> None:
    half = RiskReport(dict.fromkeys(CATEGORIES, 0) | {"sexual": 69.9}, complete=True)  # type: ignore[dict-item]
    assert ask(Policy.load(None), half).risk["sexual"] == 69


# ------------------------------------------------------- a broken folder never decides


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (BASE, "permit (principal, action", "does not parse"),
        (BASE, PERMIT.replace('@id("P1")', ""), "@id"),
        (BASE, PERMIT.replace('"P1"', '" "'), "@id"),
        (BASE, PERMIT.replace('@reason("Everybody.")', ""), "@reason"),
        (BASE, PERMIT.replace("@reason", "@raeson"), "@reason"),
        (BASE, PERMIT + FORBID.format("true").replace("@reason", "@colour @reason"), "colour"),
        (BASE, PERMIT + FORBID.format("context.risk.sexaul > 3"), "F1.*sexaul"),
        (BASE, PERMIT + FORBID.format('context.risk.sexual > "3"'), "F1"),
        (BASE, PERMIT + FORBID.format("context.duration_ms > 3"), "F1.*duration_ms"),
        (BASE, PERMIT + OBLIGING_FORBID, "obligation"),
        (BASE, PERMIT.replace("@reason", '@effect("review") @reason'), "effect"),
        (BASE, PERMIT.replace("principal,", "principal == ?principal,"), "templates"),
        (BASE, FORBID.format("true"), "permits nothing"),
        (BASE, "", "permits nothing"),
        (REVIEW, PERMIT.replace("P1", "R9"), "only `forbid`"),
        (REVIEW, REVIEW_RULE.format("true").replace('@effect("review")', ""), "effect"),
        (REVIEW, REVIEW_RULE.format("context.risk.unknown > 1"), "R1.*unknown"),
        (SCHEMA, "namespace Avsafe {", "schema"),
        (SCHEMA, "", "does not fit the schema"),
    ],
)  # fmt: skip
def test_broken_folder_does_not_load(folder: Path, name: str, text: str, says: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(PolicyError, match=f"(?s){says}"):
        Policy.load(folder)


@pytest.mark.parametrize("name", [BASE, REVIEW, SCHEMA])
def test_missing_or_binary_file_does_not_load(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match="UTF-8"):
        Policy.load(folder)
    (folder / name).unlink()
    with pytest.raises(PolicyError, match=name):
        Policy.load(folder)


def test_folder_with_only_a_stray_file_is_not_the_default(tmp_path: Path) -> None:
    """Half a policy must not turn into the packaged one in silence."""
    (tmp_path / "notes.txt").write_text("to do")
    with pytest.raises(PolicyError, match="policy init"):
        Policy.load(tmp_path)


def test_huge_policy_file_does_not_load(folder: Path) -> None:
    (folder / BASE).write_text(PERMIT + "// " + "x" * (1 << 20))
    with pytest.raises(PolicyError, match="larger"):
        Policy.load(folder)


def test_entity_names_that_cedar_text_could_not_hold(folder: Path) -> None:
    """Names go in as data, never as Cedar text: quotes and newlines inject nothing."""
    from avsafe.types import Principal

    evil = 'x"; permit (principal, action, resource); //\n'
    request = GenerationRequest(Principal(evil, roles=(evil,), teams=(evil,)), Task.RELEASE, evil)
    answer = decide(request, Policy.load(None), generator=None, risk=risk())
    assert answer.rules == ("D0-nothing-permits-this",)
    owner = GenerationRequest(Principal(evil, roles=("owner",)), Task.RELEASE, evil)
    assert decide(owner, Policy.load(None), generator=None, risk=risk()).effect is Effect.ALLOW


def test_every_rule_of_the_default_has_the_documented_shape() -> None:
    for node in json.loads(cedarpy.policies_to_json_str((DEFAULT_FOLDER / BASE).read_text()))[
        "staticPolicies"
    ].values():
        if node["effect"] == "permit":
            assert "watermark=invisible" in node["annotations"]["obligation"]
            assert "c2pa=sign" in node["annotations"]["obligation"]


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 20000 + "true" + ")" * 20000,
        "[" * 800 + "]" * 800,
        'principal.a has "(" ' + "(" * 60 + '")"' + ")" * 60,  # brackets in texts count for nothing
        "principal" + ".a" * 20000,
        "true && " * 6000 + "true",
        "true && " * 900 + "true",
    ],
)
def test_rules_that_would_end_the_process_do_not_load(folder: Path, condition: str) -> None:
    base = folder / "base.cedar"
    rule = f'@id("deep") @reason("r") permit(principal, action, resource) when {{ {condition} }};'
    base.write_text(base.read_text() + rule)
    with pytest.raises(PolicyError, match=r"brackets inside|characters: divide|too long: divide"):
        Policy.load(folder)

"""``avsafe policy``: output, exit codes, folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from avsafe.cli.policy import app
from avsafe.errors import PolicyError, UsageError


@pytest.fixture(autouse=True)
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "home"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def read(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("prompt", "effect", "code"),
    [
        ("a red ball bounces on a wooden table", "allow", 0),
        ("explicit hardcore porn video", "deny", 4),
        ("Mickey Mouse waves", "review", 5),
    ],
)
def test_one_prompt_has_the_exit_code_of_the_gate(prompt: str, effect: str, code: int) -> None:
    result = run("check", "--task", "text-to-video", "--prompt", prompt, "--json")
    (answer,) = read(result)
    assert result.exit_code == code
    assert (answer["prompt"], answer["effect"]) == (prompt, effect)
    assert set(answer) >= {"prompt", "effect", "rules", "reasons", "risk"}
    assert answer["rules"]
    assert len(answer["rules"]) == len(answer["reasons"])
    assert all(isinstance(value, int) and 0 <= value <= 100 for value in answer["risk"].values())


def test_a_file_of_prompts_keeps_its_order_and_says_zero(tmp_path: Path) -> None:
    lines = ["a cat", "", "explicit porn", "form\x0cfeed and \u2028 separator", 'quotes " and [b]']
    file = tmp_path / "prompts.txt"
    file.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    result = run("check", "--task", "text-to-video", "--prompts", file, "--json")
    assert result.exit_code == 0
    assert [item["prompt"] for item in read(result)] == [line for line in lines if line]
    assert [item["effect"] for item in read(result)][:2] == ["allow", "deny"]
    human = run("check", "--task", "text-to-video", "--prompts", file)
    assert human.exit_code == 0
    assert "F2-sexual" in human.stdout
    assert "[b]" in human.stdout  # not taken for markup


def test_an_empty_prompt_and_an_empty_file(tmp_path: Path) -> None:
    assert read(run("check", "--task", "release", "--prompt", "", "--json"))[0]["effect"] == "allow"
    (tmp_path / "none.txt").write_text("\n\n")
    assert (
        read(run("check", "--task", "release", "--prompts", tmp_path / "none.txt", "--json")) == []
    )


def test_undecodable_bytes_are_scored_not_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"a cat \xff\xfe\n")
    (answer,) = read(run("check", "--task", "release", "--prompts", tmp_path / "p.txt", "--json"))
    assert "\ufffd" in answer["prompt"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--task", "make-coffee", "--prompt", "x"),
        ("--task", "release"),
        ("--task", "release", "--prompt", "x", "--prompts", "y"),
        ("--task", "release", "--prompts", "/does/not/exist"),
    ],
)
def test_wrong_use_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert isinstance(run("check", *arguments).exception, UsageError)


def test_an_unregistered_generator_may_only_be_released() -> None:
    ask = ("--prompt", "a cat", "--generator", "somewhere-else", "--json")
    (answer,) = read(run("check", "--task", "release", *ask))
    assert answer["effect"] == "allow"
    assert answer["details"]["registered_generator"] is False
    (answer,) = read(run("check", "--task", "text-to-video", *ask))
    assert answer["rules"] == ["D0-nothing-permits-this"]


def test_init_edit_check_simulate(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert run("init", folder).exit_code == 0
    assert isinstance(run("init", folder).exception, UsageError)  # never overwrites
    assert len(read(run("validate", folder, "--json"))["rules"]) > 30

    base = folder / "base.cedar"
    base.write_text(base.read_text().replace("sexual >= 70", "sexual >= 101"))
    requests = tmp_path / "requests.jsonl"
    requests.write_text(
        '{"task": "text-to-video", "prompt": "explicit hardcore porn"}\n'
        '{"task": "release", "prompt": "a cat", "generator": null}\n'
        "\n"
        '{"task": "text-to-image", "prompt": "a cat", "jobs_today": 5, "quota": 5}\n'
    )
    result = read(run("simulate", "default", folder, "--requests", requests, "--json"))
    assert result["requests"] == 3
    assert result["before"] == {"allow": 1, "deny": 2}
    assert [change["line"] for change in result["changes"]] == [1]
    assert "F2-sexual" in result["changes"][0]["before"]["rules"]
    assert "F2-sexual" not in result["changes"][0]["after"]["rules"]
    assert run("simulate", "default", folder, "--requests", requests).exit_code == 0

    base.write_text(base.read_text() + "permit (")
    for command in (
        ("validate", folder),
        ("check", "--task", "release", "--prompt", "a cat", "--policy", folder),
        ("simulate", "default", folder, "--requests", requests),
    ):
        result = run(*command)
        assert isinstance(result.exception, PolicyError)
        assert "allow" not in result.stdout


def test_the_policy_of_this_installation_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "policy"
    run("init", folder)
    base = folder / "base.cedar"
    base.write_text(base.read_text().replace('Role::"owner"', 'Role::"nobody"'))
    (answer,) = read(run("check", "--task", "release", "--prompt", "a cat", "--json"))
    assert answer["rules"] == ["D0-nothing-permits-this"]


def test_validate_names_unknown_obligations(tmp_path: Path) -> None:
    run("init", tmp_path / "mine")
    base = tmp_path / "mine" / "base.cedar"
    base.write_text(base.read_text().replace("c2pa=sign", "c2pa=stamp", 1).replace("known:", ""))
    base.write_text(base.read_text().replace('"watermark=invisible; c2pa=sign"', '"fly=high"', 1))
    result = run("validate", tmp_path / "mine")
    assert isinstance(result.exception, PolicyError)
    assert "fly=high" in str(result.exception)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"prompt": "no task"}',
        '{"task": "make-coffee"}',
        '{"task": "release", "promt": "typo"}',
        '{"task": "release", "prompt": 7}',
        '{"task": "release", "generator": {"nmae": "typo"}}',
    ],
)
def test_simulate_names_the_line_that_is_no_request(tmp_path: Path, line: str) -> None:
    requests = tmp_path / "r.jsonl"
    requests.write_text('{"task": "release"}\n' + line + "\n")
    result = run("simulate", "default", "default", "--requests", requests)
    assert isinstance(result.exception, UsageError)
    assert "line 2" in str(result.exception)


def test_simulate_does_not_take_a_missing_folder_for_the_default(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"task": "release"}\n')
    result = run("simulate", "default", tmp_path / "typo", "--requests", tmp_path / "r.jsonl")
    assert isinstance(result.exception, UsageError)
    assert isinstance(run("validate", tmp_path / "typo").exception, UsageError)
    arguments = ("check", "--task", "release", "--prompt", "x", "--policy", tmp_path / "typo")
    assert isinstance(run(*arguments).exception, UsageError)

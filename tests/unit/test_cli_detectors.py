"""``avsafe detectors``: list, show, add, qualify, remove; whatever state a detector is in."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from avsafe import media, plugins
from avsafe.cli import app
from avsafe.home import Home
from avsafe.media.features import examine
from avsafe.qualify import recoding, run
from avsafe.types import Kind
from tests import detector_kit as kit

NETWORK = kit.network([1, 3, 16, 16])


class Good:
    """A detector of an outsider."""

    name, kinds, modality = "good", (Kind.VIDEO,), "video"


class Raises:
    def __init__(self) -> None:
        raise RuntimeError("no [b]luck[/b]\x1b[31m")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    kit.with_adapters(monkeypatch)
    inner = plugins.catalogue
    own = {
        name: EntryPoint(name, f"{__name__}:{kind}", "avsafe.detectors")
        for name, kind in (("good", "Good"), ("raises", "Raises"))
    }
    monkeypatch.setattr(plugins, "catalogue", lambda k: own if k == "detectors" else inner(k))
    monkeypatch.setattr(
        plugins, "load", lambda kind, name: {"good": Good, "raises": Raises}[name]()
    )
    monkeypatch.setattr(run, "examine", lambda *a, **k: examine(*a, **(k | {"trusted": True})))
    monkeypatch.setattr(recoding, "decode", partial(media.decode, trusted=True))


def ask(*words: Any, failing: bool = False) -> Result:
    done = CliRunner().invoke(app, ["detectors", *map(str, words)])
    if not failing:
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def given(folder: Path, **changes: Any) -> Path:
    return kit.write(folder / "given", kit.manifest(**changes), model=NETWORK)


def test_the_list_holds_everything_in_whatever_state(home: Home, tmp_path: Path) -> None:
    assert ask("add", given(tmp_path, licence="[red]MIT[/red]")).exit_code == 0
    bad = home.root / "detectors" / "bad"
    bad.mkdir()
    (bad / "manifest.json").write_text("{")
    listed = {one["name"]: one for one in json.loads(ask("list", "--json").stdout)}
    assert {name: one["status"] for name, one in listed.items()} == {
        "good": "plugin", "raises": "broken", "bad": "broken", "toy": "not qualified",
    }  # fmt: skip
    assert listed["raises"]["note"].startswith("RuntimeError: no [b]luck")
    assert listed["toy"]["commercial_ok"] is True
    shown = ask("list").stdout
    assert "\x1b[31m" not in shown
    assert "[red]MIT[/red]" in shown  # shown, not obeyed


def test_the_way_from_a_folder_to_a_voice(home: Home, tmp_path: Path) -> None:
    done = ask("add", given(tmp_path, commercial_ok=False, licence="CC BY-NC 4.0"))
    assert "does not allow commercial use" in done.stderr
    assert "avsafe detectors qualify toy --real" in done.stderr
    real = kit.pictures(tmp_path / "real", np.linspace(60, 80, 10), seed=1)
    fake = kit.pictures(tmp_path / "fake", np.linspace(120, 140, 10), seed=2)
    (fake / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    done = ask("qualify", "toy", "--real", real, "--synthetic", fake)
    assert done.exit_code == 0
    assert "toy speaks on: pictures as given; pictures as JPEG 75" in " ".join(done.stdout.split())
    assert "no score: broken.jpg (synthetic)" in done.stderr
    assert "does not allow commercial use" in done.stderr
    shown = json.loads(ask("show", "toy", "--json").stdout)
    assert shown["status"] == "qualified"
    assert shown["qualification"]["set"]["real"] == {"files": 10, "sources": 10}
    assert "resampled" not in shown["qualification"]["conditions"][0]
    words = ask("show", "toy").stdout
    assert "not allowed" in words
    assert "SHA-256" in words
    turned = ask("qualify", "toy", "--real", fake, "--synthetic", real, "--json")
    assert turned.exit_code == 1
    assert "polarity" in json.loads(turned.stdout)["refused"][0]
    assert ask("list").stdout.count("refused") >= 1
    assert ask("remove", "toy", "--yes").exit_code == 0
    assert kit.state(home) == [".lock"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nobody"], "There is no detector 'nobody'"),
        (["remove", "nobody", "--yes"], "No detector 'nobody' was added"),
        (["qualify", "nobody", "--real", ".", "--synthetic", "."], "avsafe detectors add FOLDER"),
        (["add", "nowhere"], "manifest.json can't be read"),
        (["add", "model.pth"], "is a pickle"),
    ],
)
def test_what_can_not_be_done_says_what_to_do(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.pth").write_bytes(b"PK\x03\x04")
    done = ask(*words, failing=True)
    assert said in str(done.exception)


def test_removing_asks_first(home: Home, tmp_path: Path) -> None:
    ask("add", given(tmp_path))
    assert ask("remove", "toy", failing=True).exit_code == 1
    assert "toy/manifest.json" in kit.state(home)


def test_a_card_is_shown_beside_its_detector() -> None:
    done = ask("show", "good")
    assert "It has no card." in done.stdout


@pytest.mark.parametrize("command", ["", "list", "show", "add", "remove", "qualify"])
def test_help_teaches(command: str) -> None:
    words = " ".join(ask(*filter(None, [command]), "--help").stdout.split())
    if command in ("", "qualify"):
        assert "source" in words or "qualify NAME" in words
    assert "Show this message" in words

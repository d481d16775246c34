"""``avsafe generators``: the list holds everything that is registered, whatever state it is in."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from typer.testing import CliRunner

from avsafe import plugins
from avsafe.cli import app
from avsafe.cli.generators import examine
from avsafe.types import GeneratorInfo, Kind, Task

INFO = GeneratorInfo(
    name="good", version="3", tasks=(Task.TEXT_TO_VIDEO,), kind=Kind.VIDEO, licence="MIT",
    commercial_ok=True, summary="Makes [b]things[/b]\x1b[31m.", card="cards/good.md",
)  # fmt: skip


class Good:
    """A plugin of an outsider, with a card beside its package, needs and a recipe."""

    info = INFO
    needs = ("package json", "package avsafe_never_there", "a model")

    def recipes(self):
        return (
            {"name": "soup", "summary": "S", "tasks": ["text-to-video"], "licence": "MIT",
             "commercial_ok": False, "url": "https://example.com", "read": "commit 1",
             "argv": ["{python}", "x.py"], "setup": "git clone soup \\\n  next\x1b[2J"},
        )  # fmt: skip


class Raises:
    @property
    def info(self):
        raise ZeroDivisionError("[bold]never[/]")


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """A good generator, one without its package, one that raises, one without a class."""
    (tmp_path / "outsider" / "cards").mkdir(parents=True)
    (tmp_path / "outsider" / "__init__.py").write_text("")
    (tmp_path / "outsider" / "cards" / "good.md").write_text("# Good\n\nSeed 7, 12 clips.\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = ModuleType("outsider.plugin")
    for found in (Good, Raises):
        monkeypatch.setattr(found, "__module__", "outsider.plugin")
        setattr(module, found.__name__, found)
    monkeypatch.setitem(sys.modules, "outsider.plugin", module)
    targets = {
        "absent": "avsafe_not_installed:Thing", "broken": "outsider.plugin:Raises",
        "good": "outsider.plugin:Good", "nameless": "outsider.plugin:Nobody",
    }  # fmt: skip
    points = {name: EntryPoint(name, to, "avsafe.generators") for name, to in targets.items()}
    monkeypatch.setattr(plugins, "catalogue", lambda kind: points)
    yield
    sys.modules.pop("outsider", None)


def run(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["generators", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_generator_that_fails_does_not_break_the_list(registered):
    items = {item["name"]: item for item in json.loads(run("list", "--json"))}
    assert list(items) == ["absent", "broken", "good", "nameless"]
    assert "avsafe_not_installed" in items["absent"]["error"]
    assert items["broken"]["error"].startswith("ZeroDivisionError")
    assert "Nobody" in items["nameless"]["error"]
    assert items["good"]["licence"] == "MIT"
    assert items["good"]["missing"] == ["avsafe_never_there"]
    assert items["good"]["recipes"] == ["soup"]
    text = run("list")
    for words in ("avsafe_not_installed", "avsafe_never_there (not installed)", "commercial use"):
        assert words in text
    assert "\x1b" not in text
    assert "[b]things[/b]" in text  # shown, not obeyed


def test_show_prints_everything_and_the_card(registered):
    text = run("show", "good")
    for words in ("good, version 3", "MIT", "text-to-video", "Seed 7, 12 clips.", "soup"):
        assert words in text
    assert "\x1b" not in text
    item = json.loads(run("show", "good", "--json"))
    assert item["card_text"].startswith("# Good")
    assert item["max_duration_s"] == 60.0
    assert "can't be loaded" in run("show", "absent", code=1)


def test_show_prints_how_to_set_up_a_recipe(registered):
    text = run("show", "soup")
    assert "git clone soup \\\n" in text
    assert "\x1b" not in text
    assert json.loads(run("show", "soup", "--json"))["generator"] == "good"


def test_an_unknown_name_says_what_there_is(registered):
    from avsafe.errors import UsageError

    result = CliRunner().invoke(app, ["generators", "show", "nobody"])
    assert isinstance(result.exception, UsageError)
    assert "soup" in str(result.exception)
    assert "good" in str(result.exception)


@pytest.mark.parametrize("card", ["../../../etc/passwd", "/etc/passwd", "cards/none.md", ""])
def test_a_card_outside_the_package_is_not_read(registered, monkeypatch, card):
    from dataclasses import replace

    monkeypatch.setattr(Good, "info", replace(INFO, card=card))
    assert next(item for item in examine() if item.name == "good").card is None
    assert "no card" in run("show", "good")


def test_what_comes_with_avsafe_is_listed():
    items = {item["name"]: item for item in json.loads(run("list", "--json"))}
    assert set(plugins.catalogue("generators")) == set(items)
    assert items["world"]["commercial_ok"] is True
    assert "mmaudio" in items["command"]["recipes"]
    assert "MMAudio" in run("show", "mmaudio")
    assert "# world" in run("show", "world")  # its card

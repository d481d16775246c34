"""The files for containers name commands, options, settings and extras that exist."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy/compose.yaml").read_text()))


def test_commands_and_options_exist(compose: dict[str, Any]) -> None:
    from typer.main import get_command

    from avsafe.cli import app

    root: Any = get_command(app)
    ours = {n: s for n, s in compose["services"].items() if s["image"] == "avsafe"}
    assert set(ours) == {"gateway", "worker"}
    for service in ours.values():
        name, *arguments = service["command"]
        command = root.commands[name]
        context = command.make_context(name, list(arguments))  # raises for an unknown option
        assert context.params
    entry = (ROOT / "deploy/Containerfile").read_text().splitlines()[-1]
    name, *arguments = json.loads(entry.removeprefix("CMD "))
    assert root.commands[name].make_context(name, arguments).params["host"] == "0.0.0.0"  # noqa: S104


def test_settings_are_known(compose: dict[str, Any]) -> None:
    from avsafe import home, objects
    from avsafe.server.settings import PREFIX, Settings

    known = {
        "AVSAFE_HOME", f"{home.DATABASE_VARIABLE}_FILE", objects.URL_VARIABLE,
        objects.HTTP_VARIABLE,
    }  # fmt: skip
    given = dict(compose["x-avsafe"]["environment"])
    image = (ROOT / "deploy/Containerfile").read_text()
    for line in re.findall(r"^ENV (.*)$", image, re.MULTILINE):
        given |= dict(pair.split("=", 1) for pair in line.split())
    ours = {key: value for key, value in given.items() if key.startswith("AVSAFE_")}
    assert {key for key in ours if not key.startswith(PREFIX)} <= known
    Settings.from_environment({k: v for k, v in ours.items() if k.startswith(PREFIX)})


def test_extras_exist_and_bring_what_the_services_use() -> None:
    image = (ROOT / "deploy/Containerfile").read_text()
    extras = re.findall(r"^ARG EXTRAS=(.*)$", image, re.MULTILINE)[0].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(known)
    assert {"serve", "postgres"} <= set(extras)


def test_secrets_and_state_stay_out_of_image_and_repository(compose: dict[str, Any]) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    kept_out = (ROOT / ".gitignore").read_text().split()
    for secret in compose["secrets"].values():
        folder = Path("deploy", secret["file"]).parent
        assert str(folder) in ignored
        assert f"/{folder}/" in kept_out
    for name, service in compose["services"].items():
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:"), name
        if service["image"] == "avsafe":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert "no-new-privileges:true" in service["security_opt"]

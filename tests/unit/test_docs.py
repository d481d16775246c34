"""What README and docs name exists: files, headings, commands, options, settings of the service."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    found = set()
    for line in FENCED.sub("", text).splitlines():
        if line.startswith("#"):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#")).strip().lower()
            found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The calls of avsafe in blocks of code, each as its words."""
    blocks = [*FENCED.findall(text), *INDENTED.findall(FENCED.sub("", text))]
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        said = re.sub(r"\s#.*", "", line).strip().removeprefix("$ ")
        said = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", said)
        if said.startswith("avsafe "):
            yield shlex.split(re.split(r" [|>] | && ", said)[0])[1:]


def test_links_lead_somewhere():
    broken = []
    for page in PAGES:
        text = FENCED.sub("", page.read_text())
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (
                anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())
            ):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_commands_and_their_options_exist():
    from typer.main import get_command

    from avsafe.cli import app

    top: Any = get_command(app)
    wrong, seen = [], 0
    for page in PAGES:
        for words in commands(page.read_text()):
            at, rest = top, list(words)
            while rest and rest[0] in getattr(at, "commands", {}):
                at = at.commands[rest.pop(0)]
            options = {o for p in at.params for o in (*p.opts, *p.secondary_opts)} | {
                "--help",
                "-h",
            }
            named = {one.partition("=")[0] for one in rest if re.match(r"--?[a-z]", one)}
            if getattr(at, "commands", {}) or named - options:
                wrong.append(f"{page.relative_to(ROOT)}: avsafe {shlex.join(words)}")
            seen += 1
    assert wrong == []
    assert seen > 100


def test_settings_of_the_service_are_all_described():
    from avsafe.server.settings import Settings

    table = (ROOT / "docs/server.md").read_text()
    named = set(re.findall(r"`([A-Z_]+)`", table))
    ours = {f.name.upper() for f in fields(Settings)} - {"HOME", "GENERATE"}
    assert ours - named == set()

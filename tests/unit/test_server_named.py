"""What pages show by name has one in every language: tasks, inputs of jobs, entries of the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avsafe import acts, plugins, server
from avsafe.ledger.log import ROTATED
from avsafe.server.words import languages, words


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("task-is", plugins.DEFAULT_GENERATORS),
        ("kind-is", ("intent", "outcome", ROTATED, *acts.TYPES)),
        ("said-is", ("released", "denied", "failed", "approved")),
        ("role-is", ("image", "portrait", "voice", "video", "audio", "mask")),
    ],
)
def test_each_has_a_name(language, table, ids):
    nameless = [str(one) for one in ids if not words(language).known(f"team:{table}:{one}", "")]
    assert nameless == []


def test_the_page_that_asks_has_a_field_for_every_input():
    from avsafe.server.asked import ROLES

    page = (Path(server.__file__).parent / "templates/team_new.html").read_text()
    fields = set(re.findall(r'<input type="file" name="([^"]+)"', page))
    assert set(ROLES.values()) - {"audio"} == fields  # no embedded generator takes any other sound

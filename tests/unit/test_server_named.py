"""What pages show by name has one in every language: tasks, inputs of jobs, entries of the log."""

from __future__ import annotations

import pytest

from avsafe import acts, plugins
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

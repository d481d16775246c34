"""docs/metrics/controls.md: every metric has a positive and a negative control that exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from avsafe import plugins

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "metrics" / "controls.md"
NAMES = tuple(plugins.catalogue("metrics"))


@cache
def rows() -> dict[str, tuple[str, str, str]]:
    """Metric -> positive control, negative control, tests."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 4, f"a row has four cells: {line}"
        name = cells[0].strip("`")
        assert name not in found, f"{name} has two rows"
        found[name] = (cells[1], cells[2], cells[3])
    return found


@cache
def functions_there() -> dict[str, str]:
    """Every test function in the tree -> the texts of the files that have it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"^\s*def (test_\w+)\(", text, re.M):
            found[name] = found.get(name, "") + text
    return found


def test_the_table_has_the_metrics_that_are_installed_and_no_other():
    of_the_project = {
        name for name, found in plugins.catalogue("metrics").items()
        if found.load().__module__.startswith("avsafe_metrics.")
    }  # fmt: skip
    assert len(of_the_project) >= 71
    assert set(rows()) == of_the_project


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_has_both_controls_and_their_tests_exist(name):
    if name not in rows():
        pytest.skip(f"{name} is another project's metric")
    positive, negative, named = rows()[name]
    assert len(positive) > 8, "what damage, and by how much"
    assert len(negative) > 8, "what must not move the number"
    functions = re.findall(r"`(test_\w+)`", named)
    assert functions, "the tests go by their names, in backticks"
    missing = [function for function in functions if function not in functions_there()]
    assert not missing, f"tests/ has no {missing}: name the test that took its place"
    called = plugins.catalogue("metrics")[name].load().__name__
    about = [f for f in functions if re.search(rf"\b{called}\b", functions_there()[f])]
    assert about, f"no file of {functions} ever mentions {called}"


@pytest.mark.parametrize("name", NAMES)
def test_each_number_with_a_better_end_is_in_its_row(name):
    if name not in rows():
        pytest.skip(f"{name} is another project's metric")
    info = plugins.catalogue("metrics")[name].load().info
    with_an_end = [c.name for c in info.columns if c.better != "none"]
    if with_an_end in ([], [""]):
        return  # there is one at most: the row is about it
    named = set(re.findall(r"`(\w+)`", " ".join(rows()[name][:2])))
    missing = [column for column in with_an_end if (column or name) not in named | {name}]
    assert not missing, f"the row of {name} says nothing of {missing}"

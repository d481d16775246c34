"""The tables of the card: ``python -m avsafe_detectors.domain.card``.

``--tables`` is ``tables.json`` of the training's cache, ``--measured`` the output of ``measure``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--measured", type=Path)
    given = parser.parse_args(arguments)
    for name, table in json.loads(given.tables.read_text()).items():
        print(f"**{name.capitalize()}: {table['files']} files of {table['sources']} sources.**\n")
        print(confusion(table))
        print(by_source(table))
    if given.measured:
        print(measured(json.loads(given.measured.read_text())))


def confusion(table: dict[str, Any]) -> str:
    """Truth by row, shares by column."""
    names = list(table["confusion"])
    lines = ["| truth | files | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for truth, row in table["confusion"].items():
        total = sum(row.values())
        shares = " | ".join(f"{row[n] / max(1, total):.1%}" for n in names)
        lines.append(f"| {truth} | {total} | {shares} |")
    return "\n".join(lines) + "\n"


def by_source(table: dict[str, Any]) -> str:
    """Files of every source, and how many were called something else."""
    lines = ["| source | files | right | called |", "|---|---|---|---|"]
    for name, row in sorted(table["by_source"].items()):
        truth = name.partition(":")[0]
        total = sum(row.values())
        wrong = ", ".join(f"{n} {k}" for k, n in row.items() if n and k != truth)
        lines.append(f"| {name} | {total} | {row[truth] / total:.0%} | {wrong} |")
    return "\n".join(lines) + "\n"


def measured(report: dict[str, Any]) -> str:
    """What was measured, a table for each shape of row."""
    lines: list[str] = []
    shown = ""
    for name, rows in _flat(report):
        head = " | ".join(rows)
        if head != shown:
            lines += ["", f"| what | {head} |", "|---" * (len(rows) + 1) + "|"]
            shown = head
        lines.append(f"| {name} | " + " | ".join(f"{v:g}" for v in rows.values()) + " |")
    return "\n".join(lines) + "\n"


def _flat(report: dict[str, Any], above: str = "") -> list[tuple[str, dict[str, float]]]:
    found: list[tuple[str, dict[str, float]]] = []
    for name, value in report.items():
        if not isinstance(value, dict):
            continue
        label = f"{above}{name}"
        if any(isinstance(v, dict) for v in value.values()):
            found += _flat(value, f"{label}: ")
        else:
            found.append((label, value))
    return found


if __name__ == "__main__":
    main()

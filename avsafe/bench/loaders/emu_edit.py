"""The Emu Edit test set (Sheynin et al. 2024): pictures, instructions, captions before and after.

Read as a folder of pictures with ``metadata.jsonl``, a line a picture: ``file_name``,
``instruction``, ``input_caption``, ``output_caption``, ``task`` and ``hash`` or ``idx``, as the
published data set has them. The published form is Parquet with the pictures inside; write it out
once (docs/bench-suites.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avsafe.bench.loaders.listing import Listing, lines_of, unique
from avsafe.bench.suitefile import Item, Make
from avsafe.errors import UsageError

METADATA = "metadata.jsonl"
_NEEDED = ("file_name", "instruction", "input_caption", "output_caption", "task")


def load(root: Path, split: str = "", tasks: Sequence[str] = ()) -> Listing:
    """One item an instruction; the picture plays beside the edited one as its source.

    ``split`` is a folder below (validation, test); ``tasks`` keeps only these of the seven.
    """
    folder = root / split if split else root
    if not (folder / METADATA).is_file():
        packed = next(iter(folder.rglob("*.parquet")), None) if folder.is_dir() else None
        if packed is not None:
            raise UsageError(
                f"{folder} holds Parquet ({packed.name}) and no {METADATA}. Write the pictures out "
                "once, as docs/bench-suites.md shows."
            )
        below = [p.parent.name for p in root.glob(f"*/{METADATA}")]
        also = f" Pass split: {' or '.join(below)}." if below else ""
        raise UsageError(f"{folder} has no {METADATA}.{also}")
    rows = [_row(folder, n, line) for n, line in enumerate(lines_of(folder / METADATA), 1)]
    known = sorted({row["task"] for row in rows})
    if unknown := sorted(set(tasks) - set(known)):
        raise UsageError(f"No task {', '.join(unknown)} (there are: {', '.join(known)}).")
    items: list[Item] = []
    inputs: dict[str, Make | Path] = {}
    gone = 0
    kept = [row for row in rows if not tasks or row["task"] in tasks]
    names = unique(str(row.get("hash") or row.get("idx") or Path(row["file_name"]).stem)
                   for row in kept)  # fmt: skip
    for name, row in zip(names, kept, strict=True):
        picture = folder / row["file_name"]
        if not picture.is_file():
            gone += 1
            continue
        inputs[row["file_name"]] = picture
        items.append(
            Item(
                item_id=name,
                prompt=row["instruction"],
                inputs={"image": row["file_name"]},
                texts={
                    "source_prompt": row["input_caption"],
                    "target_prompt": row["output_caption"],
                },
                cluster=row["file_name"],
                tags=(row["task"],),
                beside={"source": row["file_name"]},
            )
        )
    notes = (f"{gone} of {len(kept)} pictures are not there",) if gone else ()
    return Listing(tuple(items), inputs, notes)


def _row(folder: Path, number: int, line: str) -> dict[str, Any]:
    where = f"{METADATA}, line {number}"
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: this is no JSON: {error}.") from error
    lacks = [n for n in _NEEDED if not isinstance(row, dict) or not isinstance(row.get(n), str)]
    if lacks:
        raise UsageError(f"{where}: expected a text for {', '.join(lacks)}.")
    if not (folder / row["file_name"]).resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{where}: {row['file_name']} lies outside of the set.")
    return dict(row)

"""VGGSound (Chen et al. 2020): clips of 10 s with the class of their sound.

``vggsound.csv`` has ``YouTube ID, start in seconds, label, train or test`` and no header. Clips are
called ``ID_START.mp4``, the start in six digits as most copies have it, or plain. What YouTube no
longer has is missing in every copy: the notes count it.
"""

from __future__ import annotations

import csv
from pathlib import Path

from avsafe.bench.loaders.listing import REFERENCE, Listing, clips_under, needed
from avsafe.bench.suitefile import Item, Make
from avsafe.errors import UsageError
from avsafe.types import Task

_PLACES = ("vggsound.csv", "data/vggsound.csv", "../vggsound.csv")


def load(root: Path, split: str = "test") -> Listing:
    """One item a clip of the split: the clip without its sound is the input, with it the reference,
    its label the prompt. Clips of one video are resampled together."""
    if split not in ("test", "train", "all"):
        raise UsageError(f"split is test, train or all, not {split!r}.")
    rows = _rows(needed(root, _PLACES, "vggsound.csv"))
    there = {path.stem: path for path in clips_under(root)}
    items: list[Item] = []
    inputs: dict[str, Make | Path] = {}
    gone = 0
    for video, start, label, of in rows:
        if split not in (of, "all"):
            continue
        stem = next((s for s in (f"{video}_{start:06d}", f"{video}_{start}") if s in there), None)
        if stem is None:
            gone += 1
            continue
        inputs[stem] = there[stem]
        inputs[f"{stem}.silent"] = Make(
            Task.EDIT_VIDEO, "edit", "mute", inputs={"video": stem}
        )  # a system must not hear what it is to make
        items.append(
            Item(
                item_id=stem,
                prompt=label,
                task=Task.VIDEO_TO_AUDIO,
                inputs={"video": f"{stem}.silent"},
                beside={REFERENCE: stem},
                cluster=video,
                tags=(label,),
            )
        )
    asked = gone + len(items)
    notes = (f"{gone} of {asked} clips of {split} are not there",) if gone else ()
    return Listing(tuple(items), inputs, notes)


def _rows(path: Path) -> list[tuple[str, int, str, str]]:
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row:
                continue
            try:
                video, start, label, split = row
                found.append((video, int(start), label.strip(), split.strip()))
            except ValueError as error:
                raise UsageError(
                    f"{path.name}, line {number}: expected ID, start, label, split; found {row}."
                ) from error
    return found

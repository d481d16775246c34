"""Public sets that lie on your disk, read as suites: nothing is downloaded, nothing is guessed.

Each loader is a module with ``load(root, **options) -> Listing``. It says what is missing, and what
it left out.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from avsafe.bench.loaders.listing import Listing
from avsafe.errors import UsageError

SETS = {
    "vbench": "VBench's prompts: VBench_full_info.json, or a folder prompts_per_dimension",
    "ucf101": "UCF-101: a folder of classes with their clips, and the lists of a split",
    "vggsound": "VGGSound: vggsound.csv, and clips called ID_START.mp4",
    "voxceleb2": "VoxCeleb2: mp4/IDENTITY/VIDEO/CLIP.mp4",
    "hdtf": "HDTF: clips called SUBSET_NAME_NUMBER.mp4",
    "emu_edit": "the Emu Edit test set: pictures with metadata.jsonl",
    "t2vsafetybench": "T2VSafetyBench's prompts: 1.txt to 14.txt",
}


def load(name: str, root: Path, **options: Any) -> Listing:
    """The items of a public set under ``root``.

    UsageError for an unknown set or option, for a folder that lacks what the set's layout has, and
    for a set with nothing in it.
    """
    if name not in SETS:
        raise UsageError(f"No loader for {name!r} (known: {', '.join(SETS)}).")
    if not root.exists():
        raise UsageError(f"{root} is not there. Expected {SETS[name]}; avsafe downloads nothing.")
    module = import_module(f"avsafe.bench.loaders.{name}")
    known = [p for p in inspect.signature(module.load).parameters if p != "root"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(
            f"{name} has no option {', '.join(unknown)} (it has: {', '.join(known) or 'none'})."
        )
    listing: Listing = module.load(root, **options)
    if not listing.items:
        why = f" ({'; '.join(listing.notes)})" if listing.notes else ""
        raise UsageError(f"{root} holds nothing of {SETS[name]}{why}.")
    return listing

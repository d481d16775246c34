"""Public sets that lie on your disk, read as suites: nothing is downloaded, nothing is guessed.

Each loader is a module with ``load(root, **options) -> Listing``. It names what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import UsageError

if TYPE_CHECKING:
    from avsafe.bench.suitefile import Item

SETS = {
    "vbench": "VBench's prompts (VBench_full_info.json), clips named PROMPT-INDEX.mp4",
    "ucf101": "UCF-101: folders of classes, split lists",
    "vggsound": "VGGSound: vggsound.csv and clips",
    "voxceleb2": "VoxCeleb2: folders of identities, videos, clips",
    "hdtf": "HDTF: clips of talking faces, one folder",
    "emu_edit": "the Emu Edit test set: pictures with instructions",
    "t2vsafetybench": "T2VSafetyBench's prompts, for the policy",
}


@dataclass(frozen=True)
class Listing:
    """What a set has: items, and the files that they name."""

    items: tuple[Item, ...]
    files: Mapping[str, Path] = field(default_factory=dict)  # input's name -> file
    notes: tuple[str, ...] = ()  # what was left out, and why


def load(name: str, root: Path, **options: Any) -> Listing:
    """The items of a public set under ``root``. UsageError for an unknown set or option, for a
    folder that lacks what the set's layout has, and for a set with nothing in it."""
    if name not in SETS:
        raise UsageError(f"No loader for {name!r} (known: {', '.join(SETS)}).")
    if not root.exists():
        raise UsageError(f"{root} is not there. Put {SETS[name]} there; avsafe downloads nothing.")
    module = import_module(f"avsafe.bench.loaders.{name}")
    try:
        listing: Listing = module.load(root, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise UsageError(f"{name}: {str(error).partition('()')[2].strip()}.") from error
    if not listing.items:
        why = f" ({'; '.join(listing.notes)})" if listing.notes else ""
        raise UsageError(f"{root} holds nothing of {SETS[name]}{why}.")
    return listing

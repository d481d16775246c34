"""VBench (Huang et al. 2024): prompts by dimension, several clips of each.

``VBench_full_info.json`` is a list of ``{"prompt_en", "dimension": [...]}``; the folder
``prompts_per_dimension`` has one text a dimension, one prompt a line. Clips of a system are called
``PROMPT-INDEX.mp4``, five of each prompt, 25 of those of temporal_flickering (prompts/README.md of
the repository).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avsafe.bench.loaders.listing import Listing, counted, lines_of, needed, slug, unique
from avsafe.bench.suitefile import Item
from avsafe.errors import UsageError

_FULL = "VBench_full_info.json"
_FOLDER = "prompts_per_dimension"
_UNITED = {"all_dimension", "overall"}  # texts that repeat the prompts of the others
FLICKER = "temporal_flickering"


def load(
    root: Path,
    samples: int = 5,
    flicker_samples: int = 25,
    dimensions: Sequence[str] = (),
) -> Listing:
    """One item for every prompt and index; the index is the seed, the prompt the cluster.

    ``dimensions`` keeps only prompts of these.
    """
    prompts = _prompts(root)
    known = sorted({d for of in prompts.values() for d in of})
    if unknown := sorted(set(dimensions) - set(known)):
        raise UsageError(f"No dimension {', '.join(unknown)} (there are: {', '.join(known)}).")
    few, many = counted(samples, "samples"), counted(flicker_samples, "flicker_samples")
    kept = {p: d for p, d in prompts.items() if not dimensions or set(d) & set(dimensions)}
    names = unique(map(slug, kept))
    items = [
        Item(
            item_id=f"{name}-{index}",
            prompt=prompt,
            cluster=name,
            tags=tuple(of),
            seed=index,
            clips=(f"{prompt}-{index}",),
        )
        for name, (prompt, of) in zip(names, kept.items(), strict=True)
        for index in range(many if FLICKER in of else few)
    ]
    left = len(prompts) - len(kept)
    notes = (f"{left} of {len(prompts)} prompts are of other dimensions",) if left else ()
    return Listing(tuple(items), notes=notes)


def _prompts(root: Path) -> dict[str, list[str]]:
    """Prompt -> dimensions."""
    place = root
    if root.is_dir() and root.name != _FOLDER:
        places = (_FULL, f"vbench/{_FULL}", f"prompts/{_FOLDER}", _FOLDER)
        place = needed(root, places, "prompts of VBench")
    if place.is_dir():
        found: dict[str, list[str]] = {}
        for path in sorted(place.glob("*.txt")):
            for prompt in lines_of(path) if path.stem not in _UNITED else ():
                found.setdefault(prompt, []).append(path.stem)
        return found
    return _of_json(place)


def _of_json(path: Path) -> dict[str, list[str]]:
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(rows, list):
        raise UsageError(f"{path} is no list of prompts.")
    found: dict[str, list[str]] = {}
    for number, row in enumerate(rows):
        prompt = row.get("prompt_en") if isinstance(row, dict) else None
        of = row.get("dimension") if isinstance(row, dict) else None
        if not isinstance(prompt, str) or not isinstance(of, list):
            raise UsageError(f"{path}, entry {number}: expected 'prompt_en' and 'dimension'.")
        listed = found.setdefault(prompt.strip(), [])
        listed += [str(d) for d in of if str(d) not in listed]
    return found

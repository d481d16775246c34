"""VoxCeleb2 (Chung et al. 2018): people who speak, ``mp4/IDENTITY/VIDEO/CLIP.mp4``.

The clips are references. To make a real person speak takes their consent, so the set is nothing to
generate from here: bring clips of a system with ``--videos``.
"""

from __future__ import annotations

import re
from pathlib import Path

from avsafe.bench.loaders.listing import REFERENCE, Listing, clips_under, counted
from avsafe.bench.suitefile import Item
from avsafe.errors import UsageError

_IDENTITY = re.compile(r"id\d{5}")
_ROOTS = ("mp4", "dev/mp4", "test/mp4", ".")


def load(root: Path, per_person: int | None = None) -> Listing:
    """One item a clip, called ``IDENTITY_VIDEO_CLIP``; clips of a person are resampled together.

    ``per_person`` keeps the first so many clips of each.
    """
    folder = next((root / r for r in _ROOTS if _people(root / r)), None)
    if folder is None:
        raise UsageError(
            f"{root} has no folders of identities (id00012/VIDEO/CLIP.mp4), nor has mp4 in it."
        )
    most = counted(per_person, "per_person") if per_person is not None else None
    items, files, odd, left = [], {}, 0, 0
    for person in _people(folder):
        taken = 0
        for path in clips_under(person):
            parts = path.relative_to(folder).with_suffix("").parts
            if len(parts) != 3:
                odd += 1
                continue
            if most is not None and taken >= most:
                left += 1
                continue
            taken += 1
            name = "_".join(parts)
            files[name] = path
            items.append(
                Item(
                    item_id=name,
                    texts={"identity": parts[0]},
                    cluster=parts[0],
                    beside={REFERENCE: name},
                    clips=("-".join(parts),),
                )
            )
    notes = [f"{odd} clips do not lie in IDENTITY/VIDEO"] if odd else []
    notes += [f"{left} clips are beyond the first {most} of their person"] if left else []
    return Listing(tuple(items), files, tuple(notes))


def _people(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and _IDENTITY.fullmatch(p.name)]

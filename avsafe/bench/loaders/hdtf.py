"""HDTF (Zhang et al. 2021): high-resolution talking faces, ``SUBSET_NAME_NUMBER.mp4``.

The names are those that the set's own download.py gives: the subset (RD, WDA, WRA), the video, the
number of the clip. That script fetches pictures without sound; metrics of sound then say so.

The clips are references. To make a real person speak takes their consent, so the set is nothing to
generate from here: bring clips of a system with ``--videos``.
"""

from __future__ import annotations

import re
from pathlib import Path

from avsafe.bench.loaders.listing import REFERENCE, Listing, clips_under
from avsafe.bench.suitefile import Item

_NAME = re.compile(r"(?P<subset>RD|WDA|WRA)_(?P<video>.+)_\d+")


def load(root: Path) -> Listing:
    """One item a clip; clips of a person are resampled together. Folders whose name begins with
    ``_`` (``_videos_raw``) are left out."""
    items, files, odd = [], {}, 0
    for path in clips_under(root):
        named = _NAME.fullmatch(path.stem)
        if named is None:
            odd += 1
            continue
        who = person(named["subset"], named["video"])
        files[path.stem] = path
        items.append(
            Item(
                item_id=path.stem,
                texts={"identity": who},
                cluster=who,
                tags=(named["subset"],),
                beside={REFERENCE: path.stem},
            )
        )
    notes = (f"{odd} files are not called SUBSET_NAME_NUMBER",) if odd else ()
    return Listing(tuple(items), files, notes)


def person(subset: str, video: str) -> str:
    """Who speaks in a video: a politician's videos are numbered (WDA_Name0, WDA_Name1), and the
    speakers of RD_Radio1, RD_Radio2 are other people each.

    >>> person("WDA", "Somebody1"), person("RD", "Radio10")
    ('WDA_Somebody', 'RD_Radio10')
    """
    return f"{subset}_{video if subset == 'RD' else video.rstrip('0123456789')}"

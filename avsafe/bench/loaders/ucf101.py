"""UCF-101 (Soomro et al. 2012): clips of actions in folders of classes.

``CLASS/v_CLASS_gGG_cCC.avi``; clips of one group ``gGG`` come from one video, so they are resampled
together. The lists of a split (``testlist01.txt``...) have ``CLASS/NAME.avi`` a line, in training
with a number behind it.
"""

from __future__ import annotations

import re
from pathlib import Path

from avsafe.bench.loaders.listing import REFERENCE, Listing, clips_under, counted, lines_of, needed
from avsafe.bench.suitefile import Item
from avsafe.errors import UsageError

_NAME = re.compile(r"v_(?P<action>[A-Za-z]+)_(?P<group>g\d+)_c\d+")
_LISTS = ("ucfTrainTestlist", ".", "..", "../ucfTrainTestlist", "splits")


def load(root: Path, split: str = "", per_class: int | None = None) -> Listing:
    """One item a clip, which is its own reference; the class in words is its prompt.

    ``split`` is the name of a list, e.g. ``testlist01``; ``per_class`` keeps the first so many.
    """
    folder = root / "UCF-101" if (root / "UCF-101").is_dir() else root
    wanted = _split(root, folder, split) if split else None
    most = counted(per_class, "per_class") if per_class is not None else None
    items, files, counts, odd = [], {}, dict[str, int](), 0
    for path in clips_under(folder):
        named = _NAME.fullmatch(path.stem)
        if named is None:
            odd += 1
            continue
        action = named["action"]
        if wanted is not None and path.stem not in wanted:
            continue
        counts[action] = counts.get(action, 0) + 1
        if most is not None and counts[action] > most:
            continue
        files[path.stem] = path
        items.append(
            Item(
                item_id=path.stem,
                prompt=in_words(action),
                cluster=f"{action}_{named['group']}",
                tags=(action,),
                beside={REFERENCE: path.stem},
            )
        )
    notes = [f"{odd} files are not called v_CLASS_gGG_cCC"] if odd else []
    if wanted is not None and (gone := len(wanted - set(files))) and most is None:
        notes.append(f"{gone} of {len(wanted)} clips of {split} are not there")
    return Listing(tuple(items), files, tuple(notes))


def in_words(action: str) -> str:
    """
    >>> in_words("ApplyEyeMakeup"), in_words("YoYo")
    ('apply eye makeup', 'yo yo')
    """
    return re.sub(r"(?<!^)(?=[A-Z])", " ", action).lower()


def _split(root: Path, folder: Path, split: str) -> set[str]:
    name = split if split.endswith(".txt") else f"{split}.txt"
    if Path(name).name != name:
        raise UsageError(f"split is the name of a list, e.g. testlist01, not {split!r}.")
    try:
        path = needed(root, [f"{place}/{name}" for place in _LISTS], f"list {name}")
    except UsageError:
        path = needed(folder, [f"{place}/{name}" for place in _LISTS], f"list {name}")
    return {Path(line.split()[0]).stem for line in lines_of(path)}

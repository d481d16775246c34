"""What the domain gate says of the prepared clips: which of them the detector would not judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.types import Kind
from avsafe_detectors.domain import EXTRACTOR, describe
from avsafe_detectors.video.clips import Clip
from avsafe_detectors.video.detector import DRAWN, MAX_FACE
from avsafe_detectors.video.extractor import face_share, small

MIDDLE = 8  # frame of the first window


def reasons(
    clips: Sequence[Clip], cache: Path, spent: Callable[[], bool] = lambda: False
) -> dict[int, str] | None:
    """Clip number -> why it is not judged; None where time was up. Kept as ``cache/unfit.json`` and
    ``faces.json``."""
    classes = _kept("unfit.json", _class, clips, cache, spent)
    faces = None if classes is None else _kept("faces.json", _face, clips, cache, spent)
    if classes is None or faces is None:
        return None
    heads = {int(k): "a face fills the picture" for k, v in faces.items() if v >= MAX_FACE}
    return heads | {int(name): reason for name, reason in classes.items() if reason}


def _kept(
    name: str,
    look: Callable[[Path], Any],
    clips: Sequence[Clip],
    cache: Path,
    spent: Callable[[], bool],
) -> dict[str, Any] | None:
    """Clip name -> what ``look`` finds in its prepared film, where it finds anything; each is
    looked at once, and kept as ``cache/name``. None where time was up."""
    path = cache / name
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for clip in clips:
        film = cache / "prepared" / f"{clip.name}_published_0.mp4"
        if clip.name in kept or not film.exists():
            continue
        if spent():
            return None
        if (found := look(film)) is not None:
            kept[clip.name] = found
        path.write_text(json.dumps(kept))
    return kept


def _class(film: Path) -> str:
    from avsafe.media.features import examine

    media, found = examine(film, {Kind.VIDEO: {"domain": EXTRACTOR}}, trusted=True)
    picture = describe(found["domain"], media).picture_class
    return f"looks like {DRAWN[picture]}" if picture in DRAWN else ""


def _face(film: Path) -> float | None:
    """Height of the largest face in the middle of the first window."""
    import av

    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == MIDDLE:
                return face_share(small(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
    return None

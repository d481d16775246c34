"""What the domain gate says of the prepared clips: which of them the detector would not judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from avsafe.types import Kind
from avsafe_detectors.domain import EXTRACTOR, describe
from avsafe_detectors.video.clips import Clip
from avsafe_detectors.video.detector import DRAWN, MAX_FACE
from avsafe_detectors.video.extractor import face_share, small


def reasons(
    clips: Sequence[Clip], cache: Path, spent: Callable[[], bool] = lambda: False
) -> dict[int, str] | None:
    """Clip number -> why it is not judged; None where time was up. Kept as ``cache/unfit.json``."""
    from avsafe.media.features import examine

    path = cache / "unfit.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    for clip in clips:
        film = cache / "prepared" / f"{clip.name}_published_0.mp4"
        if clip.name in kept or not film.exists():
            continue
        if spent():
            return None
        media, found = examine(film, {Kind.VIDEO: {"domain": EXTRACTOR}}, trusted=True)
        picture = describe(found["domain"], media).picture_class
        kept[clip.name] = f"looks like {DRAWN[picture]}" if picture in DRAWN else ""
        path.write_text(json.dumps(kept))
    faces = _faces(clips, cache, spent)
    if faces is None:
        return None
    heads = {int(k): "a face fills the picture" for k, v in faces.items() if v >= MAX_FACE}
    return heads | {int(name): reason for name, reason in kept.items() if reason}


def _faces(
    clips: Sequence[Clip], cache: Path, spent: Callable[[], bool]
) -> dict[str, float] | None:
    """Clip name -> height of the largest face in the middle of its first window, kept."""
    import av

    path = cache / "faces.json"
    kept: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    for clip in clips:
        film = cache / "prepared" / f"{clip.name}_published_0.mp4"
        if clip.name in kept or not film.exists():
            continue
        if spent():
            return None
        with av.open(str(film)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number == 8:
                    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    kept[clip.name] = face_share(small(picture))
                    break
        path.write_text(json.dumps(kept))
    return kept

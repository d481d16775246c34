"""What the domain gate says of the prepared clips: which of them the detector would not judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from avsafe.types import Kind
from avsafe_detectors.domain import EXTRACTOR, describe
from avsafe_detectors.video.clips import Clip
from avsafe_detectors.video.detector import DRAWN


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
    return {int(name): reason for name, reason in kept.items() if reason}

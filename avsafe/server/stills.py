"""Where in the picture detectors saw signs: the frame with tiles on it, small, coded anew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import UnreadableMedia
from avsafe.maps.details import Heat, Unfit, heat_of, source_of

if TYPE_CHECKING:
    from avsafe.media import Limits
    from avsafe.types import Verdict

MOST = 4  # of one file
_LONGER_SIDE = 640  # pixels


def stills(verdict: Verdict, path: Path, limits: Limits) -> dict[str, bytes]:
    """Source -> JPEG, for evidence with a tile above its threshold: a map without one is no
    finding. Pictures are decoded in the limited process; empty when that fails.
    """
    heats: dict[str, Heat] = {}
    for one in verdict.evidence:
        try:
            heat = heat_of(one, limits.max_duration_s)
        except Unfit:
            continue
        if heat.flagged.any():
            heats[source_of(one)] = heat
    if not heats:
        return {}
    from PIL import Image

    from avsafe.maps import heatmap
    from avsafe.maps.frames import frames_at

    heats = dict(list(heats.items())[:MOST])
    times = [heat.time_s or 0.0 for heat in heats.values()]
    try:
        frames = frames_at(path, times, limits, _LONGER_SIDE)
    except (OSError, UnreadableMedia):
        return {}
    found = {}
    for source, heat in heats.items():
        if (frame := frames.get(heat.time_s or 0.0)) is not None:
            picture, out = Image.fromarray(heatmap.blended(heat, frame)), io.BytesIO()
            heatmap.outline(heat, picture, 0, 0, *picture.size)
            picture.save(out, "JPEG", quality=80)
            found[source] = out.getvalue()
    return found

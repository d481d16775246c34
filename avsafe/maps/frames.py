"""The pictures that maps are drawn on, decoded in the limited process.

Legend: a picture is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import SandboxFailure
from avsafe.media.wire import Message, work_ahead

if TYPE_CHECKING:
    from avsafe.media import Limits
    from avsafe.types import Frame

_SLACK_S = 1e-4  # times in evidence are rounded


def frames_at(
    path: Path, times_s: Iterable[float], limits: Limits, most_px: int
) -> dict[float, Frame]:
    """Time -> the frame shown then, its longer side at most ``most_px``; one decoding pass.

    A still picture is the frame of time 0. Times after the end are missing. Raises the children of
    ``UnreadableMedia``.
    """
    from avsafe.media import prescan, sandbox

    path = path.absolute()
    prescan(path, limits)
    wanted = sorted(set(times_s))
    kwargs = {
        "path": str(path),
        "times_s": wanted,
        "limits": limits.as_json(),
        "most_px": most_px,
    }
    found: dict[float, Frame] = {}
    with sandbox.stream("avsafe.maps.frames:frames_json", kwargs, limits=limits) as messages:
        for message in messages:
            index, picture = message.header.get("index"), message.arrays.get("picture")
            good = picture is not None and picture.ndim == 3 and picture.dtype == "uint8"
            if not isinstance(index, int) or not 0 <= index < len(wanted) or not good:
                raise SandboxFailure(f"The limited process sent no picture of {path.name}.")
            height, width, channels = picture.shape  # type: ignore[union-attr]
            if channels != 3 or not 0 < max(height, width) <= most_px or not min(height, width):
                raise SandboxFailure(f"The limited process sent no picture of {path.name}.")
            found[wanted[index]] = picture  # type: ignore[assignment]
    return found


def frames_json(
    path: str, times_s: list[float], limits: dict[str, Any], most_px: int
) -> Iterator[Message]:
    """``frames_at`` for the sandbox."""
    from avsafe.media.decoder import RGB, events, pixels_of
    from avsafe.media.limits import Limits
    from avsafe.media.survey import make_plan
    from avsafe.types import Kind

    given, file = Limits.from_json(limits), Path(path)
    until_s = max(times_s) + 1.0  # nothing behind the last one is decoded
    plan = make_plan(file, given, until_s)
    still = plan.kind is Kind.IMAGE
    yield work_ahead(pixels_of(file, plan))
    period_s = float(1 / plan.rate) if plan.rate and not still else float("inf")
    left = list(enumerate(times_s))
    for event in events(file, plan, given, until_s, pictures=RGB, samples=False):
        end_s = event.time_s + event.count * period_s
        while left and left[0][1] < end_s - _SLACK_S:
            index, _ = left.pop(0)
            yield Message({"index": index}, {"picture": _smaller(event.data, most_px)})
        if not left:
            return


def _smaller(picture: Frame, most_px: int) -> Frame:
    import cv2
    import numpy as np

    height, width = picture.shape[:2]
    scale = most_px / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

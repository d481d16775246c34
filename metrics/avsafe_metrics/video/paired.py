"""What all metrics against a reference ask of it: the same size, the same rate, the same length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from avsafe.errors import Unscorable
from avsafe.types import Clip, Gathered, Value
from avsafe_metrics.base import QuietMeter

if TYPE_CHECKING:
    from avsafe.media.view import View

LEEWAY = 1  # frames that one file may be longer than the other


def refuse_mismatch(clip: Clip) -> None:
    """Raise ``Unscorable`` where frames of the clip have no counterpart in the reference."""
    shape, other = clip.shape, clip.beside
    if other is None:
        raise Unscorable("the clip has no reference")
    if (shape.width, shape.height) != (other.width, other.height):
        raise Unscorable(
            f"the clip is {shape.width}x{shape.height}, the reference {other.width}x{other.height} "
            "pixels; scale one of them to the size of the other"
        )
    if shape.frame_rate != other.frame_rate:
        raise Unscorable(
            f"the clip has {shape.frame_rate} frames a second, the reference {other.frame_rate}; "
            "convert one of them"
        )
    if shape.frame_count is not None and other.frame_count is not None:
        _refuse_lengths(shape.frame_count, other.frame_count)


def _refuse_lengths(count: int, reference: int) -> None:
    if abs(count - reference) > LEEWAY:
        raise Unscorable(
            f"the clip has {count} frames, the reference {reference}; a difference of at most "
            f"{LEEWAY} is allowed: cut the longer one"
        )


class PairedMeter(QuietMeter):
    """Feeds each pair of frames to ``compare`` and gives its numbers to ``conclude``.

    Frames beyond the end of the reference (at most one) are left out.
    """

    def __init__(
        self,
        clip: Clip,
        compare: Callable[[View, View], tuple[float, ...]],
        conclude: Callable[[list[tuple[float, ...]]], Mapping[str, Value]],
    ) -> None:
        refuse_mismatch(clip)
        self._compare, self._conclude = compare, conclude
        self._rows: list[tuple[float, ...]] = []
        self._last = -1

    def frame(self, view: View, beside: View | None) -> None:
        # the reference's last frame stands for one more frame time: it is no counterpart twice
        if beside is not None and beside.index != self._last:
            self._last = beside.index
            self._rows.append(self._compare(view, beside))

    def finish(self, gathered: Gathered) -> Mapping[str, Value]:
        if not self._rows:
            raise Unscorable("no frame of the clip has a counterpart in the reference")
        if gathered.frame_count - len(self._rows) > LEEWAY:
            _refuse_lengths(gathered.frame_count, len(self._rows))
        return self._conclude(self._rows)

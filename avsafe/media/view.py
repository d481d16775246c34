"""One frame as metrics see it. What several of them need is computed once, when first asked for.

Legend: ``h`` ``w`` pixels of the frame, ``sh`` ``sw`` of a smaller copy; flow is (sh, sw, 2)
float32, (dx, dy) in pixels of that copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

FLOW_SIDE = 256  # short side of the pictures that motion is estimated on, pixels


@dataclass(eq=False)
class View:
    """Frame ``index`` of a clip, shown at ``time_s``. Read the arrays, do not write into them.

    ``previous`` is the frame before (None at the start); it knows nothing of its own past.

    >>> import numpy as np
    >>> view = View(0, 0.0, _luma=np.zeros((90, 160), np.uint8))
    >>> view.small(45).shape
    (45, 80)
    """

    index: int
    time_s: float
    _rgb: Frame | None = None
    _luma: Frame | None = None
    previous: View | None = None
    _small: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    _flow: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def rgb(self) -> Frame:
        """(h, w, 3) uint8; for metrics that want ``rgb``."""
        if self._rgb is None:
            raise LookupError('this metric reads RGB: put "rgb" into its info.wants')
        return self._rgb

    @property
    def luma(self) -> Frame:
        """(h, w) uint8, full range, the decoder's own; for metrics that want ``luma``."""
        if self._luma is None:
            raise LookupError('this metric reads luma: put "luma" into its info.wants')
        return self._luma

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        picture = self._rgb if self._rgb is not None else self.luma
        return picture.shape[0], picture.shape[1]

    def small(self, side: int) -> NDArray[np.float32]:
        """Luma (sh, sw) float32, 0 to 255, area-averaged to ``side`` pixels of the short side; as
        it is where the frame is smaller. Needs ``luma``."""
        if side not in self._small:
            import cv2

            height, width = self.luma.shape
            scale = side / min(height, width)
            luma = self.luma.astype(np.float32)
            if scale < 1:
                size = (max(1, round(width * scale)), max(1, round(height * scale)))
                luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
            self._small[side] = luma
        return self._small[side]

    def flow(self) -> NDArray[np.float32] | None:
        """Where each pixel of the previous frame went; None for the first frame. Needs ``luma``."""
        return self._motion("forward")

    def flow_back(self) -> NDArray[np.float32] | None:
        """Where each pixel of this frame came from, as seen from here. Needs ``luma``."""
        return self._motion("back")

    def _motion(self, way: str) -> NDArray[np.float32] | None:
        if self.previous is None:
            return None
        if way not in self._flow:
            before, after = self.previous.small(FLOW_SIDE), self.small(FLOW_SIDE)
            pair = (before, after) if way == "forward" else (after, before)
            self._flow[way] = _dis(*(np.clip(p + 0.5, 0, 255).astype(np.uint8) for p in pair))
        return self._flow[way]

    def forget_past(self) -> None:
        """Called by the driver when the next frame comes: nothing older is kept alive."""
        self.previous = None
        self._flow.clear()


_ENGINE: dict[str, Any] = {}


def _dis(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's preset "medium".

    Of three presets and three sizes the best at telling damage in time from motion on 16 real clips
    (docs/metrics/video.md; benchmarks/flow_choice.py): "fast" takes a quarter of the time and
    leaves 2.4 times the squared error on clean clips. Threads do not change the result.
    """
    import cv2

    least = 16  # pixels; the pyramid of the method needs them
    if min(before.shape) < least:
        return np.zeros((*before.shape, 2), np.float32)
    if "dis" not in _ENGINE:
        _ENGINE["dis"] = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(_ENGINE["dis"].calc(before, after, None), np.float32)

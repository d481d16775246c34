"""Warp error: what changes from frame to frame although nothing moved there, or moved on.

Legend: ``sh`` ``sw`` pixels of the small copy that flow is computed on; pictures are (sh, sw, 3)
float32 RGB, 0 to 255; flow is (sh, sw, 2) float32, (dx, dy) in its pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.media.view import FLOW_SIDE
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.video.motion_magnitude import LEAST
from avsafe_metrics.video.runs import moving_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

LEAST_COVER = 0.2  # share of the pixels that must be comparable, else the step says nothing
PATCH = 1 / 8  # of the short side: over patches of this size errors of the flow cancel


def warped(picture: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.float32]:
    """``picture`` moved so that each pixel shows what ``back`` says it came from."""
    import cv2

    ys, xs = np.mgrid[0 : back.shape[0], 0 : back.shape[1]].astype(np.float32)
    moved = cv2.remap(
        picture, xs + back[..., 0], ys + back[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(moved, np.float32)


def comparable(forth: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(sh, sw) where the later frame shows something that the earlier one shows too.

    Forward and backward flow agree, |w + w'|^2 <= 0.01 (|w|^2 + |w'|^2) + 0.5, no motion boundary,
    |grad|^2 <= 0.01 |w'|^2 + 0.002 (Ruder et al. 2016, equations 5 and 6), and the origin lies
    inside the picture.

    >>> right = np.zeros((32, 32, 2), np.float32); right[..., 0] = 4
    >>> comparable(right, -right).mean(axis=0)[[0, 3, 4, 31]].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    import cv2

    sh, sw = back.shape[:2]
    ys, xs = np.mgrid[0:sh, 0:sw].astype(np.float32)
    xs, ys = xs + back[..., 0], ys + back[..., 1]
    there = cv2.remap(forth, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    length = np.square(back).sum(axis=-1)
    agree = np.square(there + back).sum(axis=-1) <= (
        0.01 * (np.square(there).sum(axis=-1) + length) + 0.5
    )
    slope = sum(
        np.square(cv2.Sobel(back, cv2.CV_32F, dx, 1 - dx, ksize=1, scale=0.5)).sum(axis=-1)
        for dx in (0, 1)
    )
    inside = (xs >= 0) & (ys >= 0) & (xs <= sw - 1) & (ys <= sh - 1)
    return np.asarray(agree & (slope <= 0.01 * length + 0.002) & inside)


def residuals(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    forth: NDArray[np.float32],
    back: NDArray[np.float32],
) -> tuple[float, float, float]:
    """Mean squared residual, mean patch-wise residual (of pixels in 0 to 1), share of pixels seen.

    Both are over the pixels that can be compared; the patch-wise residual averages the signed error
    over patches of 1/8 of the short side first, where the errors of flow and of sampling cancel and
    those of colour and light do not.

    >>> still = np.zeros((64, 64, 2), np.float32)
    >>> grey = np.full((64, 64, 3), 100, np.float32)
    >>> [round(value, 6) for value in residuals(grey, grey + 25.5, still, still)]
    [0.01, 0.1, 1.0]
    """
    import cv2

    good = comparable(forth, back)
    cover = float(good.mean())
    if cover < LEAST_COVER:
        return float("nan"), float("nan"), cover
    error = (after - warped(before, back)) / np.float32(255)
    error[~good] = 0.0
    weight = good.astype(np.float32)
    total = float(weight.sum())
    squared = float(np.square(error).sum(dtype=np.float64)) / (3 * total)
    side = max(3, round(min(good.shape) * PATCH)) | 1
    share = cv2.blur(weight, (side, side), borderType=cv2.BORDER_REFLECT)
    patches = cv2.blur(error, (side, side), borderType=cv2.BORDER_REFLECT)
    level = np.abs(patches).mean(axis=-1) / np.maximum(share, 1e-6)
    return squared, float((level * weight).sum(dtype=np.float64)) / total, cover


class WarpError(PlainMetric):
    """Each frame against the one before it, moved along the optical flow, where both show the same.

    ``mse`` is E_warp of Lai et al. 2018 (equations 12 and 13) with two differences: the flow is DIS
    at 256 pixels, not FlowNet2, and it is taken from the clip itself, so that no source is needed.
    ``flicker`` averages the signed error over patches first: on real clips it finds temporal damage
    far better (docs/metrics/video.md).
    """

    info = MetricInfo(
        name="warp_error",
        version="1",
        title="Warp error",
        columns=(
            Column("mse", "", "lower", "mean squared residual, RGB in 0 to 1", 0.0, 1.0),
            Column("flicker", "", "lower", "mean patch-wise residual, RGB in 0 to 1", 0.0, 1.0),
            Column("cover", "", "none", "share of pixels that could be compared", 0.0, 1.0),
        ),
        wants=("rgb", "luma"),
        family="video",
        source=(
            "Lai et al. 2018 (arXiv:1808.00449) eq. 12-13, mask of Ruder et al. 2016 eq. 5-6; own: "
            "DIS flow of the clip itself at 256 pixels, and the patch-wise residual"
        ),
    )

    def open(self, clip: Clip) -> _Meter:
        moving_rate(clip)
        if min(clip.shape.width, clip.shape.height) < LEAST:
            raise Unscorable(
                f"{clip.shape.width}x{clip.shape.height} pixels: flow needs {LEAST} a side"
            )
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._found: list[tuple[float, float, float]] = []

    def frame(self, view: View, beside: View | None) -> None:
        import cv2

        forth, back = view.flow(), view.flow_back()
        height, width = view.small(FLOW_SIDE).shape
        small = cv2.resize(view.rgb, (width, height), interpolation=cv2.INTER_AREA)
        picture = np.asarray(small, np.float32)
        if forth is not None and back is not None and self._last is not None:
            self._found.append(residuals(self._last, picture, forth, back))
        self._last = picture

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._found:
            raise Unscorable(f"{gathered.frame_count} frame: a warp needs two")
        table = np.array(self._found)
        seen = table[~np.isnan(table[:, 0])]
        if 2 * len(seen) < len(table):
            raise Unscorable(
                f"only {len(seen)} of {len(table)} steps have {LEAST_COVER:.0%} of pixels that can "
                "be followed; the motion is too fast or too wild for optical flow"
            )
        mse, flicker, _ = seen.mean(axis=0)
        return {"mse": float(mse), "flicker": float(flicker), "cover": float(table[:, 2].mean())}

"""``motion_texture``: what a window of video looks and moves like, without weights.

43 numbers a window of frames, on luma of 128 pixels (texture) and flow at 256 (motion):

- texture, mean over the window: log energy in six bands of the 8 x 8 DCT, its spread over blocks,
  the histogram of rotation-invariant local binary patterns (Ojala et al. 2002), brightness and
  contrast;
- how the first seven of those vary within the window;
- motion, mean and deviation over the window: speed at three quantiles and agreement of directions,
  divergence and curl, what motion compensation leaves, what changes from frame to frame; and how
  much the flow changes from one pair to the next.

Each number is divided by its deviation over real clips (``SCALES``, fixed), so that a
distance counts every one alike. It sees blur, noise, freezing and other motion; it knows nothing of
content, so a set of other subjects is also at a distance.

Legend: ``h`` ``w`` pixels, ``t`` frames of a window, ``d`` 43.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

    Array = NDArray[np.float64]

SIDE, FLOW_SIDE = 128, 256  # short sides in pixels
LEAST_SIDE = 32
TEXTURE, SPREAD, MOTION = 19, 7, 8
WIDTH = TEXTURE + SPREAD + 2 * MOTION + 1
_BANDS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 14))  # sums of the two DCT indices
# Deviation of each number over windows of 43 real clips (scenes, and people talking), every clip
# counting alike; another scale is another version of the metric.
SCALES = np.array([
    0.230, 0.281, 0.322, 0.377, 0.405, 0.443, 0.273, 0.039, 0.040, 0.026, 0.033, 0.068, 0.045,
    0.017, 0.033, 0.062, 0.068, 0.118, 0.048, 0.015, 0.021, 0.026, 0.030, 0.036, 0.042, 0.023,
    0.396, 0.433, 0.396, 0.204, 0.291, 0.290, 0.310, 0.449, 0.130, 0.154, 0.176, 0.079, 0.121,
    0.122, 0.152, 0.220, 0.467,
])  # fmt: skip


def texture(luma: NDArray[np.float32]) -> Array:
    """(h, w) 0 to 255 -> (19,): six log10 band energies, their spread, ten patterns, two of light.

    >>> texture(np.zeros((64, 64), np.float32)).round(1)[:7].tolist()
    [-2.0, -2.0, -2.0, -2.0, -2.0, -2.0, 0.0]
    """
    from scipy.fft import dctn

    h, w = (n // 8 * 8 for n in luma.shape)
    blocks = luma[:h, :w].reshape(h // 8, 8, w // 8, 8).transpose(0, 2, 1, 3)
    power = np.square(dctn(blocks, axes=(2, 3), norm="ortho")).reshape(-1, 8, 8)
    mean = power.mean(axis=0)
    index = np.add.outer(np.arange(8), np.arange(8))
    bands = [np.log10(mean[(index >= a) & (index <= b)].mean() + 0.01) for a, b in _BANDS]
    whole = np.log10(power.reshape(len(power), -1)[:, 1:].mean(axis=1) + 0.01)
    light = [luma.mean() / 255, luma.std() / 255]
    return np.concatenate([bands, [whole.std()], patterns(luma), light]).astype(np.float64)


def patterns(luma: NDArray[np.float32]) -> Array:
    """Square roots of the shares of the ten rotation-invariant uniform patterns of 8 neighbours.

    >>> patterns(np.zeros((4, 4), np.float32)).tolist()  # all neighbours are as bright
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    centre = luma[1:-1, 1:-1]
    h, w = luma.shape
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    bits = np.stack([luma[y : h - 2 + y, x : w - 2 + x] >= centre for y, x in around])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    code = np.where(changes <= 2, bits.sum(axis=0), 9)
    share = np.bincount(code.ravel(), minlength=10) / code.size
    return np.asarray(np.sqrt(share), np.float64)


def motion(
    before: NDArray[np.float32], after: NDArray[np.float32], flow: NDArray[np.float32],
    rate_hz: float,
) -> Array:  # fmt: skip
    """Two frames (h, w) and the flow between them (h, w, 2) -> (8,).

    log10 of speed (short sides a second) at 10, 50 and 90 %, agreement of directions 0 to 1, log10
    of divergence, curl, residual after compensation and plain change.
    """
    import cv2

    side = min(before.shape)
    speed = np.hypot(flow[..., 0], flow[..., 1]) * (rate_hz / side)
    quantiles = np.log10(np.quantile(speed, [0.1, 0.5, 0.9]) + 0.01)
    total = float(np.hypot(*flow.mean(axis=(0, 1))))
    agreement = total / (float(np.hypot(flow[..., 0], flow[..., 1]).mean()) + 0.1)
    dx, dy = flow[:, 1:, :] - flow[:, :-1, :], flow[1:, :, :] - flow[:-1, :, :]
    divergence = dx[:-1, :, 0] + dy[:, :-1, 1]
    curl = dx[:-1, :, 1] - dy[:, :-1, 0]
    ys, xs = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    moved = cv2.remap(
        after, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    rest = [
        np.log10(divergence.std() + 0.01), np.log10(curl.std() + 0.01),
        np.log10(np.abs(moved - before).mean() + 0.1),
        np.log10(np.abs(after - before).mean() + 0.1),
    ]  # fmt: skip
    return np.concatenate([quantiles, [agreement], rest]).astype(np.float64)


class Window:
    """Sums of one window; memory does not grow with its length."""

    def __init__(self) -> None:
        self.frames = 0
        self._texture: list[Array] = []
        self._motion: list[Array] = []
        self._turns: list[float] = []
        self._flow: NDArray[np.float32] | None = None

    def take(self, view: View, rate_hz: float) -> None:
        self.frames += 1
        self._texture.append(texture(view.small(SIDE)))
        flow = view.flow()
        if flow is None or view.previous is None:
            return
        small, before = view.small(FLOW_SIDE), view.previous.small(FLOW_SIDE)
        self._motion.append(motion(before, small, flow, rate_hz))
        if self._flow is not None:
            self._turns.append(float(np.abs(flow - self._flow).mean()))
        self._flow = flow

    def row(self) -> NDArray[np.float32] | None:
        """(43,), or None for a window without two pairs of frames."""
        if len(self._motion) < 2:
            return None
        look, move = np.array(self._texture), np.array(self._motion)
        turn = np.log10(np.mean(self._turns) + 0.01) if self._turns else -2.0
        parts: list[Any] = [
            look.mean(axis=0), look[:, :SPREAD].std(axis=0), move.mean(axis=0), move.std(axis=0),
            [turn],
        ]  # fmt: skip
        return np.asarray(np.concatenate(parts) / SCALES, np.float32)

"""Landmarks moved onto what the picture shows: lips to their dark line, lids to the eye's edge.

The landmark network is exact to a few hundredths of the distance between the eyes; a blink or a
parting of the lips shows every pixel of that.

Legend: points are (p, 2) px in the frame; a patch is (h, w).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS, Landmarks
from avsafe.types import Frame
from avsafe_generators.talking_head import anatomy

_OUTER, _INNER = list(GROUPS["lips_outer"]), list(GROUPS["lips_inner"])
_OPEN = 0.11  # between the eyes: lips this far apart are open, and left as they are
# shift to the right and down, height above and below the middle, width
_LEAST, _MOST = (-0.1, -0.1, 0.6, 0.6, 0.85), (0.1, 0.1, 2.2, 1.7, 1.35)


def fitted(frame: Frame, points: NDArray[Any]) -> NDArray[np.float64]:
    """The landmarks, with lips and lids where the picture has them; all else as it was."""
    out = np.asarray(points, np.float64).copy()
    between = Landmarks(points.astype(np.float32)).interocular
    _fit_lips(frame, out, between)
    for eye in ("right_eye", "left_eye"):
        _fit_eye(frame, out, list(GROUPS[eye]), between)
    return out


def _fit_lips(frame: Frame, points: NDArray[Any], between: float) -> None:
    """Closed lips meet on the darkest smooth line near the place where they were looked for."""
    if anatomy.opening(points) > _OPEN * between:
        return
    import cv2

    left, right = points[_OUTER[0]], points[_OUTER[10]]
    width = float(np.hypot(*(right - left)))
    across = (right - left) / width
    down = np.array([-across[1], across[0]])
    middle = (points[_INNER[1:10]] + points[_INNER[11:]][::-1]) / 2
    line = np.vstack([left, middle, right])
    local = np.stack([(line - left) @ across, (line - left) @ down], 1)
    order = np.argsort(local[:, 0])
    columns = np.linspace(0.06, 0.94, 61) * width
    base = np.interp(columns, local[order, 0], local[order, 1])
    reach = 0.11 * between
    offsets = np.linspace(-reach, reach, 45)
    at = (
        left
        + columns[None, :, None] * across
        + (base[None, :] + offsets[:, None])[..., None] * down
    )
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    luma = cv2.GaussianBlur(luma, (0, 0), max(0.5, 0.008 * between))
    band = cv2.remap(luma, at[..., 0].astype("f4"), at[..., 1].astype("f4"), cv2.INTER_LINEAR)
    band = band.astype(np.float64)
    contrast = np.median(band, 0) - band.min(0)
    if np.median(contrast) < 8:  # no line to be seen
        return
    cost = (band - np.median(band, 0)) / max(1.0, float(band.std()))
    cost = cost + 0.35 * (offsets[:, None] / reach) ** 2
    path = _darkest_path(cost, stiff=0.25)
    shift = offsets[path]
    weight = np.clip(contrast, 1, 60)
    centred = columns / width - 0.5
    bent = np.polynomial.Polynomial.fit(centred, shift, 4, w=weight, domain=[-0.5, 0.5])
    for ring in (_OUTER, _INNER):
        for place in ring:
            where = float((points[place] - left) @ across / width - 0.5)
            inside = float(np.clip((0.56 - abs(where)) / 0.12, 0, 1))
            points[place] += down * bent(np.clip(where, -0.44, 0.44)) * inside
    for i in range(1, 10):
        above, below = _INNER[i], _INNER[20 - i]
        points[above] = points[below] = (points[above] + points[below]) / 2


def _darkest_path(cost: NDArray[Any], stiff: float) -> NDArray[np.intp]:
    """The row of least cost for each column, of which neighbours differ by at most two."""
    rows, columns = cost.shape
    best = cost[:, 0].copy()
    back = np.zeros((rows, columns), np.intp)
    steps = np.arange(-2, 3)
    for column in range(1, columns):
        tries = np.full((len(steps), rows), np.inf)
        for i, step in enumerate((-2, -1, 0, 1, 2)):
            low, high = max(0, -step), rows - max(0, step)
            tries[i, low:high] = best[low + step : high + step] + stiff * abs(step)
        pick = tries.argmin(0)
        back[:, column] = np.arange(rows) + steps[pick]
        best = tries.min(0) + cost[:, column]
    path = np.zeros(columns, np.intp)
    path[-1] = int(best.argmin())
    for column in range(columns - 1, 0, -1):
        path[column - 1] = back[path[column], column]
    return path


def _fit_eye(frame: Frame, points: NDArray[Any], eye: list[int], between: float) -> None:
    """The outline is shifted and stretched until it holds what is not coloured as skin."""
    import cv2

    outline = points[eye]
    low = np.floor(outline.min(0) - 0.2 * between).astype(int)
    high = np.ceil(outline.max(0) + 0.2 * between).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, frame.shape[1::-1])
    if (high - low).min() < 8:
        return
    patch = frame[low[1] : high[1], low[0] : high[0]]
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB).astype(np.float64)
    below = outline.mean(0) + np.array([0, 0.22 * between]) - low  # skin of the lower lid
    y, x = (int(np.clip(v, 2, n - 3)) for v, n in zip(below[::-1], patch.shape[:2], strict=True))
    skin = np.median(lab[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3), 0)
    strange = np.sqrt((((lab - skin) * [0.5, 1.0, 1.0]) ** 2).sum(-1))
    usual = float(np.quantile(strange, 0.35))  # of skin, which fills most of the patch
    eye_like = np.clip((strange - 1.3 * usual - 1) / (usual + 5), 0, 1)
    gain = 1.8 * eye_like - 0.8  # what a pixel counts when it lies inside
    centre = outline.mean(0) - low

    def shaped(v: NDArray[Any]) -> NDArray[Any]:
        away = outline - low - centre
        tall = np.where(away[:, 1] < 0, v[2], v[3])
        wide = np.full_like(tall, v[4])
        return np.asarray(centre + v[:2] * between + away * np.stack([wide, tall], 1))

    def score(v: NDArray[Any]) -> float:
        inside = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(shaped(v) * 16).astype(np.int32)], 1, shift=4)
        held = np.square(v[:2]).sum() / 0.07**2 + np.square(np.log(v[2:])).sum() / 0.5**2
        return float(gain[inside > 0].sum() / area - 0.04 * held)

    area = float(cv2.contourArea(outline.astype(np.float32))) + 1
    best = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    start = value = score(best)
    for size in (1.0, 0.5, 0.25):
        moves = np.diag([0.03, 0.03, 0.2, 0.2, 0.1]) * size
        for _ in range(6):
            options = [best + sign * move for move in moves for sign in (-1, 1)]
            options = [np.clip(v, _LEAST, _MOST) for v in options]
            scores = [score(v) for v in options]
            if max(scores) <= value + 1e-6:
                break
            value, best = max(scores), options[int(np.argmax(scores))]
    if value > start + 0.03:
        points[eye] = shaped(best) + low

"""What stands in front of a photo: the mask of a request, or a guess from the picture alone.

The guess: what the frame's border can't reach along smooth paths (Wei et al., "Geodesic saliency
using background priors", ECCV 2012), refined by GrabCut (Rother et al., SIGGRAPH 2004), kept only
where its outline lies on edges of the picture. It is right about the place and often wrong about
the outline (on 30 frames of real footage about one cut in three was clean; heads, limbs and halves
of things were left out), so it makes the map nearer there, softly, and never cuts the picture:
only a mask does.

Legend: a picture ``(h, w, 3)`` uint8 RGB, a matte ``(h, w)`` float32, 1 on the subject.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsafe_generators.cinemagraph.fields import Field, Picture

_SIDE = 256  # pixels of the longer side at which the cut is made
_AREA = (0.015, 0.62)  # share of the frame that a subject has
_ON_EDGES = 1.5  # the outline's gradient against the picture's, at least


@dataclass(frozen=True)
class Subject:
    matte: Field
    share: float  # of the frame
    on_edges: float  # gradient along the outline against the picture's mean; 0 for a mask
    source: str  # "mask" or "picture"

    @property
    def cuts(self) -> bool:
        """Whether it becomes a layer of its own."""
        return self.source == "mask"


def salience(small: Picture) -> Field:
    """How hard it is to reach a pixel from the left, right and top border, 0..1."""
    import cv2
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    h, w = small.shape[:2]
    lab: Field = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
    index = np.arange(h * w).reshape(h, w)
    rows, cols, costs = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, h - dy), slice(max(0, -dx), w - max(0, dx)))
        b = (slice(dy, h), slice(max(0, dx), w + min(0, dx)))
        step = np.sqrt(((lab[a] - lab[b]) ** 2).sum(axis=-1)) * (0.7 if dy and dx else 1.0)
        rows.append(index[a].ravel())
        cols.append(index[b].ravel())
        costs.append(np.maximum(0.0, step.ravel() - 1.5) + 0.02)
    # one node for the border; the foot of the frame is left out: subjects stand there
    border = np.concatenate([index[0], index[: int(0.8 * h), 0], index[: int(0.8 * h), -1]])
    rows.append(np.full(border.size, h * w))
    cols.append(border)
    costs.append(np.full(border.size, 1e-3))
    graph = coo_matrix(
        (np.concatenate(costs), (np.concatenate(rows), np.concatenate(cols))),
        shape=(h * w + 1, h * w + 1),
    ).tocsr()
    far = dijkstra(graph, directed=False, indices=h * w)[:-1].reshape(h, w)
    top = float(np.quantile(far, 0.98)) + 1e-6
    return np.asarray(np.clip(far / top, 0, 1), np.float32)


def find(picture: Picture, seed: int) -> Subject | None:
    """The subject of a picture, or None where none stands out clearly."""
    import cv2

    h, w = picture.shape[:2]
    scale = min(1.0, _SIDE / max(h, w))
    size = (max(16, round(w * scale)), max(16, round(h * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    tiny_size = (max(12, size[0] // 2), max(12, size[1] // 2))
    tiny = cv2.resize(small, tiny_size, interpolation=cv2.INTER_AREA)
    far = cv2.resize(salience(tiny), size)
    gy, gx = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    middle = np.exp(-(((gx / size[0] - 0.5) / 0.33) ** 2) - ((gy / size[1] - 0.55) / 0.42) ** 2)
    score = far * (0.5 + 0.5 * middle)
    score /= float(score.max()) + 1e-6
    level, _ = cv2.threshold((score * 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    level /= 255.0
    state = np.full(score.shape, cv2.GC_BGD, np.uint8)
    state[score > 0.45 * level] = cv2.GC_PR_BGD
    state[score > level] = cv2.GC_PR_FGD
    state[score > 0.5 * (1 + level)] = cv2.GC_FGD
    if int((state == cv2.GC_FGD).sum()) < 20 or int((state == cv2.GC_BGD).sum()) < 20:
        return None
    cv2.setRNGSeed(seed % 2**31)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, size[0], size[1])  # not read when a mask is given
    cv2.grabCut(
        cv2.GaussianBlur(small, (0, 0), 0.7), state, whole, *models, 4, cv2.GC_INIT_WITH_MASK
    )
    cut: Picture = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    cut = cv2.morphologyEx(cv2.morphologyEx(cut, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    cut = _large_parts(cut, score)
    share = float(cut.mean())
    if not _AREA[0] <= share <= _AREA[1]:
        return None
    on_edges = _on_edges(small, cut)
    if on_edges < _ON_EDGES:
        return None
    return Subject(_matte(picture, cut.astype(np.float32)), share, on_edges, "picture")


def given(picture: Picture, mask: Field) -> Subject:
    """The subject that a mask names."""
    return Subject(
        _matte(picture, (mask > 0.5).astype(np.float32)), float(mask.mean()), 0.0, "mask"
    )


def _large_parts(cut: Picture, score: Field) -> Picture:
    """Parts of a size worth a layer, holes closed."""
    import cv2

    number, labels, stats, _ = cv2.connectedComponentsWithStats(cut)
    out = np.zeros_like(cut)
    least = max(0.006 * cut.size, 0.12 * float(stats[1:, cv2.CC_STAT_AREA].max(initial=0)))
    for part in range(1, number):
        here = labels == part
        if stats[part, cv2.CC_STAT_AREA] >= least and float(score[here].max()) > 0.5:
            out[here] = 1
    number, labels, stats, _ = cv2.connectedComponentsWithStats(1 - out)
    for part in range(1, number):
        if stats[part, cv2.CC_STAT_AREA] < 0.004 * cut.size:
            out[labels == part] = 1
    return out


def _on_edges(small: Picture, cut: Picture) -> float:
    """Gradient along the outline against the mean gradient of the picture."""
    import cv2

    lab = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), (0, 0), 1.0).astype(np.float32)
    steep = np.sqrt(
        sum(
            cv2.Sobel(lab[..., c], cv2.CV_32F, 1, 0) ** 2
            + cv2.Sobel(lab[..., c], cv2.CV_32F, 0, 1) ** 2
            for c in range(3)
        )
    )
    near = cv2.dilate(steep, np.ones((3, 3), np.uint8))
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    outline = cv2.morphologyEx(cut, cv2.MORPH_GRADIENT, cross) > 0
    outline[[0, -1], :] = False
    outline[:, [0, -1]] = False
    if not outline.any():
        return 0.0
    return float(near[outline].mean() / (near.mean() + 1e-3))


def _matte(picture: Picture, cut: Field) -> Field:
    """A soft edge that follows the picture's edges."""
    import cv2

    h, w = picture.shape[:2]
    radius = max(2, round(0.006 * (h + w)))
    large = cv2.resize(cut, (w, h), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    matte = guided(grey, large, radius, 1e-3)
    return np.asarray(np.clip((matte - 0.25) / 0.55, 0.0, 1.0), np.float32)


def guided(guide: Field, values: Field, radius: int, eps: float) -> Field:
    """Guided filter (He et al., "Guided image filtering", ECCV 2010): values smoothed, with edges
    where the guide has them.

    >>> import numpy as np
    >>> flat = np.full((8, 8), 0.5, np.float32)
    >>> float(guided(flat, flat, 2, 1e-3).round(3).max())
    0.5
    """
    import cv2

    window = (2 * radius + 1, 2 * radius + 1)

    def mean(field: Field) -> Field:
        return np.asarray(
            cv2.boxFilter(field, -1, window, borderType=cv2.BORDER_REFLECT), np.float32
        )

    mean_g, mean_v = mean(guide), mean(values)
    slope = (mean(guide * values) - mean_g * mean_v) / (mean(guide * guide) - mean_g**2 + eps)
    out: Field = mean(slope) * guide + mean(mean_v - slope * mean_g)
    return out

"""Frames of a photo seen from a moving camera: the ground as one smooth sheet, the subject as a
second one before it, the ground behind the subject filled in.

Legend: a picture ``(h, w, 3)`` uint8, maps ``(h, w)`` float32; the photo may have more pixels than
the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe_generators.cinemagraph import fields
from avsafe_generators.cinemagraph.fields import Field, Picture
from avsafe_generators.photo_motion import camera

if TYPE_CHECKING:
    from avsafe_generators.cinemagraph.ambient import Ambient
    from avsafe_generators.photo_motion.layout import Layout
    from avsafe_generators.photo_motion.subject import Subject

_COARSE = 4  # pixels of the frame per cell of the maps, which change slowly


def behind(photo: Picture, subject: Subject | None) -> Picture:
    """The photo without its subject: what is hidden is made up from what is around it."""
    import cv2

    if subject is None or not subject.cuts:
        return photo
    grow = max(3, round(0.004 * sum(photo.shape[:2]))) | 1
    hidden = cv2.dilate(
        (subject.matte > 0.02).astype(np.uint8),
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow, grow)),
    )
    return fields.beyond(photo, hidden == 0)


class Renderer:
    """``frame(index)`` of ``count`` frames of ``size`` (width, height)."""

    def __init__(
        self, photo: Picture, ground: Picture, layout: Layout, subject: Subject | None,
        path: camera.Path, size: tuple[int, int], count: int, ambient: Ambient | None,
    ) -> None:  # fmt: skip
        self._ground, self._layout, self._size, self._count = ground, layout, size, count
        self._path, self._ambient = path, ambient
        self._front: Picture | None = None
        self._matte: Field | None = None
        if subject is not None and subject.cuts and path.move != "still":
            sure = subject.matte > 0.92
            self._front = fields.beyond(photo, sure) if sure.any() else photo
            self._matte = subject.matte
            weight = subject.matte / max(1e-6, float(subject.matte.sum()))
            self.pivot = float((layout.front * weight).sum())
            self._front_near = _small(layout.front)
        else:
            h, w = layout.ground.shape
            self.pivot = float(
                layout.ground[
                    round(0.3 * h) : round(0.8 * h), round(0.25 * w) : round(0.75 * w)
                ].mean()
            )
        if path.move == "still":
            self._ground = photo
        self._near = _small(layout.ground)
        self.base = camera.crop(path, self._near, self.pivot, size)
        w, h = size
        cells = (max(2, -(-w // _COARSE)), max(2, -(-h // _COARSE)))
        self._cells_x = ((np.arange(cells[0], dtype=np.float32) + 0.5) * w / cells[0] - 0.5)[None]
        self._cells_y = ((np.arange(cells[1], dtype=np.float32) + 0.5) * h / cells[1] - 0.5)[
            :, None
        ]
        self._cells_x = np.repeat(self._cells_x, cells[1], axis=0)
        self._cells_y = np.repeat(self._cells_y, cells[0], axis=1)

    def _maps(self, view: camera.View, near: Field, shape: tuple[int, ...]) -> tuple[Field, Field]:
        """Maps for the whole frame into a photo of ``shape``: the even part exactly, the rest from
        coarse cells."""
        import cv2

        w, h = self._size
        zoom = view.zoom * self.base
        coarse = camera.seen_from(
            view, near, self.pivot, self._size, self._cells_x, self._cells_y, self.base
        )
        out = []
        for axis, (cells, length, many) in enumerate(
            ((self._cells_x, w, shape[1]), (self._cells_y, h, shape[0]))
        ):
            centre = (length - 1) / 2
            rest = coarse[axis] - ((cells - centre - view.shift[axis] * w) / zoom + centre)
            full: Field = cv2.resize(
                rest.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR
            )
            line = (np.arange(length, dtype=np.float32) - centre - view.shift[axis] * w) / zoom
            line = line + centre
            full = full + (line[None, :] if axis == 0 else line[:, None])
            ratio = many / length
            if ratio != 1:
                full = (full + 0.5) * np.float32(ratio) - 0.5
            out.append(full.astype(np.float32))
        return out[0], out[1]

    def frame(self, index: int) -> Picture:
        import cv2

        ground = self._ground if self._ambient is None else self._ambient.frame(index)
        w, h = self._size
        if self._path.move == "still":
            if ground.shape[:2] == (h, w):
                return ground.copy()
            return np.asarray(cv2.resize(ground, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        closed = self._path.loop or self._path.move in camera.CLOSED
        u = index / self._count if closed else index / max(1, self._count - 1)
        view = self._path.at(u)
        map_x, map_y = self._maps(view, self._near, ground.shape)
        out: Picture = np.asarray(
            cv2.remap(ground, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101),
            np.uint8,
        )
        if self._front is None or self._matte is None:
            return out
        map_x, map_y = self._maps(view, self._front_near, self._matte.shape)
        opacity = cv2.remap(
            self._matte, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        ys, xs = np.nonzero(
            cv2.resize(opacity, (w // 8 + 1, h // 8 + 1), interpolation=cv2.INTER_AREA) > 0
        )
        if not ys.size:
            return out
        part = (
            slice(max(0, (int(ys.min()) - 1) * 8), min(h, (int(ys.max()) + 2) * 8)),
            slice(max(0, (int(xs.min()) - 1) * 8), min(w, (int(xs.max()) + 2) * 8)),
        )
        front = cv2.remap(
            self._front,
            np.ascontiguousarray(map_x[part]),
            np.ascontiguousarray(map_y[part]),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        share = np.ascontiguousarray(opacity[part])
        out[part] = cv2.blendLinear(front, np.ascontiguousarray(out[part]), share, 1 - share)
        return out


def _small(near: Field) -> Field:
    """A quarter of the resolution is enough for what changes slowly."""
    import cv2

    h, w = near.shape
    size = (max(2, w // _COARSE), max(2, h // _COARSE))
    return np.asarray(cv2.resize(near, size, interpolation=cv2.INTER_AREA), np.float32)

"""A portrait moved: a smooth flow from landmarks and a 2.5-D head, found on a coarse grid.

The face moves in two layers that part at the line of the lips: one knows the upper lip, one the
lower. A point above the line of the moved mouth takes its picture from the first, one below from
the second; so lips keep their thickness when the mouth opens, and an open mouth can close.

Legend: ``p`` = 152 landmarks, ``g`` = rows x columns of the grid, both in px of the frame; a flow
tells for every point of the output where in the portrait its picture lies, relative to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS
from avsafe_generators.talking_head import anatomy

Array = NDArray[np.float32]
# from the corner at the left of the picture along the lower lip, and back along the upper
_LOWER_LIP = [*GROUPS["lips_outer"][1:10], *GROUPS["lips_inner"][1:10]]
_UPPER_LIP = [*GROUPS["lips_outer"][11:], *GROUPS["lips_inner"][11:]]
_REACH = 0.55  # between the eyes: how far a landmark pulls the skin around it
_HOLD = 2e-3  # how much smoother than exact the flow may be
_ROUNDS = 7  # of the fixed point that turns a flow round
_EDGE = 0.1  # of the frame's smaller side: the margin in which motion fades to none
_NECK = np.array([0.0, 2.35, -0.95])  # about which a head turns, in distances between the eyes


@dataclass(frozen=True)
class Pose:
    """Of one frame, relative to the portrait. Angles in radians, ``nearer`` a factor of size."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    nearer: float = 1.0


class Head:
    """The head of a portrait: where its skin is, how deep, and how far it goes along."""

    def __init__(self, points: NDArray[Any], shape: NDArray[Any], width: int, height: int) -> None:
        """``points`` (p, 2) px in the frame, ``shape`` (p, 3) the mean head."""
        self.size = width, height
        self.points = np.asarray(points, np.float64)
        weight = anatomy.pose_weights(shape)
        pose, scale, shift = anatomy.solve_pose(self.points[None], shape, weight)
        self.turn = anatomy.rotation(*pose[0])
        self.scale, self.shift = float(scale[0]), shift[0]
        # seen from the front: what the picture shows, with the depth of the mean head
        seen = (self.points - self.shift) / self.scale - shape[:, 2:] @ self.turn[:2, 2:].T
        flat = seen @ np.linalg.inv(self.turn[:2, :2]).T
        self.body = np.column_stack([flat, shape[:, 2]])
        self.neck = self.turn @ _NECK
        pitch = max(4.0, self.scale / 14)
        self.columns, self.rows = (int(np.ceil(side / pitch)) + 1 for side in (width, height))
        x, y = np.linspace(0, width - 1, self.columns), np.linspace(0, height - 1, self.rows)
        grid = np.stack(np.meshgrid(x, y), -1)
        self.step = np.array([x[1] - x[0], y[1] - y[0]])
        self._view = (grid.reshape(-1, 2) - self.shift) / self.scale  # (g, 2) as the viewer sees
        self._depth, self._along = self._relief()
        mine = (self.body @ self.turn.T)[:, :2]
        upper = np.setdiff1d(np.arange(len(shape)), _LOWER_LIP)
        lower = np.setdiff1d(np.arange(len(shape)), _UPPER_LIP)
        self._layers = [self._pull(mine, which) for which in (upper, lower)]

    def _relief(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Depth of every grid point, and how far it goes along with the head: (g,), (g,)."""
        flat = self._view @ np.linalg.inv(self.turn[:2, :2]).T
        x, y = flat.T
        skull = -1.15 + 1.2 * np.sqrt(np.clip(1 - (x / 1.45) ** 2 - ((y - 0.3) / 2.0) ** 2, 0, 1))
        mine = self.body[:, :2]
        near = np.exp(-(((flat[:, None] - mine[None]) ** 2).sum(-1)) / (2 * 0.22**2))
        face = (near @ self.body[:, 2]) / np.maximum(near.sum(1), 1e-9)
        share = np.clip(near.max(1) * 1.6 - 0.2, 0, 1)
        depth = share * face + (1 - share) * skull
        above = np.where(y < 0.3, (0.3 - y) / 2.0, (y - 0.3) / 1.75)
        radius = np.hypot(x / 1.5, above)
        wide = np.where(y > 0.3, 1.15, 0.8)  # the neck goes along farther down than hair does up
        t = np.clip((radius - 1.02) / wide, 0, 1)
        along = 1 - t * t * t * (t * (6 * t - 15) + 10)
        # nothing at the frame's edge moves, so that none is pulled in
        px = self._view * self.scale + self.shift
        end = np.array(self.size) - 1.0
        to_edge = np.minimum(px, end - px).min(1) / (_EDGE * min(self.size))
        edge = np.clip(to_edge, 0, 1)
        return depth, along * edge * edge * (3 - 2 * edge)

    def _pull(self, mine: NDArray[Any], which: NDArray[np.intp]) -> tuple[NDArray[np.intp], Array]:
        """From displacements of the landmarks ``which`` to those of the grid: (g, n)."""

        def kernel(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:  # Matérn, smoothness 3/2
            r = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) * (np.sqrt(3) / _REACH)
            return np.asarray((1 + r) * np.exp(-r))

        control = mine[which]
        inverse = np.linalg.inv(kernel(control, control) + _HOLD * np.eye(len(control)))
        on_grid = kernel(self._view, control) @ inverse
        return which, on_grid.astype(np.float32)

    def landmarks(self, face: NDArray[Any], pose: Pose) -> NDArray[np.float64]:
        """Where the landmarks go: ``face`` (p, 2) displacements on the head -> (p, 2) px."""
        body = self.body.copy()
        body[:, :2] += face
        view = body @ self.turn.T
        return np.asarray(self.posed(view, pose)[:, :2] * self.scale + self.shift)

    def posed(self, view: NDArray[Any], pose: Pose) -> NDArray[Any]:
        """Points as the viewer sees them (..., 3), turned about the neck and brought nearer."""
        turn = anatomy.rotation(pose.yaw, pose.pitch, pose.roll)
        turned = (view - self.neck) @ turn.T + self.neck
        middle = np.array([0.0, 0.4, 0.0])
        return np.asarray((turned - middle) * pose.nearer + middle)

    def flows(self, face: NDArray[Any], pose: Pose) -> tuple[Array, Array]:
        """The flow of either layer on the grid: 2 x (rows, columns, 2) px."""
        moved = face @ self.turn[:2, :2].T  # as the viewer sees it
        out = []
        for which, on_grid in self._layers:
            view = np.column_stack([self._view, self._depth])
            pulled = view.copy()
            pulled[:, :2] += on_grid @ moved[which].astype(np.float32)
            shift = (self.posed(pulled, pose) - pulled)[:, :2] * self._along[:, None]
            forward = (pulled[:, :2] - view[:, :2] + shift) * self.scale
            shaped = forward.reshape(self.rows, self.columns, 2).astype(np.float32)
            out.append(self._turned_round(shaped))
        return out[0], out[1]

    def _turned_round(self, forward: Array) -> Array:
        """``back(q) = -forward(q + back(q))``, found by iteration."""
        import cv2

        step = self.step.astype(np.float32)
        rows, columns = np.mgrid[0 : self.rows, 0 : self.columns].astype(np.float32)
        back = -forward
        for _ in range(_ROUNDS):
            moved = cv2.remap(
                forward, columns + back[..., 0] / step[0], rows + back[..., 1] / step[1],
                cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            back = -np.asarray(moved, np.float32)
        return back

"""Where the features of a drawn face are, exactly: from the surfaces, not found in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.trace import Camera, World


def surface(world: World, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) places x, y of the head -> (n, 3) points of the skin in front, head coordinates."""
    x = points[:, 0].astype(np.float32)
    y = points[:, 1].astype(np.float32)
    z = np.full_like(x, 1.3)
    for _ in range(60):
        d = world.solids.head(x, y, z, world.solids.cranium(x, y, z))
        z = z - (0.8 * d).astype(np.float32)
    return np.stack([x, y, z], axis=1).astype(np.float64)


def five(person: Person, world: World, camera: Camera) -> dict[str, tuple[float, float]]:
    """Pixels x, y of both irises, the tip of the nose and the corners of the mouth; left and right
    as in the picture."""
    s = person.shape
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    aim = s["eye_x"] - 0.006
    gaze = 0.10 * s["gaze"]
    corner = float(world.solids.mouth_line(np.array([s["mouth_w"]], np.float32))[0])
    places = np.array(
        [(-aim - gaze, 0.012), (aim + gaze, 0.012), (0.0, s["nose_y"]),
         (-s["mouth_w"], corner), (s["mouth_w"], corner)]
    )  # fmt: skip
    seen = camera.project(world.solids.from_head(surface(world, places)))
    return {
        name: (round(float(x), 2), round(float(y), 2))
        for name, (x, y) in zip(names, seen, strict=True)
    }

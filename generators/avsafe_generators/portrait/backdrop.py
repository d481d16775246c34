"""What is behind the person: out-of-focus places made of a few soft shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.trace import Camera

Array = NDArray[Any]  # float32
_TINTS = {
    "warm": (1.0, 0.92, 0.80), "golden": (1.0, 0.88, 0.70), "cool": (0.88, 0.95, 1.0),
    "neon": (0.75, 0.55, 0.9), "dramatic": (0.55, 0.55, 0.58),
}  # fmt: skip


def backdrop(person: Person, camera: Camera) -> Array:
    """(h, w, 3) float32, linear light."""
    import cv2

    rng = np.random.Generator(np.random.PCG64([person.seed, 21]))
    wide, tall = camera.width, camera.height
    scale = 160 / min(wide, tall)
    w, h = round(wide * scale), round(tall * scale)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    ys, xs = ys / 160, (xs - w / 2) / 160
    image = np.zeros((h, w, 3), np.float32)
    blur = 5.0

    def dot(x: float, y: float, r: float, color: Any, strength: float = 1.0) -> None:
        edge = np.clip((r - np.hypot(xs - x, ys - y)) * 60, 0, 1)[..., None]
        image[:] = image + (np.array(color, np.float32) - image) * edge * strength

    def box(x0: float, y0: float, x1: float, y1: float, color: Any) -> None:
        inside = (xs > x0) & (xs < x1) & (ys > y0) & (ys < y1)
        image[inside] = np.array(color, np.float32)

    def slope(top: Any, low: Any) -> None:
        share = np.clip(ys / max(0.6, h / 160), 0, 1)[..., None]
        image[:] = np.array(top, np.float32) * (1 - share) + np.array(low, np.float32) * share

    half = w / 320
    match person.setting:
        case "office":
            slope((0.80, 0.82, 0.84), (0.60, 0.60, 0.61))
            box(-half, 0.05, -half + 0.30, 0.70, (0.90, 0.95, 1.0))
            box(-half + 0.145, 0.05, -half + 0.16, 0.70, (0.55, 0.57, 0.6))
            box(half - 0.32, 0.12, half, 0.16, (0.45, 0.33, 0.24))
            box(half - 0.32, 0.40, half, 0.44, (0.45, 0.33, 0.24))
            for k in range(9):
                tint = rng.uniform(0.2, 0.75, 3)
                at = half - 0.31 + 0.035 * k
                box(at, 0.40 - rng.uniform(0.12, 0.2), at + 0.028, 0.40, tint)
        case "park":
            slope((0.70, 0.85, 0.95), (0.30, 0.46, 0.18))
            for _ in range(70):
                y = rng.uniform(0.0, 0.62)
                g = rng.uniform(0.25, 0.62)
                dot(
                    rng.uniform(-half, half),
                    y,
                    rng.uniform(0.03, 0.10),
                    (g * 0.55, g, g * 0.28),
                    0.75,
                )
            for _ in range(16):
                dot(
                    rng.uniform(-half, half),
                    rng.uniform(0, 0.5),
                    rng.uniform(0.012, 0.03),
                    (0.95, 0.98, 0.75),
                    0.6,
                )
            blur = 3.4
        case "beach":
            slope((0.48, 0.72, 0.93), (0.75, 0.87, 0.95))
            box(-half, 0.50, half, 0.68, (0.16, 0.48, 0.60))
            box(-half, 0.68, half, 9, (0.88, 0.79, 0.62))
            box(-half, 0.655, half, 0.685, (0.93, 0.95, 0.95))
        case "city":
            slope((0.10, 0.12, 0.22), (0.16, 0.13, 0.20))
            for _ in range(60):
                hue = [(1.0, 0.75, 0.4), (1.0, 0.5, 0.3), (0.6, 0.8, 1.0), (1.0, 0.9, 0.7)][
                    int(rng.integers(4))
                ]
                dot(
                    rng.uniform(-half, half),
                    rng.uniform(0.05, 0.95),
                    rng.uniform(0.012, 0.035),
                    hue,
                    rng.uniform(0.25, 0.8),
                )
            blur = 1.6
        case "home":
            slope((0.74, 0.64, 0.53), (0.58, 0.46, 0.36))
            dot(half - 0.10, 0.22, 0.10, (1.0, 0.90, 0.66), 1.0)
            box(half - 0.115, 0.30, half - 0.085, 0.9, (0.35, 0.25, 0.18))
            box(-half + 0.04, 0.10, -half + 0.22, 0.34, (0.40, 0.52, 0.55))
            box(-half + 0.055, 0.115, -half + 0.205, 0.325, (0.80, 0.74, 0.62))
        case "library":
            slope((0.30, 0.20, 0.13), (0.22, 0.14, 0.10))
            for row in range(5):
                at = -half
                while at < half:
                    thick = rng.uniform(0.018, 0.04)
                    tint = rng.uniform(0.15, 0.6, 3) * (1.0, 0.8, 0.65)
                    box(
                        at,
                        row * 0.22 + rng.uniform(0.02, 0.06),
                        at + thick,
                        row * 0.22 + 0.19,
                        tint,
                    )
                    at += thick
            blur = 2.6
        case "night":
            slope((0.02, 0.03, 0.09), (0.06, 0.07, 0.14))
            for _ in range(40):
                dot(
                    rng.uniform(-half, half),
                    rng.uniform(0, 0.6),
                    0.008,
                    (0.8, 0.85, 1.0),
                    rng.uniform(0.2, 0.9),
                )
            blur = 0.9
        case _:
            base = np.array(person.backdrop, np.float32)
            centre = np.hypot(xs + 0.18 * person.light_side * -1, ys - 0.42)
            glow = np.clip(1.12 - 0.85 * centre, 0.30, 1.12)[..., None]
            image[:] = np.clip((base * 0.82 + 0.09), 0, 1) * glow
            cloud = cv2.resize(
                rng.standard_normal((6, 6)).astype(np.float32),
                (w, h),
                interpolation=cv2.INTER_CUBIC,
            )
            image *= (1 + 0.05 * cloud)[..., None]
    soft = cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), blur, borderType=cv2.BORDER_REFLECT)
    big = cv2.resize(soft, (wide, tall), interpolation=cv2.INTER_CUBIC)
    tinted = _TINTS.get(person.light, (1.0, 1.0, 1.0))
    out: Array = np.clip(big * np.array(tinted, np.float32), 0, 1).astype(np.float32) ** np.float32(
        2.2
    )
    return out

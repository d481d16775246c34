"""A network that tells people by their colour, and pictures of such people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from avsafe.types import EmbedderInfo

RED, ORANGE, GREEN, BLUE, NOBODY = (
    (200, 20, 20), (205, 60, 20), (20, 200, 20), (20, 20, 200), (0, 0, 0),
)  # fmt: skip


class ByColour:
    """Red and another red are one person, red and orange may be."""

    info = EmbedderInfo(
        name="by-colour", version="1", modality="face", dimensions=3, same_below=0.1,
        other_above=0.3, licence="Apache-2.0", source="the tests",
    )  # fmt: skip
    extractor = "avsafe.media.selftest:Patches"

    def prepare(self) -> None:
        pass


def picture(path: Path, *people: tuple[int, int, int], seed: int = 0) -> Path:
    """People side by side; another seed is another picture of them."""
    noise = np.random.default_rng(seed).integers(-8, 9, (128, 128 * len(people), 3))
    plain = np.concatenate([np.full((128, 128, 3), one) for one in people], axis=1)
    noise[plain.max(2) == 0] = 0
    Image.fromarray((plain + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path

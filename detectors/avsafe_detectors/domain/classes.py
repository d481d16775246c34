"""Which class a picture or a piece of sound is of: forests of small trees, evaluated in numpy.

Legend: ``n`` items, ``p`` numbers of each, ``m`` nodes of all trees together, ``r`` trees, ``c``
classes. A node with ``feature`` -1 is a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("weights") / "domain.safetensors"
PICTURES = ("photo", "drawn", "screen", "cgi")
SOUNDS = ("speech", "music", "tone", "noise", "effects")
# A picture is a photo from this score on: photos that are taken for something else silence the
# detectors of photos, so a few drawings among the photos are the smaller harm (weights/card.md).
PHOTO = 0.25
_DEEPEST = 64


def best(names: tuple[str, ...], scores: NDArray[Any]) -> int:
    """Index of the class that the scores (c,) speak for.

    >>> best(PICTURES, np.array([0.3, 0.6, 0.1, 0.0])), best(SOUNDS, np.array([0.3, 0.6, 0, 0, 0]))
    (0, 1)
    """
    if names is PICTURES and scores[0] >= PHOTO:
        return 0
    return int(np.argmax(scores[1:])) + 1 if names is PICTURES else int(np.argmax(scores))


@dataclass(frozen=True, eq=False)
class Forest:
    """``roots`` (r,); ``feature``, ``limit``, ``right`` (m,); ``share`` (m, c).

    The left child of a node is the next one, the right child lies ``right`` nodes on.
    """

    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    limit: NDArray[np.float32]
    right: NDArray[np.int32]
    share: NDArray[np.float16]

    def probabilities(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """(n, p) -> (n, c): the mean share over trees. Left is ``x <= limit``."""
        x = np.asarray(x, np.float32)
        at = np.tile(self.roots, (len(x), 1))
        item = np.arange(len(x))[:, None]
        for _ in range(_DEEPEST):
            feature = self.feature[at]
            if (feature < 0).all():
                break
            goes = x[item, np.maximum(feature, 0)] <= self.limit[at]
            at = np.where(feature < 0, at, at + np.where(goes, 1, self.right[at]))
        found = self.share[at].astype(np.float64).mean(1)
        return np.asarray(found / found.sum(1, keepdims=True), np.float64)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Forest:
        """Raises KeyError."""
        return cls(*(arrays[f"{prefix}.{name}"] for name in cls.__dataclass_fields__))

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """For a safetensors file."""
        return {f"{prefix}.{name}": getattr(self, name) for name in self.__dataclass_fields__}


@lru_cache(maxsize=1)
def forests() -> dict[str, Forest]:
    """ "picture" and "sound", from the file beside the code."""
    from safetensors.numpy import load_file

    arrays = load_file(WEIGHTS)
    return {name: Forest.from_arrays(arrays, name) for name in ("picture", "sound")}

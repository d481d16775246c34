"""Whose face, whose voice, by networks that the operator switched on (``AVSAFE_EMBEDDERS``).

A network says how far two faces (or voices) lie apart: below one bound they are taken for one
person, above another for two, and in between nobody knows. What is found is a proposal to a human,
never a decision for anybody. Off unless switched on; files are read in the limited process.

Legend: ``k`` faces or voices of ``d`` numbers each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import media, plugins
from avsafe.errors import SandboxFailure, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avsafe.types import LikenessEmbedder

    Vectors = NDArray[np.float32]
else:
    Vectors = Any

VARIABLE = "AVSAFE_EMBEDDERS"
_MOST = 1024  # vectors of one file


@dataclass(frozen=True, eq=False)
class Seen:
    """The faces, or the voice, of one file. Never printed, logged or kept as it is."""

    vectors: Vectors = field(repr=False)  # (k, d) float32
    look: NDArray[np.int64] = field(repr=False)  # (k,) the picture that each was seen in
    looks: int  # pictures that were looked at

    @property
    def alone(self) -> bool:
        """One face in every picture where there is any, and in most of them there is."""
        with_any, counts = _counted(self.look)
        return bool(with_any) and max(counts) == 1 and with_any * 2 >= self.looks


@dataclass(frozen=True, eq=False)
class Known:
    """Somebody in a gallery: a record and the vectors made from its files."""

    id: str
    vectors: Vectors = field(repr=False)  # (k, d)


def embedders(environment: Mapping[str, str] | None = None) -> dict[str, LikenessEmbedder]:
    """Modality -> network, as the operator chose; empty when nothing is switched on.

    Raises UsageError for a name that is none, or two of one modality.

    >>> embedders({})
    {}
    """
    text = (os.environ if environment is None else environment).get(VARIABLE, "")
    found: dict[str, LikenessEmbedder] = {}
    for name in (part.strip() for part in text.split(",")):
        if not name:
            continue
        one: LikenessEmbedder = plugins.load("embedders", name)
        if one.info.modality in found:
            raise UsageError(f"{VARIABLE} names two networks for the {one.info.modality}.")
        found[one.info.modality] = one
    return found


def embedder(modality: str) -> LikenessEmbedder:
    """The one that was chosen, ready. Raises UsageError when none was, MissingExtra."""
    one = embedders().get(modality)
    if one is None:
        raise UsageError(
            f"Whoever runs this installation has not switched on embeddings of the {modality} "
            f"({VARIABLE}, docs/consent.md)."
        )
    one.prepare()
    return one


def model_of(one: LikenessEmbedder) -> str:
    """What vectors must agree in to be compared."""
    return f"{one.info.name}/{one.info.version}"


def look(path: Path, one: LikenessEmbedder) -> Seen:
    """What a network finds in a file. Raises UnreadableMedia, MissingExtra."""
    import numpy as np

    found = media.analyse(path, {"seen": one.extractor})["seen"]
    try:  # a hostile file may have made of them what it liked
        vectors, at = np.asarray(found["vectors"], np.float32), np.asarray(found["look"], np.int64)
        looks = int(found["looks"].ravel()[0])
        whole = (
            vectors.shape == (len(at), one.info.dimensions)
            and at.ndim == 1
            and len(at) <= _MOST
            and bool(np.isfinite(vectors).all())
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SandboxFailure("The limited process gave no vectors.") from error
    if not whole:
        raise SandboxFailure("The limited process gave vectors of another shape.")
    return Seen(vectors, at, looks)


def enrol(paths: Iterable[Path], one: LikenessEmbedder) -> Vectors:
    """The vectors (k, d) of somebody's own files, one for each. Raises UsageError for a file in
    which nobody, or more than one, is found."""
    import numpy as np

    means = []
    for path in paths:
        seen = look(path, one)
        if not len(seen.vectors):
            raise UsageError(f"No {one.info.modality} was found in the file.")
        if not seen.alone:
            raise UsageError(f"More than one {one.info.modality} was found in the file.")
        means.append(seen.vectors.mean(axis=0))
    return np.stack(means)


def nearest(seen: Seen, known: Known) -> float:
    """Distance of the nearest pair, of whichever face; infinite when nobody was seen."""
    return min(_apart(seen, known), default=math.inf)


def typical(seen: Seen, known: Known) -> float:
    """Median over what was seen of the distance to the nearest of the known; of one face in many
    pictures, an odd one does not decide."""
    found = sorted(_apart(seen, known))
    return found[len(found) // 2] if found else math.inf


def _apart(seen: Seen, known: Known) -> list[float]:
    """Of each face to the nearest of the known."""
    import numpy as np

    if not len(seen.vectors) or not len(known.vectors):
        return []
    between = np.linalg.norm(seen.vectors[:, None] - known.vectors[None], axis=2)
    return [float(one) for one in between.min(axis=1)]


def _counted(look: NDArray[np.int64]) -> tuple[int, list[int]]:
    import numpy as np

    values, counts = np.unique(look, return_counts=True)
    return len(values), counts.tolist()

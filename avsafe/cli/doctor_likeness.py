"""Part of ``avsafe doctor``: whether faces and voices are recognised where that is switched on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from avsafe import recognition
from avsafe.errors import AvsafeError

if TYPE_CHECKING:
    from avsafe.cli.doctor import Finding
    from avsafe.home import Home


def likeness(home: Home, *, readable: bool) -> Iterator[Finding]:
    """Networks that the operator chose, and whether every embedding opens with the key here."""
    from avsafe.cli.doctor import Finding

    try:
        chosen = recognition.embedders()
    except AvsafeError as error:
        yield Finding("embeddings", False, recognition.VARIABLE, str(error))
        return
    if readable and (idle := _idle(home, {recognition.model_of(one) for one in chosen.values()})):
        yield Finding(
            "idle embeddings", False, f"{len(idle)} people",
            "nobody is recognised by them: they are of a network that is not in use. Switch it on "
            f"({recognition.VARIABLE}), or record these people anew, or: avsafe consent "
            f"forget-embedding {min(idle)}",
        )  # fmt: skip
    if not chosen:
        yield Finding("embeddings", True, "off")
        return
    for modality, one in chosen.items():
        try:
            one.prepare()
            count = _opened(home, modality, recognition.model_of(one)) if readable else 0
        except AvsafeError as error:
            yield Finding(f"{modality} embeddings", False, one.info.name, str(error))
        else:
            yield Finding(f"{modality} embeddings", True, f"{one.info.name}, {count} people")


def _idle(home: Home, models: set[str]) -> frozenset[str]:
    from avsafe.embeddings import Embeddings
    from avsafe.registry.database import Database

    if not Database.exists(home.database):
        return frozenset()
    with Database.open(home.database) as database:
        return Embeddings(database, home.keys).beside(models)


def _opened(home: Home, modality: str, model: str) -> int:
    from avsafe.embeddings import Embeddings
    from avsafe.registry.database import Database

    with Database.open(home.database) as database:
        return len(Embeddings(database, home.keys).known(modality, model))

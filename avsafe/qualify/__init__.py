"""Detectors that a user brings: weights with a manifest, qualified here before they are believed.

A detector is a folder ``$AVSAFE_HOME/detectors/NAME`` with ``manifest.json`` and its weights. Until
``avsafe detectors qualify`` has measured it on files of the user's own it only abstains; after that
it speaks by its measured conditions, as a built-in does (docs/detectors-plugins.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.qualify.manifest import Manifest as Manifest
    from avsafe.qualify.run import qualify as qualify
    from avsafe.qualify.store import add as add
    from avsafe.qualify.store import installed as installed
    from avsafe.qualify.store import remove as remove

_HOME_OF = {
    "Manifest": "manifest",
    "add": "store",
    "installed": "store",
    "qualify": "run",
    "remove": "store",
}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)

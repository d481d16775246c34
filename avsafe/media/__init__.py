"""Probe, decode, encode: the only code that touches a codec.

A file that we did not write is read in a limited process (``avsafe.media.sandbox``). Names load on
first use, so that ``import avsafe.media`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.media.changes import changes as changes
    from avsafe.media.containers import MIME_BY_SUFFIX as MIME_BY_SUFFIX
    from avsafe.media.containers import sniff as sniff
    from avsafe.media.features import analyse as analyse
    from avsafe.media.inspection import probe as probe
    from avsafe.media.inspection import sha256_of as sha256_of
    from avsafe.media.limits import Limits as Limits
    from avsafe.media.playing import play as play
    from avsafe.media.playing import replayed as replayed
    from avsafe.media.reading import decode as decode
    from avsafe.media.spec import EncodeSpec as EncodeSpec
    from avsafe.media.structure import prescan as prescan
    from avsafe.media.writing import encode as encode

_HOME_OF = {
    "EncodeSpec": "spec",
    "Limits": "limits",
    "MIME_BY_SUFFIX": "containers",
    "analyse": "features",
    "changes": "changes",
    "decode": "reading",
    "encode": "writing",
    "play": "playing",
    "prescan": "structure",
    "probe": "inspection",
    "replayed": "playing",
    "sha256_of": "inspection",
    "sniff": "containers",
}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)

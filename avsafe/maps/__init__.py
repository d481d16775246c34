"""What detectors saw, for eyes: tiles over the picture, a timeline, and a timeline for a terminal.

A map shows evidence and proves nothing. What a detector wrote into ``details`` (``heatmap``,
``timeline``; see ``avsafe.calibration``) is checked before it is drawn: it may come from a plugin
of others. What does not fit is left out, and ``Maps.warnings`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.maps.terminal import timeline_text as timeline_text
    from avsafe.maps.writing import Maps as Maps
    from avsafe.maps.writing import write_maps as write_maps

_HOME_OF = {"Maps": "writing", "timeline_text": "terminal", "write_maps": "writing"}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)

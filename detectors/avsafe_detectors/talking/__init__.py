"""Whether a talking face was made, or its mouth remade. ``Talking`` is the detector."""

from __future__ import annotations

from avsafe_detectors.talking.detector import Talking as Talking

__all__ = ["Talking"]

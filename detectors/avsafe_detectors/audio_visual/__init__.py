"""Whether lips and sound belong together. ``AudioVisual`` is the detector."""

from __future__ import annotations

from avsafe_detectors.audio_visual.detector import AudioVisual as AudioVisual

__all__ = ["AudioVisual"]

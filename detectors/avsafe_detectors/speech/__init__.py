"""Synthetic, converted and re-rendered speech: networks and trees of our own; weights/card.md."""

from __future__ import annotations

from avsafe_detectors.speech.detector import SpeechDetector as SpeechDetector

__all__ = ["SpeechDetector"]

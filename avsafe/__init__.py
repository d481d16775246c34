"""avsafe: gate, mark, sign, measure and verify generated audio and video."""

__version__ = "0.1.0"

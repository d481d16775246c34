"""``inpaint``: a hole in real footage filled from the other frames of the same clip."""

from avsafe_generators.inpaint.generator import Inpaint

__all__ = ["Inpaint"]

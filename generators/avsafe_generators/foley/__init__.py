"""``foley``: sound for a video from its motion, with or without words."""

from avsafe_generators.foley.generator import Foley

__all__ = ["Foley"]

"""Cinemagraphs: one region of a picture or a video moves in a seamless loop, the rest is still.

``phrases`` and ``wishes`` (words) -> ``ambient`` (a picture's region, over ``fields``) or
``filmed`` (a video's region) -> ``generator``.
"""

from avsafe_generators.cinemagraph.generator import Cinemagraph

__all__ = ["Cinemagraph"]

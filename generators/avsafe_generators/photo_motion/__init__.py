"""A photo becomes a clip: a camera move with parallax from a depth-like map, and moving regions.

``words`` (prompt) -> ``layout`` (depth-like map) and ``subject`` (cut-out) -> ``camera`` (path) ->
``render`` (layers warped and put together) -> ``generator``. Regions move by
``avsafe_generators.cinemagraph.ambient``.
"""

from avsafe_generators.photo_motion.generator import PhotoMotion

__all__ = ["PhotoMotion"]

"""A world of simple objects: text -> a captioned procedural scene with sound in sync.

``words`` (vocabulary) -> ``parse`` (grammar) -> ``scene`` (plan, caption) -> ``tracks`` (motion) ->
``solids``, ``shading``, ``backdrop``, ``render`` (frames) and ``sound``, ``ambience`` (samples).
"""

from avsafe_generators.world.generator import World

__all__ = ["World"]

"""Any program that writes a media file, as a generator.

``template`` (argument lists) and ``recipe`` (what to run, limits) -> ``runner`` and ``supervisor``
(processes) -> ``generator`` (the plugin).
"""

from avsafe_generators.command.generator import Command
from avsafe_generators.command.recipe import Recipe

__all__ = ["Command", "Recipe"]

"""``edit``: instructions in words, done by real operators on real footage."""

from avsafe_generators.edit.generator import Edit

__all__ = ["Edit"]

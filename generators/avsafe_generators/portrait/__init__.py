"""Illustrated portraits of people who do not exist."""

from avsafe_generators.portrait.generator import Portrait

__all__ = ["Portrait"]

"""The whole clip in one pass: a space-time U-Net over small maps that a renderer draws."""

from avsafe_generators.one_pass.generator import INFO, OnePass

__all__ = ["INFO", "OnePass"]

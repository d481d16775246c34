"""A portrait and speech -> a head that speaks: motion by a small diffusion model, drawn by a warp."""

from avsafe_generators.talking_head.generator import TalkingHead

__all__ = ["TalkingHead"]

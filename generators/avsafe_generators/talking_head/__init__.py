"""A portrait and speech -> a head that speaks: a small diffusion model moves it, a warp draws."""

from avsafe_generators.talking_head.generator import TalkingHead

__all__ = ["TalkingHead"]

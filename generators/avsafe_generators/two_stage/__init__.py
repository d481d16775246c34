"""Text -> first frame -> motion given the first frame, in two learned stages.

After the factorisation of Emu Video (Girdhar et al., 2023), on the scenes of the world in place of
pixels: ``vocabulary`` (words -> tokens), ``latents`` (scenes <-> arrays), ``network`` (inference),
``judge`` (what a sampled scene shows), ``generator``.
"""

from avsafe_generators.two_stage.generator import TwoStage

__all__ = ["TwoStage"]

"""Any diffusers pipeline, from a local folder of safetensors, as a generator.

``folder`` (what may be loaded) -> ``library`` (import and load, offline) -> ``fitting`` (the
request against the pipeline's signature) -> ``making`` and ``running`` (inputs, steps, cancel,
output) -> ``generator`` (the plugin). ``hub`` fetches a model, only where that was asked for.
"""

from avsafe_generators.diffusers.generator import Diffusers

__all__ = ["Diffusers"]

"""Models behind the HTTP interface that OpenAI, vLLM-Omni, SGLang and others speak.

``address`` (what may be called) -> ``client`` (one exchange: limits, cancel, errors) ->
``endpoints`` (videos, images, speech) -> ``generator`` (the plugin). Standard library only.
"""

from avsafe_generators.openai_compatible.generator import OpenAICompatible

__all__ = ["OpenAICompatible"]

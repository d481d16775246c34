"""Text read aloud by the speech engine of the system, in voices that are nobody's.

``voices`` (which there are, what a name means) -> ``generator`` (the plugin).
"""

from avsafe_generators.speech.generator import Speech

__all__ = ["Speech"]

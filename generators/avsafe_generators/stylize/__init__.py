"""Video in another style, steady in time.

``words`` (prompt -> style) -> ``clip`` (palette and levels of the whole clip) -> ``paint``,
``lines``, ``cells``, ``tones`` (the styles: one picture in, one out) -> ``steady`` (follows the
motion, so that what is drawn doesn't flicker) -> ``generator``.
"""

from avsafe_generators.stylize.generator import Stylize

__all__ = ["Stylize"]

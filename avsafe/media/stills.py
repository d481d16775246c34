"""Still pictures through Pillow, restricted to the format that the first bytes show.

Legend: a picture is ``(h, w, 3)`` uint8 RGB, upright (EXIF orientation applied).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import LimitExceeded, MediaTooLarge, UnreadableMedia
from avsafe.media.containers import sniff
from avsafe.media.reading import Plan
from avsafe.types import Kind

if TYPE_CHECKING:
    from PIL.Image import Image

    from avsafe.media.limits import Limits
    from avsafe.types import Frame


def plan(path: Path, limits: Limits) -> Plan:
    """Size and kind of a still picture."""
    with opened(path, limits) as picture:
        width, height = upright_size(picture)
        container, _ = sniff(path)
        details: dict[str, Any] = {"container": container}
        if picture.has_transparency_data:
            details["alpha"] = "transparent parts stand on white"
        if "16" in picture.mode or "16" in str(
            getattr(picture, "tile", "")
        ):  # PNG tells it in the raw mode
            details["depth"] = 16
    return Plan(Kind.IMAGE, width=width, height=height, frame_count=1, details=details)


def upright_size(picture: Image) -> tuple[int, int]:
    """Width and height after the EXIF orientation is applied."""
    width, height = picture.size
    return (height, width) if picture.getexif().get(0x0112, 1) >= 5 else (width, height)


def read(path: Path, limits: Limits) -> Frame:
    """The picture as RGB; a transparent one stands on white, as browsers show it."""
    from PIL import Image, ImageOps

    with opened(path, limits) as source:
        picture = ImageOps.exif_transpose(source)
        if (
            picture.mode.startswith("I;16") or picture.mode == "I"
        ):  # 16-bit grey: keep the high byte
            grey = np.asarray(picture).astype(np.uint32)
            picture = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            picture = Image.alpha_composite(ground, layer)
        return np.array(picture.convert("RGB"))


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Image]:
    """A Pillow picture, closed at the end; Pillow's errors as ours."""
    from PIL import Image, UnidentifiedImageError

    container, _ = sniff(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we check ourselves
            with Image.open(path, formats=[container.upper()]) as picture:
                if picture.width * picture.height > limits.max_pixels:
                    raise MediaTooLarge(
                        f"{path.name} has {picture.width} x {picture.height} pixels; the limit is "
                        f"{limits.max_pixels} (Limits.max_pixels)."
                    )
                yield picture
    except MemoryError as error:
        raise LimitExceeded(
            f"{path.name} needs more memory than is allowed to decode (Limits.memory_bytes)."
        ) from error
    except Image.DecompressionBombError as error:
        raise MediaTooLarge(f"{path.name} unpacks to too many pixels: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableMedia(
            f"{path.name} begins like a {container} picture but cannot be read: {error}. It is "
            "damaged or cut off; pass a whole file."
        ) from error

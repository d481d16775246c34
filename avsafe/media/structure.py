"""A bounded look at a file's structure before any library reads it. Pure Python."""

from __future__ import annotations

from pathlib import Path

from avsafe.errors import MediaTooLarge, UnreadableMedia
from avsafe.media.containers import sniff
from avsafe.media.limits import Limits


def prescan(path: Path | str, limits: Limits | None = None) -> None:
    """Raise a typed error for a file that no reader should see."""
    path = Path(path)
    limits = limits or Limits()
    if not path.is_file():
        raise UnreadableMedia(f"{path} is not a file. Pass the path of a media file.")
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        raise MediaTooLarge(
            f"{path.name} has {size} bytes; the limit is {limits.max_file_bytes} "
            "(Limits.max_file_bytes)."
        )
    sniff(path)

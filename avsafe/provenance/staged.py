"""Write beside the destination under a hidden name, then rename: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avsafe.home import flush


@dataclass(frozen=True)
class Staged:
    """Hidden files that become the real ones at ``commit``."""

    media: Path
    sidecar: Path | None
    destination: Path
    final_sidecar: Path | None

    def commit(self) -> None:
        """Durable, then renamed; the sidecar first: media without its sidecar looks unsigned."""
        for path in (self.sidecar, self.media):
            if path is not None:
                flush(path)
        if self.sidecar is not None and self.final_sidecar is not None:
            os.replace(self.sidecar, self.final_sidecar)
        os.replace(self.media, self.destination)
        flush(self.destination.parent)


@contextlib.contextmanager
def staged(destination: Path, sidecar: Path | None = None) -> Iterator[Staged]:
    """Names in the destination's folder; what was not committed is removed at the end."""
    # The destination's name is part of them, so that a cleaner who knows that name finds them.
    stem = destination.stem.lstrip(".")
    media = destination.with_name(f".{stem}.{secrets.token_hex(6)}{destination.suffix}")
    beside = media.with_name(media.name + ".c2pa") if sidecar is not None else None
    try:
        yield Staged(media, beside, destination, sidecar)
    finally:
        media.unlink(missing_ok=True)
        if beside is not None:
            beside.unlink(missing_ok=True)

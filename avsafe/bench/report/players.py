"""Clips of our own inside the page: a picture of each, and a player while there is room."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avsafe.bench.runfolder import Key, RunFolder
from avsafe.errors import AvsafeError

_log = logging.getLogger(__name__)
# what browsers play; other files show a picture only
_PLAYED = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav",
           ".m4a": "audio/mp4", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac",
           ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
           ".webp": "image/webp"}  # fmt: skip
_SIDE = 240  # pixels of a picture


def _is_what_was_measured(path: Path, row: Mapping[str, Any]) -> bool:
    """Whether a file has the bytes that the row is of: neither a later clip under that name nor,
    in a run folder of somebody else, any other file of this machine."""
    from avsafe import media

    try:
        return path.is_file() and media.sha256_of(path) == row.get("sha256")
    except (OSError, ValueError):
        return False


@dataclass
class Players:
    """Shows a clip only where run.json says that its system's media are our own."""

    found: RunFolder
    room_bytes: int  # of media that may still be put into the page
    pictures: int  # that may still be made: each decodes a clip up to its middle
    left_out: int = 0  # own clips without a player for want of room
    _shown: dict[Key, str] = field(default_factory=dict)

    def own(self, system: str) -> bool:
        own = self.found.run.get("own_media")
        return own is True or (isinstance(own, dict) and own.get(system) is True)

    def of(self, key: Key) -> str:
        """HTML of a clip; empty for media of others and for files that are not there. Its player
        stands in the page once; where it is shown again, its picture does."""
        if key in self._shown:
            return self._shown[key]
        first = self._make(key) if self.own(key[0]) else ""
        poster = re.search(r'poster="([^"]*)"', first)
        again = f'<img src="{poster[1]}" alt="" loading="lazy">' if poster else first
        self._shown[key] = "" if first.startswith("<audio") else again
        return first

    def _make(self, key: Key) -> str:
        row = self.found.clips.get(key, {})
        if row.get("status", "ok") != "ok" or not row.get("path"):
            return ""
        path = Path(str(row["path"]))
        path = path if path.is_absolute() else self.found.folder / path
        if not _is_what_was_measured(path, row):
            return ""
        mime = _PLAYED.get(path.suffix.lower(), "")
        try:
            size = path.stat().st_size
            still = "" if mime.startswith("audio/") else self._picture(path, row)
            if not mime or size > self.room_bytes:
                self.left_out += 1
                return f'<img src="{still}" alt="" loading="lazy">' if still else ""
            if mime.startswith("image/"):
                return f'<img src="{still}" alt="" loading="lazy">' if still else ""
            data = base64.b64encode(path.read_bytes()).decode()
        except OSError:
            return ""
        self.room_bytes -= size
        source = f'src="data:{mime};base64,{data}"'
        if mime.startswith("audio/"):
            return f'<audio controls preload="none" {source}></audio>'
        poster = f' poster="{still}"' if still else ""
        return f'<video controls playsinline preload="none"{poster} {source}></video>'

    def _picture(self, path: Path, row: dict[str, Any]) -> str:
        from avsafe.bench.clips import load_shot
        from avsafe.bench.report.sheets import data_uri

        if self.pictures <= 0:
            return ""
        self.pictures -= 1
        middle = max(0.1, min(float(row.get("duration_s") or 0.1) / 2, 4.0))
        try:
            return data_uri(list(load_shot(path, middle).frames)[-1], _SIDE)
        except AvsafeError as error:
            _log.warning("%s: no picture: %s", path.name, error)
            return ""

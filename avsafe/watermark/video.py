"""The video mark, as the plugin ``video`` of ``avsafe.watermarkers``. See docs/watermark.md.

Legend: features are those of ``residual.TileExtractor``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark
from avsafe.types import Detection, Features, Kind, RawMedia
from avsafe.watermark import locate
from avsafe.watermark.embed import TileEmbedder
from avsafe.watermark.residual import CLIP, MAX_LONG_SIDE, NAMES
from avsafe.watermark.tile import ALGORITHM, PAYLOAD_BITS, tile_of_key

_MIN_SIDE = 16  # canonical pixels: the longest wave


class VideoWatermarker:
    """The keyed tile in the luma of every frame: 64 bits, PSNR 42 dB or more for every frame.

    >>> VideoWatermarker().payload_bits
    64
    """

    algorithm: ClassVar[str] = ALGORITHM
    payload_bits: ClassVar[int] = PAYLOAD_BITS
    extractor: ClassVar[str] = "avsafe.watermark.residual:TileExtractor"
    modality: ClassVar[Kind] = Kind.VIDEO

    def embedder(
        self, raw: RawMedia, payload: int, key: bytes, *, attempt: int = 0
    ) -> TileEmbedder:
        """An embedder for one clip. ``payload`` is 0..2^64-1, ``key`` 16 bytes or more.

        ``attempt`` 0 aims at a PSNR of 43 dB, 1 at 42.1 dB and twice as much in flat areas.
        Raises CannotMark for a short side under 128 pixels or a clip without frames, ValueError for
        a payload that does not fit, UsageError for a short key.
        """
        if raw.frames is None or raw.frame_count == 0:
            raise CannotMark("There are no frames to mark. Pass media with a picture.")
        return TileEmbedder(
            tile_of_key(key),
            payload,
            modality=self.modality,
            height=raw.height,
            width=raw.width,
            frame_rate=raw.frame_rate,
            attempt=attempt,
        )

    def detect(self, features: Features, key: bytes) -> Detection:
        """Look for the tile of ``key`` in the features of ``TileExtractor``.

        ``p_value`` is an upper bound, under "no mark with this key", for all hypotheses and
        attempts together; 1.0 when no CRC32 fits. Features of a wrong kind or shape, or with values
        that are not finite, are left out and named in ``details["ignored"]``: they never raise.
        """
        tile = tile_of_key(key)
        ignored: list[str] = []
        readings: list[tuple[str, locate.Reading]] = []
        for name, residual in _residuals(features, ignored):
            readings.append((name, locate.read(residual, tile)))
            if readings[-1][1].accepted:
                break
        if not readings:
            reason = "no usable frame (found: " + (", ".join(ignored) or "no residual") + ")"
            return Detection(False, None, 1.0, {"reason": reason, "ignored": ignored})
        name, best = max(readings, key=lambda item: (item[1].accepted, item[1].peak.z))
        best = best.among([reading for _, reading in readings])
        decoded, peak = best.decoded, best.peak
        details = {
            "sync_z": peak.z,
            "sync_p_value": best.sync_p_value,
            "crc_ok": decoded.crc_ok,
            "correlation": decoded.correlation,
            "scale": (
                float(peak.a),
                float(peak.b),
            ),  # vertical, horizontal, against the marked original
            "mirrored": peak.mirrored,
            "hypotheses": best.hypotheses,
            "attempts": best.attempts,
            "residual": name,
            "frames": _frames(features, name),
            "ignored": ignored,
        }
        return Detection(
            best.accepted,
            decoded.payload if best.accepted else None,
            best.p_value,
            details,
        )


def _residuals(features: Features, ignored: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The residuals that are what they claim; they come from a process that read a hostile file."""
    for name in (f"residual.{name}" for name in NAMES):
        if name not in features:
            continue
        value = features[name]
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != 2:
            ignored.append(f"{name} is no picture of floats")
        elif not _MIN_SIDE <= min(value.shape) <= max(value.shape) <= MAX_LONG_SIDE:
            ignored.append(f"{name} has shape {value.shape}")
        elif not np.isfinite(value).all():
            ignored.append(f"{name} holds values that are not finite")
        else:
            yield name, np.clip(value, -CLIP, CLIP).astype(np.float32, order="C")


def _frames(features: Features, residual_name: str) -> int | None:
    """How many frames are in a residual; None when the features do not say."""
    value = features.get(residual_name.replace("residual", "frames"))
    if not isinstance(value, np.ndarray) or value.size != 1 or not np.isfinite(value).all():
        return None
    return int(value.reshape(-1)[0])

"""The video mark, as the plugin ``video`` of ``avsafe.watermarkers``. See docs/watermark.md.

Legend: features are those of ``residual.TileExtractor``; ``j`` its bins of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Detection, Features, Kind, RawMedia
from avsafe.watermark import channel, keyring, locate
from avsafe.watermark.embed import TileEmbedder
from avsafe.watermark.residual import BINS, CLIP, MAX_LONG_SIDE
from avsafe.watermark.tile import ALGORITHM, PAYLOAD_BITS, Tile, tile_of_key

_MIN_SIDE = 16  # canonical pixels
_NAMES = ("0", "fresh", "1")
_VIEWS = 5 * len(_NAMES)  # at most
_SEARCHED = 3  # views of a file in which all sizes are searched; turns in one less

# At most so often does a file carry a mark with a key that it was not marked with
MOST_CHANCE = channel.FALSE_PASS_PER_TRY * (
    _VIEWS * locate.PLAIN_ATTEMPTS
    + _SEARCHED * locate.ATTEMPTS
    + (_SEARCHED - 1) * locate.TURNED_ATTEMPTS
)


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

        ``attempt`` 0 aims at a PSNR of 44 dB, 1 at 42.2 dB and more in flat areas. Raises
        CannotMark for a short side under 128 pixels or a clip without frames, ValueError for a
        payload that does not fit, UsageError for a short key.
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
        return self.detect_any(features, (key,))

    def detect_any(self, features: Features, keys: Sequence[bytes]) -> Detection:
        """``detect`` for each key until one is there; what depends on no key is done once."""
        ignored: list[str] = []
        views = list(_views(features, ignored))
        if not views:
            reason = "no usable frame (found: " + (", ".join(ignored) or "no residual") + ")"
            return Detection(False, None, 1.0, {"reason": reason, "ignored": ignored})
        return keyring.among(_detected(views, key, ignored) for key in keys)

    def bit_error_rate(self, features: Features, key: bytes, payload: int) -> float:
        """Share of the carried coded bits that are wrong at the best placement; 0.5 is chance.

        For benchmarks: it takes the payload, and the placement with the highest peak. Raises
        UsageError when the features hold no usable frame.
        """
        views = list(_views(features, []))
        if not views:
            raise UsageError("The features hold no usable frame: there are no bits to compare.")
        tile = tile_of_key(key)
        view, best = search(views, tile)
        parts = locate.data_parts(view.spectrum, tile, best.peak)
        coded = channel.encode(payload, PAYLOAD_BITS)[tile.place]
        return float(np.mean(parts * coded < 0))


def _detected(views: list[View], key: bytes, ignored: list[str]) -> Detection:
    view, best = search(views, tile_of_key(key))
    decoded, peak = best.decoded, best.peak
    details = {
        "sync_z": peak.z,
        "sync_p_value": best.sync_p_value,
        "crc_ok": decoded.crc_ok,
        "correlation": decoded.correlation,
        # vertical, horizontal, against the marked original
        "scale": (peak.placement.a, peak.placement.b),
        "turn_deg": float(np.degrees(peak.placement.turn)),
        "mirrored": peak.placement.mirrored,
        "hypotheses": best.hypotheses,
        "attempts": best.attempts,
        "view": view.name,
        "frames": view.frames,
        "ignored": ignored,
    }
    return Detection(
        best.accepted, decoded.payload if best.accepted else None, best.p_value, details
    )


@dataclass(eq=False)
class View:
    """One residual to look at."""

    name: str
    residual: NDArray[np.float32]  # (h, w)
    frames: int

    @cached_property
    def spectrum(self) -> locate.Spectrum:
        """Computed when first asked for."""
        return locate.Spectrum(self.residual)


def search(views: list[View], tile: Tile) -> tuple[View, locate.Reading]:
    """Look at every view as it was marked, then at some under other sizes and turns.

    Ends at the first accepted reading. The reading that comes back is charged with the hypotheses
    and attempts of all.
    """
    readings: list[tuple[View, locate.Reading]] = []

    def tried(view: View, how: Callable[[locate.Spectrum, Tile], locate.Reading]) -> bool:
        readings.append((view, how(view.spectrum, tile)))
        return readings[-1][1].accepted

    found = any(tried(view, locate.read_plain) for view in views)
    if not found:
        chosen = _promising(views)
        found = any(tried(view, locate.read_sizes) for view in chosen) or any(
            tried(view, locate.read_turned) for view in chosen[: _SEARCHED - 1]
        )
    view, best = max(readings, key=lambda item: (item[1].accepted, *locate.rank(item[1])))
    return view, best.among(reading for _, reading in readings)


def _promising(views: list[View]) -> list[View]:
    """The views in which something repeats most clearly, the clearest first."""
    return sorted(views, key=lambda view: -view.spectrum.autocorrelation.contrast())[:_SEARCHED]


def _views(features: Features, ignored: list[str]) -> Iterator[View]:
    """The residuals worth a look: the difference of the two halves of the cycle of signs, for each
    of the four places where a half may begin, and the plain mean."""
    for name in _NAMES:
        bins = _bins(features, name, ignored)
        if bins is None:
            continue
        residuals, counts = bins
        weighted = residuals * counts[:, None, None]
        total = int(counts.sum())
        seen: set[tuple[int, ...]] = set()
        for start in range(BINS // 2):
            first = (np.arange(BINS) - start) % BINS < BINS // 2
            few, many = sorted((counts[first].sum(), counts[~first].sum()))
            halves = tuple(np.where(counts > 0, 2 * first - 1, 0))
            if few < 0.15 * many or halves in seen:
                continue  # next to nothing to subtract, or nothing new
            seen |= {halves, tuple(-half for half in halves)}
            one = weighted[first].sum(0) / counts[first].sum()
            other = weighted[~first].sum(0) / counts[~first].sum()
            yield View(f"{name}.{start}", (one - other).astype(np.float32), total)
        yield View(name, (weighted.sum(0) / counts.sum()).astype(np.float32), total)


def _bins(
    features: Features, name: str, ignored: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """A residual that is what it claims; it comes from a process that read a hostile file."""
    label = f"residual.{name}"
    if label not in features:
        return None
    value, counts = features[label], features.get(f"frames.{name}")
    problem = None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != 3:
        problem = "is no stack of pictures of floats"
    elif value.shape[0] != BINS:
        problem = f"has {value.shape[0]} bins of time"
    elif not _MIN_SIDE <= min(value.shape[1:]) <= max(value.shape[1:]) <= MAX_LONG_SIDE:
        problem = f"has shape {value.shape}"
    elif not np.isfinite(value).all():
        problem = "holds values that are not finite"
    elif not isinstance(counts, np.ndarray) or counts.shape != (BINS,) or counts.dtype.kind != "f":
        problem = "comes without its number of frames"
    elif not (np.isfinite(counts).all() and (counts >= 0).all() and 1 <= counts.sum() < 1e9):
        problem = "comes with an impossible number of frames"
    if problem is not None:
        ignored.append(f"{label} {problem}")
        return None
    assert isinstance(counts, np.ndarray)  # noqa: S101 -- checked above
    clipped = np.clip(value, -CLIP, CLIP).astype(np.float32)
    return clipped, counts.astype(np.float32)

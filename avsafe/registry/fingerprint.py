"""What a clip looks and sounds like, in a few kilobytes, and whether two clips are the same.

Pictures: ``imagehash.phash`` with 256 bits (a DCT perceptual hash) on a fixed time grid.
Sound: Chromaprint's 32-bit items, eight a second.

Legend: ``t`` sampled frames, ``b`` bytes of a hash (32), ``k`` sound items.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import RegistryError
from avsafe.types import Features, Frame, Media, Picture, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.registry.agreement import Agreement

FORMAT = 1
FRAMES_PER_S = 8  # a trimmed copy is then at most 1/16 s off the grid
HASH_SIDE = 16  # 16 x 16 = 256 bits
HASHED_SIDE = 4 * HASH_SIDE  # the picture that imagehash.phash transforms
THUMB_SIDE = 160  # of which the middle 60 % still has 96 pixels
PROBES = 32  # hashes per release that a look-up reads: 1 kB at most
MIN_DETAIL = 12  # mean gradient of 0.75 grey levels a step: less is a flat or black picture
KEYFRAMES = 16  # small pictures that a query keeps for the search of crops
NO_CHROMAPRINT = "audio fingerprint not computed: install libchromaprint"
SOUND_RATES_HZ = (4000, 192_000)  # Chromaprint refuses 1000 and overreads at megahertz
_MAGIC = b"AVFP"


def _no_thumbs() -> NDArray[np.uint8]:
    return np.zeros((0, THUMB_SIDE, THUMB_SIDE), np.uint8)


def _no_times() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True)
class Fingerprint:
    """A clip's fingerprint. Arrays are read-only by convention."""

    times_ms: NDArray[np.int32]  # (t,) of each sampled frame
    hashes: NDArray[np.uint8]  # (t, 32)
    middles: NDArray[np.uint8]  # (t, 32) of the middle 60 %
    quality: NDArray[np.uint8]  # (t,) 0: flat, 255: rich in detail
    middle_quality: NDArray[np.uint8]  # (t,)
    sound: NDArray[np.uint32]  # (k,)
    sound_missing: str = ""  # why there is no sound part, when the media has sound
    duration_s: float = 0.0
    thumbs: NDArray[np.uint8] = field(default_factory=_no_thumbs)  # (m, 160, 160), never stored
    thumb_times_ms: NDArray[np.int32] = field(default_factory=_no_times)  # (m,)
    format: int = FORMAT

    @property
    def n_frames(self) -> int:
        return len(self.hashes)

    @property
    def n_sound(self) -> int:
        return len(self.sound)

    def sample(self, most: int) -> NDArray[np.uint8]:
        """(p, 32) hashes of at most ``most`` frames with something to see, evenly spaced."""
        usable: NDArray[np.uint8] = self.hashes[self.quality >= MIN_DETAIL]
        if len(usable) <= most:
            return usable
        return np.take(usable, np.linspace(0, len(usable) - 1, most).round().astype(int), axis=0)

    def probes(self) -> NDArray[np.uint8]:
        """(p, 32) hashes, one a second (up to 32 s), by which a registry looks the clip up."""
        return self.sample(min(PROBES, self.n_frames // FRAMES_PER_S + 1))

    def thumb_quality(self) -> NDArray[np.uint8]:
        return np.array([detail(thumb) for thumb in self.thumbs], np.uint8)

    def to_bytes(self) -> bytes:
        """What the registry stores: hashes only, no small picture."""
        header = json.dumps(
            {
                "t": self.n_frames,
                "k": self.n_sound,
                "missing": self.sound_missing,
                "duration_s": self.duration_s,
            }
        ).encode()
        return b"".join(
            [
                _MAGIC,
                struct.pack("<HH", self.format, len(header)),
                header,
                self.times_ms.astype("<i4").tobytes(),
                self.hashes.tobytes(),
                self.middles.tobytes(),
                self.quality.tobytes(),
                self.middle_quality.tobytes(),
                self.sound.astype("<u4").tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Raises RegistryError when the bytes are no fingerprint, or of a newer format."""
        if data[:4] != _MAGIC or len(data) < 8:
            raise RegistryError("These bytes are not a fingerprint of avsafe.")
        version, size = struct.unpack_from("<HH", data, 4)
        if version != FORMAT:
            raise RegistryError(f"Fingerprint format {version}; this avsafe reads {FORMAT}.")
        try:
            header = json.loads(data[8 : 8 + size])
            t, k = int(header["t"]), int(header["k"])
            sizes = (4 * t, 32 * t, 32 * t, t, t, 4 * k)
            if min(t, k) < 0 or len(data) != 8 + size + sum(sizes):
                raise ValueError("wrong length")
            parts, start = [], 8 + size
            for length in sizes:
                parts.append(data[start : start + length])
                start += length
            return cls(
                times_ms=np.frombuffer(parts[0], "<i4"),
                hashes=np.frombuffer(parts[1], np.uint8).reshape(t, 32),
                middles=np.frombuffer(parts[2], np.uint8).reshape(t, 32),
                quality=np.frombuffer(parts[3], np.uint8),
                middle_quality=np.frombuffer(parts[4], np.uint8),
                sound=np.frombuffer(parts[5], "<u4"),
                sound_missing=str(header["missing"]),
                duration_s=float(header["duration_s"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"A damaged fingerprint: {error}.") from error


class FingerprintExtractor:
    """A FeatureExtractor: fed by one decoding pass, keeps a few kilobytes a second."""

    picture: Picture = "luma"

    def __init__(self) -> None:
        self._times_ms: list[int] = []
        self._hashes: list[NDArray[np.uint8]] = []
        self._middles: list[NDArray[np.uint8]] = []
        self._quality: list[tuple[int, int]] = []
        self._keyframes: list[tuple[int, NDArray[np.uint8]]] = []
        self._key_every = FRAMES_PER_S // 2
        self._next_s = 0.0
        self._last_s = 0.0
        self._sound: _Sound | None = None

    def start(self, media: Media) -> None:
        self._duration_s = media.duration_s or 0.0

    def wants(self, time_s: float) -> bool:
        """Whether a frame shown then is sampled; the others need not be converted."""
        self._last_s = time_s
        return time_s >= self._next_s - 1e-6

    def frame(self, frame: Frame, time_s: float) -> None:
        if not self.wants(time_s):
            return
        self._next_s = (np.floor(time_s * FRAMES_PER_S + 1e-6) + 1) / FRAMES_PER_S
        thumb = thumbnail(frame)
        middle = middle_of(thumb)
        if len(self._times_ms) % self._key_every == 0:
            self._keep(round(time_s * 1000), thumb)
        self._times_ms.append(round(time_s * 1000))
        self._hashes.append(picture_hash(thumb))
        self._middles.append(picture_hash(middle))
        self._quality.append((detail(thumb), detail(middle)))

    def _keep(self, time_ms: int, thumb: NDArray[np.uint8]) -> None:
        """Evenly spaced keyframes, never more than KEYFRAMES, whatever the length."""
        self._keyframes.append((time_ms, thumb))
        if len(self._keyframes) > KEYFRAMES:
            self._keyframes = self._keyframes[::2]
            self._key_every *= 2

    def samples(self, block: Samples, rate_hz: int) -> None:
        if self._sound is None:
            self._sound = _Sound(rate_hz)
        self._sound.feed(block)

    def finish(self) -> Features:
        sound, missing = self._sound.finish() if self._sound else (np.zeros(0, np.uint32), "")
        return {
            "times_ms": np.array(self._times_ms, np.int32),
            "hashes": np.array(self._hashes, np.uint8).reshape(-1, 32),
            "middles": np.array(self._middles, np.uint8).reshape(-1, 32),
            "quality": np.array(self._quality, np.uint8).reshape(-1, 2),
            "thumbs": np.array([thumb for _, thumb in self._keyframes], np.uint8).reshape(
                -1, THUMB_SIDE, THUMB_SIDE
            ),
            "thumb_times_ms": np.array([time for time, _ in self._keyframes], np.int32),
            "sound": sound,
            "sound_missing": np.frombuffer(missing.encode(), np.uint8),
            "duration_s": np.array(max(self._duration_s, self._last_s)),
        }


def from_features(features: Features) -> Fingerprint:
    """The fingerprint of what ``FingerprintExtractor`` carried out of the sandbox."""
    quality = np.asarray(features["quality"], np.uint8).reshape(-1, 2)
    return Fingerprint(
        times_ms=np.asarray(features["times_ms"], np.int32),
        hashes=np.asarray(features["hashes"], np.uint8).reshape(-1, 32),
        middles=np.asarray(features["middles"], np.uint8).reshape(-1, 32),
        quality=quality[:, 0],
        middle_quality=quality[:, 1],
        sound=np.asarray(features["sound"], np.uint32),
        sound_missing=bytes(np.asarray(features["sound_missing"], np.uint8)).decode(
            errors="replace"
        ),
        duration_s=float(features["duration_s"]),
        thumbs=np.asarray(features["thumbs"], np.uint8),
        thumb_times_ms=np.asarray(features["thumb_times_ms"], np.int32),
    )


def compare(
    query: Fingerprint, registered: Fingerprint | None, *, search: bool = True
) -> Agreement:
    """Whether ``query`` is ``registered``, a part of it, or contains it; see ``agreement``.

    ``search`` False looks for no crop, letterbox or mirror image: 0.2 ms instead of up to a second.
    """
    from avsafe.registry import agreement

    return agreement.compare(query, registered, search=search)


# ---------------------------------------------------------------- pictures


def thumbnail(luma: Frame) -> NDArray[np.uint8]:
    """160 x 160 out of luma ``(h, w)``, area-averaged; the aspect ratio is given up, as the hash
    wants it."""
    import cv2

    h, w = luma.shape
    step = max(1, min(h, w) // (2 * THUMB_SIDE))  # skipped pixels cost nothing, averages the rest
    if step > 1:
        nearest = cv2.resize(luma, (w // step, h // step), interpolation=cv2.INTER_NEAREST)
        luma = np.asarray(nearest, np.uint8)
    small = cv2.resize(luma, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def middle_of(thumb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle 60 % of width and height."""
    margin = round(thumb.shape[0] * 0.2)
    return np.ascontiguousarray(thumb[margin:-margin, margin:-margin])


def picture_hash(thumb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """256 bits as 32 bytes: those of ``imagehash.phash`` of a luma picture.

    Written out, because imagehash loads scipy for its transform: 0.15 s of CPU time for each file.
    """
    from PIL import Image

    side = (HASHED_SIDE, HASHED_SIDE)
    small = Image.fromarray(thumb).resize(side, Image.Resampling.LANCZOS)
    low = np.round(_LOWEST @ np.asarray(small, np.float64) @ _LOWEST.T, 6)  # 0 where it is 0
    return np.packbits((low > np.median(low)).ravel())


def _lowest_waves() -> NDArray[np.float64]:
    """(16, 64) the first rows of the DCT-II: 2 cos(pi k (2 n + 1) / 128)."""
    k, n = np.arange(HASH_SIDE)[:, None], np.arange(HASHED_SIDE)
    return np.asarray(2 * np.cos(np.pi * k * (2 * n + 1) / (2 * HASHED_SIDE)), np.float64)


_LOWEST = _lowest_waves()


def detail(thumb: NDArray[np.uint8]) -> int:
    """How much there is to see, 0 to 255: the mean absolute gradient in grey levels, times 16."""
    grey = thumb[:: thumb.shape[0] // HASHED_SIDE, :: thumb.shape[1] // HASHED_SIDE].astype(
        np.int16
    )
    steps = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    return int(min(255, round(16 * steps)))


# ---------------------------------------------------------------- sound


class _Sound:
    """Chromaprint, fed block by block; without the library it only remembers why."""

    def __init__(self, rate_hz: int) -> None:
        self._missing = ""
        if not SOUND_RATES_HZ[0] <= rate_hz <= SOUND_RATES_HZ[1]:
            self._missing = f"audio fingerprint not computed: unusual rate, {rate_hz} Hz"
            return
        try:
            import chromaprint
        except ImportError:
            self._missing = NO_CHROMAPRINT
            return
        self._library = chromaprint
        self._printer = chromaprint.Fingerprinter()
        self._printer.start(rate_hz, 1)

    def feed(self, block: Samples) -> None:
        if not self._missing:
            mono = np.nan_to_num(np.clip(block.mean(axis=0), -1.0, 1.0))
            self._printer.feed((mono * 32767).astype("<i2").tobytes())

    def finish(self) -> tuple[NDArray[np.uint32], str]:
        if self._missing:
            return np.zeros(0, np.uint32), self._missing
        items, _ = self._library.decode_fingerprint(self._printer.finish())
        if not items:
            return np.zeros(0, np.uint32), "audio fingerprint not computed: too short"
        return np.array(items, np.uint32), ""

"""The files of a request, and their readings: a picture, footage, sound. All read in the sandbox.

Legend: a picture is ``(h, w, 3)`` uint8 RGB, footage an iterable of such, sound ``(n,)`` float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import MissingStream, UsageError
from avsafe.media.replay import Replay
from avsafe.types import Cancelled, Frame, GenerationRequest, Kind, Media, RawMedia, never_cancelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_OPTION = {"portrait": "--image", "voice": "--audio", "image": "--image", "video": "--video",
           "audio": "--audio", "mask": "--mask"}  # fmt: skip


def optional(request: GenerationRequest, *roles: str) -> Media | None:
    """The input in one of these roles, or None."""
    found = [item.media for item in request.inputs if item.role in roles]
    if len(found) > 1:
        raise UsageError(
            f"{request.generator} takes one {' or '.join(roles)}; this request has {len(found)}."
        )
    return found[0] if found else None


def media_in(
    request: GenerationRequest, *roles: str, need: str, kinds: tuple[Kind, ...] = ()
) -> Media:
    """The input in one of these roles. ``need`` says what it should be: "a picture", "speech".

    Raises UsageError when it is not there, MissingStream when it is of another kind.
    """
    media = optional(request, *roles)
    if media is None:
        options = " or ".join(dict.fromkeys(_OPTION.get(role, role) for role in roles))
        raise UsageError(f"{request.task} needs {need}: pass {options} FILE.")
    if kinds and media.kind not in kinds:
        wanted = " or ".join(kinds)
        raise MissingStream(
            f"{request.task} needs {need}; {media.path.name} is {media.kind} (expected: {wanted})."
        )
    return media


def fitted_size(
    request: GenerationRequest,
    media: Media,
    *,
    max_pixels: int = 1280 * 720,
    low: int = 64,
    high: int = 1920,
) -> tuple[int, int]:
    """(width, height): what is asked for, else the input's own, even and scaled down to fit.

    Raises UsageError for an input with a side under ``low`` pixels or more than 8 times as long as
    wide.
    """
    from avsafe_generators.asking.parameters import size

    if request.width is not None or request.height is not None:
        return size(request, low=low, high=high, max_pixels=max_pixels)
    if media.video is None:
        raise MissingStream(f"{media.path.name} has no pictures; {request.task} needs them.")
    width, height = media.video.width, media.video.height
    if min(width, height) < low or max(width, height) > 8 * min(width, height):
        raise UsageError(
            f"{media.path.name} has {width} x {height} pixels; {request.generator} needs sides of "
            f"at least {low}, and no side 8 times the other. Pass another one, or --size."
        )
    scale = min(1.0, math.sqrt(max_pixels / (width * height)), high / max(width, height))
    return int(width * scale) // 2 * 2, int(height * scale) // 2 * 2


def picture(media: Media, width: int | None = None, height: int | None = None) -> Frame:
    """The picture (of a video: its first frame), scaled to cover ``width`` x ``height``, centred.

    Raises the children of UnreadableMedia.
    """
    from avsafe.media import decode

    if media.video is None:
        raise MissingStream(f"{media.path.name} has no picture (it is {media.kind}).")
    raw = decode(media.path, max_duration_s=1.0 if media.kind is Kind.VIDEO else None)
    frame = next(iter(raw.frames or ()), None)
    if frame is None:
        raise MissingStream(f"{media.path.name} has no frame that can be decoded.")
    return frame if width is None or height is None else covered(frame, width, height)


def covered(frame: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """A picture ``(h, w[, 3])`` scaled to cover the size, the rest cut off evenly.

    >>> import numpy as np
    >>> covered(np.zeros((100, 300, 3), np.uint8), 50, 50).shape
    (50, 50, 3)
    """
    import cv2

    h, w = frame.shape[:2]
    if (w, h) == (width, height):
        return frame
    if 0 <= w - width <= 1 and 0 <= h - height <= 1:  # an odd side: a line less, no pixel changed
        import numpy as np

        return np.ascontiguousarray(frame[:height, :width])
    scale = max(width / w, height / h)
    # the part that stays, centred; then scaled as a whole: no rounding of an intermediate size
    cut_w, cut_h = min(w, max(1, round(width / scale))), min(h, max(1, round(height / scale)))
    x, y = (w - cut_w) // 2, (h - cut_h) // 2
    part = frame[y : y + cut_h, x : x + cut_w]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    out: NDArray[Any] = cv2.resize(part, (width, height), interpolation=method)
    return out


@dataclass(frozen=True)
class Footage:
    """A video input: re-iterable frames of one size, and its sound as it came."""

    frames: Iterable[Frame]
    frame_rate: Fraction
    frame_count: int | None
    width: int
    height: int
    sound: RawMedia | None  # samples, rate_hz and channels are of use

    @property
    def duration_s(self) -> float | None:
        return None if self.frame_count is None else float(self.frame_count / self.frame_rate)


def footage(
    media: Media,
    width: int | None = None,
    height: int | None = None,
    *,
    max_duration_s: float = 60.0,
    cancelled: Cancelled = never_cancelled,
) -> Footage:
    """The frames of a video, scaled to cover ``width`` x ``height``; nothing is held in memory.

    Raises UsageError for one longer than ``max_duration_s``, MissingStream for one without moving
    pictures.
    """
    from avsafe.media import decode

    if media.kind is not Kind.VIDEO or media.video is None:
        raise MissingStream(f"{media.path.name} is {media.kind}, no video. Pass a video.")
    _refuse_long(media, max_duration_s)
    raw = decode(media.path)
    if raw.frames is None or raw.frame_rate is None:
        raise MissingStream(f"{media.path.name} has no moving pictures.")
    if raw.frame_count is not None:
        _refuse_long(media, max_duration_s, float(raw.frame_count / raw.frame_rate))
    longest = (max_duration_s + 0.5) * float(raw.frame_rate)
    out_w, out_h = width or raw.width // 2 * 2, height or raw.height // 2 * 2
    source = raw.frames

    def frames() -> Iterator[Frame]:
        for number, frame in enumerate(source):
            if number > longest:  # the header said otherwise
                _refuse_long(media, max_duration_s, float(number / rate))
            if cancelled():
                raise Stopped(f"Reading {media.path.name} was asked to stop.")
            yield covered(frame, out_w, out_h)

    count, rate = raw.frame_count, raw.frame_rate
    sound_too = raw if raw.samples is not None else None
    return Footage(Replay(frames), rate, count, out_w, out_h, sound_too)


def sound(
    media: Media, rate_hz: int = 16000, *, max_duration_s: float = 120.0
) -> NDArray[np.float32]:
    """The sound as one channel at ``rate_hz``: (n,) float32 in [-1, 1].

    Raises UsageError for one longer than ``max_duration_s`` (before it is decoded), MissingStream
    for a file without sound.
    """
    import numpy as np
    from scipy.signal import resample_poly

    from avsafe.media import decode

    if media.audio is None:
        raise MissingStream(f"{media.path.name} has no sound (it is {media.kind}).")
    _refuse_long(media, max_duration_s)
    raw = decode(media.path)
    blocks, heard = [], 0
    for block in raw.samples or ():
        blocks.append(block.mean(axis=0))
        heard += block.shape[1]
        _refuse_long(media, max_duration_s, heard / raw.rate_hz)
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not mono.size:
        raise MissingStream(f"The sound of {media.path.name} is empty.")
    if raw.rate_hz != rate_hz:
        ratio = Fraction(rate_hz, raw.rate_hz)
        mono = resample_poly(mono, ratio.numerator, ratio.denominator)
    return np.ascontiguousarray(mono, dtype=np.float32)


def _refuse_long(media: Media, max_duration_s: float, lasts_s: float | None = None) -> None:
    """``lasts_s`` is what was decoded; without it the header's word counts."""
    lasts_s = media.duration_s if lasts_s is None else lasts_s
    if lasts_s is not None and lasts_s > max_duration_s + 0.5:
        raise UsageError(
            f"{media.path.name} lasts {lasts_s:.1f} s; at most {max_duration_s:g} s are "
            "taken here. Cut it, or pass a shorter one."
        )

"""What SyncNet is fed: crops of the face through the published path, and MFCC of the speech.

Legend: ``n`` samples at 16 kHz, ``k`` steps of 10 ms, ``e`` = 13 coefficients; crops are
(224, 224, 3) uint8 BGR; boxes are (x0, y0, x1, y1) px.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces.tracking import Tracker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

    Box = NDArray[np.float64]
    Picture = NDArray[np.uint8]

SIDE = 224
MARGIN = 0.4  # of the half box, around it
GREY = 110  # beyond the picture
MEDIAN = 13  # frames over which a box is steadied
RATE = 25


# ---------------------------------------------------------------- sound


def to_int16(mono: NDArray[Any]) -> NDArray[np.int16]:
    """(n,) sound in [-1, 1] -> 16-bit samples, as a WAV file of FFmpeg holds them."""
    scaled = np.rint(np.asarray(mono, np.float64) * 32768)
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def mfcc(sound: NDArray[np.int16]) -> NDArray[np.float64]:
    """(n,) 16-bit samples at 16 kHz -> (k, 13), as python_speech_features 0.6 by its defaults.

    25 ms rectangular windows every 10 ms after pre-emphasis of 0.97, 26 mel bands of a 512-point
    power spectrum, orthonormal DCT-II, sine lifter of 22, log energy in place of the first.

    >>> mfcc(np.arange(1600, dtype=np.int16)).shape
    (9, 13)
    """
    from scipy.fft import dct

    signal = sound.astype(np.float64)
    signal = np.append(signal[:1], signal[1:] - 0.97 * signal[:-1])
    size, hop, points = 400, 160, 512
    count = 1 + max(0, -(-(signal.size - size) // hop))
    padded = np.pad(signal, (0, max(0, (count - 1) * hop + size - signal.size)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]
    out = np.empty((count, 13))
    for start in range(0, count, 4096):
        power = np.abs(np.fft.rfft(pieces[start : start + 4096], points)) ** 2 / points
        least = np.finfo(float).eps
        energy = power.sum(axis=1)
        bands = power @ _mel_triangles().T
        energy, bands = np.where(energy == 0, least, energy), np.where(bands == 0, least, bands)
        coefficients = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :13]
        coefficients *= 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
        coefficients[:, 0] = np.log(energy)
        out[start : start + 4096] = coefficients
    return out


def _mel_triangles() -> NDArray[np.float64]:
    """(26, 257): corners on whole bins, as there."""
    top = 2595 * np.log10(1 + 8000 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, 28) / 2595) - 1)
    corners = np.floor(513 * hz / 16_000)
    bins = np.arange(257)
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


# ---------------------------------------------------------------- faces and time


class FaceBoxes(Tracker):
    """The box of the main face in each frame as it comes, or None."""

    def box_in(self, frame: Frame) -> Box | None:
        self.take(frame)
        points = self._points[-1]
        self._points[-1] = points[:0].copy()  # only the last is looked at; a view would keep all
        if not np.isfinite(points[0, 0]):
            return None
        return np.concatenate([points.min(0), points.max(0)]).astype(np.float64)

    @property
    def cut(self) -> bool:
        """Whether the last frame began a new scene."""
        return bool(self._cuts) and self._cuts[-1] == len(self._points) - 1


class At25:
    """How often each frame is shown when a clip at ``rate`` plays at 25 frames/s: the frame that
    is nearest in time, as FFmpeg's ``-r 25`` takes it."""

    def __init__(self, rate: float) -> None:
        self._rate, self._seen, self._given = rate, 0, 0

    def repeats(self) -> int:
        """
        >>> slower = At25(50)
        >>> [slower.repeats() for _ in range(6)]
        [1, 0, 1, 0, 1, 0]
        """
        # times j / 25 up to halfway to the next frame
        due = int(np.ceil((self._seen + 0.5) * RATE / self._rate - 1e-9))
        self._seen += 1
        count = max(0, due - self._given)
        self._given += count
        return count


# ---------------------------------------------------------------- crops


def crop(picture: Picture, x: float, y: float, half: float) -> Picture:
    """The face and what is around it, 224 pixels wide, as published: ``half`` is half of the longer
    side of the box, (``x``, ``y``) its centre; more is taken below than above.

    >>> crop(np.zeros((50, 60, 3), np.uint8), 30, 25, 20).shape
    (224, 224, 3)
    """
    import cv2

    pad = int(half * (1 + 2 * MARGIN))
    edged = cv2.copyMakeBorder(
        picture, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY)
    )
    x, y = x + pad, y + pad
    top, bottom = int(y - half), int(y + half * (1 + 2 * MARGIN))
    left, right = int(x - half * (1 + MARGIN)), int(x + half * (1 + MARGIN))
    return np.asarray(cv2.resize(edged[top:bottom, left:right], (SIDE, SIDE)), np.uint8)


class Crops:
    """Frames and boxes of one stretch in, crops out, ``MEDIAN // 2`` frames later.

    ``published`` sends frames and crops through the codecs of the published path: each frame
    through JPEG (quantiser 2), crops through an AVI of MPEG-4 and JPEG at 200 kbit/s.
    """

    def __init__(self, published: bool) -> None:
        self._published = published
        self._boxes: deque[Box] = deque([np.zeros(3)] * (MEDIAN // 2), maxlen=MEDIAN)
        self._frames: deque[Picture] = deque()
        self._still = Recoder("mjpeg", quantiser=2) if published else None
        self._film: _Film | None = None

    def take(self, frame: Frame, box: Box) -> Iterator[Picture]:
        """``frame`` is RGB."""
        picture = np.ascontiguousarray(frame[..., ::-1])
        if self._still is not None:
            picture = next(iter(self._still.take(picture)))
        self._frames.append(picture)
        half = max(box[3] - box[1], box[2] - box[0]) / 2
        self._push(np.array([half, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2]))
        yield from self._ready()

    def rest(self) -> Iterator[Picture]:
        while self._frames:
            self._push(np.zeros(3))
            yield from self._ready()
        if self._film is not None:
            yield from self._film.crops()
            self._film = None

    def _push(self, box: Box) -> None:
        self._boxes.append(box)

    def _ready(self) -> Iterator[Picture]:
        if len(self._boxes) < MEDIAN or not self._frames:
            return
        half, x, y = np.median(np.stack(self._boxes), axis=0)
        picture = crop(self._frames.popleft(), x, y, half)
        if not self._published:
            yield picture
            return
        if self._film is None:
            self._film = _Film()
        self._film.write(picture)


class _Film:
    """Crops as an AVI of MPEG-4 that OpenCV writes, and back as JPEG."""

    def __init__(self) -> None:
        import cv2

        self._folder = tempfile.TemporaryDirectory()
        self._path = str(Path(self._folder.name) / "crops.avi")
        fourcc = cv2.VideoWriter.fourcc(*"XVID")
        self._writer: Any = cv2.VideoWriter(self._path, fourcc, RATE, (SIDE, SIDE))

    def write(self, picture: Picture) -> None:
        self._writer.write(picture)

    def crops(self) -> Iterator[Picture]:
        import av

        self._writer.release()
        still = Recoder("mjpeg")
        with contextlib.closing(av.open(self._path)) as container:
            for frame in container.decode(video=0):
                yield from still.take_frame(frame)
        self._folder.cleanup()


class Recoder:
    """Pictures through a codec of still pictures and back, with the rate control of FFmpeg's
    defaults unless ``quantiser`` is given."""

    def __init__(self, codec: str, quantiser: int | None = None) -> None:
        self._codec, self._quantiser = codec, quantiser
        self._encoder: Any = None

    def take(self, picture: Picture) -> Iterator[Picture]:
        import av

        yield from self.take_frame(av.VideoFrame.from_ndarray(picture, "bgr24"))

    def take_frame(self, frame: Any) -> Iterator[Picture]:
        import av
        import cv2

        if self._encoder is None:
            self._encoder = av.CodecContext.create(self._codec, "w")
            self._encoder.width, self._encoder.height = frame.width, frame.height
            self._encoder.pix_fmt = "yuvj420p"
            self._encoder.time_base = Fraction(1, RATE)
            self._encoder.framerate = Fraction(RATE)
            self._encoder.bit_rate = 200_000  # FFmpeg's default
            if self._quantiser is not None:
                self._encoder.qmin = self._encoder.qmax = self._quantiser
        full = frame.reformat(format="yuvj420p", dst_color_range="JPEG")
        full.pts = None
        for packet in self._encoder.encode(full):
            data = np.frombuffer(bytes(packet), np.uint8)
            yield np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

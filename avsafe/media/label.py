"""A label that people see, and a notice that people hear.

Legend: a frame is ``(h, w, 3)`` uint8 RGB; samples are ``(c, n)`` float32 in [-1, 1].
Source: GB 45438-2025 (visible text at least 5 % of the shortest side, at the start of a video for
at least 2 s; sound by voice or by the rhythm short-long-short-short).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from avsafe.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

    from avsafe.types import Frame, Samples

LETTER_SHARE = 0.05  # of the shortest side: the height of a small letter (x), so that all reach it
MARGIN_SHARE = 0.03  # of the shortest side, between the label and the picture's edge
PLATE_OPACITY = 0.62  # dark plate: white on it has a contrast over 4.5:1 on any ground (WCAG 2.2)

TONE_HZ = 880.0  # A5: small loudspeakers reproduce it, and speech has little there
UNIT_S = 0.12  # a short tone and a pause; a long tone is three units, as in Morse
LEVEL_DB = -12.0  # peak of the tone, dB re full scale: heard over speech, not a shock
_RHYTHM = (1, 3, 1, 1)  # short-long-short-short
_RAMP_S = 0.008  # fade in and out, so that the tone does not click


def burn_label(
    frames: Iterable[Frame],
    text: str,
    *,
    frame_rate: Fraction | None,
    duration_s: float | None = None,
    typeface: Path | str | None = None,
) -> Iterable[Frame]:
    """The frames with ``text`` in the lower left corner; every ``iter()`` starts again.

    ``duration_s`` is how long it is shown, from the start; None is the whole clip. Every letter is
    at least 5 % of the shortest side high. A text that is too wide is broken into lines.

    Raises ``UsageError`` for a text that is empty, does not fit into the picture or has letters
    that the typeface lacks (the built-in one has plain Latin letters; give a font file as
    ``typeface`` for others), and for a duration without a frame rate.

    >>> frame = np.zeros((360, 640, 3), np.uint8)
    >>> int(next(iter(burn_label([frame], "AI", frame_rate=None))).max())
    255
    """
    if not text.strip():
        raise UsageError("A visible label needs a text.")
    if duration_s is not None and frame_rate is None:
        raise UsageError("A label with a duration needs a frame rate.")
    shown = None if duration_s is None or frame_rate is None else round(duration_s * frame_rate)
    return _Labelled(frames, text.strip(), shown, str(typeface) if typeface else None)


class _Labelled:
    def __init__(
        self, frames: Iterable[Frame], text: str, shown: int | None, typeface: str | None
    ) -> None:
        self._frames, self._text = frames, text
        self._shown, self._typeface = shown, typeface

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self._frames):
            if self._shown is not None and index >= self._shown:
                yield frame
            else:
                yield _stamp(frame, self._text, self._typeface)


def _stamp(frame: Frame, text: str, typeface: str | None) -> Frame:
    height, width = frame.shape[:2]
    plate = _plate(text, width, height, typeface)
    top = height - plate.shape[1] - round(MARGIN_SHARE * min(width, height))
    left = round(MARGIN_SHARE * min(width, height))
    marked = frame.copy()
    region = marked[top : top + plate.shape[1], left : left + plate.shape[2]]
    letters, ground = plate[0][..., None], plate[1][..., None]
    region[:] = np.rint(region * (1 - ground) * (1 - letters) + 255 * letters)
    return marked


@lru_cache(maxsize=8)
def _plate(
    text: str, width: int, height: int, typeface: str | None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Letters and ground as two layers ``(2, h, w)`` of opacity."""
    from PIL import Image, ImageDraw

    short = min(width, height)
    font = _font(LETTER_SHARE * short, typeface)
    _check_letters(text, font)
    pad = max(2, round(0.5 * LETTER_SHARE * short))
    room = width - 2 * round(MARGIN_SHARE * short) - 2 * pad
    lines = _wrap(text, font, room)
    joined = "\n".join(lines)
    canvas = ImageDraw.Draw(Image.new("L", (1, 1)))
    x0, y0, x1, y1 = canvas.multiline_textbbox((0, 0), joined, font=font, spacing=pad // 2)
    size = (round(x1 - x0) + 2 * pad, round(y1 - y0) + 2 * pad)
    if size[1] + 2 * round(MARGIN_SHARE * short) > height or x1 - x0 > room:
        raise UsageError(
            f"The label {text!r} does not fit into {width} x {height} pixels in letters of 5 % of "
            "the shortest side. Use a shorter text."
        )
    letters = Image.new("L", size, 0)
    ImageDraw.Draw(letters).multiline_text(
        (pad - x0, pad - y0), joined, fill=255, font=font, spacing=pad // 2
    )
    ground = Image.new("L", size, 0)
    ImageDraw.Draw(ground).rounded_rectangle(
        (0, 0, size[0] - 1, size[1] - 1), radius=pad // 2, fill=round(255 * PLATE_OPACITY)
    )
    layers = np.stack([np.asarray(letters), np.asarray(ground)])
    return layers.astype(np.float32) / np.float32(255)


def _font(letter_px: float, typeface: str | None) -> FreeTypeFont:
    """A font file, or Pillow's own typeface, in which a small letter has at least that height."""
    from PIL import ImageFont

    size = letter_px
    while True:
        font = ImageFont.truetype(typeface, size) if typeface else ImageFont.load_default(size)
        if letter_height(font) >= letter_px:
            return cast("FreeTypeFont", font)
        size *= 1.05


def letter_height(font: Any) -> float:
    """The height of the letter x in pixels."""
    box = font.getbbox("x")
    return float(box[3] - box[1])


def _check_letters(text: str, font: FreeTypeFont) -> None:
    missing = bytes(font.getmask("\U0010ffff"))  # no typeface has this one: the empty box
    lacks = sorted({letter for letter in text if bytes(font.getmask(letter)) == missing})
    if lacks:
        raise UsageError(
            f"The label {text!r} has letters that the typeface lacks: {' '.join(lacks)}. Write it "
            "in plain Latin letters, or pass a font file as typeface."
        )


def _wrap(text: str, font: FreeTypeFont, room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def audible_notice(samples: Iterable[Samples], rate_hz: int) -> Iterable[Samples]:
    """The samples with the rhythm short-long-short-short mixed in at the start.

    The sound beneath is turned down while the notice lasts (1.08 s) so that the sum stays in [-1,
    1]. Every ``iter()`` starts again. A clip shorter than the notice gets as much of it as fits.

    >>> quiet = [np.zeros((1, 48000), np.float32)]
    >>> round(float(abs(next(iter(audible_notice(quiet, 48000)))).max()), 2)
    0.25
    """
    if rate_hz <= 0:
        raise UsageError("An audible notice needs a sample rate.")
    return _Announced(samples, notice(rate_hz))


class _Announced:
    def __init__(self, samples: Iterable[Samples], tone: Samples) -> None:
        self._samples, self._tone = samples, tone

    def __iter__(self) -> Iterator[Samples]:
        peak = 10 ** (LEVEL_DB / 20)
        at = 0
        for block in self._samples:
            n = min(block.shape[1], max(0, self._tone.shape[1] - at))
            if n:
                block = block.copy()
                block[:, :n] = block[:, :n] * np.float32(1 - peak) + self._tone[:, at : at + n]
            at += block.shape[1]
            yield block


def notice(rate_hz: int) -> Samples:
    """The rhythm alone: ``(1, n)``, 9 units long."""
    unit = round(UNIT_S * rate_hz)
    pieces = []
    for index, length in enumerate(_RHYTHM):
        if index:
            pieces.append(np.zeros(unit))
        t = np.arange(length * unit) / rate_hz
        edge = np.minimum(t, length * UNIT_S - t) / _RAMP_S
        pieces.append(np.sin(2 * np.pi * TONE_HZ * t) * np.clip(edge, 0, 1))
    return (10 ** (LEVEL_DB / 20) * np.concatenate(pieces)).astype(np.float32)[None]

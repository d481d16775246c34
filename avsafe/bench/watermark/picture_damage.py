"""What happens to pictures in the world. Each function makes a damage: ``Shot -> Shot``.

Legend: a frame is (h, w, 3) uint8 RGB. Frames are damaged while they are iterated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.bench.clips import Shot
from avsafe.media.replay import Replay
from avsafe.types import Frame

Damage = Callable[[Shot], Shot]


class Inapplicable(Exception):
    """This clip cannot be damaged so, e.g. trimmed to more than it has."""


def same(shot: Shot) -> Shot:
    return shot


def chain(*steps: Damage) -> Damage:
    def damage(shot: Shot) -> Shot:
        for step in steps:
            shot = step(shot)
        return shot

    return damage


def _each(shot: Shot, change: Callable[[Frame, int], Frame], size: tuple[int, int] | None) -> Shot:
    """Every frame through ``change(frame, index)``; ``size`` is the new (h, w)."""
    height, width = size or (shot.height, shot.width)
    frames = Replay(lambda: (np.ascontiguousarray(change(f, i)) for i, f in enumerate(shot.frames)))
    return replace(shot, frames=frames, height=height, width=width)


# ---------------------------------------------------------------- size and place


def scaled(height: int, width: int) -> Callable[[Frame], Frame]:
    import cv2

    def change(frame: Frame) -> Frame:
        shrinks = height * width < frame.shape[0] * frame.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.uint8)

    return change


def _to_size(shot: Shot, height: float, width: float) -> Shot:
    h, w = max(16, 2 * round(height / 2)), max(16, 2 * round(width / 2))
    change = scaled(h, w)
    return _each(shot, lambda frame, _: change(frame), (h, w))


def resize(short_side: int) -> Damage:
    """To a short side of so many pixels, up or down."""

    def damage(shot: Shot) -> Shot:
        factor = short_side / min(shot.height, shot.width)
        return _to_size(shot, shot.height * factor, shot.width * factor)

    return damage


def shrink(short_side: int) -> Damage:
    """As ``resize``, but never up."""

    def damage(shot: Shot) -> Shot:
        return shot if min(shot.height, shot.width) <= short_side else resize(short_side)(shot)

    return damage


def stretch(factor: float) -> Damage:
    """The width times ``factor``, the height as it is."""
    return lambda shot: _to_size(shot, shot.height, shot.width * factor)


def crop(share: float) -> Damage:
    """``share`` of each side's length is cut off, three fifths of it at the left and top."""

    def damage(shot: Shot) -> Shot:
        top, left = round(shot.height * share * 0.6), round(shot.width * share * 0.6)
        h = max(16, round(shot.height * (1 - share)) // 2 * 2)
        w = max(16, round(shot.width * (1 - share)) // 2 * 2)
        return _each(shot, lambda frame, _: frame[top : top + h, left : left + w], (h, w))

    return damage


def letterbox(share: float) -> Damage:
    """Black bars above and below, together ``share`` of the height of the picture."""

    def damage(shot: Shot) -> Shot:
        bar = round(shot.height * share / 4) * 2

        def change(frame: Frame, _: int) -> Frame:
            return np.pad(frame, ((bar, bar), (0, 0), (0, 0)))

        return _each(shot, change, (shot.height + 2 * bar, shot.width))

    return damage


def rotate(degrees: float) -> Damage:
    """About the middle, the size kept, black where nothing was."""
    import cv2

    def damage(shot: Shot) -> Shot:
        matrix = cv2.getRotationMatrix2D((shot.width / 2, shot.height / 2), degrees, 1.0)
        size = (shot.width, shot.height)

        def change(frame: Frame, _: int) -> Frame:
            return np.asarray(cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_CUBIC), np.uint8)

        return _each(shot, change, None)

    return damage


def turn(shot: Shot) -> Shot:
    """By 90 degrees."""
    return _each(shot, lambda frame, _: np.rot90(frame), (shot.width, shot.height))


def mirror(shot: Shot) -> Shot:
    return _each(shot, lambda frame, _: frame[:, ::-1], None)


# ---------------------------------------------------------------- time


def retime(rate: int) -> Damage:
    """To another frame rate by timestamps: every new frame shows what was on screen at its time."""

    def damage(shot: Shot) -> Shot:
        new = Fraction(rate)
        count = max(1, int(shot.count / shot.rate * new))
        wanted = [min(shot.count - 1, int(k / new * shot.rate)) for k in range(count)]

        def frames() -> Iterable[Frame]:
            source = enumerate(shot.frames)
            index, frame = next(source)
            for place in wanted:
                while index < place:
                    index, frame = next(source)
                yield frame

        return replace(shot, frames=Replay(lambda: iter(frames())), rate=new, count=count)

    return damage


def trim(seconds: float) -> Damage:
    """So many seconds from within, beginning on no key frame of the release (one in 2 s)."""

    def damage(shot: Shot) -> Shot:
        count = round(seconds * shot.rate)
        if count >= shot.count:
            raise Inapplicable(f"the clip has {shot.duration_s:.1f} s, no more than {seconds:g} s")
        start = round((shot.count - count) * 0.61)
        if start % round(2 * shot.rate) == 0:
            start += 1 if start + 1 + count <= shot.count else 0

        def frames() -> Iterable[Frame]:
            for index, frame in enumerate(shot.frames):
                if index >= start + count:
                    return
                if index >= start:
                    yield frame

        return replace(shot, frames=Replay(lambda: iter(frames())), count=count)

    return damage


# ---------------------------------------------------------------- values


def _table(values: NDArray[np.float64]) -> Damage:
    import cv2

    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return lambda shot: _each(shot, lambda f, _: np.asarray(cv2.LUT(f, table), np.uint8), None)


_LEVELS = np.arange(256.0)


def brightness(factor: float) -> Damage:
    return _table(_LEVELS * factor)


def contrast(factor: float) -> Damage:
    """About the middle grey, 128."""
    return _table((_LEVELS - 128) * factor + 128)


def gamma(power: float) -> Damage:
    return _table(255 * (_LEVELS / 255) ** power)


def hue(degrees: float) -> Damage:
    import cv2

    def change(frame: Frame, _: int) -> Frame:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)  # its hue runs from 0 to 179
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(degrees / 2)) % 180
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)

    return lambda shot: _each(shot, change, None)


def grey(shot: Shot) -> Shot:
    import cv2

    def change(frame: Frame, _: int) -> Frame:
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), np.uint8)

    return _each(shot, change, None)


def blur(sigma: float) -> Damage:
    """Gaussian, ``sigma`` in pixels."""
    import cv2

    return lambda shot: _each(
        shot, lambda f, _: np.asarray(cv2.GaussianBlur(f, (0, 0), sigma), np.uint8), None
    )


def noise(sigma: float) -> Damage:
    """White Gaussian noise, ``sigma`` in levels: one field, wrapped to another place each frame."""

    def damage(shot: Shot) -> Shot:
        rng = np.random.default_rng(5)
        field = rng.standard_normal((shot.height, shot.width, 3), np.float32) * np.float32(sigma)
        steps = np.rint(field).astype(np.int16).reshape(-1)
        shifts = rng.integers(0, steps.size, shot.count)

        def change(frame: Frame, index: int) -> Frame:
            moved = np.roll(steps, shifts[index % len(shifts)]).reshape(frame.shape)
            noisy: Frame = np.clip(frame + moved, 0, 255).astype(np.uint8)
            return noisy

        return _each(shot, change, None)

    return damage


def sharpen(amount: float) -> Damage:
    """An unsharp mask of one pixel."""
    import cv2

    def change(frame: Frame, _: int) -> Frame:
        soft = cv2.GaussianBlur(frame, (0, 0), 1.0)
        return np.asarray(cv2.addWeighted(frame, 1 + amount, soft, -amount, 0), np.uint8)

    return lambda shot: _each(shot, change, None)


# ---------------------------------------------------------------- overlays


def logo(shot: Shot) -> Shot:
    """A ring and a bar in the upper right corner, a fifth of the short side, half transparent."""
    import cv2

    side = max(16, min(shot.height, shot.width) // 5)
    sign = np.full((side, side, 3), 235, np.uint8)
    cv2.circle(sign, (side // 2, side // 2), side // 3, (200, 30, 30), max(2, side // 10))
    cv2.rectangle(
        sign, (side // 5, side * 2 // 5), (side * 4 // 5, side * 3 // 5), (20, 40, 160), -1
    )
    top, left = side // 5, shot.width - side - side // 5

    def change(frame: Frame, _: int) -> Frame:
        out = frame.copy()
        place = out[top : top + side, left : left + side]
        place[:] = cv2.addWeighted(place, 0.4, sign, 0.6, 0)
        return out

    return _each(shot, change, None)


def subtitle(shot: Shot) -> Shot:
    """Two lines of white text with a black edge near the lower border, another every second."""
    import cv2

    scale = min(shot.height, shot.width) / 480
    lines = ("We measured it twice,", "and the answer stayed the same.", "So we wrote it down.")

    def change(frame: Frame, index: int) -> Frame:
        out = frame.copy()
        shown = int(index / float(shot.rate))
        for row in range(2):
            text = lines[(shown + row) % len(lines)]
            (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, 1)
            at = (max(0, (shot.width - width) // 2), round(shot.height * (0.86 + 0.08 * row)))
            for colour, thick in (((0, 0, 0), 5), ((255, 255, 255), 2)):
                cv2.putText(
                    out, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, colour,
                    max(1, round(thick * scale)), cv2.LINE_AA,
                )  # fmt: skip
        return out

    return _each(shot, change, None)

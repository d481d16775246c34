"""Moving pictures that nobody generated: drawn ones, screens, and clips that programs treated.

Where a set needs a clip or a photo and none is given, a drawn scene before a simulated camera takes
its place, with noise of its own in every frame.

Legend: ``t`` frames, ``h`` ``w`` pixels; a frame is ``(h, w, 3)`` uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.media.replay import Replay
from avsafe.types import Frame, RawMedia
from avsafe_detectors.benign.control import RATE, SIZE, moving, together
from avsafe_detectors.benign.pictures import (
    colour,
    font,
    page,
    photo,
    scene,
    seen_by_camera,
    sentence,
)

Rng = np.random.Generator
Draw = Callable[[int], Frame]


def camera_clip(rng: Rng, seconds: float, frames: int | None = None) -> RawMedia:
    """The stand-in of a clip: a camera moves over a scene in which one thing moves by itself."""
    import cv2

    width, height = SIZE
    view = scene(rng, width + 160, height + 90)
    seed = int(rng.integers(1 << 32))
    paint = tuple(float(c) for c in colour(rng))
    speed, height_of_ball = rng.uniform(0.5, 1.6), rng.uniform(0.3, 0.7)

    def draw(i: int) -> Frame:
        x, y = 80 + 70 * np.sin(speed * i / 25), 45 + 40 * np.sin(0.7 * speed * i / 25 + 1)
        move = np.array([[1, 0, -x], [0, 1, -y]], np.float64)
        seen = cv2.warpAffine(view, move, (width, height), flags=cv2.INTER_LINEAR)
        ball = (int((40 + 5 * speed * i) % width), int(height * height_of_ball))
        cv2.circle(seen, ball, 24, paint, -1, cv2.LINE_AA)
        return seen_by_camera(np.random.default_rng([seed, i]), np.asarray(seen, np.uint8))

    return moving(draw, seconds, frames=frames)


def clip(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """The given clip without its sound, cut to ``seconds``; or the stand-in."""
    if given is None:
        return camera_clip(rng, seconds)
    frames, rate = given.frames, given.frame_rate
    if frames is None or rate is None:
        raise UsageError("This set is made from a clip; this media has no moving picture.")
    most = round(min(seconds, 3600.0) * rate)
    count = given.frame_count if given.frame_count is not None else most
    return replace(
        given, frames=Replay(lambda: islice(iter(frames), most)), frame_count=min(most, count),
        samples=None, rate_hz=0, channels=0,
    )  # fmt: skip


# ---------------------------------------------------------------- drawn


def cartoon_frame(rng: Rng) -> Draw:
    """Frame ``i`` of a flat drawn scene: sky, hills, a sun, a figure that walks."""
    import cv2

    width, height = SIZE
    sky, hill, far = colour(rng, 120, 255), colour(rng, 40, 180), colour(rng, 80, 200)
    sun, coat, skin = (255, 220, 60), colour(rng), (250, 205, 160)
    phase, pace = rng.uniform(0, 6, 4), float(rng.uniform(2, 5))
    xs = np.arange(0, width + 20, 20)

    def shape(view: Any, points: Any, fill: tuple[int, int, int]) -> None:
        outline = [np.asarray(points, np.int32)]
        cv2.fillPoly(view, outline, fill, cv2.LINE_AA)
        cv2.polylines(view, outline, True, (20, 20, 24), 2, cv2.LINE_AA)

    def draw(i: int) -> Frame:
        i -= i % 2  # drawn on twos, as cartoons are
        view = np.full((height, width, 3), sky, np.uint8)
        cv2.circle(view, (int(width * 0.8), int(height * 0.2)), 34, sun, -1, cv2.LINE_AA)
        for fill, base, wave, part in ((far, 0.55, 30, 0.4), (hill, 0.72, 20, 1.0)):
            ys = height * base + wave * np.sin(xs / 70 + phase[0] + part * i * 0.02)
            ends = np.array([(width + 20, height + 9), (0, height + 9)])
            shape(view, np.vstack([np.column_stack([xs, ys]), ends]), fill)
        x, step = int((60 + pace * i) % (width + 80)) - 40, 10 * np.sin(i * 0.5 + phase[1])
        y = int(height * 0.78)
        for side in (-1, 1):
            foot = (int(x + side * step), y + 46)
            cv2.line(view, (x, y + 20), foot, (20, 20, 24), 7, cv2.LINE_AA)
        shape(view, [(x - 18, y - 24), (x + 18, y - 24), (x + 24, y + 26), (x - 24, y + 26)], coat)
        cv2.circle(view, (x, y - 42), 20, skin, -1, cv2.LINE_AA)
        cv2.circle(view, (x, y - 42), 20, (20, 20, 24), 2, cv2.LINE_AA)
        mouth = 2 + int(4 * abs(np.sin(i * 0.4 + phase[2])))
        cv2.ellipse(view, (x + 6, y - 36), (6, mouth), 0, 0, 360, (120, 30, 30), -1, cv2.LINE_AA)
        cv2.circle(view, (x + 7, y - 47), 3, (10, 10, 10), -1, cv2.LINE_AA)
        return view

    return draw


def cartoon(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A flat drawn scene in motion."""
    return moving(cartoon_frame(rng), seconds)


def slides(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Slides of text that cut, fade or wipe into one another every second."""
    from PIL import Image, ImageDraw

    width, height = SIZE
    ground = colour(rng, 200, 256) if rng.random() < 0.6 else colour(rng, 0, 60)
    ink = (20, 20, 30) if sum(ground) > 380 else (235, 235, 240)
    decks = []
    for _ in range(max(2, int(np.ceil(min(seconds, 60.0))))):
        sheet = Image.new("RGB", (width, height), ground)
        draw = ImageDraw.Draw(sheet)
        draw.text((40, 30), sentence(rng, 4), fill=ink, font=font(34))
        for line in range(int(rng.integers(2, 6))):
            bullet = f"-  {sentence(rng, 5)}"
            draw.text((60, 110 + 42 * line), bullet, fill=ink, font=font(22))
        draw.rectangle((0, height - 12, width, height), fill=colour(rng))
        decks.append(np.array(sheet))
    kind = rng.choice(["cut", "fade", "wipe"])

    def show(i: int) -> Frame:
        at, within = divmod(i, 25)
        now, last = decks[at % len(decks)], decks[(at - 1) % len(decks)]
        part = min(1.0, within / 8)
        if at == 0 or kind == "cut" or part >= 1:
            return now
        if kind == "fade":
            return np.rint(last * (1 - part) + now * part).astype(np.uint8)
        mixed = last.copy()
        mixed[:, : round(part * width)] = now[:, : round(part * width)]
        return mixed

    return moving(show, seconds)


def screen(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A recording of a screen: a page scrolls in steps, a cursor moves."""
    import cv2

    width, height = SIZE
    dark = bool(rng.random() < 0.4)
    sheet = page(rng, width, 4 * height, 14, dark)
    bar = np.full((28, width, 3), 60 if dark else 225, np.uint8)
    for number in range(3):
        cv2.circle(bar, (18 + 20 * number, 14), 6, colour(rng, 90, 230), -1, cv2.LINE_AA)
    arrow = np.array([(0, 0), (0, 17), (4, 13), (8, 20), (11, 19), (7, 12), (12, 12)], np.int32)
    phase = rng.uniform(0, 6, 2)

    def show(i: int) -> Frame:
        wheel = 40 * (i // 10) + 8 * min(5, i % 10)  # turns of a wheel, each smoothed
        top = int(wheel % (3 * height))
        view = sheet[top : top + height].copy()
        view[:28] = bar
        u = i / 25
        swing = 0.5 + np.array([0.35 * np.sin(u + phase[0]), 0.3 * np.cos(1.3 * u + phase[1])])
        outline = [arrow + (swing * (width, height)).astype(np.int32)]
        cv2.fillPoly(view, outline, (255, 255, 255), cv2.LINE_AA)
        cv2.polylines(view, outline, True, (0, 0, 0), 1, cv2.LINE_AA)
        return view

    return moving(show, seconds)


def black(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Black, every frame."""
    frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return moving(lambda i: frame, seconds)


def bars(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Colour bars, as stations show them."""
    tints = np.array([[c * 191 for c in ((7 - k) >> 2 & 1, (7 - k) >> 1 & 1, (7 - k) & 1)]
                      for k in range(8)], np.uint8)  # fmt: skip
    row = np.repeat(tints, SIZE[0] // 8, axis=0)
    frame = np.repeat(row[None], SIZE[1], axis=0)
    return moving(lambda i: frame, seconds)


def narrated(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Slides while somebody speaks who is not seen."""
    from avsafe.testing import sound_only

    if given is not None and given.samples is not None:
        n = sum(block.shape[1] for block in given.samples)
        seconds = min(seconds, n / given.rate_hz)
        return together(slides(rng, seconds, None), given)
    voice = sound_only(seconds, seed=int(rng.integers(1 << 16)))
    return together(slides(rng, seconds, None), voice)


def music_video(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A cartoon with a drum loop under it, in no step with it."""
    from avsafe_detectors.benign.sound import drums

    return together(cartoon(rng, seconds, None), drums(rng, seconds, None))


# ---------------------------------------------------------------- treated


def frozen(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """One frame, held."""
    frame = photo(rng, given)
    return moving(lambda i: frame, seconds)


def ken_burns(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Pan and zoom over a photo: motion without anything that moves."""
    import cv2

    view = seen_by_camera(rng, scene(rng, 960, 540)) if given is None else photo(rng, given)
    height, width = view.shape[:2]
    out = (SIZE[0], round(SIZE[0] * height / width) // 2 * 2)
    centre, drift = rng.uniform(0.42, 0.58, 2), rng.uniform(-0.06, 0.06, 2)
    zoom = sorted(rng.uniform(0.6, 0.85, 2))

    def show(i: int) -> Frame:
        part = min(1.0, i / max(1.0, seconds * 25))
        scale = (zoom[0] + (zoom[1] - zoom[0]) * part) * width / out[0]  # source pixels per pixel
        cx, cy = (centre + drift * part) * (width, height)
        move = np.array([[scale, 0, cx - scale * out[0] / 2], [0, scale, cy - scale * out[1] / 2]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(view, move, out, flags=flags,
                                         borderMode=cv2.BORDER_REFLECT), np.uint8)  # fmt: skip

    return moving(show, seconds)


def doubled(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Every frame twice, at twice the rate."""
    base = clip(rng, seconds, given)
    frames, rate = base.frames, base.frame_rate or RATE

    def start() -> Iterator[Frame]:
        for frame in frames or ():
            yield frame
            yield frame

    count = None if base.frame_count is None else 2 * base.frame_count
    return replace(base, frames=Replay(start), frame_rate=2 * rate, frame_count=count)


def time_lapse(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Every eighth frame, at the same rate."""
    base = clip(rng, 8 * seconds, given)
    frames = base.frames
    count = None if base.frame_count is None else max(1, -(-base.frame_count // 8))
    return replace(
        base, frames=Replay(lambda: islice(iter(frames or ()), 0, None, 8)), frame_count=count
    )


def letterbox(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A clip between black bars."""
    base = clip(rng, seconds, given)
    frames, width, height = base.frames, base.width, base.height
    bar = height // 6

    def start() -> Iterator[Frame]:
        for frame in frames or ():
            boxed = np.zeros((height + 2 * bar, width, 3), np.uint8)
            boxed[bar : bar + height] = frame
            yield boxed

    return replace(base, frames=Replay(start), height=height + 2 * bar)


def recompressed(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A clip after strong blocking: every frame through JPEG at quality 25."""
    import cv2

    base = clip(rng, seconds, given)
    frames = base.frames

    def start() -> Iterator[Frame]:
        for frame in frames or ():
            packed = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 25])[1]
            bgr: Any = cv2.imdecode(packed, cv2.IMREAD_COLOR)
            yield np.ascontiguousarray(bgr[..., ::-1])

    return replace(base, frames=Replay(start))


def three_frames(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A clip of three frames."""
    return clip(rng, float(3 / rate_of(given)), given)


def one_frame(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A clip of one frame."""
    return clip(rng, float(1 / rate_of(given)), given)


def rate_of(given: RawMedia | None) -> Fraction:
    return RATE if given is None or given.frame_rate is None else given.frame_rate


def tiny(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A clip of 16 x 16 pixels."""
    import cv2

    base = clip(rng, seconds, given)
    frames = base.frames

    def start() -> Iterator[Frame]:
        for frame in frames or ():
            small: Any = cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA)
            yield np.asarray(small, np.uint8)

    return replace(base, frames=Replay(start), width=16, height=16)

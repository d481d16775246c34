"""Benign control sets (drawn, diagrams, screens, scanned text, textures) and pictures of our own
generators. Controls are never trained on.

Legend: a picture is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.image import data

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
else:
    Picture = Any

log = logging.getLogger(__name__)
SETS = ("drawn", "diagram", "screen", "scan", "texture")
EACH = 24
PROMPTS = (
    "a red ball bounces on a wooden floor", "a blue cube spins on grass under a cloudy sky",
    "a green cone slides over sand at sunset", "a yellow star falls into the sea at night",
    "a purple cylinder rolls over snow", "two orange balls collide in a city",
    "a white cube rises in a forest", "a black ball orbits a red cube in a desert",
)  # fmt: skip


def generated(kept: Path) -> Iterator[data.Original]:
    """Two frames of each prompt by each of our generators, found by their entry points; kept as a
    file, for they take half a minute."""
    if not kept.is_file():
        made = {one.name: one.picture for one in _generated()}
        np.savez(kept, **made)  # type: ignore[arg-type]  # names are the generators'
    with np.load(kept) as stored:
        for name in stored.files:
            yield data.Original(name, name.partition("#")[0], "ours", True, stored[name])


def _generated() -> Iterator[data.Original]:
    from importlib.metadata import entry_points

    from avsafe.types import GenerationRequest, Principal, Task

    for point in entry_points(group="avsafe.generators"):
        if point.name not in ("world", "two-stage", "one-pass"):
            continue
        made_by = point.load()()
        for number, prompt in enumerate(PROMPTS):
            request = GenerationRequest(
                Principal("trainer"), Task.TEXT_TO_VIDEO, point.name, prompt, seed=number,
                width=512, height=384, duration_s=1.0,
            )  # fmt: skip
            try:
                raw = made_by.generate(request)
                frames = [f for k, f in enumerate(raw.frames or ()) if k in (2, 20)]
            except Exception as error:  # a generator may refuse a size or a wish
                log.info("%s: %s", point.name, error)
                continue
            for k, frame in enumerate(frames):
                name = f"{point.name}_{number}"
                yield data.Original(f"{name}#{k}", name, "ours", True, np.asarray(frame))


def controls(packages: Path) -> Iterator[data.Original]:
    """Pictures that nobody should call generated."""
    for number, one in enumerate(data.drawings(packages)):
        if number < 2 * EACH:
            yield one
    for kind, draw in (("diagram", diagram), ("screen", screen), ("scan", scan),
                       ("texture", texture)):  # fmt: skip
        for number in range(EACH):
            rng = np.random.default_rng(number)
            yield data.Original(f"{kind}_{number}", f"{kind}_{number}", kind, False, draw(rng))


def diagram(rng: np.random.Generator, h: int = 640, w: int = 800) -> Picture:
    """Axes, curves, bars and labels, anti-aliased."""
    import cv2

    out = np.full((h, w, 3), 255, np.uint8)
    cv2.line(out, (60, h - 50), (w - 20, h - 50), (40, 40, 40), 2, cv2.LINE_AA)
    cv2.line(out, (60, h - 50), (60, 20), (40, 40, 40), 2, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 6))):
        colour = tuple(int(v) for v in rng.integers(0, 220, 3))
        if rng.random() < 0.5:
            y = h / 2 + np.cumsum(rng.standard_normal(60)) * 18
            points = np.stack([np.linspace(60, w - 20, 60), np.clip(y, 20, h - 50)], 1)
            cv2.polylines(out, [points.astype(np.int32)], False, colour, 2, cv2.LINE_AA)
        else:
            for x in range(80, w - 40, int(rng.integers(30, 80))):
                top = int(rng.integers(60, h - 60))
                cv2.rectangle(out, (x, top), (x + 18, h - 50), colour, -1)
    for k in range(12):
        place = (int(rng.integers(60, w - 120)), int(rng.integers(30, h - 60)))
        cv2.putText(out, f"label {k}", place, 0, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    return out


def screen(rng: np.random.Generator, h: int = 720, w: int = 960) -> Picture:
    """Windows, buttons and lines of text."""
    import cv2

    out = np.empty((h, w, 3), np.uint8)
    out[:] = rng.integers(200, 256, 3)
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.integers(0, w - 300)), int(rng.integers(0, h - 220))
        right, low = x + int(rng.integers(250, 500)), y + int(rng.integers(180, 400))
        cv2.rectangle(out, (x, y), (right, low), (250, 250, 250), -1)
        cv2.rectangle(
            out, (x, y), (right, y + 26), tuple(int(v) for v in rng.integers(40, 180, 3)), -1
        )
        for row in range(y + 48, min(low, h) - 8, 19):
            words = "".join(rng.choice(list("abcdefghilmnoprstu   "), int(rng.integers(10, 34))))
            cv2.putText(out, words, (x + 10, row), 0, 0.42, (35, 35, 35), 1, cv2.LINE_AA)
    return out


def scan(rng: np.random.Generator, h: int = 800, w: int = 640) -> Picture:
    """Print on uneven paper, slightly turned, with the noise of a scanner."""
    import cv2

    sheet = np.full((h, w), 245, np.uint8)
    for row in range(40, h - 30, int(rng.integers(20, 30))):
        words = "".join(rng.choice(list("abcdefghilmnoprstu   "), 60))
        cv2.putText(sheet, words, (30, row), 2, 0.5, 40, 1, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(-2, 2)), 1.0)
    turned = cv2.warpAffine(sheet, turn, (w, h), flags=cv2.INTER_CUBIC, borderValue=(245,))
    paper = cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32) * 60, (0, 0), 25)
    grain = cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32) * 5, (0, 0), 0.7)
    out = turned.astype(np.float32) + paper + grain
    return np.repeat(np.clip(out, 0, 255).astype(np.uint8)[..., None], 3, 2)


def texture(rng: np.random.Generator, h: int = 640, w: int = 640) -> Picture:
    """High frequencies: noise of a power-law spectrum, gratings, weaves."""
    y, x = np.mgrid[:h, :w].astype(np.float32)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
        f[0, 0] = 1
        white = np.fft.rfft2(rng.standard_normal((h, w)))
        plane = np.fft.irfft2(white / f ** rng.uniform(0.2, 1.2), (h, w))
        plane = plane / plane.std() * 35 + 128
    elif kind == 1:
        a, b = rng.uniform(0.3, 2.6, 2)
        plane = 128 + 50 * np.sin(a * x + 0.4 * y) + 40 * np.sin(b * y - 0.2 * x)
    else:
        a, b = rng.uniform(0.4, 1.4, 2)
        plane = 128 + 60 * np.sign(np.sin(a * x)) * np.abs(np.sin(b * y))
        plane = plane + rng.standard_normal((h, w)) * 6
    tint = rng.uniform(0.6, 1.0, 3)
    return np.asarray(np.clip(plane[..., None] * tint, 0, 255), np.uint8)

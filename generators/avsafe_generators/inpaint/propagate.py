"""A hole filled with what other frames of the clip show of the same place.

For every frame, in this order:
 1. its *zone*, the hole and a ring of known pixels around it, is followed from frame to frame into
    the past and into the future, each pixel until a frame shows it (``Links``); coordinates are
    handed on, never colours, so that a pixel is interpolated once however far it comes from;
 2. the two pictures that this gives are compared with the truth in the ring: the smooth part of the
    difference (light, exposure) is spread into the hole and added (a membrane, as in Poisson
    cloning), the rest is the error by which they are weighted;
 3. the membrane through the hole's edge is a third picture, weighted by its own error in the ring;
    it and the finished frames before it are handed on along the motion, so that what no frame shows
    stands still.

Legend: ``n`` pixels of a zone; x, y in pixels; errors are squared grey levels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Frame
from avsafe_generators.inpaint import motion
from avsafe_generators.inpaint.fill import F32, Hole, continued, smooth, spread
from avsafe_generators.inpaint.texture import grain

WINDOW = 60  # frames: how far into the past and the future a pixel is looked for
CHUNK = 20  # frames that are finished together; more cost memory, fewer cost time
_APART = 1.5  # pixels there and back: more means that the zone's motion isn't the one found there
_MARGIN = 24  # pixels around a zone that the smooth fills may look at
_FLOOR = 4.0  # squared grey levels: noise, below which an error says nothing
_AGE = 40.0  # frames after which the error of a pixel from afar counts double
_STEADY = 0.95  # share of the fill that comes from the frame before, deep inside the hole
_GRAINED = 0.9  # share of the hole that grain laid before must cover
_NEEDED = 0.12  # mean share of smooth fill in the hole: grain begins; twice that, it is whole
_RIM = 4.0  # pixels from the hole's edge where grain begins; twice as far it is whole
_STILL = 0.05  # pixels a frame: less is no motion
_SETTLED = 3.0  # pixels from the hole's edge where half of that share is reached
# How the errors in the ring stand for those in the hole; chosen on seven clips (docs).
_NEAR, _DEEPER = 0.05, 0.3  # of the membrane: at the very edge, and for each ring's width inside
_FARTHER, _UNSEEN = 1.5, 10.0  # of a picture from other frames: factor, and squared grey levels


@dataclass
class Links:
    """Where each of n pixels is seen: frame number (-1: nowhere), and x, y there."""

    source: NDArray[np.int32]
    xy: F32  # (n, 2)


class Slot:
    """A frame in the window with its zone."""

    def __init__(self, number: int, frame: Frame, hole: Hole, before: Slot | None) -> None:
        import cv2

        self.number, self.frame, self.hole = number, frame, hole
        height, width = hole.shape
        self.ring = ring_width(hole)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self.ring + 1,) * 2)
        zone = cv2.dilate(hole.astype(np.uint8), kernel).astype(bool)
        self.empty = not bool(hole.any())
        ys, xs = np.nonzero(zone)
        self.box = (
            (
                max(0, int(ys.min()) - _MARGIN), min(height, int(ys.max()) + 1 + _MARGIN),
                max(0, int(xs.min()) - _MARGIN), min(width, int(xs.max()) + 1 + _MARGIN),
            )
            if not self.empty
            else (0, 1, 0, 1)
        )  # fmt: skip
        top, bottom, left, right = self.box
        self.zone = zone[top:bottom, left:right]
        self.part = hole[top:bottom, left:right]
        rows, columns = np.nonzero(self.zone)
        self.index = np.full(self.zone.shape, -1, np.int32)
        self.index[rows, columns] = np.arange(len(rows), dtype=np.int32)
        self.xy = np.stack([columns + left, rows + top], 1).astype(np.float32)
        self.look = motion.look(frame, hole)
        self.step = motion.step(before.look, self.look) if before is not None else None
        self.past: Links | None = None

    def at(self, xy: NDArray[np.int32]) -> NDArray[np.int32]:
        """The place in the zone's list of whole pixels (n, 2); -1 outside the zone."""
        top, bottom, left, right = self.box
        inside = (xy[:, 0] >= left) & (xy[:, 0] < right) & (xy[:, 1] >= top) & (xy[:, 1] < bottom)
        found = np.full(len(xy), -1, np.int32)
        found[inside] = self.index[xy[inside, 1] - top, xy[inside, 0] - left]
        return found


def ring_width(hole: Hole) -> int:
    """Pixels of the ring: 3 around thin strokes, up to 8 around thick holes."""
    import cv2

    if not hole.any():
        return 3
    padded = np.pad(hole, 1).astype(np.uint8)
    depth = float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max())
    return int(np.clip(round(depth / 3), 3, 8))


def propagate(
    clip: Iterable[tuple[Frame, Hole]], window: int = WINDOW, texture: float = 0.0
) -> Iterator[Frame]:
    """The frames of ``clip`` with their holes filled; pixels outside them come back as they are.

    ``texture`` is the share of grain (``texture.grain``) in what no frame shows. Holds at most
    ``2 * window + CHUNK`` frames. What a frame shows inside its hole is never read.
    """
    source = iter(clip)
    slots: deque[Slot] = deque()
    painter = _Painter(texture)
    done, ended = 0, False
    while True:
        while not ended and (not slots or slots[-1].number < done + CHUNK + window - 1):
            try:
                frame, hole = next(source)
            except StopIteration:
                ended = True
                break
            before = slots[-1] if slots else None
            slots.append(Slot(before.number + 1 if before else 0, frame, hole, before))
            _reach_back(slots, window)
        ready = [slot for slot in slots if done <= slot.number < done + CHUNK]
        if not ready:
            return
        future = _reach_ahead([slot for slot in slots if slot.number >= done], len(ready), window)
        frames = {slot.number: slot.frame for slot in slots}
        for slot, ahead in zip(ready, future, strict=True):
            yield painter.paint(slot, ahead, frames)
        done += len(ready)
        del ready, future, frames, slot  # they hold frames that leave the window
        while slots and slots[0].number < done - window:
            slots.popleft()


def _reach_back(slots: deque[Slot], window: int) -> None:
    """Step 1, past: the links of the newest slot out of those of the slot before it."""
    newest = slots[-1]
    before = slots[-2] if len(slots) > 1 else None
    newest.past = _handed_on(newest, before, before.past if before else None, newest.step, window)


def _reach_ahead(slots: list[Slot], wanted: int, window: int) -> list[Links]:
    """Step 1, future: the links of the first ``wanted`` slots, from the last slot backwards."""
    links: Links | None = None
    found: list[Links] = []
    for place in range(len(slots) - 1, -1, -1):
        after = slots[place + 1] if place + 1 < len(slots) else None
        links = _handed_on(slots[place], after, links, after.step if after else None, window, True)
        if place < wanted:
            found.append(links)
    return found[::-1]


def _handed_on(
    slot: Slot, other: Slot | None, links: Links | None, step: motion.Step | None, window: int,
    ahead: bool = False,
) -> Links:  # fmt: skip
    """Where the pixels of a zone are seen, given where those of its neighbour are."""
    n = len(slot.xy)
    source = np.full(n, -1, np.int32)
    xy = slot.xy.copy()
    if other is None or links is None or step is None or step.cut or slot.empty:
        return Links(source, xy)
    there, back = (step.fore, step.back) if ahead else (step.back, step.fore)
    height, width = slot.hole.shape
    xy = slot.xy + sample(there, slot.xy, step.scale)
    inside = (xy[:, 0] >= 0) & (xy[:, 0] <= width - 1) & (xy[:, 1] >= 0) & (xy[:, 1] <= height - 1)
    whole = np.clip(np.rint(xy), 0, (width - 1, height - 1)).astype(np.int32)
    place = other.at(whole)
    known = inside & (place < 0)
    apart = np.hypot(*(xy + sample(back, xy, step.scale) - slot.xy).T)
    source[known & (apart < _APART)] = other.number
    hidden = inside & (place >= 0)
    at = place[hidden]
    source[hidden] = links.source[at]
    xy[hidden] = links.xy[at] + (xy[hidden] - whole[hidden])
    outside = (xy[:, 0] < 0) | (xy[:, 0] > width - 1) | (xy[:, 1] < 0) | (xy[:, 1] > height - 1)
    source[(np.abs(source - slot.number) > window) | outside] = -1
    return Links(source, xy)


def sample(flow: NDArray[np.float16], xy: F32, scale: float) -> F32:
    """The flow (a, b, 2) at n places of the frame, (n, 2)."""
    at = (xy + 0.5) * scale - 0.5
    return _looked_up(flow.astype(np.float32), at)


def _looked_up(picture: Any, xy: F32, cubic: bool = False) -> F32:
    """A picture (h, w, c) at n places, (n, c) float32."""
    import cv2

    n = len(xy)
    columns = 512
    rows = -(-max(n, 1) // columns)
    maps = np.zeros((rows * columns, 2), np.float32)
    maps[:n] = xy
    values = cv2.remap(
        picture, maps[:, 0].reshape(rows, columns), maps[:, 1].reshape(rows, columns),
        cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return cast(F32, values.reshape(rows * columns, -1)[:n].astype(np.float32))


class _Painter:
    """Steps 2 and 3; keeps the last finished frame and its layer of what was never seen."""

    def __init__(self, texture: float) -> None:
        self._texture = texture  # share of the grain that is added to smooth fills
        self._grain: F32 | None = None  # as it was laid, (h, w, 3)
        self._laid: Hole  # the hole that it was laid for
        self._drift = np.zeros(2)  # x, y that the picture has moved since, pixels
        self._last: F32 | None = None  # the last frame as painted, (h, w, 3)
        self._layer: F32 | None = None  # the last frame with the steady fill in its hole

    def paint(self, slot: Slot, ahead: Links, frames: dict[int, Frame]) -> Frame:
        frame = slot.frame.astype(np.float32)
        if slot.empty:
            self._last = self._layer = frame
            self._grain = None
            return slot.frame
        top, bottom, left, right = slot.box
        part = frame[top:bottom, left:right]
        assert slot.past is not None  # noqa: S101 - set when the slot entered the window
        pictures, errors = [], []
        for links in (slot.past, ahead):
            picture, error = _seen(slot, links, part, frames)
            pictures.append(picture)
            errors.append(error)
        steady, error = self._steady(slot, part)
        pictures.append(steady)
        errors.append(error)
        weights = np.stack([1.0 / (error + _FLOOR) for error in errors]) ** 1.5  # (3, h, w)
        weights /= weights.sum(0)
        mixed = (np.stack(pictures) * weights[..., None]).sum(0)
        if self._texture:
            # at the edge, and all through thin strokes, the surroundings still say what is there
            share = weights[2] * np.clip((_depth(slot.part) - _RIM) / _RIM, 0, 1)
            # where other frames show most of it grain is not worth its cost; no sudden change
            amount = float(np.clip(share[slot.part].mean() / _NEEDED - 1, 0, 1)) * self._texture
            if amount:
                mixed += amount * share[..., None] * self._grained(slot, frame, mixed)
        result = slot.frame.copy()
        inside = result[top:bottom, left:right]
        inside[slot.part] = np.clip(mixed[slot.part] + 0.5, 0, 255).astype(np.uint8)
        self._layer = frame.copy()
        self._layer[top:bottom, left:right][slot.part] = steady[slot.part]
        self._last = result.astype(np.float32)
        return result

    def _grained(self, slot: Slot, frame: F32, mixed: F32) -> F32:
        """Grain for the box, (h, w, 3): laid once, then shifted as a whole with the camera, so that
        it neither swims nor wears away; where it no longer covers the hole, more is laid."""
        import cv2

        top, bottom, left, right = slot.box
        inside = slot.part
        height, width = slot.hole.shape
        carried, laid = np.zeros_like(frame), np.zeros_like(slot.hole)
        if self._grain is not None and slot.step is not None and not slot.step.cut:
            way = np.median(slot.step.back.reshape(-1, 2).astype(np.float32), axis=0)
            self._drift = self._drift + np.where(np.abs(way) < _STILL, 0.0, way)
            x, y = np.round(self._drift)
            shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
            size = (width, height)
            carried = np.asarray(
                cv2.warpAffine(self._grain, shift, size, flags=cv2.INTER_NEAREST), np.float32
            )
            moved = cv2.warpAffine(
                self._laid.astype(np.uint8), shift, size, flags=cv2.INTER_NEAREST
            )
            laid = moved > 0
        missing = slot.hole & ~laid
        if missing.sum() > (1 - _GRAINED) * slot.hole.sum():
            filled = frame.copy()
            filled[top:bottom, left:right][inside] = mixed[inside]
            known = filled + np.where(slot.hole[..., None], carried, 0.0)
            carried = np.where(missing[..., None], grain(known, filled, missing), carried)
            self._grain, self._laid = carried.astype(np.float32), laid | missing
            self._drift = np.zeros(2)
        return carried[top:bottom, left:right] * inside[..., None]

    def _steady(self, slot: Slot, part: F32) -> tuple[F32, F32]:
        """The membrane through the hole's edge, mostly as it was in the frame before."""
        fresh = continued(part, slot.part)
        ring = slot.zone & ~slot.part
        guess = smooth(part, slot.zone)  # as if the ring were not known either
        error = np.square(guess - part).mean(2)
        depth = _depth(slot.part)
        spread_error = spread(error[..., None], ring.astype(np.float32))[..., 0]
        grown = spread_error * (_NEAR + _DEEPER * depth / slot.ring)
        if self._layer is not None and slot.step is not None and not slot.step.cut:
            left, top = slot.box[2], slot.box[0]
            places = slot.xy
            before = places + sample(slot.step.back, places, slot.step.scale)
            height, width = slot.hole.shape
            inside = (
                (before[:, 0] >= 0) & (before[:, 0] <= width - 1)
                & (before[:, 1] >= 0) & (before[:, 1] <= height - 1)
            )  # fmt: skip
            kept = _looked_up(self._layer, before)
            rows, columns = places[:, 1].astype(int) - top, places[:, 0].astype(int) - left
            held = _STEADY * depth[rows, columns] / (depth[rows, columns] + _SETTLED)
            share = (held * inside)[:, None]
            fresh[rows, columns] += share * (kept - fresh[rows, columns])
        return fresh, cast(F32, grown.astype(np.float32))


def _seen(slot: Slot, links: Links, part: F32, frames: dict[int, Frame]) -> tuple[F32, F32]:
    """Step 2 for one direction: the picture (h, w, 3) of the box, and its expected error (h, w)."""
    import cv2

    colours = np.zeros((len(slot.xy), 3), np.float32)
    found = links.source >= 0
    for number in np.unique(links.source[found]):
        here = links.source == number
        colours[here] = _looked_up(frames[int(number)], links.xy[here], cubic=True)
    left, top = slot.box[2], slot.box[0]
    rows, columns = slot.xy[:, 1].astype(int) - top, slot.xy[:, 0].astype(int) - left
    picture = part.copy()
    picture[rows[found], columns[found]] = colours[found]
    seen = np.zeros(slot.zone.shape, bool)
    seen[rows[found], columns[found]] = True
    ring = seen & ~slot.part
    error = np.full(slot.zone.shape, 1e6, np.float32)
    if not ring.any():
        error[seen] = 2e3  # nothing to test it by
        return picture, error
    difference = np.clip(part - picture, -64, 64) * ring[..., None]
    sigma = max(2.0, slot.ring / 2)
    weight = ring.astype(np.float32)
    total = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), sigma)
    share = cv2.GaussianBlur(weight, (0, 0), sigma)
    light = total / np.maximum(share, 1e-3)[..., None]
    offset = spread(light.astype(np.float32), weight)
    rest = np.square(difference - light).mean(2) + 0.25 * np.square(light).mean(2)
    expected = spread(rest[..., None].astype(np.float32), weight)[..., 0]
    age = np.zeros(slot.zone.shape, np.float32)
    age[rows, columns] = np.abs(links.source - slot.number) / _AGE
    inside = seen & slot.part
    picture[inside] += offset[inside]
    error[seen] = (_FARTHER * expected * (1.0 + age) + _UNSEEN)[seen]
    return picture, error


def _depth(hole: Hole) -> F32:
    """Pixels to the hole's edge, (h, w)."""
    import cv2

    return cast(F32, cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3))

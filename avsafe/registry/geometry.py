"""Find a crop, a letterbox or a mirror image: which part of the query is the registered middle?

A registered fingerprint keeps, beside the hash of the whole picture, the hash of its middle (60 %
of width and height). A query still has small pictures, so any part of it can be hashed: we look for
the part whose hashes are those of the registered middle. No picture is ever stored.

Legend: a box is (x, y, w, h) in shares of the query's width and height; ``m`` keyframes of the
query, ``r`` registered frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from avsafe.registry.fingerprint import HASHED_SIDE, MIN_DETAIL, Fingerprint, picture_hash

Box = tuple[float, float, float, float]

LIMIT = 0.16  # crops and letterboxes: at most 0.13; other clips: at least 0.23
MIDDLE = 0.6  # share of width and height that the registered middle covers
COARSE_FRAMES = 2
FINE_FRAMES = 8
STARTS = 4  # coarse candidates that are refined
CROP_SIDES = (0.60, 0.67, 0.75, 0.83, 0.92, 1.0)  # 0.6 whole picture .. 1.0 cut down to the middle
PADDED_SIDES = (0.40, 0.46, 0.53)  # letterbox or pillarbox, always centred
POSITION_STEP = 0.06  # the hash still recognises a part that is off by this
WHOLE: Box = (0.2, 0.2, MIDDLE, MIDDLE)  # neither cropped nor padded
STEPS = (0.03, 0.015, 0.008)


@dataclass(frozen=True)
class Found:
    distance: float
    box: Box
    mirrored: bool
    q_bits: NDArray[np.bool_]  # (n, 256) of the part, in each keyframe
    r_bits: NDArray[np.bool_]  # (n, 256) of the registered middle at the same moment

    @property
    def what(self) -> str:
        w, h = self.box[2:]
        wide, high = MIDDLE / w, MIDDLE / h  # of the registered picture, visible in the query
        words = ["mirroring"] if self.mirrored else []
        if min(wide, high) < 0.97:
            words.append(f"a crop to {min(wide, 1.0):.0%} x {min(high, 1.0):.0%}")
        if max(wide, high) > 1.03:
            words.append("bars")
        return " and ".join(words) or "a small shift"


def search(query: Fingerprint, registered: Fingerprint) -> Found:
    """The best part of the query against the registered middles; distance 1 when none is usable."""
    usable = np.flatnonzero(query.thumb_quality() >= MIN_DETAIL)
    middles = np.flatnonzero(registered.middle_quality >= MIN_DETAIL)
    none = np.zeros((0, 256), bool)
    best = Found(1.0, (0.0, 0.0, 1.0, 1.0), False, none, none)
    if not len(usable) or not len(middles):
        return best
    fine = usable[np.unique(np.linspace(0, len(usable) - 1, FINE_FRAMES).round().astype(int))]
    target = _Target(registered.middles[middles], registered.times_ms[middles])
    for mirrored in (False, True):
        thumbs = query.thumbs[:, :, ::-1] if mirrored else query.thumbs
        coarse = fine[:: max(1, len(fine) // COARSE_FRAMES)][:COARSE_FRAMES]
        ranked = sorted(
            (target.distance(thumbs[coarse], query.thumb_times_ms[coarse], box), box)
            for box in _grid()
        )
        for start in [WHOLE, *(box for _, box in ranked[:STARTS])]:
            distance, box = _descend(target, thumbs[fine], query.thumb_times_ms[fine], start)
            if distance < best.distance:
                bits = target.matched(thumbs[usable], query.thumb_times_ms[usable], box)
                best = Found(distance, box, mirrored, *bits)
        if best.distance <= LIMIT:
            break
    return best


class _Target:
    """Registered middles as signs, for a matrix product."""

    def __init__(self, middles: NDArray[np.uint8], times_ms: NDArray[np.int32]) -> None:
        self._bits = np.unpackbits(middles, axis=1).astype(bool)
        self._signs = self._bits.astype(np.float32) * 2 - 1
        self._times_ms = times_ms.astype(float)

    def distance(self, thumbs: NDArray[np.uint8], times_ms: NDArray[np.int32], box: Box) -> float:
        """Mean share of differing bits of one box over keyframes, at the best offset in time."""
        return self._align(_part_bits(thumbs, box), times_ms)[0]

    def matched(
        self, thumbs: NDArray[np.uint8], times_ms: NDArray[np.int32], box: Box
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(n, 256) bits of the part and of the registered middles at the same moments."""
        bits = _part_bits(thumbs, box)
        _, index, near = self._align(bits, times_ms)
        return bits[near], self._bits[index[near]]

    def _align(
        self, bits: NDArray[np.bool_], times_ms: NDArray[np.int32]
    ) -> tuple[float, NDArray[np.intp], NDArray[np.bool_]]:
        alike = (bits.astype(np.float32) * 2 - 1) @ self._signs.T / 256  # (m, r)
        relative = times_ms - times_ms[0]
        partner = np.abs(
            self._times_ms[:, None, None] + relative[None, :, None] - self._times_ms[None, None, :]
        )
        index = partner.argmin(2)  # (offsets, m)
        near = partner.min(2) <= 130  # ms: a keyframe's neighbours are 125 ms apart
        whole = near.all(1)
        if not whole.any():
            whole = near.sum(1) == near.sum(1).max()
        score = np.where(near, alike[np.arange(len(bits))[None, :], index], 0.0).sum(1)
        score = np.where(whole, score / np.maximum(near.sum(1), 1), -1.0)
        top = int(score.argmax())
        return float((1 - score[top]) / 2), index[top], near[top]


def _part_bits(thumbs: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
    hashes = np.stack([hash_part(thumb, box) for thumb in thumbs])
    return np.unpackbits(hashes, axis=1).astype(bool)


def hash_part(thumb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The picture hash of a part of a small picture; outside it the edge repeats."""
    import cv2

    side = thumb.shape[0]
    x, y, w, h = (value * side for value in box)
    scale_x, scale_y = w / HASHED_SIDE, h / HASHED_SIDE
    inverse = np.array(
        [
            [scale_x, 0, x + scale_x / 2 - 0.5],
            [0, scale_y, y + scale_y / 2 - 0.5],
        ]
    )
    part = cv2.warpAffine(
        np.ascontiguousarray(thumb),
        inverse,
        (HASHED_SIDE, HASHED_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return picture_hash(np.asarray(part, np.uint8))


def _grid() -> list[Box]:
    spans: list[tuple[float, float]] = []
    for side in CROP_SIDES:
        room = 1.0 - side
        n = int(np.ceil(room / POSITION_STEP)) + 1 if room > 0 else 1
        spans.extend((float(start), side) for start in np.linspace(0.0, room, n))
    spans.extend(((1 - side) / 2, side) for side in PADDED_SIDES)
    return [(x, y, w, h) for (x, w), (y, h) in product(spans, spans) if 0.55 < w / h < 1.8]


def _descend(
    target: _Target, thumbs: NDArray[np.uint8], times_ms: NDArray[np.int32], start: Box
) -> tuple[float, Box]:
    """Coordinate descent with shrinking steps."""
    best, box = target.distance(thumbs, times_ms, start), start
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for axis, sign in product(range(4), (-step, step)):
                moved = list(box)
                moved[axis] += sign
                if min(moved[2:]) < 0.35 or max(moved[2:]) > 1.05:
                    continue
                other = (moved[0], moved[1], moved[2], moved[3])
                distance = target.distance(thumbs, times_ms, other)
                if distance < best:
                    best, box, improved = distance, other, True
    return best, box

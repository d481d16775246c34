"""Are two fingerprints of one clip? Temporal alignment, then Hamming statistics of what overlaps.

Legend: ``q`` frames of the query, ``r`` registered frames, ``k`` sound items; a distance is a share
of differing bits: 0 the same, 0.5 unrelated.

Three tests, with limits set on real clips (docs/registry.md gives the rates):
1. the whole pictures, at the best offset in time, differ in few bits;
2. where the pictures move, they move alike: two takes of one scene share most bits, and not those
   that change;
3. when 1 fails, parts of the query's pictures are tried against the middle of the registered ones
   (``geometry``), which finds crops, letterboxes and mirror images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsafe.registry import geometry
from avsafe.registry.fingerprint import MIN_DETAIL, Fingerprint

PICTURE_LIMIT = 0.20  # copies: at most 0.19, in fast motion off the grid; other scenes: 0.35
MOTION_LIMIT = 0.28  # copies: at least 0.38; two takes of a scene: at most 0.21
MOTION_SEEN = (
    0.06  # share of bits that change over the clip; below it there is no motion to compare
)
SOUND_LIMIT = 0.20  # copies: at most 0.16; other clips: at least 0.24, over 8 items
MIN_OVERLAP = 0.6  # of the shorter of the two
MIN_SOUND_ITEMS = 8  # one second; the first item needs 2.6 s of sound
MIN_DISTINCT_ITEMS = 6  # silence and steady tones repeat one item
FRAMES_COMPARED = 64  # of the shorter one, evenly spaced: keeps the cost linear in the longer one
OFFSET_STEP_MS = 62.5
TOLERANCE_MS = 70.0  # half a sampling period, and rounding


@dataclass(frozen=True)
class Agreement:
    agrees: bool
    similarity: float  # 0 unrelated .. 1 the same bits
    n_compared: int  # frames, or sound items where sound decided
    reason: str


def compare(
    query: Fingerprint, registered: Fingerprint | None, *, search: bool = True
) -> Agreement:
    """Whether ``query`` is ``registered``, a part of it, or contains it.

    Pictures decide where both have pictures, sound otherwise. What could not be computed, or holds
    too little to tell clips apart, never counts as agreement. ``search`` False leaves out test 3.
    """
    if registered is None:
        return Agreement(False, 0.0, 0, "no fingerprint is registered")
    if query.n_frames and registered.n_frames:
        return _pictures(query, registered, search=search)
    if query.n_sound and registered.n_sound:
        return _sounds(query.sound, registered.sound)
    missing = query.sound_missing or registered.sound_missing
    return Agreement(False, 0.0, 0, missing or "the two have neither picture nor sound in common")


# ---------------------------------------------------------------- pictures


def _pictures(query: Fingerprint, registered: Fingerprint, *, search: bool) -> Agreement:
    q_keep, r_keep = query.quality >= MIN_DETAIL, registered.quality >= MIN_DETAIL
    if not q_keep.any() or not r_keep.any():
        return Agreement(False, 0.0, 0, "too little content: the pictures are flat")
    q_bits, r_bits = _unpack(query.hashes[q_keep]), _unpack(registered.hashes[r_keep])
    q_ms, r_ms = query.times_ms[q_keep], registered.times_ms[r_keep]
    pairs = align(q_bits, q_ms, r_bits, r_ms)
    plain = judge(q_bits[pairs[:, 0]], r_bits[pairs[:, 1]], PICTURE_LIMIT, "")
    if plain.agrees or not search or not len(query.thumbs):
        return plain
    found = geometry.search(query, registered)
    searched = judge(found.q_bits, found.r_bits, geometry.LIMIT, f" after {found.what}")
    return searched if searched.agrees else plain


def judge(
    q_bits: NDArray[np.bool_], r_bits: NDArray[np.bool_], limit: float, how: str
) -> Agreement:
    """Tests 1 and 2 on (n, 256) bits of frames that belong together."""
    n = len(q_bits)
    if not n:
        return Agreement(False, 0.0, 0, "the pictures do not overlap in time")
    distance, motion, moving = distances(q_bits, r_bits)
    share = f"{distance:.0%} of bits differ over {n} frames"
    if distance > limit:
        return Agreement(False, _similarity(distance), n, f"pictures differ: {share}")
    if moving and motion < MOTION_LIMIT:
        words = f"one scene at other moments: {share}, and they do not move alike ({motion:.2f})"
        return Agreement(False, _similarity(distance), n, words)
    return Agreement(True, _similarity(distance), n, f"pictures agree{how}: {share}")


def align(
    q_bits: NDArray[np.bool_],
    q_ms: NDArray[np.int32],
    r_bits: NDArray[np.bool_],
    r_ms: NDArray[np.int32],
) -> NDArray[np.intp]:
    """(n, 2) indices of frames that belong together at the offset in time that fits best."""
    swap = len(q_ms) > len(r_ms)
    short, short_ms, long, long_ms = (
        (r_bits, r_ms, q_bits, q_ms) if swap else (q_bits, q_ms, r_bits, r_ms)
    )
    chosen = np.unique(np.linspace(0, len(short) - 1, FRAMES_COMPARED).round().astype(int))
    alike = _signs(short[chosen]) @ _signs(long).T / short.shape[1]  # 1 the same, 0 unrelated
    times = short_ms[chosen].astype(float)
    first, last = long_ms[0] - times[-1], long_ms[-1] - times[0]
    offsets = np.arange(first, last + OFFSET_STEP_MS, OFFSET_STEP_MS)
    offsets = np.concatenate([offsets, [0.0, long_ms[0] - times[0], long_ms[-1] - times[-1]]])
    spacing = float(np.median(np.diff(long_ms))) if len(long_ms) > 1 else 0.0
    tolerance = max(TOLERANCE_MS, spacing / 2 + 1)
    best: tuple[float, NDArray[np.intp]] = (-1.0, np.zeros((0, 2), np.intp))
    need = max(1, int(np.ceil(MIN_OVERLAP * len(chosen))))
    for block in np.array_split(offsets, max(1, len(offsets) // 512)):
        wanted = times[None, :] + block[:, None]  # (offsets, chosen)
        right = np.clip(np.searchsorted(long_ms, wanted), 0, len(long_ms) - 1)
        left = np.clip(right - 1, 0, None)
        nearer = np.abs(long_ms[left] - wanted) < np.abs(long_ms[right] - wanted)
        partner = np.where(nearer, left, right)
        valid = np.abs(long_ms[partner] - wanted) <= tolerance
        count = valid.sum(1)
        score = np.where(valid, alike[np.arange(len(chosen))[None, :], partner], 0.0).sum(1)
        score = np.where(count >= need, score / np.maximum(count, 1), -1.0)
        top = int(score.argmax())
        if score[top] > best[0]:
            keep = valid[top]
            best = (float(score[top]), np.stack([chosen[keep], partner[top][keep]], axis=1))
    return best[1][:, ::-1] if swap else best[1]


def distances(q: NDArray[np.bool_], r: NDArray[np.bool_]) -> tuple[float, float, bool]:
    """Share of differing bits; how much the changing bits agree (0..1); whether enough change."""
    q_moves, r_moves = q ^ (q.mean(0) > 0.5), r ^ (r.mean(0) > 0.5)
    moved = max(q_moves.mean(), r_moves.mean())
    both = np.sqrt(float(q_moves.sum()) * float(r_moves.sum()))
    motion = float((q_moves & r_moves).sum()) / both if both else 0.0
    return float((q ^ r).mean()), motion, bool(moved >= MOTION_SEEN)


def _unpack(hashes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(hashes, axis=1).astype(bool)


def _signs(bits: NDArray[np.bool_]) -> NDArray[np.float32]:
    return bits.astype(np.float32) * 2 - 1


def _similarity(distance: float) -> float:
    return float(max(0.0, 1 - 2 * distance))


# ---------------------------------------------------------------- sound


def _sounds(q: NDArray[np.uint32], r: NDArray[np.uint32]) -> Agreement:
    least = max(MIN_SOUND_ITEMS, int(MIN_OVERLAP * min(len(q), len(r))))
    if min(len(q), len(r)) < MIN_SOUND_ITEMS:
        return Agreement(False, 0.0, 0, "too little content: under 4 s of sound")
    best, q_part = 1.0, q[:0]
    for shift in range(least - len(q), len(r) - least + 1):
        a, b = q[max(0, -shift) : len(r) - shift], r[max(0, shift) : shift + len(q)]
        distance = float(np.bitwise_count(a ^ b).mean() / 32)
        if distance < best:
            best, q_part = distance, a
    n = len(q_part)
    if len(np.unique(q_part)) < MIN_DISTINCT_ITEMS:
        return Agreement(False, 0.0, n, "too little content: the sound is silent or steady")
    agrees = best <= SOUND_LIMIT
    words = "agree" if agrees else "differ"
    return Agreement(
        agrees, _similarity(best), n, f"sounds {words}: {best:.0%} of bits differ over {n} items"
    )

"""Are two fingerprints of one clip? Best temporal alignment, then Hamming statistics.

Legend: ``t`` frames compared, ``k`` sound items compared; a distance is a share of differing bits,
0 the same, 0.5 unrelated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsafe.registry.fingerprint import FRAMES_PER_S, Fingerprint

PICTURE_LIMIT = 0.30
SOUND_LIMIT = 0.33
MIN_DETAIL = 12
MIN_SOUND_ITEMS = 16  # 2 s


@dataclass(frozen=True)
class Agreement:
    agrees: bool
    similarity: float  # 0 unrelated .. 1 the same bits
    n_compared: int  # frames, or sound items where the sound decided
    reason: str


def compare(query: Fingerprint, registered: Fingerprint | None) -> Agreement:
    """Whether ``query`` is ``registered``, or a part of it."""
    if registered is None:
        return Agreement(False, 0.0, 0, "no fingerprint is registered")
    if query.n_frames and registered.n_frames:
        return _pictures(query, registered)
    if query.n_sound and registered.n_sound:
        return _sounds(query, registered)
    missing = query.sound_missing or registered.sound_missing
    return Agreement(False, 0.0, 0, missing or "the two have neither picture nor sound in common")


def _pictures(query: Fingerprint, registered: Fingerprint) -> Agreement:
    q_keep, r_keep = query.quality >= MIN_DETAIL, registered.quality >= MIN_DETAIL
    if not q_keep.any() or not r_keep.any():
        return Agreement(False, 0.0, 0, "too little content: the pictures are flat")
    q, r = query.hashes[q_keep], registered.hashes[r_keep]
    q_time, r_time = query.times_ms[q_keep], registered.times_ms[r_keep]
    distance = np.bitwise_count(q[:, None, :] ^ r[None, :, :]).sum(-1) / 256.0  # (tq, tr)
    best, n = 1.0, 0
    period = 1000 / FRAMES_PER_S
    shifts = np.unique(np.rint((r_time[None, :] - q_time[:, None]) / period).astype(int))
    for shift in shifts:
        nearest = np.abs(q_time[:, None] + shift * period - r_time[None, :])
        partner = nearest.argmin(1)
        valid = nearest[np.arange(len(q)), partner] <= period / 2 + 1
        count = int(valid.sum())
        if count < min(len(q), len(r)) * 0.6 or not count:
            continue
        mean = float(distance[np.arange(len(q)), partner][valid].mean())
        if mean < best:
            best, n = mean, count
    return _judge("pictures", best, PICTURE_LIMIT, n, "frames")


def _sounds(query: Fingerprint, registered: Fingerprint) -> Agreement:
    q, r = query.sound, registered.sound
    least = max(MIN_SOUND_ITEMS, int(0.6 * min(len(q), len(r))))
    if min(len(q), len(r)) < MIN_SOUND_ITEMS:
        return Agreement(False, 0.0, 0, "too little content: under 2 s of sound to compare")
    best, n = 1.0, 0
    for shift in range(least - len(q), len(r) - least + 1):
        a = q[max(0, -shift) : len(r) - shift]
        b = r[max(0, shift) : shift + len(q)]
        mean = float(np.bitwise_count(a ^ b).mean() / 32)
        if mean < best:
            best, n = mean, len(a)
    return _judge("sounds", best, SOUND_LIMIT, n, "items")


def _judge(what: str, distance: float, limit: float, n: int, unit: str) -> Agreement:
    if n == 0:
        return Agreement(False, 0.0, 0, f"the {what} do not overlap")
    similarity = max(0.0, 1 - 2 * distance)
    agrees = distance <= limit
    words = "agree" if agrees else "differ"
    return Agreement(
        agrees, similarity, n, f"{what} {words}: {distance:.0%} of bits differ over {n} {unit}"
    )

"""What happens to files: cut short, bits flipped, only the beginning left."""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator


def cut_short(data: bytes, rng: Rng) -> bytes:
    """The first half; an MP4 of ours has its index at the end, so it is lost.

    >>> len(cut_short(bytes(100), np.random.default_rng(0)))
    50
    """
    return data[: len(data) // 2]


def flipped(data: bytes, rng: Rng) -> bytes:
    """One byte in 400 of the middle is another one; the index at the end and the head stay."""
    changed = np.frombuffer(data, np.uint8).copy()
    low, high = min(len(data), 64), max(64, len(data) * 3 // 4)
    places = rng.integers(low, high, max(1, (high - low) // 400))
    changed[places[places < len(data)]] ^= rng.integers(1, 256, int((places < len(data)).sum()),
                                                        np.uint8)  # fmt: skip
    return changed.tobytes()


def header_only(data: bytes, rng: Rng) -> bytes:
    """The first 40 bytes: enough to name the format."""
    return data[:40]


def zeroed(data: bytes, rng: Rng) -> bytes:
    """The second half of the bytes is zero, as after a broken download."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)

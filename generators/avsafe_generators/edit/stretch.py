"""Sound made longer or shorter without changing its pitch (WSOLA).

Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high
quality time-scale modification of speech", ICASSP 1993: pieces are overlapped and added at the new
pace, each taken from where it continues the last one best.

Legend: sound is (c, n) float32.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from avsafe_generators.edit.clip import F32

_PIECE_S = 0.040  # s: two periods of the lowest voice
_SEEK_S = 0.010  # s: how far a piece may lie from its time


def stretched(sound: F32, factor: float, rate_hz: int) -> F32:
    """Sound at ``factor`` times its speed: (c, n) -> (c, round(n / factor)).

    What is heard at t is heard at t / factor, within 20 ms (the seek and half a piece).

    >>> stretched(np.zeros((1, 1000), np.float32), 2.0, 8000).shape
    (1, 500)
    """
    channels, n = sound.shape
    total = round(n / factor)
    hop = max(8, round(_PIECE_S * rate_hz / 2))
    piece, seek = 2 * hop, max(1, round(_SEEK_S * rate_hz))
    if n < 2 * piece or factor == 1:
        at = np.clip(np.arange(total) * factor, 0, max(0, n - 1)).astype(int)
        return cast(F32, sound[:, at] if n else np.zeros((channels, total), np.float32))
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(piece) / piece)).astype(np.float32)
    padded = np.pad(sound, ((0, 0), (hop + seek, piece + 2 * seek + hop)))
    mono = padded.mean(0)
    out = np.zeros((channels, total + 2 * piece), np.float32)
    weight = np.zeros(total + 2 * piece, np.float32)
    offset = hop + seek  # of the sound in ``padded``
    last = 0
    for count, start in enumerate(range(0, total + hop, hop)):
        centre = round(start * factor)  # the middle of the piece, in time of the sound
        begin = int(np.clip(centre - hop + offset, seek, padded.shape[1] - piece - seek))
        if count:
            natural = mono[last + hop : last + hop + piece]
            around = mono[begin - seek : begin + seek + piece]
            if natural.size == piece:
                likeness = np.correlate(around[::2], natural[::2], "valid")
                energy = np.convolve(around[::2] ** 2, np.ones(natural[::2].size), "valid")
                begin += 2 * int(np.argmax(likeness / np.sqrt(energy + 1e-6))) - seek
        begin = int(np.clip(begin, 0, padded.shape[1] - piece))
        out[:, start : start + piece] += padded[:, begin : begin + piece] * window
        weight[start : start + piece] += window
        last = begin
    out /= np.maximum(weight, 0.1)
    return cast(F32, np.clip(out[:, hop : hop + total], -1, 1))

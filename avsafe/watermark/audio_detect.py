"""The half of audio detection that holds the key: log-spectrum -> payload, outside the sandbox.

Legend: ``t`` frames of 24 ms, ``b`` bins, ``f`` the 104 chip bands, ``s`` the 108 slots of a period
(quarter chips), ``o`` offsets (one per slot), ``g`` spans of about 10 s.

The null hypothesis is exact, because the key is random and the media does not know it. For fixed
media the normalised sync correlation is a Rademacher sum, so one try exceeds ``z`` with probability
<= exp(-z^2 / 2) (Hoeffding 1963, theorem 2), and ``n`` tries with <= n exp(-z^2 / 2), however they
depend on one another. The data cells have signs of their own, so whatever the sync says a CRC32
then fits by chance in 2^-32 of the tries. Hence P(false mark) <= n exp(-z^2 / 2) 2^-32 per file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UnreadableMedia
from avsafe.types import Detection, Features
from avsafe.watermark import audio_chips as chips
from avsafe.watermark import channel
from avsafe.watermark.audio_features import (
    BINS,
    FIRST_BIN,
    FRAME_S,
    FRAMES_PER_CHIP,
    LEVELS,
    MAX_FRAMES,
    to_db,
)

JOINT_P = 1e-11  # the largest p-value that counts as a mark
SLOTS = chips.ROWS * FRAMES_PER_CHIP  # offsets tried per period: 24 ms apart
MIN_FRAMES = SLOTS // 2  # 1.3 s; with less, not all coded bits have been heard
SPAN_FRAMES = 4 * SLOTS  # 10.4 s: how long a speed error of 0.25 % leaves the chips in place
MAX_SPANS = 6  # searched over the speed grid; of a longer file, the ones with most sound
GRID_STEP, GRID_REACH = 0.005, 0.06
_TRIES_PER_ROUND = 24  # sync peaks handed to the decoder


@dataclass(frozen=True)
class _Peak:
    """One sync peak; ``pitch`` and ``tempo``: what the file was played at (1.05: 5 % too high)."""

    z: float
    first: int  # span of frames
    last: int
    pitch: float
    tempo: float
    offset: int
    cells: NDArray[np.float64]  # (27, 104) aligned with the pattern


def detect(features: Features, key: bytes) -> Detection:
    """Look for a mark of ``key``.

    Returns ``present`` only if the CRC32 fits, the codeword correlates and the joint p-value is at
    most 1e-11. Raises UnreadableMedia when the features have not the form the extractor gives.
    """
    levels = _checked(features)
    pattern = chips.layout(key)
    if len(levels) < MIN_FRAMES:
        return _absent(1.0, 0, f"{len(levels) * FRAME_S:.1f} s of sound is too short to search")
    if not levels.any():
        return _absent(1.0, 0, "the sound is silent between 0.55 and 5.8 kHz")
    values, _ = chips.whiten(to_db(levels), FRAMES_PER_CHIP)
    search = _Search(values, pattern)
    for peaks in search.rounds():
        found = search.decode(peaks)
        if found is not None:
            return found
    best = search.best_z
    return _absent(_sync_p(best, search.tests), search.tests, "no codeword", best)


def _checked(features: Features) -> NDArray[np.uint8]:
    levels = features.get(LEVELS) if hasattr(features, "get") else None
    if not isinstance(levels, np.ndarray):
        raise UnreadableMedia(
            f"The audio features have no array {LEVELS!r}: analyse the file again."
        )
    if levels.dtype != np.uint8 or levels.ndim != 2 or levels.shape[1] != BINS:
        raise UnreadableMedia(
            f"The array {LEVELS!r} is (t, {BINS}) uint8, not {levels.shape} {levels.dtype}: "
            "analyse the file again."
        )
    if len(levels) > MAX_FRAMES:
        raise UnreadableMedia(
            f"The array {LEVELS!r} has {len(levels)} frames, more than the {MAX_FRAMES} that the "
            "extractor gives: analyse the file again."
        )
    return levels


def _sync_p(z: float, tests: int) -> float:
    return float(min(1.0, tests * np.exp(-0.5 * max(z, 0.0) ** 2)))


def _absent(p_value: float, tests: int, reason: str, z: float = 0.0) -> Detection:
    return Detection(
        False, None, p_value, {"reason": reason, "sync_z": round(z, 2), "tests": tests}
    )


class _Search:
    """Tries offsets, spans, pitches and tempi; counts every try."""

    def __init__(self, values: NDArray[np.float64], pattern: chips.Layout) -> None:
        self.values = values
        self.pattern = pattern
        self.tests = 0
        self.best_z = 0.0
        template = np.zeros((SLOTS, chips.BANDS))
        template[::FRAMES_PER_CHIP] = pattern.sign * pattern.sync
        self._template = np.conj(np.fft.rfft(template, axis=0))
        self._mask = np.conj(np.fft.rfft(np.abs(template), axis=0))
        self._seen: list[_Peak] = []

    def rounds(self) -> Iterator[list[_Peak]]:
        """Ever wider searches; the caller stops at the first success."""
        total = len(self.values)
        spans = self._spans()
        yield self._peaks([(0, total), *spans], [(1.0, 1.0)])
        steps = [GRID_STEP * k for k in range(1, round(GRID_REACH / GRID_STEP) + 1)]
        rates = [1.0 + sign * step for step in steps for sign in (1, -1)]
        # played too fast or slow; stretched at the same pitch; shifted at the same length
        grid = [pair for r in rates for pair in ((r, r), (1.0, r), (r, 1.0))]
        loud = sorted(spans, key=self._energy, reverse=True)[:MAX_SPANS]
        yield self._peaks(sorted(loud), grid)
        if total > SPAN_FRAMES:  # a longer file: follow the best guesses over all of it, finely
            fine = [
                (peak.pitch if peak.pitch == 1.0 else peak.pitch + d, peak.tempo + d)
                for peak in self._seen[:3]
                for d in np.linspace(-0.0024, 0.0024, 13)
            ]
            yield self._peaks([(0, total)], fine)

    def decode(self, peaks: list[_Peak]) -> Detection | None:
        if not peaks:
            return None
        soft = np.array([self.pattern.soft_bits(peak.cells) for peak in peaks])
        words = channel.decode_many(soft, chips.PAYLOAD_BITS)
        for peak, word in zip(peaks, words, strict=True):
            p_value = _sync_p(peak.z, self.tests) * channel.CRC_FALSE_PASS
            if (
                word.payload is not None
                and word.correlation >= channel.CORRELATION_FLOOR
                and p_value <= JOINT_P
            ):
                return Detection(True, word.payload, p_value, self._details(peak, word))
        return None

    def _details(self, peak: _Peak, word: channel.Decoded) -> dict[str, float | int]:
        return {
            "sync_z": round(peak.z, 2),
            "tests": self.tests,
            "correlation": round(word.correlation, 4),
            "pitch": round(peak.pitch, 5),
            "tempo": round(peak.tempo, 5),
            "from_s": round(peak.first * FRAME_S, 2),
            "to_s": round(peak.last * FRAME_S, 2),
            "offset_s": round(peak.offset * FRAME_S, 3),
        }

    def _spans(self) -> list[tuple[int, int]]:
        """The file in pieces of about 10 s, none when it is one piece."""
        count = len(self.values) // SPAN_FRAMES
        if count < 2:
            return [] if len(self.values) <= SPAN_FRAMES else [(0, SPAN_FRAMES)]
        edges = np.linspace(0, len(self.values), count + 1).astype(int)
        return [(int(a), int(b)) for a, b in pairwise(edges)]

    def _energy(self, span: tuple[int, int]) -> float:
        return float(np.square(self.values[span[0] : span[1]]).sum())

    def _peaks(self, spans: list[tuple[int, int]], rates: list[tuple[float, float]]) -> list[_Peak]:
        """The best sync peaks, best first."""
        found: list[_Peak] = []
        for pitch in sorted({pitch for pitch, _ in rates}):
            bands = self.values @ _band_matrix(pitch)
            for tempo in [tempo for p, tempo in rates if p == pitch]:
                for first, last in spans or [(0, len(self.values))]:
                    found += self._correlate(bands[first:last], first, pitch, tempo)
        found.sort(key=lambda peak: -peak.z)
        if found:
            self.best_z = max(self.best_z, found[0].z)
        self._seen = found[:_TRIES_PER_ROUND]
        return self._seen

    def _correlate(
        self, bands: NDArray[np.float64], first: int, pitch: float, tempo: float
    ) -> list[_Peak]:
        """All 108 offsets of one span; the three best."""
        folded = _fold(bands, tempo)
        # sums over four neighbouring slots: the chip that begins at each slot
        sums = sum(np.roll(folded, -k, axis=0) for k in range(FRAMES_PER_CHIP))
        assert not isinstance(sums, int)  # noqa: S101 - for the type checker
        score = _circular(sums, self._template)
        energy = np.maximum(_circular(sums * sums, self._mask), 0.0)
        z = np.where(energy > 1e-9, score / np.sqrt(np.maximum(energy, 1e-9)), 0.0)
        self.tests += SLOTS
        peaks = []
        for offset in np.argsort(-z, kind="stable")[:3]:
            cells = np.roll(sums, -int(offset), axis=0)[::FRAMES_PER_CHIP]
            last = first + len(bands)
            peaks.append(_Peak(float(z[offset]), first, last, pitch, tempo, int(offset), cells))
        return peaks


def _circular(
    signal: NDArray[np.float64], conjugate: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Circular correlation along the slots, summed over the bands: ``(s, f)`` -> ``(o,)``."""
    product = (np.fft.rfft(signal, axis=0) * conjugate).sum(axis=1)
    result: NDArray[np.float64] = np.fft.irfft(product, SLOTS)
    return result


def _band_matrix(pitch: float) -> NDArray[np.float64]:
    """``(b, f)``: the share of each bin in each chip band, for a file shifted by ``pitch``."""
    lower = np.arange(FIRST_BIN, FIRST_BIN + BINS) - 0.5
    edges = (chips.LOW_BIN - 0.5 + chips.BAND_BINS * np.arange(chips.BANDS + 1)) * pitch
    inside = np.minimum(lower[:, None] + 1, edges[None, 1:]) - np.maximum(
        lower[:, None], edges[None, :-1]
    )
    result: NDArray[np.float64] = np.clip(inside, 0.0, 1.0)
    return result


def _fold(bands: NDArray[np.float64], tempo: float) -> NDArray[np.float64]:
    """``(t, f)`` -> ``(s, f)``: all periods on top of one another, at the tempo of the original."""
    exact = np.arange(len(bands)) * tempo
    lower = np.floor(exact).astype(np.int64)
    share = (exact - lower)[:, None]
    folded = np.zeros((SLOTS, bands.shape[1]))
    if tempo == 1.0:
        whole = -(-len(bands) // SLOTS) * SLOTS
        padded = np.zeros((whole, bands.shape[1]))
        padded[: len(bands)] = bands
        return padded.reshape(-1, SLOTS, bands.shape[1]).sum(axis=0)  # type: ignore[no-any-return]
    np.add.at(folded, lower % SLOTS, bands * (1.0 - share))
    np.add.at(folded, (lower + 1) % SLOTS, bands * share)
    return folded

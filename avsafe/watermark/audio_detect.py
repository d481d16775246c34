"""The half of audio detection that holds the key: log-spectrum -> payload, outside the sandbox.

Legend: ``t`` frames of 24 ms, ``b`` bins, ``f`` the 104 chip bands, ``s`` the 108 slots of a period
(quarter chips), ``o`` offsets (one per slot), ``g`` spans of about 10 s.

The null hypothesis is exact, because the key is random and the media does not know it. With any
other key the data cells have signs of their own, independent of the media and of the sync cells, so
a word decoded from them passes the code's check with probability ``FALSE_PASS`` at most, whatever
the sync says. At most ``ROUNDS * TRIES_PER_ROUND`` words are decoded in a search: their product
bounds the false marks per file and key, ``FALSE_MARK_P``. The p-value is sharper: for fixed media
the normalised sync correlation is a Rademacher sum, so one try exceeds ``z`` with probability
<= exp(-z^2 / 2) (Hoeffding 1963, theorem 2), and ``n`` tries with <= n exp(-z^2 / 2), however they
depend on one another; hence P(false mark as good as this) <= min(words, n exp(-z^2/2)) FALSE_PASS.
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

ROUNDS, TRIES_PER_ROUND = 3, 24  # words handed to the decoder: the sync peaks of each round
FALSE_PASS = channel.FALSE_PASS_PER_TRY
FALSE_MARK_P = ROUNDS * TRIES_PER_ROUND * FALSE_PASS  # bound for one file and key
THIN = 0.5  # correlation; the decoder ends near 0.30, fresh marks of 5 s had 0.56 or more
SLOTS = chips.ROWS * FRAMES_PER_CHIP  # offsets tried per period: 24 ms apart
MIN_FRAMES = SLOTS // 2  # 1.3 s; with less, not all coded bits have been heard
SPAN_FRAMES = 4 * SLOTS  # 10.4 s: how long a speed error of 0.25 % leaves the chips in place
MAX_SPANS = 6  # searched over the speed grid; of a longer file, the ones with most sound
GRID_STEP, GRID_REACH = 0.005, 0.11
PITCH_REACH = 0.065  # of pitch alone: a semitone is 0.0595

_WHITENED_FRAMES = 4096  # 98 s together: what long sound takes of memory is then the result alone
_CERTAIN_Z = 9.0  # 1e-17 a try: no better alignment need be looked for

Rates = tuple[float, float]  # pitch, tempo: what the file was played at (1.05: 5 % too high, fast)


def detect(features: Features, key: bytes) -> Detection:
    """Look for a mark of ``key``.

    Returns ``present`` only if the check of the code fits; see the module for the bound on false
    marks. ``details["margin"]`` below 1 means that a little damage would end the mark: in a file
    just written, embed again with more strength. Raises UnreadableMedia when
    the features have not the form the extractor gives, UsageError when the key is too short.
    """
    return search(Prepared(features), key)


def search(prepared: Prepared, key: bytes) -> Detection:
    """``detect`` on prepared features, so that several keys share what does not depend on a key."""
    pattern = chips.layout(key)
    if prepared.reason is not None:
        return _absent(1.0, 0, prepared.reason)
    looking = _Search(prepared, pattern)
    for peaks in looking.rounds():
        found = looking.decode(peaks)
        if found is not None:
            return found
    p_value = _sync_p(looking.best_z, looking.tests)
    return _absent(p_value, looking.tests, "no codeword", looking.best_z, looking.words)


def bit_error_rate(features: Features, key: bytes, payload: int) -> float:
    """Share of wrong coded bits at the alignment that fits ``payload`` best; for benchmarks.

    0.5 means nothing left: also when there is nothing to search. A bit never heard counts half.
    Raises as ``detect`` does, and ValueError for a payload that is not 32 bits.
    """
    prepared, pattern = Prepared(features), chips.layout(key)
    if prepared.reason is not None:
        return 0.5
    looking = _Search(prepared, pattern, known=pattern.chips(payload))
    found: list[_Peak] = []
    for peaks in looking.rounds():
        found.append(peaks[0])
        if peaks[0].z >= _CERTAIN_Z:
            break
    best = max(found, key=lambda peak: peak.z)
    soft = pattern.soft_bits(best.cells) * channel.encode(payload, chips.PAYLOAD_BITS)
    return float(np.mean(np.where(soft == 0.0, 0.5, soft < 0.0)))


class Prepared:
    """The half of the search that needs no key: whitened bins, folded into one period at each
    pitch, tempo and span. ``reason`` says why there is nothing to search, or is None."""

    def __init__(self, features: Features) -> None:
        levels = _checked(features)
        self.reason: str | None = None
        if len(levels) < MIN_FRAMES:
            self.reason = f"{len(levels) * FRAME_S:.1f} s of sound is too short to search"
        elif not levels.any():
            self.reason = "the sound is silent between 0.5 and 6 kHz"
        self.frames = len(levels)
        power = np.zeros(self.frames + 1)
        # running sums along the bins: the content of any band is a difference of two
        self._sums = np.zeros((self.frames, BINS + 1), np.float32)
        for start in range(0, self.frames, _WHITENED_FRAMES):
            piece = slice(start, start + _WHITENED_FRAMES)
            values, _ = chips.whiten(to_db(levels[piece]), FRAMES_PER_CHIP)
            power[1:][piece] = np.square(values).sum(axis=1)
            self._sums[piece, 1:] = np.cumsum(values, axis=1)
        self._power = np.cumsum(power)
        self._folds: dict[tuple[int, int, Rates], _Fold] = {}

    def spans(self) -> list[tuple[int, int]]:
        """The file in pieces of about 10 s; empty when it is one piece."""
        count = self.frames // SPAN_FRAMES
        if count < 2:
            return [] if self.frames <= SPAN_FRAMES else [(0, SPAN_FRAMES)]
        edges = np.linspace(0, self.frames, count + 1).astype(int)
        return [(int(a), int(b)) for a, b in pairwise(edges)]

    def power(self, span: tuple[int, int]) -> float:
        return float(self._power[span[1]] - self._power[span[0]])

    def folds(self, span: tuple[int, int], pitch: float, tempi: list[float]) -> Iterator[_Fold]:
        missing = [tempo for tempo in tempi if (*span, (pitch, tempo)) not in self._folds]
        bands = _bands(self._sums[span[0] : span[1]], pitch) if missing else None
        for tempo in tempi:
            place = (*span, (pitch, tempo))
            if bands is not None and tempo in missing:
                self._folds[place] = _Fold(span, (pitch, tempo), bands)
            yield self._folds[place]


class _Fold:
    """One span at one pitch and tempo, all its periods on top of one another.

    ``sums`` is ``(s, f)``: at each slot, the four slots of the chip that would begin there.
    """

    def __init__(self, span: tuple[int, int], rates: Rates, bands: NDArray[np.float64]) -> None:
        from scipy.sparse import csr_matrix

        self.span, self.rates = span, rates
        exact = np.arange(len(bands)) * rates[1]  # frames of the original
        lower = np.floor(exact).astype(np.int64)
        share = exact - lower
        slots = np.concatenate([lower % SLOTS, (lower + 1) % SLOTS])
        frames = np.tile(np.arange(len(bands)), 2)
        weights = np.concatenate([1.0 - share, share])
        folded = csr_matrix((weights, (slots, frames)), (SLOTS, len(bands))) @ bands
        twice = np.concatenate([folded, folded])
        self.sums: NDArray[np.float64] = np.add.reduce(
            [twice[k : k + SLOTS] for k in range(FRAMES_PER_CHIP)]
        )
        self.spectrum = np.fft.rfft(self.sums, axis=0)
        self.power_spectrum = np.fft.rfft(self.sums * self.sums, axis=0)


def _bands(sums: NDArray[np.floating], pitch: float) -> NDArray[np.float64]:
    """Running sums ``(t, b + 1)`` -> content of the chip bands of a file shifted by ``pitch``,
    ``(t, f)``; a bin across an edge is shared out."""
    edges = (chips.LOW_BIN - 0.5 + chips.BAND_BINS * np.arange(chips.BANDS + 1)) * pitch
    place = np.clip(edges - (FIRST_BIN - 0.5), 0.0, BINS)
    lower = np.minimum(place.astype(np.int64), BINS - 1)
    share = place - lower
    at_edges = sums[:, lower] * (1.0 - share) + sums[:, lower + 1] * share
    result: NDArray[np.float64] = np.diff(at_edges, axis=1)
    return result


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


def _absent(p_value: float, tests: int, reason: str, z: float = 0.0, words: int = 0) -> Detection:
    details = {"reason": reason, "sync_z": round(z, 2), "tests": tests, "words": words}
    return Detection(False, None, p_value, details)


@dataclass(frozen=True)
class _Peak:
    z: float
    fold: _Fold
    offset: int

    @property
    def cells(self) -> NDArray[np.float64]:
        """``(27, 104)``, aligned with the pattern."""
        return np.roll(self.fold.sums, -self.offset, axis=0)[::FRAMES_PER_CHIP]


class _Search:
    """Tries offsets, spans, pitches and tempi with one key; counts every try."""

    def __init__(
        self, prepared: Prepared, pattern: chips.Layout, known: NDArray[np.int8] | None = None
    ) -> None:
        self.prepared = prepared
        self.pattern = pattern
        self.tests = 0
        self.words = 0
        self.best_z = 0.0
        template = np.zeros((SLOTS, chips.BANDS))
        template[::FRAMES_PER_CHIP] = pattern.sign * pattern.sync if known is None else known
        self._template = np.conj(np.fft.rfft(template, axis=0))
        self._mask = np.conj(np.fft.rfft(np.abs(template), axis=0))

    def rounds(self) -> Iterator[list[_Peak]]:
        """Ever wider searches; the caller stops at the first success."""
        everything = (0, self.prepared.frames)
        spans = self.prepared.spans()
        yield self._peaks([everything, *spans], [(1.0, 1.0)])
        steps = [GRID_STEP * k for k in range(1, round(GRID_REACH / GRID_STEP) + 1)]
        rates = [1.0 + sign * step for step in steps for sign in (1, -1)]
        # played too fast or slow; stretched at the same pitch; shifted at the same length
        grid = [pair for r in rates for pair in ((r, r), (1.0, r))]
        grid += [(r, 1.0) for r in rates if abs(r - 1.0) < PITCH_REACH]
        loud = sorted(spans, key=self.prepared.power, reverse=True)[:MAX_SPANS]
        peaks = self._peaks(loud or [everything], grid)
        yield peaks
        # follow the best guesses over all of the file, finely
        fine = [
            (pitch if pitch == 1.0 else pitch + step, tempo if tempo == 1.0 else tempo + step)
            for pitch, tempo in dict.fromkeys(peak.fold.rates for peak in peaks[:6])
            for step in np.linspace(-GRID_STEP / 2, GRID_STEP / 2, 13).tolist()
        ]
        yield self._peaks([everything], fine)

    def decode(self, peaks: list[_Peak]) -> Detection | None:
        soft = np.array([self.pattern.soft_bits(peak.cells) for peak in peaks])
        words = channel.decode_many(soft, chips.PAYLOAD_BITS)
        self.words += len(peaks)
        for peak, word in zip(peaks, words, strict=True):
            chance = min(self.words, self.tests * np.exp(-0.5 * max(peak.z, 0.0) ** 2))
            p_value = float(chance) * FALSE_PASS
            if word.payload is not None:
                return Detection(True, word.payload, p_value, self._details(peak, word))
        return None

    def _details(self, peak: _Peak, word: channel.Decoded) -> dict[str, float | int]:
        first, last = peak.fold.span
        return {
            "sync_z": round(peak.z, 2),
            "tests": self.tests,
            "correlation": round(word.correlation, 4),
            "margin": round(word.correlation / THIN, 4),
            "pitch": round(peak.fold.rates[0], 5),
            "tempo": round(peak.fold.rates[1], 5),
            "from_s": round(first * FRAME_S, 2),
            "to_s": round(last * FRAME_S, 2),
        }

    def _peaks(self, spans: list[tuple[int, int]], rates: list[Rates]) -> list[_Peak]:
        """The best sync peaks over all of these, best first."""
        found: list[_Peak] = []
        most = max(3, TRIES_PER_ROUND // (len(spans) * len(rates)))
        tempi: dict[float, list[float]] = {}
        for pitch, tempo in rates:
            tempi.setdefault(pitch, []).append(tempo)
        for span in spans:
            for pitch, list_of_tempi in tempi.items():
                for fold in self.prepared.folds(span, pitch, list_of_tempi):
                    found += self._correlate(fold, most)
        found.sort(key=lambda peak: -peak.z)
        self.best_z = max(self.best_z, found[0].z)
        return found[:TRIES_PER_ROUND]

    def _correlate(self, fold: _Fold, most: int) -> list[_Peak]:
        """All 108 offsets of one fold; the ``most`` best."""
        score = np.fft.irfft((fold.spectrum * self._template).sum(axis=1), SLOTS)
        power = np.fft.irfft((fold.power_spectrum * self._mask).sum(axis=1), SLOTS)
        z = np.where(power > 1e-9, score / np.sqrt(np.maximum(power, 1e-9)), 0.0)
        self.tests += SLOTS
        best = np.argsort(-z, kind="stable")[:most].tolist()
        return [_Peak(float(z[offset]), fold, offset) for offset in best]

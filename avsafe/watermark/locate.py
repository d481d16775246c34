"""Find the tile in a residual and read it: scale search, sync peak, soft decision, joint test.

Legend: ``h`` ``w`` canonical pixels; ``a`` ``b`` vertical and horizontal size of the tile as found
over its nominal size; ``q`` waves; ``z`` sync peak over its standard deviation under a random key.

A picture that was scaled, cropped or mirrored shows the tile's waves at other frequencies and
phases. One zero-padded Fourier transform of the whole residual holds all of them: a hypothesis
(a, b, mirrored) reads it at the frequencies k / (T a), k / (T b), and one inverse transform of
those values gives the match at all T x T shifts together.

**False positives.** For a residual that does not depend on the key, the sync phases are
independent and uniform, so the match c = sum |R_k| cos(phase) at one hypothesis obeys
P(c > z sigma) <= exp(-z^2 / 2) with sigma^2 = sum |R_k|^2 / 2 (the moment generating function of
the cosine of a uniform phase is I0(s) <= exp(s^2 / 4)). The data signs are independent of them, so
each attempt to decode passes the CRC32 with probability 2^-32 (see channel). Hence, with N
hypotheses and at most A attempts, the p-value of the best attempt is at most
min(A, N exp(-z^2 / 2)) 2^-32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avsafe.watermark import channel
from avsafe.watermark.tile import MAX_CYCLES, PAYLOAD_BITS, PERIOD, Tile

# Sizes searched: a crop to half the short side makes the tile twice as large, a letterbox smaller
COARSE = np.exp(np.arange(np.log(0.55), np.log(2.1), 0.004))  # 0.4 %: under a pixel at the border
ATTEMPTS = 8  # coarse peaks that are refined and decoded in the full search of one residual
MOST_ATTEMPTS = 1 + ATTEMPTS  # with the one at the nominal size; a file has up to four residuals
_BATCH = 32  # sizes transformed together
_OVERSAMPLING = 2
_WHITEN = 9  # width, in waves of the tile, of the window that estimates the host's spectrum
_LOUDEST = 2.5  # times the local level


@dataclass(frozen=True)
class Peak:
    """One hypothesis and how well the sync waves match."""

    z: float
    a: float
    b: float
    mirrored: bool
    dy: float  # canonical tile pixels: where the tile's origin lies
    dx: float


@dataclass(frozen=True)
class Reading:
    """The best attempt on one residual."""

    peak: Peak
    decoded: channel.Decoded
    hypotheses: int  # tried so far: sizes x mirror x shifts, refinements included
    attempts: int  # CRC32 tests so far

    @property
    def accepted(self) -> bool:
        """The CRC32 fits, and the codeword correlates better than a word of noise does."""
        return self.decoded.crc_ok and self.decoded.correlation >= channel.CORRELATION_FLOOR

    @property
    def p_value(self) -> float:
        """Upper bound under "no mark with this key", of an accepted reading; else 1."""
        if not self.accepted:
            return 1.0
        chance = min(self.attempts, self.hypotheses * float(np.exp(-(self.peak.z**2) / 2)))
        return min(1.0, chance * channel.CRC_FALSE_PASS)

    @property
    def sync_p_value(self) -> float:
        """Upper bound for the sync peak alone: a tile is there, readable or not."""
        return min(1.0, self.hypotheses * float(np.exp(-(self.peak.z**2) / 2)))

    def among(self, readings: Sequence[Reading]) -> Reading:
        """This reading, charged with the hypotheses and attempts of all."""
        return replace(
            self,
            hypotheses=sum(reading.hypotheses for reading in readings),
            attempts=sum(reading.attempts for reading in readings),
        )


class Spectrum:
    """The whitened Fourier transform of a residual, readable between its samples."""

    def __init__(self, residual: NDArray[np.float32]) -> None:
        import cv2
        from scipy import fft

        height, width = residual.shape
        rows = fft.next_fast_len(_OVERSAMPLING * height)
        columns = fft.next_fast_len(_OVERSAMPLING * width)
        padded = np.zeros((rows, columns), np.float32)
        padded[:height, :width] = residual
        # origin in the middle: the phase then turns slowly and can be interpolated
        padded = np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))
        values = fft.fftshift(fft.fft2(padded))
        power = (values.real**2 + values.imag**2).astype(np.float32)
        window = (
            2 * (_WHITEN * columns // PERIOD // 2) + 1,
            2 * (_WHITEN * rows // PERIOD // 2) + 1,
        )
        level = np.sqrt(np.maximum(cv2.blur(power, window), 0))
        values /= level + max(float(level.max()) * 1e-6, 1e-12)
        self._planes = np.stack([values.real, values.imag], axis=-1).astype(np.float32)
        self._rows, self._columns = rows, columns

    def at(
        self, waves: NDArray[np.int64], sizes: NDArray[np.float64], *, mirrored: bool
    ) -> NDArray[np.complex64]:
        """Values ``(n, q)`` at the waves of tiles of sizes ``(n, 2)``; beyond Nyquist 0."""
        import cv2

        per_y = self._rows / (PERIOD * sizes[:, :1])
        per_x = self._columns / (PERIOD * sizes[:, 1:]) * (-1 if mirrored else 1)
        y = (waves[:, 0] * per_y + self._rows // 2).astype(np.float32)
        x = (waves[:, 1] * per_x + self._columns // 2).astype(np.float32)
        read = cv2.remap(
            self._planes, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        values = np.ascontiguousarray(read).view(np.complex64)[..., 0]
        strength = np.abs(values)
        values *= np.minimum(1, _LOUDEST / np.maximum(strength, 1e-9))  # one line of the host
        return values


def _match(tile: Tile, values: NDArray[np.complex64]) -> list[tuple[float, int, int]]:
    """Sync values ``(n, q_s)`` -> z and whole-pixel shift of the best match of each."""
    from scipy import fft

    # the inverse real transform takes column 0 once and all others twice
    turned = values * (tile.sync_back * (1 + (tile.sync[:, 1] == 0))).astype(np.complex64)
    grid = np.zeros((len(values), PERIOD, MAX_CYCLES + 1), np.complex64)
    grid[:, tile.sync[:, 0], tile.sync[:, 1]] = turned
    columns = fft.ifft(grid, axis=1, overwrite_x=True)  # the columns beyond the band stay 0
    match = fft.irfft(columns, PERIOD, axis=2).reshape(len(values), -1)
    best = match.argmax(axis=1)
    found = []
    for one, sync, place in zip(match, values, best, strict=True):
        sigma = _sigma(sync)
        z = float(one[place]) * PERIOD**2 / 2 / sigma if sigma > 0 else 0.0
        found.append((z, *divmod(int(place), PERIOD)))
    return found


def _sigma(values: NDArray[np.complex64]) -> float:
    """Standard deviation of a match under random phases."""
    return float(np.sqrt(np.vdot(values, values).real / 2))


def coarse(spectrum: Spectrum, tile: Tile, sizes: Sequence[float]) -> list[Peak]:
    """The best peak of every size and mirroring, strongest first."""
    peaks = []
    for mirrored in (False, True):
        for start in range(0, len(sizes), _BATCH):
            some = [(size, size) for size in sizes[start : start + _BATCH]]
            peaks += _peaks(spectrum, tile, some, mirrored=mirrored)
    return sorted(peaks, key=lambda peak: -peak.z)


def _peaks(
    spectrum: Spectrum, tile: Tile, sizes: list[tuple[float, float]], *, mirrored: bool
) -> list[Peak]:
    found = _match(tile, spectrum.at(tile.sync, np.array(sizes), mirrored=mirrored))
    return [
        Peak(z, a, b, mirrored, dy, dx) for (a, b), (z, dy, dx) in zip(sizes, found, strict=True)
    ]


_OFFSETS = np.linspace(-0.75, 0.75, 7)


def _at_offsets(tile: Tile, values: NDArray[np.complex64], peak: Peak) -> Peak:
    """The peak with its shift refined to a quarter of a pixel."""
    sigma = _sigma(values)
    if not sigma > 0:
        return replace(peak, z=0.0)
    turned = values * tile.sync_back
    wy = np.exp(2j * np.pi / PERIOD * np.outer(peak.dy + _OFFSETS, tile.sync[:, 0]))
    wx = np.exp(2j * np.pi / PERIOD * np.outer(peak.dx + _OFFSETS, tile.sync[:, 1]))
    match = ((wy * turned) @ wx.T).real
    i, j = divmod(int(match.argmax()), len(_OFFSETS))
    return replace(
        peak, z=float(match[i, j]) / sigma, dy=peak.dy + _OFFSETS[i], dx=peak.dx + _OFFSETS[j]
    )


_FINE = (-0.003, -0.002, -0.001, 0.001, 0.002, 0.003)


def refine(spectrum: Spectrum, tile: Tile, peak: Peak) -> Peak:
    """Sizes to 0.1 % in each direction (rounding to even sizes stretches a little), then shift."""
    best = peak
    for vertical, horizontal in ((1, 1), (1, 0), (0, 1)):  # both, then one at a time
        sizes = [(best.a * (1 + vertical * s), best.b * (1 + horizontal * s)) for s in _FINE]
        others = _peaks(spectrum, tile, sizes, mirrored=peak.mirrored)
        best = max([best, *others], key=lambda one: one.z)
    values = spectrum.at(tile.sync, np.array([(best.a, best.b)]), mirrored=best.mirrored)[0]
    return _at_offsets(tile, values, best)


def soft_bits(spectrum: Spectrum, tile: Tile, peak: Peak) -> NDArray[np.float64]:
    """The soft coded bits at a peak."""
    values = spectrum.at(tile.data, np.array([(peak.a, peak.b)]), mirrored=peak.mirrored)[0]
    turn = 2j * np.pi / PERIOD * (tile.data @ np.array([peak.dy, peak.dx]))
    return tile.soft_bits(values * np.exp(turn))


def read(residual: NDArray[np.float32] | Spectrum, tile: Tile) -> Reading:
    """Search sizes, mirrorings and shifts, decode the strongest peaks, return the best attempt.

    ``residual`` is ``(h, w)`` float32, finite; pass its Spectrum to search with several keys.

    The nominal size is tried first: a file that was only coded again needs nothing else.

    >>> from avsafe.watermark.tile import tile_of_key
    >>> read(np.zeros((360, 640), np.float32), tile_of_key(bytes(32))).decoded.crc_ok
    False
    """
    spectrum = residual if isinstance(residual, Spectrum) else Spectrum(residual)
    hypotheses = attempts = 0
    best: Reading | None = None
    for sizes, keep in (((1.0,), 1), (COARSE, ATTEMPTS)):
        found = _spread(coarse(spectrum, tile, sizes), keep)
        refined = [refine(spectrum, tile, peak) for peak in found]
        hypotheses += 2 * len(sizes) * PERIOD**2
        hypotheses += len(found) * (3 * len(_FINE) * PERIOD**2 + len(_OFFSETS) ** 2)
        attempts += len(refined)
        words = channel.decode_many([soft_bits(spectrum, tile, p) for p in refined], PAYLOAD_BITS)
        for peak, decoded in zip(refined, words, strict=True):
            if best is None or _rank(peak, decoded) > _rank(best.peak, best.decoded):
                best = Reading(peak, decoded, 0, 0)
        assert best is not None  # noqa: S101 -- keep >= 1 and sizes is never empty
        best = replace(best, hypotheses=hypotheses, attempts=attempts)
        if best.accepted:
            break
    assert best is not None  # noqa: S101
    return best


def _rank(peak: Peak, decoded: channel.Decoded) -> tuple[bool, float]:
    return decoded.crc_ok, peak.z


def _spread(peaks: list[Peak], count: int) -> list[Peak]:
    """The strongest peaks that aren't neighbours of a stronger one."""
    chosen: list[Peak] = []
    for peak in peaks:
        near = (
            other.mirrored == peak.mirrored and abs(other.a / peak.a - 1) < 0.006
            for other in chosen
        )
        if not any(near):
            chosen.append(peak)
        if len(chosen) == count:
            break
    return chosen

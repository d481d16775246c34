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
from avsafe.watermark.tile import PAYLOAD_BITS, PERIOD, Tile

# Sizes searched: a crop to half the short side makes the tile twice as large, a letterbox smaller
COARSE = np.exp(np.arange(np.log(0.55), np.log(2.1), 0.004))  # 0.4 %: under a pixel at the border
_CANDIDATES = 12  # coarse peaks that are refined
ATTEMPTS = 8  # refined peaks that are decoded in the full search of one residual
MOST_ATTEMPTS = 1 + ATTEMPTS  # with the one at the nominal size
_OVERSAMPLING = 2
_WHITEN = 9  # width, in waves of the tile, of the window that estimates the host's spectrum


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
    def p_value(self) -> float:
        """Upper bound under "no mark with this key", given that the CRC32 fits; else 1."""
        if not self.decoded.crc_ok:
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
        self, waves: NDArray[np.int64], a: float, b: float, *, mirrored: bool
    ) -> NDArray[np.complex64]:
        """Values ``(q,)`` at the waves of a tile of size (a, b); beyond Nyquist they are 0."""
        import cv2

        fy = waves[:, 0] / (PERIOD * a)
        fx = waves[:, 1] / (PERIOD * b) * (-1 if mirrored else 1)
        y = (fy * self._rows + self._rows // 2).astype(np.float32)[None]
        x = (fx * self._columns + self._columns // 2).astype(np.float32)[None]
        read = cv2.remap(
            self._planes, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )[0]
        size = np.hypot(read[:, 0], read[:, 1])
        read *= (np.minimum(size, 2.5) / np.maximum(size, 1e-9))[:, None]  # one line of the host
        return np.ascontiguousarray(read).view(np.complex64)[:, 0]


def _match(tile: Tile, values: NDArray[np.complex64]) -> tuple[float, int, int]:
    """z and the whole-pixel shift of the best match of sync values."""
    from scipy import fft

    sigma = float(np.sqrt((np.abs(values) ** 2).sum() / 2))
    if not sigma > 0:
        return 0.0, 0, 0
    grid = np.zeros((PERIOD, PERIOD), np.complex64)
    grid[tuple(tile.sync.T)] = values * np.exp(-1j * tile.sync_phase)
    match = fft.ifft2(grid).real
    best = int(match.argmax())
    dy, dx = divmod(best, PERIOD)
    return float(match.flat[best]) * PERIOD**2 / sigma, dy, dx


def coarse(spectrum: Spectrum, tile: Tile, sizes: Sequence[float]) -> list[Peak]:
    """The best peak of every size and mirroring, strongest first."""
    peaks = []
    for mirrored in (False, True):
        for size in sizes:
            z, dy, dx = _match(tile, spectrum.at(tile.sync, size, size, mirrored=mirrored))
            peaks.append(Peak(z, size, size, mirrored, dy, dx))
    return sorted(peaks, key=lambda peak: -peak.z)


_OFFSETS = np.linspace(-0.75, 0.75, 7)


def _at_offsets(tile: Tile, values: NDArray[np.complex64], peak: Peak) -> Peak:
    """The peak with its shift refined to a quarter of a pixel."""
    sigma = float(np.sqrt((np.abs(values) ** 2).sum() / 2))
    if not sigma > 0:
        return replace(peak, z=0.0)
    turned = values * np.exp(-1j * tile.sync_phase)
    wy = np.exp(2j * np.pi / PERIOD * np.outer(peak.dy + _OFFSETS, tile.sync[:, 0]))
    wx = np.exp(2j * np.pi / PERIOD * np.outer(peak.dx + _OFFSETS, tile.sync[:, 1]))
    match = ((wy * turned) @ wx.T).real
    i, j = divmod(int(match.argmax()), len(_OFFSETS))
    return replace(
        peak, z=float(match[i, j]) / sigma, dy=peak.dy + _OFFSETS[i], dx=peak.dx + _OFFSETS[j]
    )


_FINE = (-0.003, -0.002, -0.001, 0.0, 0.001, 0.002, 0.003)


def refine(spectrum: Spectrum, tile: Tile, peak: Peak) -> Peak:
    """Sizes to 0.1 % in both directions (rounding to even sizes stretches a little), then shift."""
    best = peak
    for vertical in _FINE:
        for horizontal in _FINE:
            a, b = peak.a * (1 + vertical), peak.b * (1 + horizontal)
            z, dy, dx = _match(tile, spectrum.at(tile.sync, a, b, mirrored=peak.mirrored))
            if z > best.z:
                best = Peak(z, a, b, peak.mirrored, dy, dx)
    return _at_offsets(tile, spectrum.at(tile.sync, best.a, best.b, mirrored=best.mirrored), best)


def soft_bits(spectrum: Spectrum, tile: Tile, peak: Peak) -> NDArray[np.float64]:
    """The soft coded bits at a peak."""
    values = spectrum.at(tile.data, peak.a, peak.b, mirrored=peak.mirrored)
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
    for sizes, keep in (((1.0,), 1), (COARSE, _CANDIDATES)):
        found = _spread(coarse(spectrum, tile, sizes), keep)
        refined = sorted((refine(spectrum, tile, p) for p in found), key=lambda p: -p.z)[:ATTEMPTS]
        hypotheses += 2 * len(sizes) * PERIOD**2
        hypotheses += len(found) * (len(_FINE) ** 2 * PERIOD**2 + len(_OFFSETS) ** 2)
        attempts += len(refined)
        words = channel.decode_many([soft_bits(spectrum, tile, p) for p in refined], PAYLOAD_BITS)
        for peak, decoded in zip(refined, words, strict=True):
            if best is None or _rank(peak, decoded) > _rank(best.peak, best.decoded):
                best = Reading(peak, decoded, 0, 0)
        assert best is not None  # noqa: S101 -- keep >= 1 and sizes is never empty
        best = replace(best, hypotheses=hypotheses, attempts=attempts)
        if best.decoded.crc_ok:
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

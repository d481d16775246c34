"""Find the tile in a residual and read it: search of placements, sync peak, soft decision, test.

Legend: ``h`` ``w`` canonical pixels; a *placement* says how the tile lies in the picture: turned,
stretched by ``a`` (vertical) and ``b`` (horizontal), mirrored; ``M`` its 2x2 matrix from tile to
picture coordinates (y, x); ``q`` waves; ``z`` sync peak over its standard deviation under a random
key.

A picture that was scaled, cropped, turned or mirrored shows the tile's waves at other frequencies
and phases. One zero-padded Fourier transform of the whole residual holds all of them: a placement
reads it at the frequencies M^-T k / T, and one inverse transform of those values gives the match at
all T x T shifts together, for both signs of the tile.

Sizes are searched one by one. Turns and unequal stretches are too many for that: the tile repeats,
so the autocorrelation of the residual has peaks at M (T n) for whole n. It needs no key and shows
the few placements worth a match (up to quarter turns and mirroring, which look the same there).

**False positives.** For a residual that does not depend on the key, the sync phases are
independent and uniform, so the match c = sum |R_k| cos(phase) at one hypothesis obeys
P(|c| > z sigma) <= 2 exp(-z^2 / 2) with sigma^2 = sum |R_k|^2 / 2 (the moment generating function
of the cosine of a uniform phase is I0(s) <= exp(s^2 / 4)). Which placements are tried follows from
the residual and the sync waves alone. The data signs are independent of both, so each attempt to
decode passes the CRC32 with a probability of at most channel.FALSE_PASS_PER_TRY. Hence, with N
hypotheses and at most A attempts, the p-value of the best attempt is at most
min(A, 2 N exp(-z^2 / 2)) FALSE_PASS_PER_TRY. Since a search ends at its first success, N is that of
a whole file (MOST_HYPOTHESES), whatever was tried when it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from avsafe.watermark import channel
from avsafe.watermark.tile import MAX_CYCLES, MIN_CYCLES, PAYLOAD_BITS, PERIOD, Tile

# Sizes searched: a crop to half the short side makes the tile twice as large, a letterbox smaller
SIZES = np.exp(np.arange(np.log(0.55), np.log(2.1), 0.006))  # 0.6 %: a pixel at the border
PLAIN_ATTEMPTS = 10  # shifts decoded at the nominal size: a weak mark is not always the highest
ATTEMPTS = 6  # peaks that are refined and decoded in the search of sizes
TURNED_ATTEMPTS = 4  # and in that of turned and unequally stretched placements
MOST_P_VALUE = 1e-6  # of a reading that counts
MOST_HYPOTHESES = 10**8  # placements x shifts of all searches of a file: 6 x 10^7 at most
_BATCH = 32  # placements transformed together
_OVERSAMPLING = 2
_WHITEN = 9  # width, in waves of the tile, of the window that estimates the host's spectrum
_LOUDEST = 2.5  # times the local level
_BLOCK = 32  # canonical pixels; of 16, 24, 32, 48 the one that left most energy after CRF 35


@dataclass(frozen=True)
class Placement:
    """How a tile lies in the picture, up to a shift."""

    a: float = 1.0  # vertical size, of the tile as found over its nominal size
    b: float = 1.0  # horizontal
    turn: float = 0.0  # radians, counter-clockwise as seen
    mirrored: bool = False

    def matrix(self) -> NDArray[np.float64]:
        """Tile (y, x) -> picture (y, x)."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        stretch = np.diag([self.a, -self.b if self.mirrored else self.b])
        turned: NDArray[np.float64] = np.array([[c, -s], [s, c]]) @ stretch
        return turned


@dataclass(frozen=True)
class Peak:
    """One hypothesis and how well the sync waves match."""

    z: float
    placement: Placement
    sign: int  # of the tile: it changes with time
    dy: float  # tile pixels: where the tile's origin lies
    dx: float


@dataclass(frozen=True)
class Reading:
    """The best attempt on one residual."""

    peak: Peak
    decoded: channel.Decoded
    hypotheses: int  # tried so far: placements x shifts, refinements included
    attempts: int  # words decoded so far

    @property
    def accepted(self) -> bool:
        """The CRC32 fits, and chance is ruled out (MOST_P_VALUE)."""
        return self.decoded.crc_ok and self.p_value <= MOST_P_VALUE

    @property
    def p_value(self) -> float:
        """Upper bound under "no mark with this key" of a word that fits its CRC32; else 1."""
        if not self.decoded.crc_ok:
            return 1.0
        by_peak = 2 * MOST_HYPOTHESES * float(np.exp(-(self.peak.z**2) / 2))
        chance = min(self.attempts, by_peak)
        return min(1.0, chance * channel.FALSE_PASS_PER_TRY)

    @property
    def sync_p_value(self) -> float:
        """Upper bound for the sync peak alone: a tile is there, readable or not."""
        return min(1.0, 2 * self.hypotheses * float(np.exp(-(self.peak.z**2) / 2)))

    def among(self, readings: Iterable[Reading]) -> Reading:
        """This reading, charged with the hypotheses and attempts of all."""
        every = list(readings)
        return replace(
            self,
            hypotheses=sum(reading.hypotheses for reading in every),
            attempts=sum(reading.attempts for reading in every),
        )


def whitened(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """The residual with equal energy in every wave of every block of 32 x 32 pixels.

    Edges and texture are strong in few waves and places, the mark is weak in all of them: keeping
    phases only leaves twice to three times its share of energy.

    >>> whitened(np.ones((40, 50), np.float32)).shape
    (40, 50)
    """
    from scipy import fft

    size, hop = _BLOCK, _BLOCK // 2
    height, width = residual.shape
    padded = np.pad(residual, ((hop, size), (hop, size)), mode="symmetric")
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    taper = np.outer(window, window)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, (size, size))[::hop, ::hop]
    waves = fft.rfft2(blocks * taper)
    level = np.abs(waves)
    waves /= level + 0.02 * float(np.median(level)) + 1e-6
    flat = fft.irfft2(waves, (size, size)).astype(np.float32) * taper
    rows, columns = flat.shape[:2]
    out = np.zeros(((rows + 1) * hop, (columns + 1) * hop), np.float32)
    for y in (0, 1):
        for x in (0, 1):
            part = flat[:, :, y * hop : (y + 1) * hop, x * hop : (x + 1) * hop]
            out[y * hop : (y + rows) * hop, x * hop : (x + columns) * hop] += part.transpose(
                0, 2, 1, 3
            ).reshape(rows * hop, columns * hop)
    return np.ascontiguousarray(out[hop : hop + height, hop : hop + width])


class Spectrum:
    """The whitened Fourier transform of a residual ``(h, w)``, readable between its samples."""

    def __init__(self, residual: NDArray[np.float32]) -> None:
        import cv2
        from scipy import fft

        height, width = residual.shape
        rows = fft.next_fast_len(_OVERSAMPLING * height)
        columns = fft.next_fast_len(_OVERSAMPLING * width)
        padded = np.zeros((rows, columns), np.float32)
        padded[:height, :width] = whitened(residual)
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
        self._reach = (height, width)

    def at(
        self, waves: NDArray[np.int64], placements: Sequence[Placement]
    ) -> NDArray[np.complex64]:
        """Values ``(n, q)`` at the waves of n placements; beyond Nyquist 0."""
        import cv2

        inverse = np.linalg.inv(np.array([placement.matrix() for placement in placements]))
        frequency = np.einsum("nji,qj->nqi", inverse, waves) / PERIOD  # M^-T k / T
        y = (frequency[..., 0] * self._rows + self._rows // 2).astype(np.float32)
        x = (frequency[..., 1] * self._columns + self._columns // 2).astype(np.float32)
        read = cv2.remap(
            self._planes, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        values = np.ascontiguousarray(read).view(np.complex64)[..., 0]
        strength = np.abs(values)
        values *= np.minimum(1, _LOUDEST / np.maximum(strength, 1e-9))  # one line of the host
        return values

    @cached_property
    def autocorrelation(self) -> Autocorrelation:
        """Of the part of the spectrum where a tile of any searched size may lie."""
        from scipy import fft

        power = (self._planes**2).sum(axis=-1)
        np.minimum(power, _LOUDEST**2, out=power)
        y = np.arange(self._rows)[:, None] / self._rows - (self._rows // 2) / self._rows
        x = np.arange(self._columns)[None] / self._columns - (self._columns // 2) / self._columns
        radius = np.hypot(y, x) * PERIOD
        power *= (radius > MIN_CYCLES / 1.6) & (radius < MAX_CYCLES / 0.7)
        values = fft.irfft2(
            fft.ifftshift(power)[:, : self._columns // 2 + 1], (self._rows, self._columns)
        )
        return Autocorrelation(fft.fftshift(values).astype(np.float32), self._reach)


_REPEATS = np.array(
    [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (1, 2), (1, -2), (2, 1), (2, -1), (0, 3)]
)


class Autocorrelation:
    """How alike a residual is to itself at every shift."""

    def __init__(self, values: NDArray[np.float32], reach: tuple[int, int]) -> None:
        self._values = values
        self._reach = np.array(reach)

    def contrast(self) -> float:
        """How clearly a tile repeats, of any size and turn: the best score over the usual one."""
        best, usual = 0.0, 1e-12
        for tried in _GRIDS:
            scores = self.score(tried)
            best = max(best, float(scores.max()))
            usual = max(usual, float(np.median(np.abs(scores))))
        return best / usual

    def score(self, placements: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(n, 3)`` of (a, b, turn) -> ``(n,)`` mean similarity at the repeats of such a tile."""
        import cv2

        a, b, turn = placements.T
        c, s = np.cos(turn), np.sin(turn)
        matrix = np.stack([np.stack([c * a, -s * b], -1), np.stack([s * a, c * b], -1)], -2)
        shift = np.einsum("nij,rj->nri", matrix, PERIOD * _REPEATS)
        inside = np.all(np.abs(shift) < 0.8 * self._reach, axis=-1)
        rows, columns = self._values.shape
        read = cv2.remap(
            self._values,
            (shift[..., 1] + columns // 2).astype(np.float32),
            (shift[..., 0] + rows // 2).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
        # the sum of r values of noise is sqrt(r) times one
        found: NDArray[np.float64] = (read * inside).sum(-1) / np.sqrt(
            np.maximum(inside.sum(-1), 1)
        )
        return found


def _matches(tile: Tile, values: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Sync values ``(n, q_s)`` -> their match ``(n, T, T)`` at every whole-pixel shift, as z."""
    from scipy import fft

    # the inverse real transform takes column 0 once and all others twice
    turned = values * (tile.sync_back * (1 + (tile.sync[:, 1] == 0))).astype(np.complex64)
    grid = np.zeros((len(values), PERIOD, MAX_CYCLES + 1), np.complex64)
    grid[:, tile.sync[:, 0], tile.sync[:, 1]] = turned
    columns = fft.ifft(grid, axis=1, overwrite_x=True)  # the columns beyond the band stay 0
    match: NDArray[np.float32] = fft.irfft(columns, PERIOD, axis=2)
    sigma = np.array([_sigma(sync) for sync in values])
    match *= (PERIOD**2 / 2 / np.maximum(sigma, 1e-12))[:, None, None]
    return match


def _best(match: NDArray[np.float32]) -> tuple[float, int, int, int]:
    """z, sign and shift of the highest or deepest point of a match ``(T, T)``."""
    high, low = int(match.argmax()), int(match.argmin())
    sign, place = (1, high) if match.flat[high] >= -match.flat[low] else (-1, low)
    dy, dx = divmod(place, PERIOD)
    return sign * float(match.flat[place]), sign, dy, dx


def _sigma(values: NDArray[np.complex64]) -> float:
    """Standard deviation of a match under random phases."""
    return float(np.sqrt(np.vdot(values, values).real / 2))


def peaks(spectrum: Spectrum, tile: Tile, placements: Sequence[Placement]) -> list[Peak]:
    """The best match of every placement, in their order."""
    found: list[Peak] = []
    for start in range(0, len(placements), _BATCH):
        some = placements[start : start + _BATCH]
        for placement, match in zip(
            some, _matches(tile, spectrum.at(tile.sync, some)), strict=True
        ):
            z, sign, dy, dx = _best(match)
            found.append(Peak(z, placement, sign, dy, dx))
    return found


def _shifts(spectrum: Spectrum, tile: Tile, placement: Placement, count: int) -> list[Peak]:
    """The highest peaks of one placement, apart from one another."""
    values = spectrum.at(tile.sync, [placement])
    match = _matches(tile, values)[0]
    around = np.arange(-2, 3)
    found = []
    for _ in range(count):
        z, sign, dy, dx = _best(match)
        found.append(_at_offsets(tile, values[0], Peak(z, placement, sign, dy, dx)))
        match[np.ix_((dy + around) % PERIOD, (dx + around) % PERIOD)] = 0
    return found


_OFFSETS = np.linspace(-0.75, 0.75, 7)


def _at_offsets(tile: Tile, values: NDArray[np.complex64], peak: Peak) -> Peak:
    """The peak with its shift refined to a quarter of a pixel."""
    sigma = _sigma(values)
    if not sigma > 0:
        return replace(peak, z=0.0)
    turned = values * tile.sync_back
    wy = np.exp(2j * np.pi / PERIOD * np.outer(peak.dy + _OFFSETS, tile.sync[:, 0]))
    wx = np.exp(2j * np.pi / PERIOD * np.outer(peak.dx + _OFFSETS, tile.sync[:, 1]))
    match = peak.sign * ((wy * turned) @ wx.T).real
    i, j = divmod(int(match.argmax()), len(_OFFSETS))
    return replace(
        peak, z=float(match[i, j]) / sigma, dy=peak.dy + _OFFSETS[i], dx=peak.dx + _OFFSETS[j]
    )


_EQUAL_STEPS = (0.004, 0.002, 0.001)  # of the size; the search of sizes leaves up to 0.3 %
_TURNED_STEPS = (0.008, 0.004, 0.002, 0.001)  # the autocorrelation leaves up to a pixel


def refine(
    spectrum: Spectrum, tile: Tile, peak: Peak, steps: Sequence[float], *, turned: bool
) -> tuple[Peak, int]:
    """Sizes (rounding to even sides stretches a little), turn, then shift; and how many were tried.

    Both sizes together, each alone, and (``turned``) the turn take steps that shrink.
    """
    best, tried = peak, 0
    for step in steps:
        for a, b, turn in ((1, 1, 0), (1, -1, 0), (0, 0, 1)) if turned else ((1, 1, 0), (1, -1, 0)):
            at = best.placement
            others = [
                replace(
                    at,
                    a=at.a * (1 + a * sign * step),
                    b=at.b * (1 + b * sign * step),
                    turn=at.turn + turn * sign * step,
                )
                for sign in (-1, 1)
            ]
            best = max([best, *peaks(spectrum, tile, others)], key=lambda one: one.z)
            tried += len(others)
    values = spectrum.at(tile.sync, [best.placement])[0]
    return _at_offsets(tile, values, best), tried


def data_parts(spectrum: Spectrum, tile: Tile, peak: Peak) -> NDArray[np.float64]:
    """Soft values ``(2 q_d,)`` of the data waves at a peak, signs of the key removed."""
    values = spectrum.at(tile.data, [peak.placement])[0]
    turn = 2j * np.pi / PERIOD * (tile.data @ np.array([peak.dy, peak.dx]))
    return peak.sign * tile.parts(values * np.exp(turn))


def soft_bits(spectrum: Spectrum, tile: Tile, peak: Peak) -> NDArray[np.float64]:
    """The soft coded bits at a peak, waves weighted by how well the sync waves of their size do.

    Coding and scaling take the short waves first.
    """
    weights = np.repeat(_trust(spectrum, tile, peak), 2)
    return tile.soft_bits(data_parts(spectrum, tile, peak) * weights)


def _trust(spectrum: Spectrum, tile: Tile, peak: Peak) -> NDArray[np.float64]:
    """``(q_d,)`` amplitude of the mark by wave number, a straight line through the sync waves."""
    values = spectrum.at(tile.sync, [peak.placement])[0] * tile.sync_back
    turn = 2j * np.pi / PERIOD * (tile.sync @ np.array([peak.dy, peak.dx]))
    seen = peak.sign * (values * np.exp(turn)).real
    number = np.hypot(*tile.sync.T) - (MIN_CYCLES + MAX_CYCLES) / 2
    slope, level = np.polyfit(number, seen, 1)
    if not level > 0:
        return np.ones(len(tile.data))
    line = 1 + slope / level * (np.hypot(*tile.data.T) - (MIN_CYCLES + MAX_CYCLES) / 2)
    trusted: NDArray[np.float64] = np.clip(line, 0.25, 1.75)  # 148 sync waves: a rough estimate
    return trusted


def read_plain(spectrum: Spectrum, tile: Tile) -> Reading:
    """The placement of a file that was only coded again: nominal size, upright."""
    shifts = _shifts(spectrum, tile, Placement(), PLAIN_ATTEMPTS)
    refined, tried = refine(spectrum, tile, shifts[0], _EQUAL_STEPS[1:], turned=False)
    return _decode(spectrum, tile, [refined, *shifts[1:]], 1 + tried)


def read_sizes(spectrum: Spectrum, tile: Tile) -> Reading:
    """All sizes, mirrored or not, upright."""
    tried = [Placement(size, size, 0.0, flip) for flip in (False, True) for size in SIZES]
    found = _spread(peaks(spectrum, tile, tried), ATTEMPTS)
    return _read(spectrum, tile, found, len(tried), _EQUAL_STEPS, turned=False)


def read_turned(spectrum: Spectrum, tile: Tile) -> Reading:
    """Turned up to 12 degrees (plus quarter turns), or stretched unequally, mirrored or not."""
    tried = [
        Placement(a, b, turn + quarter * np.pi / 2, flip)
        for a, b, turn in repeats(spectrum.autocorrelation)
        for quarter in range(4)
        for flip in (False, True)
    ]
    found = _spread(peaks(spectrum, tile, tried), TURNED_ATTEMPTS)
    return _read(spectrum, tile, found, len(tried), _TURNED_STEPS, turned=True)


def _read(
    spectrum: Spectrum,
    tile: Tile,
    found: list[Peak],
    hypotheses: int,
    steps: Sequence[float],
    *,
    turned: bool,
) -> Reading:
    """Refine and decode some peaks; the best attempt."""
    refined = []
    for peak in found:
        better, tried = refine(spectrum, tile, peak, steps, turned=turned)
        refined.append(better)
        hypotheses += tried
    return _decode(spectrum, tile, refined, hypotheses)


def _decode(spectrum: Spectrum, tile: Tile, found: list[Peak], placements: int) -> Reading:
    """Decode some peaks of so many placements; the best attempt."""
    hypotheses = placements * PERIOD**2 + len(found) * len(_OFFSETS) ** 2
    words = channel.decode_many([soft_bits(spectrum, tile, p) for p in found], PAYLOAD_BITS)
    readings = [
        Reading(peak, decoded, hypotheses, len(found))
        for peak, decoded in zip(found, words, strict=True)
    ]
    return max(readings, key=rank)


def rank(reading: Reading) -> tuple[bool, float]:
    """Sorts readings: those whose CRC32 fits first, then by peak."""
    return reading.decoded.crc_ok, reading.peak.z


def _spread(found: list[Peak], count: int) -> list[Peak]:
    """The strongest peaks that aren't neighbours of a stronger one."""
    chosen: list[Peak] = []
    for peak in sorted(found, key=lambda one: -one.z):
        if not any(_near(peak.placement, other.placement) for other in chosen):
            chosen.append(peak)
        if len(chosen) == count:
            break
    return chosen


def _near(one: Placement, other: Placement) -> bool:
    return (
        one.mirrored == other.mirrored
        and abs(one.a / other.a - 1) < 0.01
        and abs(one.b / other.b - 1) < 0.01
        and abs(one.turn - other.turn) < 0.01
    )


_KEPT = 5  # placements of each kind that the autocorrelation proposes


def repeats(likeness: Autocorrelation) -> list[tuple[float, float, float]]:
    """The likeliest (a, b, turn) of a repeating tile: turned ones, and unequally stretched ones."""
    found: list[tuple[float, float, float]] = []
    for tried in _GRIDS:
        kept: list[NDArray[np.float64]] = []
        for index in np.argsort(-likeness.score(tried)):
            if all(np.abs(tried[index] - other).max() > 0.02 for other in kept):
                kept.append(tried[index])
            if len(kept) == _KEPT:
                break
        found += [_climb(likeness, one) for one in kept]
    return found


def _grids() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Placements ``(n, 3)`` of (a, b, turn): turned with one size, and upright with two sizes.

    Steps of a pixel at the second repeat; a peak is three pixels wide.
    """
    sizes = np.exp(np.arange(np.log(0.55), np.log(2.1), 0.008))
    size, turn = np.meshgrid(sizes, np.radians(np.arange(-12, 12.1, 0.4)))
    a, b = np.meshgrid(sizes, sizes)
    columns = ((size, size, turn), (a, b, np.zeros_like(a)))
    turned, stretched = (np.stack([part.reshape(-1) for part in three], 1) for three in columns)
    return turned, stretched


_GRIDS = _grids()


def _climb(likeness: Autocorrelation, start: NDArray[np.float64]) -> tuple[float, float, float]:
    """The top of the peak near ``start``, to about 0.1 % and 0.1 degrees."""
    best = start
    for step in (0.004, 0.002, 0.001):
        moves = np.stack(np.meshgrid(*[[-step, 0, step]] * 3), -1).reshape(-1, 3)
        tried = best + moves
        best = tried[int(likeness.score(tried).argmax())]
    return float(best[0]), float(best[1]), float(best[2])

"""The audio mark's embedder: sound in, marked sound of the same length out, streamed.

Legend: ``c`` channels, ``n`` samples, ``k`` embedding frames (64 ms windows, about 16 ms apart),
``b`` spectral bins of the transform, ``r`` chip rows, ``f`` chip bands.

Only the *difference* is synthesised (overlap-add with square-root Hann windows) and added to the
sound, so where the mark does nothing, the sound is bit for bit what came in. Work goes period by
period (2.592 s) on a fixed grid: the blocks that are fed do not influence the result.

Strength is spent where it counts: cells in which the detector hears a decibel best get more of it,
restless ones less. And it is informed: the embedder reads its host the way the detector will, and
gives more of the allowed change to coded bits that the host speaks against, less to those it
already speaks for (after Malvar and Florencio, "Improved spread spectrum", IEEE Trans. Signal
Processing 51, 2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, GeneratorFailed, UsageError
from avsafe.types import Features, Frame, Kind, Mark, Samples
from avsafe.watermark import audio_chips as chips
from avsafe.watermark import audio_detect
from avsafe.watermark.audio_features import (
    FIRST_BIN,
    FRAME_S,
    LEVELS,
    MAX_RATE_HZ,
    LevelMeter,
    to_db,
)

MIN_RATE_HZ = 8_000
STRENGTH_DB = (2.0, 2.7)  # rms of the chips by attempt: normal, strongest; for a usual host
MIN_DURATION_S = 2.0  # three quarters of a pattern
MIN_AUDIBLE_S = 1.5  # of it above silence
SILENT_DB = -95.0  # mean power of a bin; the rounding noise of 16 bits is at -125 dB

_LEAST, _MOST = 0.5, 1.35  # of the strength: what one coded bit may get
_WEAKEST, _STRONGEST = 0.85, 1.25  # of it, for hosts that are easy or hard to read
_EASE = 35.0  # the ratio of mark to host in one period that a usual host gives at 2.0 dB
_CALM, _BUSY = 2.0, 0.1  # of it, for cells that are heard best and worst (see _weighted)
_CARRY = 0.6  # how much of an earlier period's surplus counts for the next
_RESPONSE = 0.75  # of a chip's change seen by the detector: window blur and subtracted local means
_TONAL = 0.4  # of the strength on steady partials, where a level that flutters is heard first
_HOPS_PER_WINDOW = 4
_STEPS_PER_HOP = 4  # the pre-echo guard looks every 4 ms
_GUARD = 0.35  # rms of the change over rms of the sound within 4 ms; 2.1 dB everywhere is 0.27
_FORWARD = 0.4  # power kept from one guard step to the next: forward masking, -1 dB a millisecond
_FRAMES_PER_CHIP = 6


class AudioEmbedder:
    """A ``types.Embedder``. Feed blocks ``(c, n)`` in order, then ``flush``, then ``mark``."""

    def __init__(
        self, rate_hz: int, channels: int, payload: int, key: bytes, *, attempt: int = 0
    ) -> None:
        if (reason := refused_rate(rate_hz)) is not None:
            raise CannotMark(reason)
        if channels < 1:
            raise UsageError(f"Sound has 1 or more channels, not {channels}.")
        self._rate = rate_hz
        self._channels = channels
        self._payload = payload
        self._key = key
        self._layout = chips.layout(key)
        self._chips = self._layout.chips(payload)
        self._strength = STRENGTH_DB[min(max(attempt, 0), len(STRENGTH_DB) - 1)]
        self._attempt = attempt
        self._hop = _STEPS_PER_HOP * max(1, round(rate_hz * 0.016 / _STEPS_PER_HOP))
        self._length = _HOPS_PER_WINDOW * self._hop
        self._window = np.sqrt(
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._length) / self._length)
        )
        place = np.arange(self._length // 2 + 1) * rate_hz / self._length / chips.BIN_HZ
        band = np.floor((place - (chips.LOW_BIN - 0.5)) / chips.BAND_BINS).astype(np.int64)
        used = np.flatnonzero((band >= 0) & (band < chips.BANDS))
        self._bins = slice(int(used[0]), int(used[-1]) + 1)
        self._band = band[self._bins]
        # positions in samples of the whole clip; the first window begins 3 hops before the sound
        lead = (_HOPS_PER_WINDOW - 1) * self._hop
        self._sound: list[NDArray[np.float32]] = [np.zeros((channels, lead), np.float32)]
        self._sound_begin = -lead
        self._fed = 0
        self._emitted = 0
        self._frame_index = 0  # next window to process
        self._change = np.zeros((channels, 0))  # overlap-add, begins at _change_begin
        self._change_begin = -lead
        self._recent = np.zeros((channels, _HOPS_PER_WINDOW, len(self._band)))  # last levels
        self._carried = np.zeros(chips.CODED_BITS)
        self._guard_power = np.zeros(channels)
        self._guard_gain: NDArray[np.float64] = np.zeros(channels)
        self._power = np.zeros(2)  # of the sound, of the change
        self._meter = LevelMeter(rate_hz)
        self._mark: Mark | None = None
        self._heard: Features | None = None
        self._flushed = False

    def frame(self, frame: Frame) -> Frame:
        """Pictures pass unchanged."""
        return frame

    def samples(self, block: Samples) -> Samples:
        """Marked sound ``(c, n')``; up to 2.7 s are held back until more comes or ``flush``."""
        if self._flushed:
            raise UsageError("This embedder was flushed; make a new one for another pass.")
        block = np.asarray(block, np.float32)
        if block.ndim != 2 or len(block) != self._channels:
            raise UsageError(
                f"Expected a block of samples ({self._channels}, n), got {block.shape}."
            )
        if not np.isfinite(block).all():
            raise GeneratorFailed("The sound holds values that are not finite; nothing was marked.")
        self._sound.append(block)
        self._fed += block.shape[1]
        ready = []
        while self._window_end(self._period_end()) <= self._fed:
            ready.append(self._process(self._period_end(), final=False))
        return self._joined(ready)

    def flush(self) -> Samples:
        if self._flushed:
            return self._joined([])
        self._flushed = True
        if self._fed < MIN_DURATION_S * self._rate:  # no mark, so no change; nothing went out yet
            return self._joined(self._sound[1:])
        last = -(-self._fed // self._hop) + _HOPS_PER_WINDOW - 1  # windows that touch the sound
        pad = max(0, self._window_end(last) - self._fed)
        self._sound.append(np.zeros((self._channels, pad), np.float32))
        ready = []
        while self._frame_index < last:
            ready.append(self._process(min(self._period_end(), last), final=False))
        ready.append(self._process(last, final=True))
        return self._joined(ready)

    def mark(self) -> Mark:
        """What was embedded, with the SNR of the marked against the unmarked sound.

        Raises CannotMark when the sound turned out too short or too quiet between 0.6 and 5.5 kHz.
        From attempt 1 on it also reads the mark back from its own output and raises when that
        fails: nothing stronger can be tried. At attempt 0 the reader of the written file decides.
        """
        if not self._flushed:
            raise UsageError("Call flush() before mark().")
        if self._mark is None:
            self._mark = self._checked()
        return self._mark

    def _checked(self) -> Mark:
        heard = self._meter.finish() if self._heard is None else self._heard
        self._heard = heard
        if (reason := refusal(self._fed / self._rate, heard)) is not None:
            raise CannotMark(reason)
        if self._attempt > 0:
            found = audio_detect.detect(heard, self._key)
            if not found.present or found.payload != self._payload:
                raise CannotMark(
                    f"Even at {self._strength} dB the audio mark does not read back from the "
                    f"{self._fed / self._rate:.1f} s of sound (sync {found.details.get('sync_z')}, "
                    "about 6 needed): it is too short, or bare tones with nothing between them. "
                    "Use a longer piece or one with fuller sound."
                )
        snr_db = 10.0 * float(np.log10(self._power[0] / self._power[1]))
        return Mark(
            Kind.AUDIO, chips.ALGORITHM, self._payload, chips.PAYLOAD_BITS, snr_db=round(snr_db, 2)
        )

    # ------------------------------------------------------------ the grid of windows

    def _row(self, frame: int) -> int:
        """Chip row, counted from the start of the sound, at the middle of a window."""
        return ((frame - 1) * self._hop * 125) // (self._rate * 12)  # / rate / 0.096 s

    def _period_end(self) -> int:
        """One window after the last of the period that is being worked on."""
        period = self._row(self._frame_index) // chips.ROWS
        first_after = ((period + 1) * chips.ROWS * self._rate * 12) // (self._hop * 125)
        while self._row(first_after) // chips.ROWS <= period:
            first_after += 1
        return first_after

    def _window_end(self, frame: int) -> int:
        """One sample after the window before ``frame``."""
        return frame * self._hop

    # ------------------------------------------------------------ one period

    def _process(self, stop: int, *, final: bool) -> NDArray[np.float32]:
        """Mark the windows up to ``stop``; returns the samples that no later window changes."""
        sound = np.hstack(self._sound)
        count = stop - self._frame_index
        first = (self._frame_index - (_HOPS_PER_WINDOW - 1)) * self._hop  # sample position
        if count > 0:
            needed = (stop * self._hop) - self._change_begin
            grown = np.zeros((self._channels, max(needed, self._change.shape[1])))
            grown[:, : self._change.shape[1]] = self._change
            self._change = grown
            index = first - self._sound_begin + self._hop * np.arange(count)[:, None]
            windows = sound[:, index + np.arange(self._length)].astype(np.float64) * self._window
            spectra = np.fft.rfft(windows)[:, :, self._bins]
            self._add(self._change_of(spectra, count), first)
            self._frame_index = stop
        end = self._fed if final else (stop - (_HOPS_PER_WINDOW - 1)) * self._hop
        return self._emit(sound, end, final=final)

    def _change_of(self, spectra: NDArray[np.complex128], count: int) -> NDArray[np.float64]:
        """``(c, k, b)`` spectra of the host -> ``(c, k, n)`` windowed change."""
        scale = (2.0 / self._window.sum()) ** 2
        power = (spectra.real**2 + spectra.imag**2) * scale
        levels = 10.0 * np.log10(power + 1e-20)
        rows = np.array([self._row(self._frame_index + k) for k in range(count)])
        mean_db = 10.0 * np.log10(power.mean(axis=0) + 1e-20)
        decibels = self._informed(mean_db, rows)[rows % chips.ROWS][:, self._band]
        gain_db = decibels * self._mask(levels)
        full = np.zeros((self._channels, count, self._length // 2 + 1), np.complex128)
        full[:, :, self._bins] = spectra * (10.0 ** (gain_db / 20.0) - 1.0)
        synthesis = self._window * (2.0 / _HOPS_PER_WINDOW)
        change: NDArray[np.float64] = np.fft.irfft(full, self._length) * synthesis
        return change

    def _informed(
        self, mean_db: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """``(27, 104)`` signed decibels for this period, informed by what the host says itself."""
        values, slope = chips.whiten(np.maximum(mean_db, -110.0), _FRAMES_PER_CHIP)
        host = np.zeros((chips.ROWS, chips.BANDS))
        response = np.zeros((chips.ROWS, chips.BANDS))
        np.add.at(host, (rows[:, None] % chips.ROWS, self._band[None]), values)
        np.add.at(response, (rows[:, None] % chips.ROWS, self._band[None]), slope)
        data = ~self._layout.sync
        owner = self._layout.owner[data]
        agree = np.bincount(owner, (host * self._chips)[data], minlength=chips.CODED_BITS)
        react: NDArray[np.float64] = _RESPONSE * np.bincount(
            owner, response[data], minlength=chips.CODED_BITS
        ).astype(np.float64)
        known = react > 1e-9
        usual = self._strength
        if known.any():
            # per period: what all chips say together over what the host says at random
            noise = float(np.linalg.norm(host[data]))
            ease = float(react.sum()) * STRENGTH_DB[0] / max(noise, 1e-9)
            usual *= float(np.clip(_EASE / max(ease, 1e-9), _WEAKEST, _STRONGEST))
        strength = np.full(chips.CODED_BITS, usual, np.float64)
        if known.any():
            debt = -(agree + self._carried)[known]
            strength[known] = _levelled(debt, react[known], usual)
            total = agree + self._carried + strength * react
            self._carried = _CARRY * (total - total[known].mean())
        cells = np.append(strength, usual)[self._layout.owner]
        cells = cells * _weighted(response)
        signed: NDArray[np.float64] = cells * self._chips
        return signed

    def _mask(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """0..1 for ``(c, k, b)``: less on steady partials, none in what is all but silent."""
        from scipy.ndimage import maximum_filter1d, uniform_filter1d

        history = np.concatenate([self._recent, levels], axis=1)
        self._recent = history[:, -_HOPS_PER_WINDOW:]
        before = history[:, : levels.shape[1]]  # four windows ago: no sample in common
        peak = levels - uniform_filter1d(levels, 17, axis=2) > 9.0  # dB over the neighbours
        steady = np.abs(levels - before) < 1.5  # dB within 64 ms
        tonal = maximum_filter1d((peak & steady).astype(np.float64), 3, axis=2)
        audible = np.clip((levels + 105.0) / 10.0, 0.0, 1.0)  # -95 dB: below 16-bit dither noise
        mask: NDArray[np.float64] = (1.0 - (1.0 - _TONAL) * tonal) * audible
        return mask

    def _add(self, change: NDArray[np.float64], first: int) -> None:
        begin = first - self._change_begin
        for k in range(change.shape[1]):
            place = begin + k * self._hop
            self._change[:, place : place + self._length] += change[:, k]

    # ------------------------------------------------------------ the way out

    def _emit(self, sound: NDArray[np.float32], end: int, *, final: bool) -> NDArray[np.float32]:
        """Guard, add, clip and hand out the samples up to ``end``; forget what is done with."""
        begin = self._emitted
        step = self._hop // _STEPS_PER_HOP
        # the guard of a step needs its right neighbour: hold one step back
        end = end if final else (min(end, self._fed) // step - 1) * step
        if end <= begin:
            return np.zeros((self._channels, 0), np.float32)
        host = sound[:, begin - self._sound_begin : end - self._sound_begin]
        have = self._change.shape[1]
        stop = end + step - self._change_begin
        if stop > have:
            self._change = np.pad(self._change, ((0, 0), (0, stop - have)))
        change = self._change[:, begin - self._change_begin : stop]
        wide = sound[:, begin - self._sound_begin : end + step - self._sound_begin]
        wide = np.pad(wide, ((0, 0), (0, change.shape[1] - wide.shape[1])))
        guarded = change[:, : end - begin] * self._guard(wide, change, step)[:, : end - begin]
        marked = np.clip(host + guarded, -1.0, 1.0).astype(np.float32)
        self._power += (
            float(np.square(host, dtype=np.float64).sum()),
            float(np.square(marked.astype(np.float64) - host).sum()),
        )
        self._meter.feed(marked)
        self._emitted = end
        self._change = self._change[:, end - self._change_begin :]
        self._change_begin = end
        keep = min(end, (self._frame_index - (_HOPS_PER_WINDOW - 1)) * self._hop)
        self._sound = [sound[:, keep - self._sound_begin :]]
        self._sound_begin = keep
        return marked

    def _guard(
        self, host: NDArray[np.float32], change: NDArray[np.float64], step: int
    ) -> NDArray[np.float64]:
        """Sample-wise gain 0..1 that keeps the change below the sound within every 4 ms, so that no
        echo runs ahead of an attack and digital silence stays silent. One step more comes in than
        goes out."""
        whole = -(-host.shape[1] // step)
        pad = ((0, 0), (0, whole * step - host.shape[1]))
        shape = (self._channels, whole, step)
        loud = np.square(np.pad(host, pad).reshape(shape), dtype=np.float64).sum(axis=2)
        moved = np.square(np.pad(change, pad).reshape(shape)).sum(axis=2)
        gains = np.empty((self._channels, whole))
        for i in range(whole):
            power = np.maximum(loud[:, i], _FORWARD * self._guard_power)
            limit = _GUARD * np.sqrt(power / np.maximum(moved[:, i], 1e-30))
            gains[:, i] = np.where(loud[:, i] > 0.0, np.minimum(1.0, limit), 0.0)
            if i < whole - 1:  # the last step comes again next time
                self._guard_power = power
        edges = np.minimum(
            np.concatenate([self._guard_gain[:, None], gains[:, :-1]], axis=1), gains
        )
        ramp = np.arange(step) / step
        left, right = edges[:, :-1, None], edges[:, 1:, None]
        self._guard_gain = gains[:, -2] if whole > 1 else self._guard_gain
        smooth: NDArray[np.float64] = (left + (right - left) * ramp).reshape(self._channels, -1)
        return smooth

    def _joined(self, parts: list[NDArray[np.float32]]) -> Samples:
        return np.concatenate([np.zeros((self._channels, 0), np.float32), *parts], axis=1)


def refused_rate(rate_hz: int) -> str | None:
    """Why sound at this rate cannot carry a mark; None when it can."""
    if rate_hz < MIN_RATE_HZ:
        return f"sample rate too low for an audio mark: {rate_hz} Hz < {MIN_RATE_HZ} Hz"
    if rate_hz > MAX_RATE_HZ:
        return f"sample rate too high for an audio mark: {rate_hz} Hz > {MAX_RATE_HZ} Hz"
    return None


def too_short(duration_s: float) -> str:
    """The refusal of sound that is shorter than 2.0 s; rounded down, so that it never reads
    "2.0 s < 2.0 s"."""
    return f"too short for an audio mark: {int(duration_s * 10) / 10:.1f} s < {MIN_DURATION_S} s"


def refusal(duration_s: float, heard: Features) -> str | None:
    """Why sound of this length and log-spectrum cannot carry a mark; None when it should."""
    if duration_s < MIN_DURATION_S:
        return too_short(duration_s)
    levels = heard[LEVELS][:, chips.LOW_BIN - FIRST_BIN :]
    level_db = np.full(max(1, len(levels)), SILENT_DB)
    for start in range(0, len(levels), 1024):  # in pieces: ten minutes at once are 200 MB
        power = 10.0 ** (to_db(levels[start : start + 1024]) / 10.0)
        level_db[start : start + 1024] = 10.0 * np.log10(power.mean(axis=1))
    loudest_db = float(level_db.max())
    if loudest_db <= SILENT_DB:
        return (
            f"too quiet for an audio mark: at most {max(loudest_db, -110.0):.0f} dB a bin between "
            f"0.6 and 5.5 kHz, {SILENT_DB:.0f} dB needed (-110 dB is silence)"
        )
    floor_db = max(loudest_db - 45.0, SILENT_DB)  # below: coding noise, not the mark
    audible_s = float((level_db > floor_db).sum()) * FRAME_S
    if audible_s < MIN_AUDIBLE_S:
        return (
            f"too little to hear for an audio mark: {audible_s:.1f} s audible between 0.6 and "
            f"5.5 kHz < {MIN_AUDIBLE_S:.1f} s"
        )
    return None


def _weighted(response: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(27, 104)`` factors with rms 1: more change where the detector hears a decibel best.

    The detector's sum grows by change x response, its cost by the square of the change, so the best
    share of a cell is proportional to its response (a matched filter at the sender).
    """
    mean = float(response.mean())
    if mean <= 1e-9:
        return np.ones_like(response)
    factor = np.clip(response / mean, _BUSY, _CALM)
    result: NDArray[np.float64] = factor / np.sqrt(np.mean(factor * factor))
    return result


def _levelled(
    debt: NDArray[np.float64], react: NDArray[np.float64], strength_db: float
) -> NDArray[np.float64]:
    """Decibels per coded bit that bring all bits as near as may be to one common sum, at the given
    rms. ``debt`` is what the host speaks against a bit, ``react`` the sum a decibel moves."""
    least, most = _LEAST * strength_db, _MOST * strength_db
    low, high = float(debt.min()), float((debt + most * react).max())
    result = np.full_like(debt, strength_db)
    for _ in range(40):  # bisection on the common sum
        middle = 0.5 * (low + high)
        result = np.clip((middle + debt) / react, least, most)
        if float(np.mean(result * result)) < strength_db**2:
            low = middle
        else:
            high = middle
    return result

"""The motion model: speech -> head pose, blinks, brows, lips and jaw, 25 times a second.

A transformer that denoises windows of 64 frames given the 10 frames before them (flow matching,
the network predicts the clean motion), in numpy. The conditions - sound and six controls - were
each left out at times in training, so that each can be strengthened at sampling, as in VASA-1
(arXiv:2404.10667, section 3.2).

Legend: ``b`` batch, ``f`` = 74 frames of a window, ``c`` = 16 channels of ``anatomy``, ``k`` = 6
controls, ``m`` = 40 mel bands; latents have unit spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsafe_generators import layers
from avsafe_generators.layers import Array, Weights
from avsafe_generators.talking_head import anatomy, features

RATE = 25  # frames a second
PAST, NEW = 10, 64
FRAMES = PAST + NEW
MARGIN = 8  # frames of sound on either side of a window
WIDTH, HEADS, LAYERS, HIDDEN = 128, 4, 4, 384
COND, TIME, CONTROLS = 64, 32, 6
NEAR = 7
STRIDES = (1, 2, 2, 1)
STEPS = 8
CLAMP = 4.5  # of the clean motion, in spreads: guidance would over-saturate


def time_features(t: NDArray[np.float32]) -> Array:
    """(b,) in 0..1 -> (b, 32)."""
    return layers.time_features(t, TIME)


def hear(w: Weights, mel: Array) -> Array:
    """Columns (b, m, 4 * (f + 2 * MARGIN)), standardised -> what was heard (b, f, d)."""
    h = mel
    for i, stride in enumerate(STRIDES):
        h = layers.conv1d(h, w, f"net.hear.{i}", stride=stride, padding=2)
        h = layers.gelu(h) if i + 1 < len(STRIDES) else h
    return h.transpose(0, 2, 1)[:, MARGIN : MARGIN + FRAMES]


def predict(
    w: Weights, x: Array, known: Array, t: Array, sound: Array, control: Array, given: Array
) -> Array:
    """The clean motion (b, f, c): ``x`` (b, f, c), ``known`` (b, f), ``t`` (b,), ``sound`` of
    ``hear`` (b, f, d), ``control`` and ``given`` (b, k)."""
    cond = np.concatenate([time_features(t), control * given, given], 1)
    cond = layers.silu(layers.linear(cond, w, "net.cond"))
    cond = layers.silu(layers.linear(cond, w, "net.cond2"))
    y = layers.linear(np.concatenate([x, known[..., None]], -1), w, "net.enter")
    y = y + sound + w["net.place"]
    for i in range(LAYERS):
        y = _block(w, f"net.blocks.{i}", y, cond)
    return layers.linear(layers.layer_norm(y), w, "net.leave")


def _block(w: Weights, name: str, x: Array, cond: Array) -> Array:
    a, s, a2, s2 = np.split(layers.linear(cond, w, f"{name}.tune")[:, None], 4, -1)
    h = layers.layer_norm(x) * (1 + a) + s
    q, k, v = np.split(layers.linear(h, w, f"{name}.qkv"), 3, -1)
    x = x + layers.linear(layers.attention(q, k, v, HEADS), w, f"{name}.out")
    x = x + _near(w, f"{name}.near", layers.layer_norm(x))
    h = layers.layer_norm(x) * (1 + a2) + s2
    return x + layers.linear(layers.gelu(layers.linear(h, w, f"{name}.up")), w, f"{name}.down")


def _near(w: Weights, name: str, x: Array) -> Array:
    """A convolution over time for each channel alone: (b, f, d) -> (b, f, d)."""
    kernel = w[f"{name}.weight"][:, 0]
    padded = np.pad(x, ((0, 0), (NEAR // 2, NEAR // 2), (0, 0)))
    out = np.broadcast_to(w[f"{name}.bias"], x.shape).copy()
    for i in range(NEAR):
        out += padded[:, i : i + x.shape[1]] * kernel[:, i]
    return out


# ---------------------------------------------------------------- sampling

# the places of the controls
FACING, AMOUNT, SMILE, BROWS, BLINKS = slice(0, 2), 2, 3, 4, 5


@dataclass(frozen=True)
class Wishes:
    """What steers the motion beside the sound; ``None`` leaves it to the model.

    ``control`` (k,) in the unit spread of the training windows, ``strength`` of its guidance.
    ``sound`` is the strength of the sound's guidance.
    """

    control: tuple[float | None, ...] = (0.0, 0.0, None, None, None, None)
    strength: float = 0.6
    sound: float = 0.5
    smile: float = 0.0  # added to the lips: spreads of the measured smile
    brows: float = 0.0  # added to the brows, in distances between the eyes


@dataclass
class Model:
    """The weights, and one utterance at a time."""

    weights: Weights

    @classmethod
    def load(cls) -> Model:
        """The embedded weights."""
        return cls(layers.load("talking-head"))

    def windows(
        self,
        mel: Array,
        wishes: Wishes,
        seed: int,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Array]:
        """``mel`` (t, 160) of ``features.log_mel`` -> windows of latents (<= 64, c) that follow one
        another, made when asked for. ``check`` is called before every step and may raise."""
        w, frames = self.weights, len(mel)
        mean, std = w["mel"]
        count = -(-frames // NEW)
        padded = np.zeros((PAST + count * NEW + 2 * MARGIN, mel.shape[1]), np.float32)
        padded[PAST + MARGIN : PAST + MARGIN + frames] = mel
        voiced = voice(mel)
        past: Array = np.zeros((PAST, anatomy.CHANNELS), np.float32)
        for number in range(count):
            rng = np.random.default_rng([seed % 2**63, number])
            columns = padded[number * NEW : number * NEW + FRAMES + 2 * MARGIN].reshape(-1, 40)
            sound = hear(w, (((columns - mean) / std).T[None]).astype(np.float32))
            window = self._sample(sound, past, wishes, rng, check)
            past = window[-PAST:]
            new = window[PAST:]
            cut = slice(number * NEW, min(frames, (number + 1) * NEW))
            new = new[: cut.stop - cut.start].copy()
            new[:, anatomy.MOUTH_AT] *= voiced[cut, None]
            yield new

    def _sample(
        self,
        sound: Array,
        past: Array,
        wishes: Wishes,
        rng: np.random.Generator,
        check: Callable[[], None],
    ) -> Array:
        """One window by Euler's steps; guided is ``all + sum of strength * (all - without)``."""
        w = self.weights
        given = np.array([value is not None for value in wishes.control], np.float32)
        control = np.array([value or 0.0 for value in wishes.control], np.float32)
        rows = [(1.0, given)]
        strengths = []
        if wishes.sound:
            rows.append((0.0, given))
            strengths.append(wishes.sound)
        if wishes.strength and given.any():
            rows.append((1.0, np.zeros_like(given)))
            strengths.append(wishes.strength)
        b = len(rows)
        deaf = np.broadcast_to(w["net.deaf"], sound.shape)
        heard = np.concatenate([sound if row[0] else deaf for row in rows])
        givens = np.stack([row[1] for row in rows])
        controls = np.broadcast_to(control, givens.shape)
        known = np.zeros((b, FRAMES), np.float32)
        known[:, :PAST] = 1
        x = rng.standard_normal((FRAMES, anatomy.CHANNELS)).astype(np.float32)
        limit = np.float32(CLAMP)
        for step in range(STEPS):
            check()
            t, after = step / STEPS, (step + 1) / STEPS
            seen = x.copy()
            seen[:PAST] = past
            times = np.full(b, t, np.float32)
            batch = np.repeat(seen[None], b, 0)
            clean = predict(w, batch, known, times, heard, controls, givens)
            guided = clean[0]
            for strength, without in zip(strengths, clean[1:], strict=True):
                guided = guided + np.float32(strength) * (clean[0] - without)
            guided = np.clip(guided, -limit, limit)
            x = x + np.float32((after - t) / (1 - t)) * (guided - x)
        x[:PAST] = past
        return x


def voice(mel: Array) -> Array:
    """How much a mouth may move, 0..1 for each frame: 0 in silence, from 120 ms before sound to
    160 ms after it on the way. (t, 160) -> (t,)."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    loud = features.loudness(mel)
    floor = float(np.quantile(loud, 0.05)) if len(loud) > 25 else 0.0
    over = loud - min(floor, 1.2)  # a room's hum is no voice; loud sound throughout is
    speaks = np.clip((over - 0.35) / 0.6, 0, 1)
    held = maximum_filter1d(speaks, 7, origin=0, mode="constant")
    out: Array = np.clip(gaussian_filter1d(held, 1.4, mode="nearest"), 0, 1).astype(np.float32)
    return out


class Track:
    """The motion of a whole clip, made window by window and kept: (t, c) in all, little memory.

    Lips stay as sampled; the pose is smoothed over 200 ms, as a head's mass does.
    """

    def __init__(
        self, model: Model, mel: Array, wishes: Wishes, seed: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._mel, self._wishes, self._model = mel, wishes, model
        self._windows = model.windows(mel, wishes, seed, check)
        self._raw: Array = np.zeros((0, anatomy.CHANNELS), np.float32)
        self.frames = len(mel)
        self._kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.2) ** 2).astype(np.float32)
        self._kernel /= self._kernel.sum()

    def at(self, time_s: float) -> Array:
        """Latents (c,) at a time; between frames they are interpolated."""
        place = float(np.clip(time_s * RATE, 0, self.frames - 1))
        low = int(place)
        a, b = self._frame(low), self._frame(min(low + 1, self.frames - 1))
        out: Array = (a + np.float32(place - low) * (b - a)).astype(np.float32)
        return out

    def whole(self) -> Array:
        """All frames, (t, c)."""
        return np.stack([self._frame(i) for i in range(self.frames)])

    def _frame(self, index: int) -> Array:
        reach = len(self._kernel) // 2
        while len(self._raw) < min(self.frames, index + reach + 1):
            self._raw = np.concatenate([self._raw, next(self._windows)])
        places = np.clip(np.arange(index - reach, index + reach + 1), 0, self.frames - 1)
        out: Array = self._raw[index].copy()
        out[:3] = self._kernel @ self._raw[places, :3]
        close = np.array([0.25, 0.5, 0.25], np.float32)
        near = self._raw[places[reach - 1 : reach + 2]]
        short = self._kernel[3:-3] / self._kernel[3:-3].sum()
        out[anatomy.BROW_AT] = short @ self._raw[places[3:-3], anatomy.BROW_AT]
        out[anatomy.MOUTH_AT] = (
            0.35 * out[anatomy.MOUTH_AT] + 0.65 * close @ near[:, anatomy.MOUTH_AT]
        )
        out[anatomy.MOUTH_AT] += np.float32(self._wishes.smile) * self._model.weights["smile"]
        out[anatomy.BROW_AT] += self._brow_shift()
        return out

    def _brow_shift(self) -> Array:
        """Raised or lowered brows as latents: the least-squares fit of an even shift."""
        w = self._model.weights
        basis = w["components"][: anatomy.BROW, list(anatomy.BROWS)].reshape(anatomy.BROW, -1)
        even = np.zeros((len(anatomy.BROWS), 2), np.float32)
        even[:, 1] = -self._wishes.brows
        out: Array = (basis @ even.reshape(-1)) / w["scale"][anatomy.BROW_AT]
        return out

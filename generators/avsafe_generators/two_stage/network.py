"""The two networks in numpy, and their sampler.

Legend: ``b`` batch, ``n`` tokens, ``d`` width. One transformer for the first frame (tokens: one
shared, MAX_OBJECTS objects) and one for the motion given that frame (tokens: GROUPS per object; the
frame's tokens beside them). Both read the words as further tokens and predict the clean latents
from noisy ones: flow matching in the x parametrisation. Time 0 is pure noise, so the ratio of
signal to noise is zero there, as Emu Video asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators import layers
from avsafe_generators.layers import Array, Weights
from avsafe_generators.two_stage import latents
from avsafe_generators.two_stage.vocabulary import MAX_OBJECTS, MAX_TOKENS, PAD

HEADS = 4
TIME_WIDTH = 64
M_TOKENS = MAX_OBJECTS * latents.GROUPS
Step = Callable[[float], None]


def _transformer(h: Array, words: Array, t: Array, w: Weights) -> Array:
    """``h`` (b, n, d) tokens, ``words`` (b, MAX_TOKENS, d), ``t`` (b,) -> (b, n, d)."""
    n = h.shape[1]
    time = layers.linear(layers.time_features(t, TIME_WIDTH), w, "time.0")
    time = layers.linear(layers.silu(time), w, "time.2")
    e = layers.silu(time + 2 * words.mean(axis=1))
    x = np.concatenate([h, words], axis=1) + w["place"]
    block = 0
    while f"blocks.{block}.qkv.weight" in w:
        p = layers.part(w, f"blocks.{block}")
        a, b, c, d, f, g = np.split(layers.linear(e, p, "ada")[:, None], 6, axis=-1)
        q, k, v = np.split(layers.linear(layers.layer_norm(x) * (1 + a) + b, p, "qkv"), 3, axis=-1)
        x = x + c * layers.linear(layers.attention(q, k, v, HEADS), p, "out")
        inner = layers.gelu(layers.linear(layers.layer_norm(x) * (1 + d) + f, p, "up"))
        x = x + g * layers.linear(inner, p, "down")
        block += 1
    out: Array = x[:, :n]
    return out


def first_frame(x: Array, t: Array, ids: NDArray[Any], w: Weights) -> Array:
    """Clean (b, G_WIDTH + MAX_OBJECTS * O_WIDTH) from noisy ``x`` of the same shape."""
    g, o = x[:, : latents.G_WIDTH], x[:, latents.G_WIDTH :].reshape(len(x), MAX_OBJECTS, -1)
    tokens = np.concatenate([layers.linear(g, w, "g_in")[:, None], layers.linear(o, w, "o_in")], 1)
    h = layers.layer_norm(_transformer(tokens, w["words.weight"][ids], t, w))
    return np.concatenate(
        [
            layers.linear(h[:, 0], w, "g_out"),
            layers.linear(h[:, 1:], w, "o_out").reshape(len(x), -1),
        ],
        axis=1,
    )


def motion(x: Array, t: Array, ids: NDArray[Any], frame: Array, w: Weights) -> Array:
    """Clean (b, M_TOKENS * M_WIDTH) from noisy ``x``, given what ``first_frame`` made."""
    g, o = (
        frame[:, : latents.G_WIDTH],
        frame[:, latents.G_WIDTH :].reshape(len(x), MAX_OBJECTS, -1),
    )
    m = layers.linear(x.reshape(len(x), M_TOKENS, -1), w, "m_in")
    tokens = [m, layers.linear(g, w, "g_in")[:, None], layers.linear(o, w, "o_in")]
    h = _transformer(np.concatenate(tokens, axis=1), w["words.weight"][ids], t, w)
    return layers.linear(layers.layer_norm(h[:, :M_TOKENS]), w, "m_out").reshape(len(x), -1)


def _flow(
    predict: Callable[[Array, Array, NDArray[Any]], Array], noise: Array, ids: NDArray[Any],
    steps: int, guidance: float, step: Step,
) -> Array:  # fmt: skip
    """Euler steps from noise to the clean latents; guidance 1 is none."""
    x = noise
    times = np.linspace(0, 1, steps + 1)
    for now, then in pairwise(times):
        step(float(now))
        t = np.full(len(x), now, np.float32)
        clean = predict(x, t, ids)
        if guidance != 1.0:
            free = predict(x, t, np.full_like(ids, PAD))
            clean = free + np.float32(guidance) * (clean - free)
        x = x + np.float32((then - now) / max(1 - now, 1e-6)) * (clean - x)
    return x


def sample(
    ids: NDArray[Any], seeds: list[int], w: Weights, *, steps: int = 16, guidance: float = 2.0,
    step: Step = lambda fraction: None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Latents g, o, m (see ``latents.encode``) of a batch of prompts, each with its own seed.

    Args:
        ids: (b, MAX_TOKENS) of ``vocabulary.tokens``.
        step: told how far it is, 0 to 1; may raise to stop.
    """
    ids = np.asarray(ids).reshape(-1, MAX_TOKENS)
    n_frame = latents.G_WIDTH + MAX_OBJECTS * latents.O_WIDTH
    n_motion = M_TOKENS * latents.M_WIDTH
    noise = np.stack(
        [
            np.random.Generator(np.random.PCG64(seed)).standard_normal(
                n_frame + n_motion, dtype=np.float32
            )
            for seed in seeds
        ]
    )
    looks, moves = layers.part(w, "frame"), layers.part(w, "motion")
    frame = _flow(
        lambda x, t, k: first_frame(x, t, k, looks), noise[:, :n_frame], ids, steps, guidance,
        lambda f: step(0.4 * f),
    )  # fmt: skip
    frame = settled(frame)
    m = _flow(
        lambda x, t, k: motion(x, t, k, frame, moves), noise[:, n_frame:], ids, steps, guidance,
        lambda f: step(0.4 + 0.6 * f),
    )  # fmt: skip
    m = m * np.tile(w["scale"].reshape(-1), MAX_OBJECTS)
    b = len(ids)
    return (
        frame[:, : latents.G_WIDTH],
        frame[:, latents.G_WIDTH :].reshape(b, MAX_OBJECTS, -1),
        m.reshape(b, MAX_OBJECTS, latents.GROUPS, latents.M_WIDTH),
    )


def settled(frame: Array) -> Array:
    """The categories at ±1, so that the second network sees a frame as it was taught with."""
    out = frame.copy()
    n_last = 7  # radius and first state stay as they are
    g, o = latents.G_WIDTH, latents.O_WIDTH
    out[:, :g] = np.where(out[:, :g] > 0, 1.0, -1.0)
    for i in range(MAX_OBJECTS):
        part = slice(g + i * o, g + (i + 1) * o - n_last)
        out[:, part] = np.where(out[:, part] > 0, 1.0, -1.0)
    return out

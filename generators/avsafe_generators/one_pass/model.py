"""The trained model, and the way from a parsed prompt to the maps of a whole clip.

Imports torch, and is itself imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253

from avsafe_generators import layers
from avsafe_generators.one_pass import flow, maps, traits
from avsafe_generators.one_pass.multidiffusion import fused, windows
from avsafe_generators.one_pass.stunet import Shape, STUNet

if TYPE_CHECKING:
    from avsafe_generators.world.parse import Description

WINDOW = 80  # frames that the model makes in one pass
OVERLAP = 40  # of the windows of a longer clip


def shape() -> Shape:
    """What the trained model is built from."""
    return Shape(maps.CHANNELS, traits.FIELDS, traits.SCENE_FIELDS, traits.OBJECTS)


@cache
def trained() -> STUNet:
    """The model with its weights. Raises GeneratorFailed when they are not installed."""
    model = STUNet(shape())
    model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in layers.load("one-pass").items()}
    )
    return model.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """The number of threads changes the last bits of a sum, and so the clip: always one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make(
    text: Description,
    frames: int,
    seed: int,
    *,
    steps: int,
    guidance: float,
    model: STUNet | None = None,
    watch: Callable[[float], None] = lambda share: None,
) -> maps.Maps:
    """Maps (c, t, h, w) of what ``text`` asks for, ``t`` the larger of ``frames`` and WINDOW: one
    pass up to WINDOW frames, overlapping windows above. ``watch`` gets the share that is done,
    before every call of the model."""
    net = model or trained()
    count = max(frames, WINDOW)
    starts = windows(count, WINDOW, OVERLAP if count > WINDOW else 0)
    phases = ["whole"] if len(starts) == 1 else ["first"] + ["later"] * (len(starts) - 1)
    told = [traits.of(text, phase) for phase in phases]
    calls = steps * len(starts)
    done = 0

    def window(x: torch.Tensor, level: torch.Tensor, number: int) -> torch.Tensor:
        nonlocal done
        watch(done / calls)
        done += 1
        pair = [told[number]] if guidance == 1 else [told[number], traits.nothing()]
        objects = torch.from_numpy(np.stack([t.objects for t in pair]))
        scene = torch.from_numpy(np.stack([t.scene for t in pair]))
        out: torch.Tensor = net(
            x.expand(len(pair), -1, -1, -1, -1), level.expand(len(pair)), objects, scene
        )
        if guidance == 1:
            return out
        return out[1:] + guidance * (out[:1] - out[1:])

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, maps.CHANNELS, count, maps.CELLS, maps.CELLS), generator=generator)
    with torch.inference_mode(), one_thread():
        clip = flow.sample(fused(window, starts, WINDOW), noise, steps)
    return np.asarray(clip[0].numpy(), np.float32)

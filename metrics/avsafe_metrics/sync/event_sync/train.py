"""Train the model of event sync on clips of the ``world`` generator: contacts and sound are exact.

    python -m avsafe_metrics.sync.event_sync.train --clips FOLDER --out event_sync.safetensors

1. world clips are made and kept as features in FOLDER (seeds 300 on; what is there is used again)
2. stretches of 3.5 s are damaged: other sound mixed in, noise, echo, other motion in some cells;
   sound and picture begin up to a second apart, so that their ends, which meet in the circle of
   shifts, tell nothing
3. the right lag must win against all others of the circle

Takes about 20 CPU-minutes, most of them for the clips. Needs torch and the generator ``world``.
"""

from __future__ import annotations

import argparse
import random
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.testing import measured
from avsafe.types import GenerationRequest, Generator, Principal, Task
from avsafe_metrics.sync.event_sync import features
from avsafe_metrics.sync.event_sync.network import LAYERS, faded_ends
from avsafe_metrics.sync.motion_cells import CELLS

Array = NDArray[Any]
WINDOW = 176  # steps of 20 ms
APART = 50  # steps that sound and picture of a stretch begin apart, at most
HIDDEN, HEARD, OUT = 24, 32, 8  # channels
SHOWN = 24  # cells of a stretch that are looked at in training: half the liveliest, half any
WIDTHS = (7, 7, 3)
FIRST_SEED = 300
MATERIALS = (
    "wood",
    "metal",
    "glass",
    "rubber",
    "stone",
    "marble",
    "plastic",
    "ice",
    "clay",
    "gold",
    "silver",
    "copper",
)
SHAPES = (
    "ball",
    "cube",
    "brick",
    "pyramid",
    "star",
    "ring",
    "cylinder",
    "cone",
    "heart",
    "capsule",
    "coin",
    "egg",
    "nut",
)
MOTIONS = ("bouncing", "bouncing", "falling", "jumping", "jumping", "rolling")
PLACES = (
    "in a studio",
    "in the room",
    "on grass",
    "in the desert",
    "by the sea",
    "in the mountains",
    "in the city",
    "on a snowfield",
    "in a forest",
    "on a stage",
)
CAMERAS = ("", "", "", ", pan left", ", pan right", ", zoom in", ", zoom out")


def request_for(seed: int) -> GenerationRequest:
    """A scene with objects that strike something."""
    rng = random.Random(seed)  # noqa: S311

    def thing() -> str:
        number = rng.choice(("a", "a", "two", "three"))
        plural = "" if number == "a" else "s"
        return f"{number} {rng.choice(MATERIALS)} {rng.choice(SHAPES)}{plural}"

    motion = rng.choice(MOTIONS)
    motion = "bouncing" if seed % 3 == 0 else motion
    things = thing() + (f" and {thing()}" if rng.random() < 0.4 else "")
    prompt = f"{things} {motion} {rng.choice(PLACES)}{rng.choice(CAMERAS)}"
    return GenerationRequest(
        Principal("training"), Task.TEXT_TO_VIDEO, "world", prompt, seed=seed,
        width=rng.choice((160, 192, 224)), height=160, duration_s=rng.choice((5.0, 6.0, 7.0)),
        parameters={"frame_rate": rng.choice((16, 20, 24, 25, 30))},
    )  # fmt: skip


def world_features(seed: int) -> dict[str, Array] | None:
    """Features of one clip; None where fewer than two contacts are heard."""
    (found,) = entry_points(group="avsafe.generators", name="world")
    generator: Generator = found.load()()
    raw = generator.generate(request_for(seed))
    if len(raw.details["impacts"]) < 2:
        return None
    return measured(features.EventFeatures(), raw).features


def clips(folder: Path, first: int, count: int) -> list[tuple[Array, Array]]:
    """(k, c, 4) cells and (2 k, 40) mel of each clip, made where they are not in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for seed in range(first, first + count):
        path = folder / f"world_{seed:05d}.npz"
        if not path.exists():
            made = world_features(seed)
            np.savez(path, **(made or {}))  # type: ignore[arg-type]
        with np.load(path) as kept:
            if "cells" in kept:
                out.append(features.in_step(
                    kept["cells"].astype(np.float32), float(kept["rate"][0]), kept["sound"]
                ))  # fmt: skip
    return out


# ---------------------------------------------------------------- damage


def example(data: list[tuple[Array, Array]], rng: np.random.Generator) -> tuple[Array, Array, int]:
    """Inputs of one damaged stretch, (k, SHOWN, 5) and (2 k, 20), and how many steps the sound
    comes late."""
    late = int(rng.integers(-APART, APART + 1))
    cells, mel = _stretch(data, rng, late)
    lively = np.argsort(-(cells[..., 1] ** 2).mean(axis=0))
    others = rng.permutation(lively[SHOWN // 2 :])[: SHOWN // 2]
    cells = cells[:, np.concatenate([lively[: SHOWN // 2], others])]
    if rng.random() < 0.6:  # a sound whose cause is not seen
        mel = np.logaddexp(mel, _stretch(data, rng)[1] + np.float32(rng.uniform(-5, 0)))
    if rng.random() < 0.6:  # a motion that is not heard
        other = _stretch(data, rng)[0]
        chosen = rng.permutation(SHOWN)[: rng.integers(3, 18)]
        taken = rng.permutation(CELLS)[: len(chosen)]
        cells[:, chosen] += np.float32(rng.uniform(0.3, 2)) * other[:, taken]
    cells *= np.exp(rng.normal(0, 0.4, 4)).astype(np.float32)
    noise = rng.standard_normal(cells.shape, np.float32)
    cells += noise * (cells.std((0, 1)) * np.float32(rng.uniform(0, 0.3)))
    fate = rng.random()
    if fate < 0.2:  # as a flash, which moves nothing
        cells[..., :2] = 0
    elif fate < 0.25:  # as a thing that moves and is as light as the ground
        cells[..., 2:] = 0
    mel = mel + rng.normal(0, 0.7, 40).astype(np.float32)
    mel += rng.standard_normal(mel.shape, np.float32) * np.float32(rng.uniform(0.05, 0.5))
    floor = rng.uniform(-10, -4) + rng.normal(0, 1, 40)
    mel = np.logaddexp(mel, floor.astype(np.float32))  # steady noise
    if rng.random() < 0.5:
        mel = _echoing(mel, rng.uniform(0.7, 0.93))
    return features.picture_input(cells), features.sound_input(mel), late


def _stretch(
    data: list[tuple[Array, Array]], rng: np.random.Generator, late: int = 0
) -> tuple[Array, Array]:
    cells, mel = data[rng.integers(len(data))]
    start = int(rng.integers(max(0, late), len(cells) - WINDOW + 1 + min(0, late)))
    heard = 2 * (start - late)
    return cells[start : start + WINDOW].copy(), mel[heard : heard + 2 * WINDOW].copy()


def _echoing(mel: Array, keep: float) -> Array:
    from scipy.signal import lfilter

    power = np.exp(mel)
    return np.asarray(np.log(power + lfilter([1.0], [1.0, -keep], power, axis=0)))


# ---------------------------------------------------------------- model


def model() -> Any:
    from torch import nn

    def encoder(inputs: int, hidden: int, stride: int) -> Any:
        sizes = [inputs, hidden, hidden, OUT]
        return nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], WIDTHS[i], stride if i == 0 else 1, WIDTHS[i] // 2)
            for i in range(LAYERS)
        )

    return nn.ModuleDict({
        "picture": encoder(features.PICTURE_INPUTS, HIDDEN, 1),
        "sound": encoder(features.SOUND_INPUTS, HEARD, 2),
    })  # fmt: skip


def _encoded(layers: Any, x: Any) -> Any:
    import torch

    for index, layer in enumerate(layers):
        x = layer(x)
        x = torch.relu(x) if index < LAYERS - 1 else x
    return (x - x.mean(-1, keepdim=True)) * torch.from_numpy(faded_ends(x.shape[-1]))


def torch_lag_scores(net: Any, sharpness: Any, picture: Any, sound: Any) -> Any:
    """``network.lag_scores`` for batches, in torch: (b, k, c, 5), (b, 2 k, 20) -> (b, k)."""
    import torch

    batch, count, cells = picture.shape[:3]
    flat = picture.permute(0, 2, 3, 1).reshape(batch * cells, -1, count)
    seen = _encoded(net["picture"], flat).reshape(batch, cells, OUT, count)
    most = seen.pow(2).mean((2, 3)).amax(1).sqrt()[:, None, None] + 1e-3
    heard = _encoded(net["sound"], sound.permute(0, 2, 1))
    heard = heard / (heard.pow(2).mean((1, 2), keepdim=True).sqrt() + 1e-4)
    cross = (torch.fft.rfft(seen).conj() * torch.fft.rfft(heard)[:, None]).sum(2)
    fits = torch.fft.irfft(cross, n=count) / count
    return torch.logsumexp(fits * sharpness / most, 1)


def train(data: list[tuple[Array, Array]], steps: int, seed: int, batch: int = 12) -> Any:
    """Weights as numpy arrays by name."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # more threads wait for one another on arrays this small
    rng = np.random.default_rng(seed)
    net = model()
    sharpness = torch.nn.Parameter(torch.tensor([3.4]))  # logarithm
    parameters = [*net.parameters(), sharpness]
    optimiser = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    lag = torch.arange(WINDOW)
    wanted = torch.softmax(-((torch.minimum(lag, WINDOW - lag) / 1.2) ** 2) / 2, 0)
    for step in range(steps):
        pairs = [example(data, rng) for _ in range(batch)]
        picture = torch.from_numpy(np.stack([p for p, _, _ in pairs]).astype(np.float32))
        sound = torch.from_numpy(np.stack([s for _, s, _ in pairs]).astype(np.float32))
        right = torch.stack([torch.roll(wanted, late) for _, _, late in pairs])
        scores = torch_lag_scores(net, sharpness.exp(), picture, sound)
        loss = -(torch.log_softmax(scores, 1) * right).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}", flush=True)
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    return {**weights, "sharpness": sharpness.exp().detach().numpy()}


def main(arguments: list[str] | None = None) -> None:
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips", type=Path, required=True, help="folder of features")
    parser.add_argument("--count", type=int, default=60, help="seeds of world clips")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args(arguments)
    data = [c for c in clips(asked.clips, FIRST_SEED, asked.count) if len(c[0]) >= WINDOW + APART]
    print(f"{len(data)} clips")
    save_file(train(data, asked.steps, asked.seed), asked.out)


if __name__ == "__main__":
    main()

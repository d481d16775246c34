"""``python -m avsafe_generators.train one-pass``: train the image model, inflate it, train the
video model. Data are scenes of the ``world`` generator; nothing is read from outside.

Legend: maps are (b, c, t, h, w). A run is a function of its options alone (on one machine with one
set of library versions): steps are counted, not timed; it goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_generators.one_pass import maps, traits
from avsafe_generators.world import parse, scene

if TYPE_CHECKING:
    from torch import Tensor

    from avsafe_generators.one_pass.stunet import ImageUNet, STUNet

FRAMES, RATE = 80, 16
WHOLE_S, LONG_S = 5.0, 15.0
IMAGE_STEPS, IMAGE_BATCH = 1400, 128
VIDEO_STEPS, VIDEO_BATCH = 770, 8
MOTION_STEPS = 1800  # once more, with the learning rate up again
NOMINAL_MINUTES = 35  # CPU time of the steps above, one thread
IMAGE_RATE, TIME_RATE, SPACE_RATE = 1.5e-3, 1.5e-3, 4e-4  # learning rates
# From this step of the video stage on, training is at the noise where motion is decided.
MOTION_FROM = 400
_FIRST, _LATER = (-1.0, 0.3), (-2.3, 0.6)  # centre of the levels, least 1 - level in the loss
_DECAY = 0.35  # share of the steps, at the end, over which the learning rate falls
UNSAID = 0.1  # share of clips whose condition is left out, for guidance
HELD_OUT = 10  # one combination of colour, shape and motion in ten is never shown

SIMPLE = (
    *((axis, value) for axis, values in traits.MOTIONS.items() for value in values),
    ("across", None),
)
_WORD = {
    "left": "moving left", "right": "moving right", "orbit": "orbiting", "still": "standing still",
    "up": "rising", "down": "sinking", "bounce": "bouncing", "fall": "falling", "jump": "jumping",
    "float": "floating", "approach": "approaching", "recede": "receding", "grow": "growing",
    "shrink": "shrinking",
}  # fmt: skip
_PLACE_WORD = {
    "studio": "in a studio", "room": "in a room", "sky": "in the sky", "sea": "by the sea",
    "desert": "in a desert", "grass": "on grass", "forest": "in a forest",
    "mountains": "in the mountains", "snowfield": "in the tundra", "city": "in a city",
    "space": "in space",
}  # fmt: skip


# ---------------------------------------------------------------- data


def held_out(color: str, shape: str, motion: str | None) -> bool:
    """Whether training never shows this combination, in any clip."""
    digest = hashlib.sha256(f"{color} {shape} {motion}".encode()).digest()
    return digest[0] % HELD_OUT == 0


def _moves(rng: np.random.Generator) -> dict[str, str]:
    if rng.random() < 0.25:
        across = str(rng.choice(["left", "right"]))
        height = str(rng.choice(["up", "down", "bounce", "jump", "float"]))
        return {"across": across, "height": height}
    axis, value = SIMPLE[int(rng.integers(len(SIMPLE)))]
    return {axis: value} if value else {}


def thing(rng: np.random.Generator, *, unseen: bool = False) -> tuple[str, dict[str, Any]]:
    """A phrase for one object, and its truth. ``unseen``: a held-out combination with one motion,
    else never one."""
    while True:
        color, shape = str(rng.choice(traits.COLOR)), str(rng.choice(traits.SHAPE))
        moves = _moves(rng)
        names: list[str | None] = [*moves.values()] or [None]
        out = [held_out(color, shape, name) for name in names]
        if (unseen and out == [True]) or (not unseen and not any(out)):
            break
    size = str(rng.choice(traits.SIZE)) if rng.random() < 0.4 else ""
    pace = str(rng.choice(["fast", "slow"])) if moves and rng.random() < 0.15 else ""
    # soft things bounce and hard ones fall: else the two motions look the same
    made_of = {"bounce": "rubber", "fall": "wooden"}.get(moves.get("height", ""), "plastic")
    shown = "" if rng.random() < 0.06 and not unseen else color
    noun = {"moon": "crescent"}.get(shape, shape)
    motion = " ".join(_WORD[m] for m in moves.values())
    place = ""
    if "across" not in moves and rng.random() < 0.12:
        place = f"on the {rng.choice(['left', 'right'])}"
    words = [size, shown, made_of, noun, motion, pace, place]
    truth = {"color": shown or None, "shape": shape, "motions": moves}
    return " ".join(w for w in words if w), truth


def prompt(rng: np.random.Generator, objects: int, *, unseen: bool = False) -> tuple[str, Any]:
    """A prompt with its truth: ``{"setting": ..., "objects": [...]}``."""
    phrases = [thing(rng, unseen=unseen) for _ in range(objects)]
    if objects == 2 and rng.random() < 0.15:
        phrases[1] = phrases[0]  # the same twice
    setting = str(rng.choice(traits.SETTING))
    where = _PLACE_WORD[setting] if unseen or rng.random() < 0.85 else ""
    text = " and a ".join(p for p, _ in phrases)
    truth = {"setting": setting if where else None, "objects": [t for _, t in phrases]}
    return f"a {text} {where}".replace("a  ", "").strip(), truth


def clip(rng: np.random.Generator, frames: int = FRAMES) -> tuple[Any, traits.Traits]:
    """Maps (c, frames, h, w) and condition of one clip; ``frames`` < FRAMES: single frames of it,
    at times of their own."""
    text = parse.parse(prompt(rng, 1 + int(rng.random() < 0.35))[0])
    phase = str(rng.choice(traits.PHASE, p=[0.7, 0.08, 0.22]))
    whole = phase == "whole"
    plan = scene.plan(
        text, width=512, height=512, duration_s=WHOLE_S if whole else LONG_S,
        seed=int(rng.integers(2**62)),
    )  # fmt: skip
    start = float(rng.uniform(1.0, LONG_S - WHOLE_S)) if phase == "later" else 0.0
    numbers = np.arange(FRAMES) if frames == FRAMES else rng.integers(FRAMES, size=frames)
    return maps.draw(plan, start + numbers / RATE), traits.of(text, phase)


def _batches(seed: int, first: int, count: int, frames: int) -> Iterator[Any]:
    """Batches from number ``first`` on; each is a function of its number."""
    import torch

    number = first
    while True:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, frames, number])))
        made = [clip(rng, frames) for _ in range(count)]
        for k in range(count):
            if rng.random() < UNSAID:
                made[k] = (made[k][0], traits.nothing())
        yield (
            torch.from_numpy(np.stack([m for m, _ in made])),
            torch.from_numpy(np.stack([t.objects for _, t in made])),
            torch.from_numpy(np.stack([t.scene for _, t in made])),
        )
        number += 1


def masks(count: int, rng: np.random.Generator) -> Any:
    """(count, 1, FRAMES, CELLS, CELLS) of what is given: nothing (60 %), the first frame (20 %),
    the outside of a box (10 %), both (10 %)."""
    out = np.zeros((count, 1, FRAMES, maps.CELLS, maps.CELLS), np.float32)
    for mask in out[:, 0]:
        kind = rng.random()
        if kind >= 0.8:
            x, y = rng.integers(0, maps.CELLS - 2, size=2)
            w, h = rng.integers(2, maps.CELLS, size=2)
            mask[:] = 1
            mask[:, y : y + h, x : x + w] = 0
        if 0.6 <= kind < 0.8 or kind >= 0.9:
            mask[0] = 1
    return out


# ---------------------------------------------------------------- training


class _Run:
    """One stage: model, average, optimiser; saved every so often."""

    def __init__(self, model: ImageUNet, groups: list[dict[str, Any]], steps: int, file: Path):
        import copy

        import torch

        self.model, self.average, self.steps, self.file = model, copy.deepcopy(model), steps, file
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.97), weight_decay=0.01)
        self.rates = [float(g["lr"]) for g in groups]
        self.step, self.spent_s, self.losses = 0, 0.0, [0.0]
        if file.is_file():
            state = torch.load(file, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.spent_s = state["step"], state["spent_s"]

    def save(self) -> None:
        import torch

        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "step": self.step, "spent_s": self.spent_s,
        }  # fmt: skip
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    def update(self, value: Tensor) -> None:
        import torch

        share = self.step / self.steps
        pace = min(1.0, (self.step + 1) / 100) * min(1.0, (1 - share) / _DECAY + 0.01)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * pace
        self.optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        self.step += 1
        self.losses.append(float(value.detach()))


def _train(run: _Run, stage: str, seed: int, device: str, before: int = 0) -> None:
    import torch

    from avsafe_generators.one_pass import flow

    video = stage != "image"
    count, frames = (VIDEO_BATCH, FRAMES) if video else (IMAGE_BATCH // 4, 4)
    began = time.process_time() - run.spent_s
    for clean, objects, place in _batches(seed, before + run.step, count, frames):
        if run.step >= run.steps:
            break
        draw = torch.Generator().manual_seed((seed * 2 + video) * 1_000_003 + before + run.step)
        known = mask = None
        if video:
            rng = np.random.Generator(np.random.PCG64([seed, 77, before + run.step]))
            mask = torch.from_numpy(masks(count, rng)).to(device)
        else:  # frames on their own: each is a clip of one frame
            clean = clean.transpose(1, 2).flatten(0, 1)[:, :, None]
            objects, place = objects.repeat_interleave(4, 0), place.repeat_interleave(4, 0)
        noise = torch.randn(clean.shape, generator=draw)
        centre, steepest = _LATER if video and before + run.step >= MOTION_FROM else _FIRST
        level = flow.levels(len(clean), draw, centre).to(device)
        clean, noise = clean.to(device), noise.to(device)
        x = flow.noisy(clean, noise, level)
        if mask is not None:
            known = clean * mask
        predicted = run.model(x, level, objects.to(device), place.to(device), known, mask)
        weight = None if mask is None else 1 - mask
        run.update(flow.loss(predicted, clean, level, weight, steepest))
        run.spent_s = time.process_time() - began
        if run.step % 20 == 0 or run.step == run.steps:
            mean = float(np.mean(run.losses[-50:]))
            at = f"{stage} {run.step}/{run.steps}"
            print(f"{at} loss {mean:.4f} cpu {run.spent_s:.0f} s", flush=True)
            run.save()


def train(
    seed: int, device: str, folder: Path, image_steps: int, video_steps: int, space_rate: float
) -> tuple[STUNet, dict[str, float]]:
    """Both stages; the averaged video model and the CPU-seconds of each stage."""
    import torch

    from avsafe_generators.one_pass.model import shape
    from avsafe_generators.one_pass.stunet import ImageUNet, inflate

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    image = ImageUNet(shape()).to(device)
    first = _Run(
        image, [{"params": list(image.parameters()), "lr": IMAGE_RATE}], image_steps,
        folder / "image.pt",
    )  # fmt: skip
    _train(first, "image", seed, device)
    torch.manual_seed(seed + 1)
    video = inflate(first.average).to(device)
    second = _Run(video, _groups(video, space_rate), video_steps, folder / "video.pt")
    _train(second, "video", seed, device)
    # once more from the average, with the learning rate up again
    motion_steps = max(1, round(video_steps * MOTION_STEPS / VIDEO_STEPS))
    third = _Run(
        second.average, _groups(second.average, space_rate), motion_steps, folder / "motion.pt"
    )
    _train(third, "motion", seed, device, video_steps)
    cost = {"image_cpu_s": first.spent_s, "video_cpu_s": second.spent_s + third.spent_s}
    return third.average, cost  # type: ignore[return-value]


def _groups(video: ImageUNet, space_rate: float) -> list[dict[str, Any]]:
    """What came with the inflation, and the image model's own layers at their own rate."""
    from avsafe_generators.one_pass.stunet import is_temporal

    time = [p for n, p in video.named_parameters() if is_temporal(n)]
    space = [p for n, p in video.named_parameters() if not is_temporal(n)]
    if space_rate == 0:
        for parameter in space:
            parameter.requires_grad_(False)
        return [{"params": time, "lr": TIME_RATE}]
    return [{"params": time, "lr": TIME_RATE}, {"params": space, "lr": space_rate}]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="train one-pass", description=__doc__)
    parser.add_argument("--minutes", type=float, default=NOMINAL_MINUTES,
                        help="scales the steps; nominal CPU minutes of one thread")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("one-pass-training"),
                        help="checkpoints; a run goes on from them")  # fmt: skip
    parser.add_argument("--out", type=Path, default=None, help="weights file to write")
    parser.add_argument("--image-steps", type=int, default=None)
    parser.add_argument("--video-steps", type=int, default=None)
    parser.add_argument("--space-rate", type=float, default=SPACE_RATE,
                        help="learning rate of the spatial layers; 0 freezes them")  # fmt: skip
    parser.add_argument(
        "--figures", type=int, default=0, metavar="N", help="measure on N prompts instead"
    )
    given = parser.parse_args(argv)
    if given.figures:
        from avsafe_generators.train import _one_pass_figures

        _one_pass_figures.report(given.figures, given.out)
        return

    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    scale = given.minutes / NOMINAL_MINUTES
    image_steps = given.image_steps or max(1, round(IMAGE_STEPS * scale))
    video_steps = given.video_steps or max(1, round(VIDEO_STEPS * scale))
    model, cost = train(
        given.seed, given.device, given.folder, image_steps, video_steps, given.space_rate
    )
    out = given.out or given.folder / "one-pass.safetensors"
    half = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(half, out)
    print(f"{out}: {out.stat().st_size} bytes; {cost}")

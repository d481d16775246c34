"""Train the two networks of ``two-stage``: prompts and scenes of the world, flow matching.

Combinations of words are held out: a share of the (colour, shape) and of the (shape, motion) pairs,
drawn by hash, never occurs in a training scene, neither asked for nor drawn by the seed. The report
gives every figure on prompts that contain one of them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.two_stage import choice, judge, latents, network
from avsafe_generators.two_stage import vocabulary as v
from avsafe_generators.world import parse, scene

WIDTH = 128
BLOCKS = {"frame": 3, "motion": 4}
WEIGHTS = Path(__file__).parent.parent / "weights" / "two-stage.safetensors"
HELD_OUT_PERCENT = 12
DROPPED = 0.1  # share of the prompts that are left out, for guidance
_WORDS = {"bounce": "bouncing", "fall": "falling", "jump": "jumping", "float": "floating",
          "roll": "rolling", "slide": "sliding", "spin": "spinning", "orbit": "orbiting",
          "approach": "approaching", "recede": "receding", "grow": "growing",
          "shrink": "shrinking", "up": "rising", "down": "sinking", "left": "moving left",
          "right": "moving right", "moon": "crescent", "light": "glowing", "wood": "wooden",
          "pan-left": "camera pans left", "pan-right": "camera pans right", "zoom-in": "zoom in",
          "zoom-out": "zoom out", "sea": "by the sea", "snowfield": "arctic"}  # fmt: skip


def held_out(first: str, second: str) -> bool:
    """Whether a pair of concepts is kept from training.

    >>> held_out("red", "ball") == held_out("red", "ball")
    True
    """
    return zlib.crc32(f"{first} {second}".encode()) % 100 < HELD_OUT_PERCENT


def _pairs(body: scene.Body) -> list[tuple[str, str]]:
    found = [(body.color or "none", body.shape)]
    return found + [(body.shape, m) for m in body.motions]


def prompt(rng: np.random.Generator) -> str:
    """A random prompt of one or two objects."""

    def word(options: tuple[str, ...]) -> str:
        value = options[int(rng.integers(len(options)))]
        return _WORDS.get(value, value)

    def thing() -> str:
        before: list[str] = []
        after: list[str] = []
        for options, share in ((v.SIZES, 0.4), (v.TONES[1:], 0.12), (v.PATTERNS[1:], 0.15),
                               (v.COLORS[1:], 0.8), (v.MATERIALS, 0.45)):  # fmt: skip
            if rng.random() < share:
                (after if rng.random() < 0.12 else before).append(word(options))
        rng.shuffle(before)
        number = "two " if rng.random() < 0.05 else "a "
        moves = [word(v.MOTIONS)] if rng.random() < 0.85 else []
        if moves and rng.random() < 0.15:
            moves.append(word(v.MOTIONS))
        if moves and rng.random() < 0.2:
            moves.append(word(v.SPEEDS))
        return " ".join([number + " ".join(before), word(v.SHAPES), *after, *moves])

    joiner = " and " if rng.random() < 0.7 else ", "
    text = joiner.join(thing() for _ in range(1 + int(rng.random() < 0.5)))
    tail = []
    for options, share in ((v.SETTINGS, 0.75), (v.TIMES, 0.3), (v.WEATHERS, 0.15),
                           (v.CAMERAS[1:], 0.2)):  # fmt: skip
        if rng.random() < share:
            tail.append(word(options))
    if tail and rng.random() < 0.15:
        return ", ".join([*tail, text])
    return text + "".join(f", {word}" for word in tail)


def scene_of(text: str, seed: int) -> tuple[parse.Description, scene.Scene]:
    described = parse.parse(text)
    return described, scene.plan(
        described, width=512, height=512, duration_s=latents.DURATION_S, seed=seed
    )


Example = tuple[list[int], NDArray[Any], NDArray[Any], NDArray[Any]]


def examples(count: int, seed: int) -> list[Example]:
    """Training pairs without any held-out combination: tokens, g, o, m."""
    rng, found = np.random.default_rng(seed), list[Example]()
    while len(found) < count:
        text = prompt(rng)
        _, planned = scene_of(text, int(rng.integers(2**31)))
        if len(planned.bodies) > v.MAX_OBJECTS or any(
            held_out(*pair) for body in planned.bodies for pair in _pairs(body)
        ):
            continue
        found.append((v.tokens(v.concepts_of(text)), *latents.encode(planned)))
    return found


def tests(count: int, seed: int, *, unseen: bool) -> list[tuple[str, parse.Description]]:
    """Prompts with (or without) a held-out combination among what they ask for."""
    rng, found = np.random.default_rng(seed), list[tuple[str, parse.Description]]()
    while len(found) < count:
        text = prompt(rng)
        described = parse.parse(text)
        asked = [
            pair
            for wish in described.wishes
            for pair in [
                (wish.traits.get("color", "none"), wish.shape or ""),
                *[(wish.shape or "", m) for m in wish.motions.values()],
            ]
        ]
        number = sum(wish.count for wish in described.wishes)
        if number <= v.MAX_OBJECTS and any(held_out(*pair) for pair in asked) == unseen:
            found.append((text, described))
    return found


def figures(weights: Any, count: int, seed: int, *, unseen: bool, tries: int = 1) -> dict[str, Any]:
    """Shares of prompts that came out right, as fractions, with their numbers.

    One try is what the networks do; more are chosen among by the same rules that count here.
    """
    from collections import Counter

    cases = tests(count, seed, unseen=unseen)
    began = time.process_time()
    shows = [
        choice.chosen(described, v.tokens(v.concepts_of(text)), weights, seed * 7919 + i,
                      tries=tries)
        for i, (text, described) in enumerate(cases)
    ]  # fmt: skip
    cost = (time.process_time() - began) / count
    good: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (_, described), shown in zip(cases, shows, strict=True):
        checks = list(judge.judged(described, shown).items())
        for wish, one in zip(_each(described), judge.objects(described, shown), strict=True):
            if "motion" in one:
                number = "one word" if len(wish.motions) == 1 else "several words"
                checks += [("motion of each object", one["motion"]),
                           (f"motion of each object, {number}", one["motion"])]  # fmt: skip
        for name, ok in checks:
            total[name] += 1
            good[name] += ok
    return {
        "right": {name: good[name] / total[name] for name in sorted(total)},
        "n": dict(sorted(total.items())),
        "cpu_s_per_clip": cost,
    }


def _each(described: parse.Description) -> list[parse.Wish]:
    return [wish for wish in described.wishes for _ in range(wish.count)]


def main(argv: list[str]) -> None:
    """Train, judge, and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m avsafe_generators.train two-stage",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--examples", type=int, default=64_000)
    parser.add_argument("--steps", type=int, default=7_000, help="of the motion network, batch 64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--judge", action="store_true", help="train nothing: figures of --out")
    parser.add_argument("--report", type=Path, help="write the figures as JSON")
    options = parser.parse_args(argv)
    if not options.judge:
        began = time.process_time()
        data = examples(options.examples, options.seed)
        print(f"{len(data)} examples in {time.process_time() - began:.0f} CPU-s", flush=True)
        _save(_train(data, options.steps, options.seed, options.device), options.out)
        print(f"training: {time.process_time() - began:.0f} CPU-s", flush=True)
    weights = _load(options.out)
    report = {
        f"{name}, {tries} {'try' if tries == 1 else 'tries'}": figures(
            weights, count, 11, unseen=name == "held-out combinations", tries=tries
        )
        for name, tries, count in (
            ("held-out combinations", 1, 600),
            ("held-out combinations", 4, 600),
            ("seen combinations", 1, 300),
        )
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text + "\n")


def build(kind: str, n_tokens: int) -> Any:
    """One transformer as ``network`` computes it."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            d = WIDTH
            self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.up, self.down, self.ada = (
                nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.Linear(d, 6 * d),
            )  # fmt: skip
            nn.init.zeros_(self.ada.weight)
            nn.init.zeros_(self.ada.bias)

        def forward(self, x: Any, e: Any) -> Any:
            norm = nn.functional.layer_norm
            a, b, c, d, f, g = self.ada(e)[:, None].chunk(6, -1)
            n, width = x.shape[1:]
            q, k, val = (
                self.qkv(norm(x, (width,)) * (1 + a) + b)
                .view(len(x), n, 3, network.HEADS, -1)
                .permute(2, 0, 3, 1, 4)
            )
            seen = nn.functional.scaled_dot_product_attention(q, k, val)
            x = x + c * self.out(seen.transpose(1, 2).flatten(2))
            inner = nn.functional.gelu(self.up(norm(x, (width,)) * (1 + d) + f), approximate="tanh")
            return x + g * self.down(inner)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            d = WIDTH
            self.words = nn.Embedding(v.N_TOKENS, d)
            self.place = nn.Parameter(torch.randn(n_tokens + v.MAX_TOKENS, d) * 0.02)
            self.time = nn.Sequential(nn.Linear(network.TIME_WIDTH, d), nn.SiLU(), nn.Linear(d, d))
            self.g_in, self.o_in = (
                nn.Linear(latents.G_WIDTH, d), nn.Linear(latents.O_WIDTH, d),
            )  # fmt: skip
            if kind == "frame":
                self.g_out, self.o_out = (
                    nn.Linear(d, latents.G_WIDTH), nn.Linear(d, latents.O_WIDTH),
                )  # fmt: skip
            else:
                self.m_in = nn.Linear(latents.M_WIDTH, d)
                self.m_out = nn.Linear(d, latents.M_WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS[kind]))

        def forward(self, x: Any, t: Any, ids: Any, frame: Any = None) -> Any:
            half = network.TIME_WIDTH // 2
            rates = torch.exp(-math.log(1e4) * torch.arange(half, device=x.device) / half)
            angles = t[:, None] * rates * 1000
            words = self.words(ids)
            e = self.time(torch.cat([angles.sin(), angles.cos()], 1)) + 2 * words.mean(1)
            e = nn.functional.silu(e)
            source = x if frame is None else frame
            g = source[:, : latents.G_WIDTH]
            o = source[:, latents.G_WIDTH :].view(len(x), v.MAX_OBJECTS, -1)
            tokens = [self.g_in(g)[:, None], self.o_in(o)]
            if frame is not None:
                tokens.insert(0, self.m_in(x.view(len(x), network.M_TOKENS, -1)))
            h = torch.cat([*tokens, words], 1) + self.place
            for block in self.blocks:
                h = block(h, e)
            h = nn.functional.layer_norm(h, (WIDTH,))
            if frame is not None:
                return self.m_out(h[:, : network.M_TOKENS]).flatten(1)
            objects = self.o_out(h[:, 1 : 1 + v.MAX_OBJECTS]).flatten(1)
            return torch.cat([self.g_out(h[:, 0]), objects], 1)

    return Net()


def _train(data: list[Example], steps: int, seed: int, device: str) -> dict[str, NDArray[Any]]:
    import torch

    torch.manual_seed(seed)
    ids = torch.tensor([row[0] for row in data], device=device)
    frames = torch.tensor(
        np.stack([np.concatenate([g, o.ravel()]) for _, g, o, _ in data]), device=device
    )
    moves = np.stack([m for *_, m in data])
    there = np.stack([o[:, 0] > 0 for _, _, o, _ in data])
    scale = np.maximum(moves[there].reshape(-1, latents.GROUPS * latents.M_WIDTH).std(axis=0), 0.05)
    wide = np.tile(scale, v.MAX_OBJECTS)
    moves_t = torch.tensor(moves.reshape(len(moves), -1) / wide, device=device).float()
    there_t = torch.tensor(
        np.repeat(there, latents.GROUPS * latents.M_WIDTH, axis=1), device=device
    ).float()
    everywhere = torch.ones_like(frames)
    n_frame = 1 + v.MAX_OBJECTS
    out: dict[str, NDArray[Any]] = {"scale": scale.astype(np.float32)}
    for kind, target, weight, given, n in (
        ("frame", frames, everywhere, None, n_frame),
        ("motion", moves_t, there_t, frames, n_frame + network.M_TOKENS),
    ):
        net = _fit(
            build(kind, n).to(device), kind, target, weight, ids, given,
            steps if kind == "motion" else steps * 3 // 7,
        )  # fmt: skip
        out |= {f"{kind}.{k}": p.detach().cpu().numpy() for k, p in net.items()}
    return out


def _fit(
    net: Any, kind: str, target: Any, weight: Any, ids: Any, given: Any, steps: int
) -> dict[str, Any]:
    import torch

    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, betas=(0.9, 0.95), weight_decay=1e-3)
    averaged = {k: p.detach().clone() for k, p in net.state_dict().items()}
    device, began = target.device, time.process_time()
    autocast = torch.autocast(device.type, dtype=torch.bfloat16)
    for step in range(steps):
        rate = 2e-3 * min(1, (step + 1) / 100) * min(1.0, (1 - step / steps) / 0.5 + 0.01)
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = torch.randint(len(target), (64,), device=device)
        clean, keep = target[rows], weight[rows]
        words = ids[rows] * (torch.rand(64, 1, device=device) > DROPPED)
        t = torch.sigmoid(torch.randn(64, device=device) - 0.3)
        mixed = t[:, None] * clean + (1 - t[:, None]) * torch.randn_like(clean)
        with autocast:
            guess = net(mixed, t, words, None if given is None else given[rows])
        error = keep * (guess.float() - clean) ** 2
        loss = (error / (1 - t[:, None]).clamp(min=0.3) ** 2).sum() / keep.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            share = 0.2 if step < 100 else max(0.002, 4 / (step + 1))
            for k, p in net.state_dict().items():
                averaged[k].lerp_(p, share)
        if step % 250 == 249:
            print(f"{kind} {step + 1} loss {loss.item():.3f} "
                  f"{time.process_time() - began:.0f} CPU-s", flush=True)  # fmt: skip
    return averaged


def _save(weights: dict[str, NDArray[Any]], path: Path) -> None:
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(w, np.float16) for k, w in weights.items()}, path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def _load(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load

    return {k: w.astype(np.float32) for k, w in load(path.read_bytes()).items()}

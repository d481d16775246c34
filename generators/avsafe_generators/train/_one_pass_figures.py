"""Figures of the one-pass model: do decoded clips show what was asked, on words never combined?

Three rows for each kind of prompt: the generated clips; ``ceiling``, the true maps of the same
prompts through the same decoder; ``chance``, the generated clips held against the next prompt.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avsafe_generators.one_pass import maps, paths, staging, traits
from avsafe_generators.train import one_pass as training
from avsafe_generators.world import parse, scene


def decode(clip: maps.Maps, expected: int) -> tuple[list[paths.Path], str]:
    found, _ = paths.follow(maps.read(clip, traits.OBJECTS, expected), traits.OBJECTS)
    return found, maps.setting(clip)[0]


def judge(text: parse.Description, truth: Any, found: list[paths.Path], where: str) -> Counter[str]:
    """Counts of right traits; an object that isn't there is wrong in all."""
    tally: Counter[str] = Counter()
    wanted, seen = staging.asked(text), [staging.shown(path) for path in found]
    for wish, path in staging.pairs(text, found):
        agreed = staging.agrees(wanted[wish], seen[path])
        tally.update({name: int(good) for name, good in agreed.items()})
        tally["object"] += all(agreed.values())
    tally["objects"] = len(wanted)
    tally["count"] = int(len(found) == len(wanted))
    if truth["setting"]:
        tally["setting"], tally["settings"] = int(where == truth["setting"]), 1
    tally["clips"] = 1
    return tally


def rates(tally: Counter[str]) -> dict[str, float]:
    of = {"count": "clips", "setting": "settings"}
    names = ("color", "shape", "motion", "object", "count", "setting")
    return {n: round(tally[n] / max(1, tally[of.get(n, "objects")]), 3) for n in names}


def measure(
    count: int, objects: int, make: Callable[[parse.Description, int], maps.Maps], *, unseen: bool
) -> dict[str, Any]:
    """Rates over ``count`` prompts of ``objects`` objects each."""
    rng = np.random.Generator(np.random.PCG64([2026, objects, unseen]))
    asked = [training.prompt(rng, objects, unseen=unseen) for _ in range(count)]
    texts = [parse.parse(prompt) for prompt, _ in asked]
    began = time.process_time()
    made = [decode(make(text, 10_000 + k), objects) for k, text in enumerate(texts)]
    spent = (time.process_time() - began) / count
    times = np.arange(training.FRAMES) / training.RATE
    tallies = {"generated": Counter[str](), "ceiling": Counter[str](), "chance": Counter[str]()}
    by_motion: dict[str, list[int]] = {}
    for k, (text, (_, truth)) in enumerate(zip(texts, asked, strict=True)):
        one = judge(text, truth, *made[k])
        tallies["generated"] += one
        plan = scene.plan(text, width=512, height=512, duration_s=training.WHOLE_S, seed=k)
        tallies["ceiling"] += judge(text, truth, *decode(maps.draw(plan, times), objects))
        tallies["chance"] += judge(text, truth, *made[(k + 1) % count])
        if objects == 1:
            name = " ".join(staging.asked(text)[0]["motions"].values()) or "rest"
            right, all_ = by_motion.setdefault(name, [0, 0])
            by_motion[name] = [right + one["motion"], all_ + 1]
    jitter = [path.jitter for found, _ in made for path in found]
    return {
        **{name: rates(tally) for name, tally in tallies.items()},
        "by_motion": dict(sorted(by_motion.items())),
        "jitter": round(float(np.median(jitter)), 4) if jitter else None,
        "cpu_s": round(spent, 2),
    }


def report(count: int, weights: Path | None) -> None:
    """Print the table of the card: unseen combinations, combinations of training, two objects."""
    import torch

    from avsafe_generators.one_pass import model
    from avsafe_generators.one_pass.stunet import STUNet

    torch.set_num_threads(1)
    if weights is None:
        net = model.trained()
    else:
        from safetensors.torch import load_file

        net = STUNet(model.shape())
        net.load_state_dict({k: v.float() for k, v in load_file(weights).items()})
        net.eval()

    def make(text: parse.Description, seed: int) -> maps.Maps:
        return model.make(text, training.FRAMES, seed, steps=16, guidance=1.5, model=net)

    for title, objects, unseen in (
        ("one object, unseen combination", 1, True),
        ("one object, as in training", 1, False),
        ("two objects, unseen combinations", 2, True),
    ):
        print(title, f"n = {count}", flush=True)
        for name, value in measure(count, objects, make, unseen=unseen).items():
            print(f"  {name}: {value}", flush=True)

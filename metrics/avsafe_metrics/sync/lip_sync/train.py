"""``python -m avsafe_metrics.sync.lip_sync.train --media DIR --out DIR``: rebuilds the weights.

1. every film and crop is followed, its sound read (kept under OUT/tracks)
2. people are divided into folds; for each fold networks learn from the others
3. those networks judge the clips of their fold: figures, doubtful clips, and the calibration
   (what sound of somebody else, or of another time, reaches)
4. networks learn from everybody; they ship with the calibration of the folds

Writes lip_sync.safetensors, calibration.json, folds.json, fold_K.safetensors and sync.json (what
the folds say of the sync of each clip). Deterministic by ``--seed`` on one machine.

Legend: as in ``model``; a batch has 32 windows and their 32 pairs with another's sound.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sync.lip_sync import clips as data
from avsafe_metrics.sync.lip_sync import features, judgement, model
from avsafe_metrics.sync.lip_sync.augment import Example, drawn
from avsafe_metrics.sync.lip_sync.network import agreement, encoded, exported, network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_metrics.sync.lip_sync.clips import Clip

log = logging.getLogger(__name__)
BATCH = 32
RATE = 2e-3  # AdamW's, at the top of one cycle
FOLDS = 5
LENGTHS = (50, 75, 125, 200, 325)  # frames of the calibration
QUANTILES = 200
Weights = dict[str, Any]


def folds_of(clips: Sequence[Clip], count: int = FOLDS) -> dict[str, int]:
    """Person -> fold. Real people are dealt out first, those of certain sync before others; then
    generated ones, the longest first, to the fold that has least."""
    frames: dict[str, int] = {}
    real: dict[str, bool] = {}
    certain: dict[str, bool] = {}
    for clip in clips:
        frames[clip.person] = frames.get(clip.person, 0) + len(clip.tracks[0].mouths)
        real[clip.person] = real.get(clip.person, False) or not clip.generated
        certain[clip.person] = certain.get(clip.person, False) or clip.certain
    load, dealt, out = [0] * count, [0] * count, {}
    order = sorted(frames, key=lambda p: (not real[p], not certain[p], -frames[p], p))
    for person in order:
        fold = min(range(count), key=lambda k: (dealt[k] if real[person] else 0, load[k], k))
        out[person] = fold
        load[fold] += frames[person]
        dealt[fold] += real[person]
    return out


def trained(clips: Sequence[Clip], steps: int, seed: int) -> Any:
    """A network that learned from these clips."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    clips = [clip for clip in clips if clip.name.split("@")[0] not in data.DOUBTFUL]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    # Long clips count for less than their length, real people for more than generated ones.
    share = np.array([
        max(1, len(c.tracks[0].mouths) - features.WINDOW) ** 0.7 * (1 if c.generated else 2)
        for c in clips
    ])  # fmt: skip
    share /= share.sum()
    net = network().to(device).train()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=2e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.15)
    others = torch.full((BATCH,), 2 * features.REACH + 1, device=device)
    for step in range(steps):
        batch: list[Example] = []
        while len(batch) < BATCH:
            clip = clips[rng.choice(len(clips), p=share)]
            example = drawn(clip, clips, rng, data.LATE.get(clip.name, 0))
            if example is not None:
                batch.append(example)
        lips, sound, heard = (
            torch.from_numpy(np.stack([getattr(e.window, name) for e in batch])).to(device)
            for name in ("lips", "sound", "heard")
        )
        label = torch.tensor([e.label for e in batch], device=device)
        with torch.autocast(device.type, torch.bfloat16):
            v, a = encoded(net, lips, "lips"), encoded(net, sound, "sound")
        roll = int(rng.integers(1, BATCH))
        scale, none = net.scale.exp(), net.none.expand(BATCH, 1)
        own = scale * agreement(v, a, heard)
        other = scale * agreement(v, a.roll(roll, 0), heard.roll(roll, 0))
        judged = torch.cat([torch.cat([own, none], 1), torch.cat([other, none], 1)])
        loss = 0.8 * cross_entropy(own, label)
        loss = loss + 0.4 * cross_entropy(judged, torch.cat([label, others]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        cycle.step()
        if step % 100 == 99:
            log.info("step %d of %d, loss %.3f", step + 1, steps, float(loss))
    return net.eval().cpu()


def ensemble(clips: Sequence[Clip], steps: int, seed: int, members: int) -> Weights:
    """The arrays of several networks, which differ by their seed."""
    out: Weights = {}
    for member in range(members):
        out |= exported(trained(clips, steps, seed * 100 + member), f"{member}.")
    return out


# ---------------------------------------------------------------- what the folds say


def lips_and_sound(clip: Clip) -> tuple[data.Track, NDArray[np.float32]]:
    """The track that is nearest to what the metric sees, and the sound as it is."""
    track = clip.track("film", "crop")
    return track or clip.tracks[0], features.power(clip.sound)


def judged(clips: Sequence[Clip], weights: Mapping[str, Any]) -> dict[str, Any]:
    """For each clip the frames that were judged and the evidence (n, 2 K + 1)."""
    members = model.members_of(weights)
    out = {}
    for clip in clips:
        track, energy = lips_and_sound(clip)
        at = model.starts(track.runs)
        seen = [model.window(track.mouths, energy, *span) for span in at]
        seen = [w for w in seen if w.heard.sum() >= features.LEAST]
        if seen:
            evidence = model.evidence(seen, weights, members)
            out[clip.name] = (judgement.covered(at), evidence)
    return out


def unrelated(
    clips: Sequence[Clip], weights: Mapping[str, Any], count: int, seed: int
) -> dict[int, list[float]]:
    """Confidences of lips with sound of another person, or of the same clip at least 3 s off, for
    each length in frames."""
    rng = np.random.default_rng(seed)
    members = model.members_of(weights)
    out: dict[int, list[float]] = {frames: [] for frames in LENGTHS}
    known = [(clip, *lips_and_sound(clip)) for clip in clips]
    for frames in LENGTHS:
        spans = [
            (clip, track, run) for clip, track, _ in known for run in track.runs
            if run[1] - run[0] >= frames
        ]  # fmt: skip
        heard = [(c, e) for c, _, e in known if e.shape[1] // 4 >= frames]
        tries = 0
        while spans and heard and len(out[frames]) < count and tries < 20 * count:
            tries += 1
            clip, track, (low, high) = spans[rng.integers(len(spans))]
            other, energy = heard[rng.integers(len(heard))]
            first = int(rng.integers(low, high - frames + 1))
            start = int(rng.integers(0, energy.shape[1] // 4 - frames + 1))
            if other.name == clip.name and abs(start - first) < 3 * features.RATE:
                continue
            if other.person == clip.person and other.name != clip.name:
                continue
            sound = energy[:, 4 * start : 4 * (start + frames)]
            mouths = track.mouths[first : first + frames]
            seen = [model.window(mouths, sound, *span) for span in model.starts([(0, frames)])]
            evidence = model.evidence(seen, weights, members)
            out[frames].append(judgement.confidence(evidence))
    return out


def sharpened(found: Mapping[str, Any]) -> tuple[float, float]:
    """Sharpness and growth at which the true offset, 0, is most probable over the clips' windows
    and over whole clips (maximum likelihood on a grid)."""
    best = (np.inf, 1.0, 0.0)
    for sharpness in np.geomspace(0.3, 3, 24):
        for growth in (0.0, 0.25, 0.5, 0.75, 1.0):
            known = judgement.Calibration((75,), ((0.0,),), float(sharpness), growth)
            loss = 0.0
            for frames, evidence in found.values():
                whole = judgement.posterior(evidence, frames, known)[features.REACH]
                parts = [
                    judgement.posterior(row[None], min(frames, 75), known)[features.REACH]
                    for row in evidence
                ]
                # 2 % of all clips are off, whatever the model says
                chances = 0.98 * np.array([whole, *parts]) + 0.02 / 31
                loss -= np.log(chances[0]) + float(np.mean(np.log(chances[1:])))
            if loss < best[0]:
                best = (loss, float(sharpness), growth)
    return best[1], best[2]


def calibrated(found: Mapping[str, Any], null: Mapping[int, Sequence[float]]) -> Any:
    """A Calibration from the judgements of the folds and their confidences of unrelated sound."""
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES
    lengths = tuple(frames for frames in LENGTHS if len(null[frames]) >= 100)
    rows = tuple(tuple(float(v) for v in np.quantile(null[frames], at)) for frames in lengths)
    return judgement.Calibration(lengths, rows, *sharpened(found))


# ---------------------------------------------------------------- the command


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_metrics.sync.lip_sync.train",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--media", type=Path, required=True, help="folder of media")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--members", type=int, default=2, help="networks of an ensemble")
    parser.add_argument(
        "--only", default="", help="what to train (0,1,...,all; none: judge what is there)"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from safetensors.numpy import load_file, save_file

    began = time.perf_counter()
    given.out.mkdir(parents=True, exist_ok=True)
    clips = data.read(given.media, given.out / "tracks")
    for number, clip in enumerate(clips):
        data.prepare(clip, number, given.out / "tracks" / f"{clip.name}.power.npz")
    fold = folds_of(clips)
    log.info("%d clips, %d people, %.1f min", len(clips), len(fold),
             sum(len(c.tracks[0].mouths) for c in clips) / 1500)  # fmt: skip
    asked = given.only.split(",") if given.only else [*map(str, range(FOLDS)), "all"]
    asked = [] if given.only == "none" else asked
    for name in asked:
        kept = given.out / ("lip_sync.safetensors" if name == "all" else f"fold_{name}.safetensors")
        own = [c for c in clips if name == "all" or fold[c.person] != int(name)]
        seed = given.seed * 10 + (FOLDS if name == "all" else int(name))
        save_file(ensemble(own, given.steps, seed, given.members), kept)
        log.info("%s written after %.0f s", kept.name, time.perf_counter() - began)
    paths = [given.out / f"fold_{k}.safetensors" for k in range(FOLDS)]
    if not all(path.is_file() for path in paths):
        log.info("not all folds are there yet: run again without --only, or with the others")
        return 0
    found: dict[str, Any] = {}
    apart: list[dict[int, list[float]]] = []
    null: dict[int, list[float]] = {frames: [] for frames in LENGTHS}
    for number, path in enumerate(paths):
        weights = {k: v.astype(np.float32) for k, v in load_file(path).items()}
        held = [c for c in clips if fold[c.person] == number]
        found |= judged(held, weights)
        apart.append(unrelated(held, weights, 80, number))
        for frames, values in apart[-1].items():
            null[frames] += values
    trusted = {n: v for n, v in found.items()
               if n.split("@")[0] not in data.DOUBTFUL and n not in data.LATE}  # fmt: skip
    known = calibrated(trusted, null)
    write(given.out / "calibration.json", known.as_json())
    write(given.out / "folds.json", fold)
    write(given.out / "null.json", [{str(k): v for k, v in own.items()} for own in apart])
    write(given.out / "sync.json", {
        name: {"frames": frames, "offset_ms": judgement.offset_frames(e) * judgement.FRAME_MS,
               "windows_within_80_ms": round(float(np.mean(np.abs(
                   e.argmax(1) - features.REACH) <= judgement.NEAR)), 3),
               "confidence": round(judgement.confidence(e), 3),
               "p": round(judgement.p_value(judgement.confidence(e), frames, known), 4)}
        for name, (frames, e) in sorted(found.items())
    })  # fmt: skip
    return 0


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

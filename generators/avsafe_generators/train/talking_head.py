"""Trains the motion model of the talking head: ``python -m avsafe_generators.train talking-head``.

Flow matching that predicts the clean motion (Lipman et al. 2022; x-prediction), on landmark tracks
of talking faces; conditions with a dropout of their own each (as VASA-1, arXiv:2404.10667, has
them). Deterministic by ``--seed`` on one machine.

Legend: ``b`` windows, ``f`` = 10 + 64 frames, ``c`` channels, ``k`` controls.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.testing import media_folder
from avsafe_generators.talking_head import anatomy, features
from avsafe_generators.talking_head import motion as model
from avsafe_generators.train import _talking_head_tracks as tracks

# Never trained on: real people whose sound is theirs, and some generated people, for the figures.
HELD_OUT = ("grid_", "dfrf_", "latentsync_", "sadtalker_",
            "loopy_real", "omnihuman_video_div", "synctalk_", "wav2lip_")  # fmt: skip
# Sound that a scorer trained without the clip did not find in sync with the lips.
DOUBTFUL = ("loopy_comparison_2", "loopy_side_4", "liveportrait_d10", "liveportrait_d12",
            "retalking_1", "omnihuman_v1_5_vis_d-3")  # fmt: skip
# Frames that the sound is late (positive), found by the same scorers beyond doubt.
LATE = {"omnihuman_v1_5_vis_f-6": 2, "omnihuman_v1_5_vis_f-9": 2,
        "omnihuman_v1_5_vis_d-10": 2, "omnihuman_video_talk4": -2}  # fmt: skip
MAX_YAW = np.radians(27)  # median; beyond it half of the lips is not seen
MAX_REST_GAP = 0.06  # between the eyes; a mouth that never closes tells no rest
MARGIN = model.MARGIN


def clips(folder: Path) -> tuple[np.ndarray[Any, Any], list[tracks.Clip]]:
    """The mean head, and every clip whose head faces the camera, in order of name."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise UsageError(f"{folder} has no landmark tracks (*.npz with *.ogg of the same name).")
    raw = {path.stem: tracks.read_track(path) for path in paths}
    seen = [track[::5] for name, track in raw.items() if not name.startswith(HELD_OUT)]
    shape = tracks.fit_shape([track[:250] for track in seen])
    found = []
    for path in paths:
        points, pose = tracks.canonical(raw[path.stem], shape)
        gap = float(np.quantile(anatomy.opening(points), 0.05))
        if abs(float(np.median(pose[:, 0]))) > MAX_YAW or gap > MAX_REST_GAP:
            continue
        sound = tracks.read_sound(path.with_suffix(".ogg"))
        late = LATE.get(path.stem, 0) * features.RATE_HZ // model.RATE
        sound = sound[late:] if late > 0 else np.pad(sound, (-late, 0))
        mel = features.log_mel(sound, len(points))
        found.append(tracks.Clip(path.stem, points, pose, mel))
    return shape, found


def network(torch: Any) -> Any:
    """The network whose inference in numpy is ``talking_head.motion.predict``."""
    nn, d = torch.nn, model.WIDTH

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(d, 3 * d)
            self.out = nn.Linear(d, d)
            self.near = nn.Conv1d(d, d, model.NEAR, padding=model.NEAR // 2, groups=d)
            self.up = nn.Linear(d, model.HIDDEN)
            self.down = nn.Linear(model.HIDDEN, d)
            self.tune = nn.Linear(model.COND, 4 * d)

        def forward(self, x: Any, cond: Any) -> Any:
            b, f, _ = x.shape
            a, s, a2, s2 = self.tune(cond)[:, None].chunk(4, -1)
            norm = torch.nn.functional.layer_norm
            h = norm(x, (d,)) * (1 + a) + s
            split = self.qkv(h).reshape(b, f, 3, model.HEADS, d // model.HEADS)
            q, k, v = split.permute(2, 0, 3, 1, 4)
            h = nn.functional.scaled_dot_product_attention(q, k, v)
            x = x + self.out(h.transpose(1, 2).reshape(b, f, d))
            x = x + self.near(norm(x, (d,)).transpose(1, 2)).transpose(1, 2)
            h = norm(x, (d,)) * (1 + a2) + s2
            return x + self.down(nn.functional.gelu(self.up(h), approximate="tanh"))

    class Net(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            wide = (40, 64, 96, d, d)
            self.hear = nn.ModuleList(
                nn.Conv1d(i, o, 5, stride=s, padding=2)
                for i, o, s in zip(wide[:-1], wide[1:], model.STRIDES, strict=True)
            )
            self.deaf = nn.Parameter(torch.zeros(d))
            self.place = nn.Parameter(0.02 * torch.randn(model.FRAMES, d))
            self.enter = nn.Linear(anatomy.CHANNELS + 1, d)
            self.cond = nn.Linear(model.TIME + 2 * model.CONTROLS, model.COND)
            self.cond2 = nn.Linear(model.COND, model.COND)
            self.blocks = nn.ModuleList(Block() for _ in range(model.LAYERS))
            self.leave = nn.Linear(d, anatomy.CHANNELS)

        def forward(
            self, x: Any, known: Any, t: Any, mel: Any, heard: Any, control: Any, given: Any
        ) -> Any:
            """x (b, f, c), known (b, f), t (b,), mel (b, 40, columns), heard (b,), control and
            given (b, k) -> the clean motion (b, f, c)."""
            gelu, silu = torch.nn.functional.gelu, torch.nn.functional.silu
            h = mel
            for i, layer in enumerate(self.hear):
                h = layer(h)
                h = gelu(h, approximate="tanh") if i + 1 < len(self.hear) else h
            h = h.transpose(1, 2)[:, MARGIN : MARGIN + model.FRAMES]
            sound = torch.where(heard[:, None, None] > 0, h, self.deaf)
            ts = torch.tensor(model.time_features(t.detach().numpy()))
            cond = torch.cat([ts, control * given, given], 1)
            cond = silu(self.cond2(silu(self.cond(cond))))
            y = self.enter(torch.cat([x, known[..., None]], -1)) + sound + self.place
            for block in self.blocks:
                y = block(y, cond)
            return self.leave(torch.nn.functional.layer_norm(y, (d,)))

    return Net()


def main(argv: list[str]) -> None:
    """Train and write the weights; ``--folder`` holds the tracks (default: the test media)."""
    import torch

    parser = argparse.ArgumentParser(prog="talking-head")
    media = media_folder()
    here = Path(__file__).parents[1] / "weights" / "talking-head.safetensors"
    parser.add_argument("--folder", type=Path, default=media and media / "talking_crops")
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    if asked.folder is None:
        raise UsageError("No landmark tracks: pass --folder with *.npz and *.ogg files.")
    torch.manual_seed(asked.seed)
    torch.set_num_threads(1)
    began = time.process_time()

    shape, found = clips(asked.folder)
    learn = [c for c in found if not c.name.startswith((*HELD_OUT, *DOUBTFUL))]
    width = float(np.median([anatomy.mouth_width(c.points).mean() for c in learn]))
    motions = {c.name: tracks.motion_of(c, width) for c in found}
    mouth, brow, spread, shares = tracks.components([motions[c.name] for c in learn], shape)

    def prepared(motion: tracks.Motion) -> dict[str, Any]:
        raw = tracks.latents(motion, mouth, brow, shape)
        return {"x": raw, "mel": motion.mel, "lift": motion.lift, "raised": motion.raised}

    train = [
        prepared(m) for c in learn for m in (motions[c.name], tracks.mirrored(motions[c.name]))
    ]
    test = [prepared(motions[c.name]) for c in found if c.name.startswith(HELD_OUT)]
    scale = np.sqrt(np.mean(np.concatenate([d["x"] for d in train]) ** 2, 0))
    scale[anatomy.BLINK] = 0.35  # closed is 2.9, which a mean over rare blinks would overdo
    scale[anatomy.PITCH] = scale[anatomy.YAW] = float(scale[[0, 1]].mean())
    mel_mean, mel_std = (
        float(f(np.concatenate([d["mel"] for d in train]))) for f in (np.mean, np.std)
    )
    for d in train + test:
        d["x"] = (d["x"] / scale).astype(np.float32)
    statistics = control_statistics(train)
    minutes = sum(len(d["x"]) for d in train) / 3000  # mirrored ones count once
    facts = {"clips": len(learn), "minutes": round(minutes, 1), "held out": len(test),
             "explained": shares, "controls": statistics,
             "cpu_s": round(time.process_time() - began)}  # fmt: skip
    print(json.dumps(facts), flush=True)

    components = np.concatenate([brow, mouth])
    inside = {"shape": shape, "components": components, "scale": scale, "spread": spread,
              "mel": np.array([mel_mean, mel_std]), "mouth_width": np.array([width]),
              "controls": np.array([statistics["mean"], statistics["std"]]),
              "smile": _direction(train, "lift"), "pose_std": _pose_spread(train)}  # fmt: skip
    net = network(torch)
    print("parameters", sum(p.numel() for p in net.parameters()), flush=True)
    importance = torch.ones(anatomy.CHANNELS)
    importance[anatomy.MOUTH_AT] = torch.tensor(scale[anatomy.MOUTH_AT] ** 0.5)
    importance[anatomy.MOUTH_AT] *= 1.8 / importance[anatomy.MOUTH_AT].mean()
    speed = np.concatenate([np.diff(d["x"], axis=0) for d in train]).std(0)
    swift = torch.tensor(0.1 / speed**2).float()

    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    rng = np.random.default_rng(asked.seed)
    slow = {k: v.detach().clone() for k, v in net.state_dict().items()}
    for step in range(asked.steps):
        rate = 1e-3 * min(1, step / 100) * (0.5 + 0.5 * np.cos(np.pi * step / asked.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate + 1e-5
        batch = draw(train, asked.batch, rng, statistics, mel_mean, mel_std)
        loss = _loss(torch, net, batch, importance, swift)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        keep = min(0.998, (1 + step) / (10 + step))
        for key, value in net.state_dict().items():
            slow[key].mul_(keep).add_(value.detach(), alpha=1 - keep)
        if step % 200 == 199:
            fixed = np.random.default_rng(1)
            now = {k: v.clone() for k, v in net.state_dict().items()}
            net.load_state_dict(slow)
            with torch.no_grad():
                heldout = np.mean([
                    float(_loss(torch, net, draw(test, 16, fixed, statistics, mel_mean, mel_std,
                                                 clean=True), importance, swift))
                    for _ in range(6)])  # fmt: skip
            net.load_state_dict(now)
            print(step + 1, f"loss {float(loss.detach()):.3f} held-out {heldout:.3f}",
                  f"{time.process_time() - began:.0f} CPU-s", flush=True)  # fmt: skip
            write(asked.out, slow, inside)

    write(asked.out, slow, inside)
    print("wrote", asked.out.name, asked.out.stat().st_size, "bytes")


def write(path: Path, net: dict[str, Any], inside: dict[str, Any]) -> None:
    """The network in float16, everything else in float32."""
    from safetensors.numpy import save_file

    out = {f"net.{k}": v.numpy().astype(np.float16) for k, v in net.items()}
    out |= {k: np.ascontiguousarray(v, np.float32) for k, v in inside.items()}
    path.parent.mkdir(exist_ok=True)
    save_file(out, str(path))


def _direction(train: list[dict[str, Any]], what: str) -> np.ndarray[Any, Any]:
    """The change of the mouth's latents with a measure of expression, by least squares."""
    x = np.concatenate([d["x"][:, anatomy.MOUTH_AT] for d in train])
    y = np.concatenate([d[what] for d in train])
    y = y - y.mean()
    return np.asarray((x - x.mean(0)).T @ y / (y @ y) * y.std())


def _pose_spread(train: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.asarray(np.mean([d["x"][:, :3].std(0) for d in train], 0))


def measures(x: Any, lift: Any, raised: Any) -> list[float]:
    """The controls of one window: facing (2), amount of head motion, smile, brows, blinks."""
    pace = float(np.sqrt(np.mean(np.diff(x[:, :3], axis=0) ** 2)))
    shut = x[:, anatomy.BLINK] > 1.3
    blinks = int((shut[1:] & ~shut[:-1]).sum())
    facing = x[:, :2].mean(0)
    return [
        float(facing[0]), float(facing[1]), float(np.log(pace + 1e-3)),
        float(lift.mean()), float(raised.mean()), blinks / (len(x) / 25),
    ]  # fmt: skip


def control_statistics(train: list[dict[str, Any]]) -> dict[str, list[float]]:
    rows = []
    for d in train:
        for start in range(0, len(d["x"]) - model.NEW, 20):
            cut = slice(start, start + model.NEW)
            rows.append(measures(d["x"][cut], d["lift"][cut], d["raised"][cut]))
    table = np.array(rows)
    mean = table.mean(0)
    mean[:2] = 0.0
    return {"mean": mean.tolist(), "std": table.std(0).tolist()}


def draw(
    data: list[dict[str, Any]],
    count: int,
    rng: np.random.Generator,
    statistics: dict[str, list[float]],
    mel_mean: float,
    mel_std: float,
    *,
    clean: bool = False,
) -> dict[str, Any]:
    """Windows with their conditions; each condition is left out at times, on its own."""
    usable = [d for d in data if len(d["x"]) >= model.FRAMES]
    share = np.array([len(d["x"]) - model.FRAMES + 1 for d in usable], float)
    rows: dict[str, list[Any]] = {
        k: [] for k in ("x", "known", "mel", "heard", "control", "given", "t", "noise")
    }
    for pick in rng.choice(len(usable), count, p=share / share.sum()):
        d = usable[pick]
        start = int(rng.integers(len(d["x"]) - model.FRAMES + 1))
        cut = slice(start, start + model.FRAMES)
        x = d["x"][cut].copy()
        padded = np.pad(d["mel"], ((MARGIN, MARGIN), (0, 0)))
        mel = padded[start : start + model.FRAMES + 2 * MARGIN].reshape(-1, 40).copy()
        new = slice(start + model.PAST, start + model.FRAMES)
        control = np.array(measures(d["x"][new], d["lift"][new], d["raised"][new]))
        control = (control - statistics["mean"]) / statistics["std"]
        if not clean:
            mel, x = _roughen(mel, x, rng)
        keep = rng.random(model.CONTROLS) > 0.35
        keep[1] = keep[0]  # facing is given whole
        past = clean or rng.random() > 0.15
        known = np.zeros(model.FRAMES, np.float32)
        known[: model.PAST] = float(past)
        rows["x"].append(x)
        rows["known"].append(known)
        rows["mel"].append(((mel - mel_mean) / mel_std).T)
        rows["heard"].append(float(clean or rng.random() > 0.1))
        rows["control"].append(np.clip(control, -3, 3))
        rows["given"].append(keep * (clean or rng.random() > 0.1))
        rows["t"].append(rng.random() * 0.98)
        rows["noise"].append(rng.standard_normal(x.shape))
    return {k: np.asarray(v, np.float32) for k, v in rows.items()}


def _roughen(mel: Any, x: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Other levels, tilts and noise; and pauses, in which the mouth comes to rest."""
    x = x.copy()
    if rng.random() < 0.4:  # a pause: silence, lips back to rest within 160 ms
        length = int(rng.integers(8, 45))
        start = int(rng.integers(-10, model.FRAMES))
        t = np.arange(model.FRAMES)
        near = np.clip((t - start) / 5, 0, 1) * np.clip((start + length - t) / 4, 0, 1)
        near = near * near * (3 - 2 * near)
        x[:, anatomy.MOUTH_AT] *= (1 - near)[:, None]
        columns = slice(max(0, 4 * (start + MARGIN + 1)), max(0, 4 * (start + length + MARGIN)))
        mel[columns] = mel[columns] * 0.05
    mel = mel + rng.normal() * 0.5 + rng.normal() * 0.4 * np.linspace(-1, 1, 40)
    if rng.random() < 0.4:
        hiss = rng.uniform(0.0, 2.5) + rng.normal(size=40) * 0.3
        mel = np.logaddexp(mel, hiss + 0.3 * rng.normal(size=mel.shape))
    if rng.random() < 0.3:
        low = int(rng.integers(0, 34))
        mel[:, low : low + 6] = 0
    x[: model.PAST] += rng.normal(size=(model.PAST, x.shape[1])) * 0.05 * (rng.random() < 0.7)
    return np.clip(mel, 0, None), x


def _loss(torch: Any, net: Any, batch: dict[str, Any], importance: Any, swift: Any) -> Any:
    b = {k: torch.from_numpy(v) for k, v in batch.items()}
    t = b["t"][:, None, None]
    noisy = t * b["x"] + (1 - t) * b["noise"]
    known = b["known"][..., None]
    past = torch.zeros_like(known)
    past[:, : model.PAST] = 1
    # where the past is not given, the model sees nothing of it
    seen = known * b["x"] + (1 - past) * noisy
    guess = net(seen, b["known"], b["t"], b["mel"], b["heard"], b["control"], b["given"])
    error = ((guess - b["x"]) ** 2)[:, model.PAST :]
    pace = (guess.diff(dim=1) - b["x"].diff(dim=1))[:, model.PAST :] ** 2
    return (error * importance).mean() + (pace * swift).mean()

"""The landmark model of avsafe.faces: ``python -m avsafe_generators.train landmarks``.

Legend: ``t`` frames, ``p`` = 152 points, ``f`` frames of many clips. The data are face crops with
points by MediaPipe Face Mesh (a folder of NAME.mp4 and NAME.npz, ``--data``); whole people are held
out. Torch trains; the weights it leaves are run by numpy in avsafe.faces.network.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces.alignment import moved, similarity
from avsafe.faces.network import HIDDEN, LAYERS, SHAPES, SIZE, normalised
from avsafe.faces.points import GROUPS, MESH_INDEX, MIRROR, POINT_COUNT, five_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = Any

# Whole people, of each source at least one; retalking_3 and sadtalker_aoc show one person.
HELD_OUT = (
    *("grid_lwbsza", "dfrf_french", "latentsync_1", "sadtalker_aoc", "retalking_3"),
    *("liveportrait_d12", "loopy_realistic_1", "omnihuman_video_hands3", "omnihuman_video_div2"),
)
PER_CLIP = 150  # frames of a clip: long clips must not outweigh people
FILL = 0.72
WEIGHTS = Path("avsafe") / "faces" / "weights" / "landmarks.safetensors"


@dataclass(frozen=True)
class Clip:
    name: str
    frames: Array  # (t, 128, 128, 3) uint8 RGB
    points: Array  # (t, 152, 2) float32 px


def read_clips(folder: Path, names: tuple[str, ...], per_clip: int | None = PER_CLIP) -> list[Clip]:
    """Some clips, evenly thinned to ``per_clip`` frames."""
    import cv2

    clips = []
    for name in names:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as stored:
            if tuple(stored["mesh_index"].tolist()) != MESH_INDEX:
                raise SystemExit(f"{name}.npz holds other points than avsafe.faces.MESH_INDEX")
            points = np.cumsum(stored["landmarks_delta"].astype(np.int64), 0) / 16
        capture, frames = cv2.VideoCapture(str(folder / f"{name}.mp4")), []
        while (read := capture.read())[0]:
            frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        count = min(len(frames), len(points))
        chosen = np.arange(count)
        if per_clip is not None and count > per_clip:
            chosen = np.linspace(0, count - 1, per_clip).round().astype(int)
        clips.append(
            Clip(name, np.stack([frames[i] for i in chosen]), points[chosen].astype(np.float32))
        )
    return clips


# ---------------------------------------------------------------- the mean face


def solid_face(shapes: Array) -> Array:
    """Points of many faces (f, 152, 2) -> one face in three dimensions (152, 3).

    Factorisation of an orthographic camera's views (Tomasi & Kanade 1992) with the metric upgrade
    of Weinshall & Tomasi 1995: views are scaled, so both axes of a camera are only equally long.
    Mirrored views join, hence the face is symmetric; the nose is nearer than the oval.
    """
    mirrored = shapes[:, list(MIRROR)] * np.array([-1.0, 1.0])
    views = np.concatenate([shapes, mirrored]).astype(np.float64)
    views -= views.mean(1, keepdims=True)
    views /= np.sqrt((views**2).sum((1, 2), keepdims=True))
    stacked = views.transpose(0, 2, 1).reshape(-1, POINT_COUNT)  # x and y rows of each view
    u, s, vt = np.linalg.svd(stacked, full_matrices=False)
    cameras, face = u[:, :3] * s[:3], vt[:3]
    i, j = cameras[0::2], cameras[1::2]

    def row(a: Array, b: Array) -> Array:  # a' Q b, linear in the six numbers of a symmetric Q
        return np.stack(
            [
                a[:, 0] * b[:, 0],
                a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0],
                a[:, 0] * b[:, 2] + a[:, 2] * b[:, 0],
                a[:, 1] * b[:, 1],
                a[:, 1] * b[:, 2] + a[:, 2] * b[:, 1],
                a[:, 2] * b[:, 2],
            ],
            axis=1,
        )

    equations = np.concatenate([row(i, j), row(i, i) - row(j, j)])
    q = np.linalg.svd(equations, full_matrices=False)[2][-1]
    metric = np.array([[q[0], q[1], q[2]], [q[1], q[3], q[4]], [q[2], q[4], q[5]]])
    values, vectors = np.linalg.eigh(metric if np.trace(metric) > 0 else -metric)
    root = vectors * np.sqrt(np.maximum(values, 1e-6 * values.max()))
    solid = (np.linalg.inv(root) @ face).T
    return _front(solid)


def _front(solid: Array) -> Array:
    """A solid face turned to the viewer, in distances between the eyes."""
    place = {mesh: k for k, mesh in enumerate(MESH_INDEX)}
    across = (solid[list(GROUPS["left_eye"])] - solid[list(GROUPS["right_eye"])]).mean(0)
    down = solid[place[152]] - solid[place[10]]
    x = across / np.linalg.norm(across)
    y = down - x * (down @ x)
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    turned = solid @ np.stack([x, y, z], axis=1)
    turned -= turned.mean(0)
    if turned[place[4], 2] > turned[list(GROUPS["oval"]), 2].mean():
        turned[:, 2] *= -1  # the depth of an orthographic face has two answers
    turned = (turned + turned[list(MIRROR)] * np.array([-1.0, 1.0, 1.0])) / 2
    eyes = five_of(turned[:, :2])
    return np.asarray(turned / np.hypot(*(eyes[1] - eyes[0])), np.float32)


def placed(template: Array) -> Array:
    """The mean face in the network's crop (avsafe.faces.alignment.upright, before it exists)."""
    flat = template[:, :2]
    oval = flat[list(GROUPS["oval"])]
    low, high = oval.min(0), oval.max(0)
    scale = FILL * SIZE / (high[1] - low[1])
    return np.asarray((flat - (low + high) / 2) * scale + (SIZE - 1) / 2, np.float32)


# ---------------------------------------------------------------- augmentation


class Feed:
    """Crops as the network will meet them, and worse: moved, turned, mirrored, recoloured, blurred,
    coded hard, half hidden, before another background.
    """

    def __init__(self, clips: list[Clip], target: Array, seed: int) -> None:
        self._clips, self._target = clips, target
        self._rng = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Array, Array]:
        """(n, 96, 96, 3) uint8 and (n, 152, 2) float32 px."""
        made = [self._one() for _ in range(count)]
        return np.stack([crop for crop, _ in made]), np.stack([points for _, points in made])

    def _one(self) -> tuple[Array, Array]:
        import cv2

        rng = self._rng
        clip = self._clips[rng.integers(len(self._clips))]
        at = rng.integers(len(clip.frames))
        frame, points = clip.frames[at], clip.points[at]
        if rng.random() < 0.5:
            frame = frame[:, ::-1]
            points = points[list(MIRROR)] * np.array([-1, 1], np.float32)
            points[:, 0] += 127
        # Half the crops lie as a second look does, half as a poor detection does.
        near = rng.random() < 0.5
        angle = np.radians(rng.uniform(-6, 6) if near else rng.uniform(-25, 25))
        scale = np.exp(rng.uniform(-0.06, 0.06) if near else rng.uniform(-0.22, 0.22))
        shift = rng.uniform(-0.03, 0.03, 2) if near else rng.uniform(-0.11, 0.11, 2)
        straight = similarity(points, self._target)
        middle = (SIZE - 1) / 2
        c, s = np.cos(angle) * scale, np.sin(angle) * scale
        wrong = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        wrong[:2, 2] = middle + shift * SIZE - wrong[:2, :2] @ [middle, middle]
        matrix = (wrong @ np.vstack([straight, [0, 0, 1]]))[:2]
        if rng.random() < 0.3:  # faces that are wider or longer than these people's
            stretch = np.diag([np.exp(rng.uniform(-0.12, 0.12)), 1.0])
            matrix = np.column_stack([stretch @ matrix[:, :2], stretch @ matrix[:, 2]])
            matrix[0, 2] += middle * (1 - stretch[0, 0])
        edge = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT)[rng.integers(3)]
        grey = tuple(int(v) for v in rng.integers(0, 256, 3))
        frame = np.ascontiguousarray(frame)
        crop = cv2.warpAffine(frame, matrix, (SIZE, SIZE), borderMode=edge, borderValue=grey)
        if rng.random() < 0.4:  # beyond the clip's own crop lies something else
            inside = cv2.warpAffine(np.ones((128, 128), np.uint8), matrix, (SIZE, SIZE))
            crop = np.where(inside[..., None] > 0, crop, self._patch(SIZE, SIZE))
        points = moved(points, matrix.astype(np.float32))
        return self._coloured(self._hidden(crop)), points

    def _patch(self, height: int, width: int) -> Array:
        import cv2

        rng = self._rng
        clip = self._clips[rng.integers(len(self._clips))]
        frame = clip.frames[rng.integers(len(clip.frames))]
        if rng.random() < 0.5:
            frame = frame[::-1]
        x, y = rng.integers(0, 64, 2)
        return np.asarray(cv2.resize(frame[y : y + 64, x : x + 64], (width, height)))

    def _hidden(self, crop: Array) -> Array:
        import cv2

        rng = self._rng
        if rng.random() > 0.3:
            return crop
        mask = np.zeros((SIZE, SIZE), np.uint8)
        centre = tuple(int(v) for v in rng.integers(5, SIZE - 5, 2))
        axes = tuple(int(v) for v in rng.integers(4, 24, 2))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        plain = rng.integers(0, 256, 3).astype(np.uint8)
        over = self._patch(SIZE, SIZE) if rng.random() < 0.5 else np.broadcast_to(plain, crop.shape)
        return np.where(mask[..., None] > 0, over, crop)

    def _coloured(self, crop: Array) -> Array:
        import cv2

        rng = self._rng
        x = crop.astype(np.float32) / 255
        x = np.clip(x, 0, 1) ** np.exp(rng.uniform(-0.5, 0.5))
        x = x * (rng.uniform(0.6, 1.4) * rng.uniform(0.85, 1.15, 3)) + rng.uniform(-0.12, 0.12)
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * (0.0 if rng.random() < 0.12 else rng.uniform(0.3, 1.5))
        if rng.random() < 0.2:  # light from one side
            ramp = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.4, 1), SIZE)
            x = x * (ramp[:, None, None] if rng.random() < 0.3 else ramp[None, :, None])
        kind = rng.random()
        if kind < 0.2:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.5, 1.8))
        elif kind < 0.35:  # a small face
            side = int(rng.integers(24, 72))
            x = cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA)
            x = cv2.resize(x, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        elif kind < 0.45:  # a drawing: few tones
            tones = rng.integers(4, 9)
            x = np.round(cv2.medianBlur((x.clip(0, 1) * 255).astype(np.uint8), 5) / 255.0 * tones)
            x = x / tones
        if rng.random() < 0.3:
            x = x + rng.normal(0, rng.uniform(0.01, 0.06), x.shape)
        crop = (np.clip(x, 0, 1) * 255).astype(np.uint8)
        if rng.random() < 0.3:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 60))]
            crop = np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], 1), np.uint8)
        return crop


# ---------------------------------------------------------------- network and loss


def network(target: Array, basis: Array) -> Any:
    """The torch twin of avsafe.faces.network, with batch normalisation while it learns."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            channels, self.convs, self.norms = 3, nn.ModuleList(), nn.ModuleList()
            for _, out, kernel, stride, padding, _ in LAYERS:
                self.convs.append(nn.Conv2d(channels, out, kernel, stride, padding, bias=False))
                self.norms.append(nn.BatchNorm2d(out))
                channels = out
            self.hidden = nn.Linear(6 * 6 * channels, HIDDEN)
            self.shape = nn.Linear(HIDDEN, SHAPES)
            self.basis = nn.Linear(SHAPES, 2 * POINT_COUNT)
            with torch.no_grad():  # it begins as a model of shapes: mean and main directions
                self.basis.weight.copy_(torch.from_numpy(basis))
                self.basis.bias.copy_(torch.from_numpy(target.reshape(-1)))
                self.shape.weight.mul_(0.3)

        def forward(self, x: Any) -> Any:
            for (_, _, _, _, _, residual), conv, norm in zip(
                LAYERS, self.convs, self.norms, strict=True
            ):
                y = norm(conv(x))
                x = torch.relu(y + x if residual else y)
            x = x.permute(0, 2, 3, 1).flatten(1)  # the order of numpy's channels-last
            return self.basis(self.shape(torch.relu(self.hidden(x)))).view(-1, POINT_COUNT, 2)

    return Net()


def exported(net: Any) -> dict[str, Array]:
    """The network's arrays as avsafe.faces.network reads them, normalisations folded in."""
    result = {}
    for (name, *_), conv, norm in zip(LAYERS, net.convs, net.norms, strict=True):
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
        kernel = conv.weight.detach() * gain[:, None, None, None]
        result[f"{name}.kernel"] = kernel.permute(2, 3, 1, 0).reshape(-1, len(gain)).numpy()
        result[f"{name}.bias"] = (norm.bias.detach() - norm.running_mean * gain).numpy()
    for name in ("hidden", "shape", "basis"):
        layer = getattr(net, name)
        result[f"{name}.weight"] = layer.weight.detach().T.numpy()
        result[f"{name}.bias"] = layer.bias.detach().numpy()
    return {name: np.ascontiguousarray(value, np.float32) for name, value in result.items()}


def gaps() -> tuple[list[int], list[int]]:
    """Pairs of places whose vertical distance is an opening: of the mouth (9), of the eyes (14)."""
    lips = GROUPS["lips_inner"]
    above, below = [lips[20 - k] for k in range(1, 10)], [lips[k] for k in range(1, 10)]
    for eye in ("left_eye", "right_eye"):
        lids = GROUPS[eye]
        above += [lids[16 - k] for k in range(1, 8)]
        below += [lids[k] for k in range(1, 8)]
    return above, below


def point_weights() -> Array:
    """How much each point counts: lips and eyes more, the oval, which nobody sees sharply, less."""
    weight = np.ones(POINT_COUNT, np.float32)
    for name, value in (("lips_outer", 2.0), ("lips_inner", 2.5), ("left_eye", 1.5)):
        weight[list(GROUPS[name])] = value
    weight[list(GROUPS["right_eye"])] = 1.5
    weight[list(GROUPS["oval"])] = 0.6
    return np.asarray(weight / weight.mean())


def train(clips: list[Clip], template: Array, steps: int, size: int, seed: int) -> Any:
    """A trained network; every random choice hangs on the seed."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    target = placed(template)
    feed = Feed(clips, target, seed)
    shapes = feed.batch(600)[1].reshape(600, -1)
    directions, spread = _directions(shapes - target.reshape(-1))
    net = network(target, directions * spread)
    weight = torch.from_numpy(point_weights())[None, :, None]
    above, below = gaps()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.1)
    began, seen = time.process_time(), 0.0
    net.train()
    for step in range(steps):
        crops, points = feed.batch(size)
        x = torch.from_numpy(normalised(crops).transpose(0, 3, 1, 2).copy())
        y = torch.from_numpy(points)
        out = net(x.contiguous(memory_format=torch.channels_last))
        error = torch.nn.functional.smooth_l1_loss(out, y, beta=0.5, reduction="none")
        opening = out[:, below, 1] - out[:, above, 1] - (y[:, below, 1] - y[:, above, 1])
        loss = (error * weight).mean() + opening.abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        seen += float(loss.detach())
        if (step + 1) % 100 == 0:
            spent = time.process_time() - began
            print(f"step {step + 1}/{steps}  loss {seen / 100:.3f}  {spent:.0f} CPU-s", flush=True)
            seen = 0.0
    net.eval()
    return net


def _directions(residuals: Array) -> tuple[Array, Array]:
    centred = residuals - residuals.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    spread = s[:SHAPES] / np.sqrt(len(residuals))
    return vt[:SHAPES].T.astype(np.float32), spread.astype(np.float32)


def main(argv: list[str]) -> None:
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(prog="python -m avsafe_generators.train landmarks")
    parser.add_argument("--data", type=Path, required=True, help="folder of NAME.mp4 and NAME.npz")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--figures", action="store_true", help="only measure what is installed")
    options = parser.parse_args(argv)

    names = sorted(path.stem for path in options.data.glob("*.npz"))
    if missing := set(HELD_OUT) - set(names):
        raise SystemExit(f"{options.data} lacks the held-out clips {sorted(missing)}")
    if options.figures:
        from avsafe_generators.train._face_figures import figures

        for name, row in figures(read_clips(options.data, HELD_OUT, 80)).items():
            print(f"{name:24}", "  ".join(f"{what} {value:.3f}" for what, value in row.items()))
        return
    clips = read_clips(options.data, tuple(name for name in names if name not in HELD_OUT))
    shapes = np.concatenate([clip.points[:: max(1, len(clip.points) // 60)] for clip in clips])
    template = solid_face(shapes)
    net = train(clips, template, options.steps, options.batch, options.seed)
    arrays = {name: value.astype(np.float16) for name, value in exported(net).items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({"template": template, **arrays}, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")

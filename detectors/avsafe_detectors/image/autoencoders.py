"""Small networks that re-synthesise photographs: the aligned fakes. Training only (torch).

Eleven nets of six families, each small and trained for about a minute: what matters is that the
pixels come out of a decoder like those of larger ones, with its upsampling and its missing noise.

- ``strided``  strided convolutions, transposed convolutions back (4 and 8 times)
- ``nearest``  nearest-neighbour upsampling and convolutions (4 and 8)
- ``shuffle``  pixel shuffle (4 and 8)
- ``vq``       quantised latents, transposed convolutions (4) or nearest (8)
- ``kl``       noisy latents, bilinear upsampling (8)
- ``upscaler`` the picture reduced by area (2 and 4), then enlarged by a network
- ``diffusion`` noise added and taken away again by a network in four steps

Legend: ``b`` pictures, ``h`` ``w`` pixels; a batch is (b, 3, h, w) float32 in [-1, 1].
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
else:
    Picture = Any

log = logging.getLogger(__name__)
CROP, BATCH = 64, 6


@dataclass(frozen=True)
class Spec:
    name: str
    family: str
    factor: int
    up: str  # transposed | nearest | shuffle | bilinear
    latent: int
    seed: int
    middle: str = ""  # quantised | noisy | reduced | denoise


SPECS = (
    Spec("strided4", "strided", 4, "transposed", 6, 1),
    Spec("strided8", "strided", 8, "transposed", 20, 2),
    Spec("nearest4", "nearest", 4, "nearest", 6, 3),
    Spec("nearest8", "nearest", 8, "nearest", 20, 4),
    Spec("shuffle4", "shuffle", 4, "shuffle", 6, 5),
    Spec("shuffle8", "shuffle", 8, "shuffle", 20, 6),
    Spec("vq4", "vq", 4, "transposed", 10, 7, "quantised"),
    Spec("vq8", "vq", 8, "nearest", 32, 8, "quantised"),
    Spec("kl8", "kl", 8, "bilinear", 24, 9, "noisy"),
    Spec("upscaler2", "upscaler", 2, "shuffle", 3, 10, "reduced"),
    Spec("upscaler4", "upscaler", 4, "nearest", 3, 11, "reduced"),
    Spec("diffusion", "diffusion", 4, "nearest", 64, 12, "denoise"),
)
AUTOENCODERS = ("strided", "nearest", "shuffle", "vq", "kl")
RESAMPLERS = ("upscaler", "diffusion")


def network(spec: Spec) -> Any:
    """(b, 3, h, w) -> the same, for h and w that are multiples of 16."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(spec.seed)
    widths = {2: (40,), 4: (24, 56), 8: (20, 40, 72)}[spec.factor]
    code = 3 * spec.factor**2

    def residual(width: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def enlarge(inputs: int, outputs: int) -> Any:
        if spec.up == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        if spec.up == "shuffle":
            return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))
        mode = "nearest" if spec.up == "nearest" else "bilinear"
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(inputs, outputs, 3, padding=1)
        )

    class Net(nn.Module):
        """Patches to a code by a linear map (set to principal components before training) and a
        convolution beside it; back by the family's upsampling, added to the enlarged means."""

        def __init__(self) -> None:
            super().__init__()
            inputs = code + 1 if spec.middle == "denoise" else code
            self.patches = nn.PixelUnshuffle(spec.factor)
            self.code = nn.Conv2d(inputs, spec.latent, 1)
            self.beside = nn.Sequential(
                nn.Conv2d(inputs, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, spec.latent, 1)
            )
            self.into = nn.Conv2d(spec.latent, widths[-1], 3, padding=1)
            self.mid = residual(widths[-1])
            up: list[Any] = []
            for k in range(len(widths) - 1, -1, -1):
                outputs = widths[k - 1] if k else 16
                up += [enlarge(widths[k], outputs), nn.SiLU()]
            self.up = nn.Sequential(*up, nn.Conv2d(16, 3, 3, padding=1))

        def decoded(self, z: Any) -> Any:
            y = self.into(z)
            return self.up(y + self.mid(y))

        def forward(self, x: Any) -> Any:
            small = functional.avg_pool2d(x[:, :3], spec.factor)
            base = functional.interpolate(small, scale_factor=spec.factor, mode="bilinear")
            if spec.middle == "reduced":
                return base + self.decoded(small)
            patches = self.patches(x[:, :3])
            if spec.middle == "denoise":
                level = functional.avg_pool2d(x[:, 3:], spec.factor)
                patches = torch.cat([patches, level], 1)
                base = torch.zeros_like(base)
            z = self.code(patches) + self.beside(patches)
            if spec.middle == "quantised":  # finite scalar quantisation, 7 levels
                z = 3 * torch.tanh(z)
                z = z + (z.round() - z).detach()
            elif spec.middle == "noisy":
                z = z + 0.1 * torch.randn_like(z)
            return base + self.decoded(z)

    return Net()


def trained(spec: Spec, pictures: Sequence[Picture], seconds: float) -> Any:
    """A network after ``seconds`` of CPU time. The loss is the mean absolute error and, as a
    discriminator would, the spectrum: detail may be wrong, but not missing."""
    import torch
    from torch.nn.functional import l1_loss

    net = network(spec).train().to(memory_format=torch.channels_last)
    rng = np.random.default_rng(spec.seed)
    if spec.middle not in ("reduced", "denoise"):
        _principal(net, spec, pictures, rng)
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    began, step = time.process_time(), 0
    while (spent := (time.process_time() - began) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2.5e-3 * min(1, step / 30) * max(0.03, 1 - spent)
        x = torch.from_numpy(_batch(pictures, rng))
        x = x.contiguous(memory_format=torch.channels_last)
        if spec.middle == "denoise":
            level = torch.rand(len(x), 1, 1, 1) * 0.5 + 0.02
            noisy = x + level * torch.randn_like(x)
            y = noisy - net(torch.cat([noisy, level.expand(-1, -1, *x.shape[2:])], 1))
        else:
            y = net(x)
        loss = l1_loss(y, x) + 0.04 * _spectral(y, x)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
    log.info("%s: %d steps, loss %.3f", spec.name, step, float(loss.detach()))
    return net.eval()


def _principal(net: Any, spec: Spec, pictures: Sequence[Picture], rng: Any) -> None:
    """Sets the linear map to the principal components of patches less their mean, at deviation 1
    and less."""
    import torch

    x = torch.from_numpy(np.concatenate([_batch(pictures, rng) for _ in range(40)]))
    patches = net.patches(x).permute(0, 2, 3, 1).reshape(-1, 3 * spec.factor**2)
    centred = patches - patches.mean(0)
    values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    kept = axes[:, -spec.latent :].T / values[-spec.latent :, None].clamp(min=1e-6).sqrt().clamp(
        min=0.05
    )
    with torch.no_grad():
        net.code.weight[:] = kept[:, :, None, None]
        net.code.bias[:] = -(kept @ patches.mean(0))


def _spectral(y: Any, x: Any) -> Any:
    """Mean difference of log amplitudes in 16 x 16 blocks."""
    import torch

    def log_amplitude(v: Any) -> Any:
        cut = v.mean(1).unfold(1, 16, 16).unfold(2, 16, 16)
        return (torch.fft.rfft2(cut).abs() + 0.15).log()

    return (log_amplitude(y) - log_amplitude(x)).abs().mean()


def _batch(pictures: Sequence[Picture], rng: np.random.Generator) -> NDArray[np.float32]:
    out = np.empty((BATCH, 3, CROP, CROP), np.float32)
    for k in range(BATCH):
        picture = pictures[int(rng.integers(len(pictures)))]
        y = int(rng.integers(0, picture.shape[0] - CROP + 1))
        x = int(rng.integers(0, picture.shape[1] - CROP + 1))
        part = picture[y : y + CROP, x : x + CROP]
        out[k] = (part[:, :: int(rng.choice((-1, 1)))].transpose(2, 0, 1)) / 127.5 - 1
    return out


def resynthesis(spec: Spec, net: Any) -> Callable[[Picture, np.random.Generator], Picture]:
    """Picture (sides that are multiples of 16) -> picture out of the network."""
    import torch

    def made(picture: Picture, rng: np.random.Generator) -> Picture:
        with torch.inference_mode():
            x = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32)[None] / 127.5 - 1)
            torch.manual_seed(int(rng.integers(1 << 30)))
            if spec.middle != "denoise":
                y = net(x)
            else:
                start = float(rng.uniform(0.08, 0.3))
                y = x + start * torch.randn_like(x)
                levels = start * np.array([1, 0.6, 0.3, 0.1, 0])
                for level, after in itertools.pairwise(levels):
                    planes = torch.full_like(y[:, :1], float(level))
                    error = net(torch.cat([y, planes], 1))  # deterministic steps, DDIM
                    y = y - error * (1 - float(after / level))
            scaled = ((y[0].clamp(-1, 1) + 1) * 127.5).round().byte()
            return np.ascontiguousarray(scaled.numpy().transpose(1, 2, 0))

    return made


def kept(folder: Path, pictures: Sequence[Picture], seconds: float) -> dict[str, Any]:
    """Networks by name, trained where ``folder`` has none yet."""
    from safetensors.torch import load_model, save_model

    folder.mkdir(parents=True, exist_ok=True)
    out = {}
    for spec in SPECS:
        path = folder / f"{spec.name}.safetensors"
        if path.is_file():
            net = network(spec)
            load_model(net, str(path))
            out[spec.name] = net.eval()
        else:
            out[spec.name] = trained(spec, pictures, seconds)
            save_model(out[spec.name], str(path))
    return out

"""STUNet: an image U-Net that becomes a video model which sees the whole clip at once.

After Bar-Tal et al., "Lumiere: A Space-Time Diffusion Model for Video Generation" (2024), section 3
and its implementation details: spatial 2-D layers of an image model are kept; behind each block of
a level comes a 1-D convolution over time, behind each spatial resampling one over time, and
attention over time only at the coarsest level. New layers start at zero, the resampling over time
at nearest neighbour, as there.

Legend: ``b`` clips, ``t`` frames, ``c`` channels, ``h`` ``w`` cells; ``n = b t`` frames of all
clips. Spatial layers take (n, c, h, w), kept channels-last in memory, so that temporal layers see
(b, t, h w, c) without a copy. ``level`` 0 is pure noise and 1 the clean clip.

What step 0 promises (``inflate``): a frame whose number is a multiple of ``2 ** (levels - 1)``
comes out exactly as the image model makes it; the others share the coarse features of the one
before. A clip that stands still is the image model's frame, at every frame.

This module imports torch, and is itself imported only inside functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch  # noqa: TID253  the classes below are modules of torch
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

GROUPS = 8


@dataclass(frozen=True)
class Shape:
    """What a model is built from; saved beside its weights."""

    channels: int  # of the maps
    fields: tuple[int, ...]  # sizes of the tables of an object's traits
    scene_fields: tuple[int, ...]  # the same for the scene
    objects: int  # tokens of objects
    widths: tuple[int, ...] = (48, 80, 112)  # one a level, coarsest last
    width: int = 128  # of text tokens and of the time embedding
    middles: int = 2  # blocks at the coarsest level
    looks: int = 2  # layers of attention over time behind each of them
    heads: int = 4


class SpatialBlock(nn.Module):
    """Two 3 x 3 convolutions with a residual; the embedding scales and shifts between them."""

    def __init__(self, c_in: int, c_out: int, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.film = nn.Linear(width, 2 * c_out)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, emb: Tensor, frames: int) -> Tensor:
        scale, shift = self.film(emb).repeat_interleave(frames, 0)[..., None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        out: Tensor = self.skip(x) + h
        return out


class SpatialAttention(nn.Module):
    """The cells of one frame look at one another and at the tokens of the text."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.text = nn.Linear(width, 2 * channels)
        self.place = nn.Parameter(0.1 * torch.randn(1, 64, channels))
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, text: Tensor, frames: int) -> Tensor:
        n, c, h, w = x.shape
        z = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        q, k, v = self.qkv(self.norm(z) + self.place[:, : h * w]).chunk(3, dim=-1)
        k_text, v_text = self.text(text).repeat_interleave(frames, 0).chunk(2, dim=-1)
        k, v = torch.cat([k, k_text], 1), torch.cat([v, v_text], 1)
        z = z + self.out(_attend(q, k, v, self.heads))
        out: Tensor = z.view(n, h, w, c).permute(0, 3, 1, 2)
        return out


class TemporalConv(nn.Module):
    """1-D convolution over time with a residual; adds nothing at first."""

    def __init__(self, channels: int, reach: int = 2) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(channels)
        self.taps = nn.Linear((2 * reach + 1) * channels, channels)
        nn.init.zeros_(self.taps.weight)
        nn.init.zeros_(self.taps.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        z = _over_time(x, frames)
        h = F.pad(F.silu(self.norm(z)), (0, 0, 0, 0, self.reach, self.reach))
        h = torch.cat([h[:, k : k + frames] for k in range(2 * self.reach + 1)], dim=-1)
        return _per_frame(z + self.taps(h), x)


class TemporalDown(nn.Module):
    """Two frames -> one; at first the earlier of the two (nearest neighbour)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * channels, channels)
        with torch.no_grad():
            self.mix.weight.zero_()
            self.mix.weight[:, :channels] = torch.eye(channels)
            self.mix.bias.zero_()

    def forward(self, x: Tensor, frames: int) -> Tensor:
        z = _over_time(x, frames)
        return _per_frame(self.mix(torch.cat([z[:, 0::2], z[:, 1::2]], dim=-1)), x)


class TemporalUp(nn.Module):
    """One frame -> two; at first the same twice (nearest neighbour)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(channels).repeat(2, 1))
            self.mix.bias.zero_()

    def forward(self, x: Tensor, frames: int) -> Tensor:
        z = self.mix(_over_time(x, frames))
        b, t, cells, c2 = z.shape
        z = z.view(b, t, cells, 2, c2 // 2).transpose(2, 3).reshape(b, 2 * t, cells, c2 // 2)
        return _per_frame(z, x)


class TemporalAttention(nn.Module):
    """Each cell looks at itself at all times, then a small network; both add nothing at first."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.wide, self.narrow = (
            nn.Linear(channels, 2 * channels),
            nn.Linear(2 * channels, channels),
        )
        for layer in (self.out, self.narrow):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        z = _over_time(x, frames).transpose(1, 2)  # (b, cells, t, c)
        b, cells, t, c = z.shape
        z = z.reshape(b * cells, t, c)
        q, k, v = self.qkv(self.norm(z) + waves(torch.arange(t), c).to(z)).chunk(3, dim=-1)
        z = z + self.out(_attend(q, k, v, self.heads))
        z = z + self.narrow(F.silu(self.wide(self.norm2(z))))
        return _per_frame(z.view(b, cells, t, c).transpose(1, 2), x)


class Stack(nn.ModuleList):
    """Layers over time, one behind the other."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        for layer in self:
            x = layer(x, frames)
        return x


class Text(nn.Module):
    """Traits -> tokens: one for each object, the sum of its traits through a small network, and
    one for the scene. Trait 0 means "not said"."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in shape.fields)
        self.scene_tables = nn.ModuleList(nn.Embedding(size, width) for size in shape.scene_fields)
        self.order = nn.Parameter(torch.randn(shape.objects + 1, width))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, objects: Tensor, scene: Tensor) -> Tensor:
        """(b, objects, fields) and (b, scene fields), whole numbers -> (b, objects + 1, width)."""
        things = sum(table(objects[..., i]) for i, table in enumerate(self.tables))
        place = sum(table(scene[:, i]) for i, table in enumerate(self.scene_tables))
        assert isinstance(things, Tensor)  # noqa: S101  there are fields
        assert isinstance(place, Tensor)  # noqa: S101
        tokens = torch.cat([things, place[:, None]], 1) + self.order
        out: Tensor = tokens + self.narrow(F.silu(self.wide(tokens)))
        return out


class ImageUNet(nn.Module):
    """Text -> one frame: the image model, whose frames know nothing of one another.

    ``forward`` takes clips (b, c, t, h, w) all the same and returns the clean clip as predicted
    (x-prediction) from the noisy one.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        widths, width = shape.widths, shape.width
        pairs = list(itertools.pairwise(widths))
        self.text = Text(shape)
        self.clock = nn.Sequential(nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.summary = nn.Linear((shape.objects + 1) * width, width)
        self.enter = nn.Conv2d(shape.channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(SpatialBlock(c, c, width) for c in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.middle = nn.ModuleList(
            SpatialBlock(widths[-1], widths[-1], width) for _ in range(shape.middles)
        )
        self.look = nn.ModuleList(
            SpatialAttention(widths[-1], width, shape.heads) for _ in range(shape.middles)
        )
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(SpatialBlock(2 * c, c, width) for c in widths[:-1])
        # the image model's own attention to the text at the levels between finest and coarsest
        self.glance = nn.ModuleList(
            SpatialAttention(c, width, shape.heads) for c in widths[1:-1] for _ in range(2)
        )
        self.last, self.leave = (
            nn.GroupNorm(GROUPS, widths[0]),
            nn.Conv2d(widths[0], shape.channels, 3, padding=1),
        )
        nn.init.zeros_(self.leave.weight)

    def over_time(self, where: str, x: Tensor, frames: int) -> tuple[Tensor, int]:
        """What happens over time behind the layer ``where``: nothing, in an image model."""
        return x, frames

    def entrance(self, x: Tensor, known: Tensor | None, mask: Tensor | None) -> Tensor:
        """(n, c, h, w) of the noisy frames -> features."""
        out: Tensor = self.enter(_frames(x))
        return out

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        objects: Tensor,
        scene: Tensor,
        known: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """(b, c, t, h, w) noisy at ``level`` (b,) -> (b, c, t, h, w) clean. ``known`` (like x) and
        ``mask`` (b, 1, t, h, w; 1 = known) are for models that were inflated."""
        b, _, frames, _, _ = x.shape
        text = self.text(objects, scene)
        emb = self.clock(waves(1000 * level, 64)) + self.summary(text.flatten(1))
        emb = F.silu(emb)
        z = self.entrance(x, known, mask)
        kept: list[Tensor] = []
        for i, (block, resize) in enumerate(zip(self.down, self.shrink, strict=True)):
            z = block(z, emb, frames)
            if i:
                z = self.glance[2 * i - 2](z, text, frames)
            z, _ = self.over_time(f"down{i}", z, frames)
            kept.append(z)
            z, frames = self.over_time(f"shrink{i}", resize(z), frames)
        for i, (block, look) in enumerate(zip(self.middle, self.look, strict=True)):
            z = look(block(z, emb, frames), text, frames)
            z, _ = self.over_time(f"middle{i}", z, frames)
        for i in reversed(range(len(self.up))):
            z, frames = self.over_time(f"grow{i}", self.grow[i](z), frames)
            z = self.up[i](torch.cat([z, kept.pop()], 1), emb, frames)
            if i:
                z = self.glance[2 * i - 1](z, text, frames)
            z, _ = self.over_time(f"up{i}", z, frames)
        z = self.leave(F.silu(self.last(z)))
        out: Tensor = z.view(b, frames, *z.shape[1:]).transpose(1, 2)
        return out


class STUNet(ImageUNet):
    """The image model with layers over time, and with channels for what is known of the clip.

    Known content is given by channels as in Lumiere, [noisy, masked, mask]: the first frame known
    is image-to-video, the outside of a region inpainting, both a cinemagraph.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        widths = shape.widths
        layers: dict[str, nn.Module] = {}
        for i, c in enumerate(widths[:-1]):
            layers[f"down{i}"], layers[f"up{i}"] = TemporalConv(c), TemporalConv(c)
            layers[f"shrink{i}"] = TemporalDown(widths[i + 1])
            layers[f"grow{i}"] = TemporalUp(c)
        for i in range(shape.middles):
            layers[f"middle{i}"] = Stack(
                TemporalAttention(widths[-1], shape.heads) for _ in range(shape.looks)
            )
        self.temporal = nn.ModuleDict(layers)
        # a part of the first convolution: conv([noisy, masked, mask]) = enter(noisy) + this
        self.known = nn.Conv2d(shape.channels + 1, widths[0], 3, padding=1, bias=False)
        nn.init.zeros_(self.known.weight)

    @property
    def stride(self) -> int:
        """Frames come in multiples of this."""
        return int(2 ** (len(self.shape.widths) - 1))

    def over_time(self, where: str, x: Tensor, frames: int) -> tuple[Tensor, int]:
        out: Tensor = self.temporal[where](x, frames)
        if where.startswith("shrink"):
            return out, frames // 2
        return out, frames * 2 if where.startswith("grow") else frames

    def entrance(self, x: Tensor, known: Tensor | None, mask: Tensor | None) -> Tensor:
        if x.shape[2] % self.stride:
            raise ValueError(
                f"{x.shape[2]} frames; a multiple of {self.stride} was expected, because time is "
                f"halved {len(self.shape.widths) - 1} times. Pad the clip or cut it."
            )
        out = super().entrance(x, None, None)
        if known is None or mask is None:
            return out
        extra: Tensor = self.known(_frames(torch.cat([known * mask, mask], 1)))
        return out + extra


def inflate(image: ImageUNet) -> STUNet:
    """A video model that starts where the image model ended (see the module's promise)."""
    video = STUNet(image.shape)
    video.load_state_dict(image.state_dict(), strict=False)
    return video


def is_temporal(name: str) -> bool:
    """Whether a weight of a STUNet came with the inflation (time, or known content)."""
    return name.startswith(("temporal.", "known."))


def blend(
    base: Mapping[str, Tensor], style: Mapping[str, Tensor], amount: float
) -> dict[str, Tensor]:
    """Stylised weights: ``amount * style + (1 - amount) * base`` on the spatial layers; the layers
    over time stay those of ``base`` (Lumiere, section 4.1). ``style`` may lack them: an image model
    that was fine-tuned to a style is enough.

    Raises ValueError when the two don't belong together.
    """
    spatial = {name for name in base if not is_temporal(name)}
    if missing := sorted(spatial - set(style)):
        raise ValueError(f"The style has no weights for {missing[:3]}: it is of another model.")
    return {
        name: torch.lerp(value, style[name].to(value), amount) if name in spatial else value
        for name, value in base.items()
    }


def waves(position: Tensor, width: int) -> Tensor:
    """Sines and cosines of a position: (k,) -> (k, width)."""
    half = width // 2
    pace = torch.exp(-math.log(1e4) * torch.arange(half, device=position.device) / half)
    angle = position.float()[:, None] * pace
    return torch.cat([angle.sin(), angle.cos()], 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    def split(z: Tensor) -> Tensor:
        return z.view(z.shape[0], z.shape[1], heads, -1).transpose(1, 2)

    out = F.scaled_dot_product_attention(split(q), split(k), split(v))
    return out.transpose(1, 2).flatten(2)


def _frames(x: Tensor) -> Tensor:
    """(b, c, t, h, w) -> (b t, c, h, w), channels last in memory."""
    b, c, t, h, w = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(b * t, h, w, c).permute(0, 3, 1, 2)


def _over_time(x: Tensor, frames: int) -> Tensor:
    """(b t, c, h, w) -> (b, t, h w, c)."""
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, c)


def _per_frame(z: Tensor, like: Tensor) -> Tensor:
    """(b, t, h w, c) -> (b t, c, h, w)."""
    b, t, _, c = z.shape
    h, w = like.shape[2:]
    return z.reshape(b * t, h, w, c).permute(0, 3, 1, 2)

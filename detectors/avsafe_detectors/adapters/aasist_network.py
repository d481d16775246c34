"""AASIST and AASIST-L in torch (Jung et al. 2022, arXiv:2110.01200).

Legend: ``b`` windows, ``n`` samples at 16 kHz, ``c`` channels, ``f`` 23 frequency rows, ``t`` time
columns, ``v`` nodes of a graph, ``d`` numbers of a node.

Written from the paper; names of the parameters, and three things that the paper leaves open, follow
the authors' release (github.com/clovaai/aasist, MIT), so that their state dict loads: filters are
as wide as the even kernel plus one; a residual block's first normalisation is held but its result
not used; both heterogeneous stages of a branch use the third temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch  # noqa: TID253  the classes below are modules of torch
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

RATE_HZ = 16_000
SAMPLES = 64_600  # 4.04 s
_ROWS = 23  # of 70 filters, pooled by three
_TAPS = 129


@dataclass(frozen=True)
class Size:
    """What tells AASIST-L from AASIST (section 3.4 and the authors' configurations)."""

    channels: int  # of the last three encoder blocks
    graph: int  # numbers of a node in the first graphs
    pools: tuple[float, float, float]  # share of nodes kept: spectral, temporal, heterogeneous


SIZES = {
    "AASIST": Size(64, 64, (0.5, 0.7, 0.5)),
    "AASIST-L": Size(24, 24, (0.4, 0.5, 0.7)),
}
_HETEROGENEOUS = 32
_TEMPERATURE, _MIXED_TEMPERATURE = 2.0, 100.0


def sinc_filters(count: int = 70, taps: int = _TAPS) -> Tensor:
    """``(count, 1, taps)``: band-pass filters between equal steps of mel, Hamming-windowed; fixed.

    >>> tuple(sinc_filters().shape)
    (70, 1, 129)
    """
    nyquist_hz = RATE_HZ / 2
    top_mel = 2595 * np.log10(1 + nyquist_hz / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, count + 1) / 2595) - 1)
    at = np.arange(taps) - (taps - 1) / 2
    cut = 2 * edges_hz[:, None] / RATE_HZ
    low_pass = cut * np.sinc(cut * at)
    bands = np.diff(low_pass, axis=0) * np.hamming(taps)
    return torch.from_numpy(bands.astype(np.float32))[:, None, :]


class Residual(nn.Module):
    """One block of the RawNet2-like encoder: ``(b, c, f, t)`` -> ``(b, c', f, t // 3)``."""

    def __init__(self, before: int, after: int, *, first: bool = False) -> None:
        super().__init__()
        if not first:
            self.bn1 = nn.BatchNorm2d(before)  # in the state dict; its result is not used
        self.conv1 = nn.Conv2d(before, after, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, (2, 3), padding=(0, 1))
        if before != after:
            self.conv_downsample = nn.Conv2d(before, after, (1, 3), padding=(0, 1))
        self._widens = before != after

    def forward(self, x: Tensor) -> Tensor:
        inside = self.conv2(F.selu(self.bn2(self.conv1(x))))
        beside = self.conv_downsample(x) if self._widens else x
        return F.max_pool2d(inside + beside, (1, 3))


class Attention(nn.Module):
    """A graph attention layer, eqs. 1-4: ``(b, v, d)`` -> ``(b, v, d')``."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.att_proj = nn.Linear(before, after)
        self.att_weight = _vector(after)
        self.proj_with_att = nn.Linear(before, after)
        self.proj_without_att = nn.Linear(before, after)
        self.bn = nn.BatchNorm1d(after)

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.tanh(self.att_proj(x[:, :, None] * x[:, None])) @ self.att_weight
        share = torch.softmax(pairs[..., 0] / _TEMPERATURE, dim=2)
        return _normalised(self.bn, self.proj_with_att(share @ x) + self.proj_without_att(x))


class MixedAttention(nn.Module):
    """The heterogeneous stacking graph attention layer, section 3.2: temporal and spectral nodes,
    and a node that both write to."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.proj_type1 = nn.Linear(before, before)
        self.proj_type2 = nn.Linear(before, before)
        self.att_proj = nn.Linear(before, after)
        self.att_projM = nn.Linear(before, after)
        self.att_weight11 = _vector(after)
        self.att_weight22 = _vector(after)
        self.att_weight12 = _vector(after)
        self.att_weightM = _vector(after)
        self.proj_with_att = nn.Linear(before, after)
        self.proj_without_att = nn.Linear(before, after)
        self.proj_with_attM = nn.Linear(before, after)
        self.proj_without_attM = nn.Linear(before, after)
        self.bn = nn.BatchNorm1d(after)

    def forward(
        self, first: Tensor, second: Tensor, stack: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        split = first.shape[1]
        x = torch.cat([self.proj_type1(first), self.proj_type2(second)], dim=1)
        pairs = torch.tanh(self.att_proj(x[:, :, None] * x[:, None]))
        above = torch.cat(
            [
                pairs[:, :split, :split] @ self.att_weight11,
                pairs[:, :split, split:] @ self.att_weight12,
            ],
            dim=2,
        )
        below = torch.cat(
            [
                pairs[:, split:, :split] @ self.att_weight12,
                pairs[:, split:, split:] @ self.att_weight22,
            ],
            dim=2,
        )
        share = torch.softmax(torch.cat([above, below], dim=1)[..., 0] / _MIXED_TEMPERATURE, dim=2)
        to_stack = torch.tanh(self.att_projM(x * stack)) @ self.att_weightM
        stack_share = torch.softmax(to_stack[..., 0] / _MIXED_TEMPERATURE, dim=1)
        stack = self.proj_with_attM(stack_share[:, None] @ x) + self.proj_without_attM(stack)
        x = _normalised(self.bn, self.proj_with_att(share @ x) + self.proj_without_att(x))
        return x[:, :split], x[:, split:], stack


class Pool(nn.Module):
    """Keep the nodes with the highest learnt weight, eqs. 5-7."""

    def __init__(self, share: float, size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(size, 1)
        self._share = share

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sigmoid(self.proj(x))
        kept = max(1, int(x.shape[1] * self._share))
        best = torch.topk(weight, kept, dim=1).indices.expand(-1, -1, x.shape[2])
        return torch.gather(x * weight, 1, best)


class Aasist(nn.Module):
    """``(b, n)`` float32 at 16 kHz -> ``(b, 2)`` logits: spoofed, bona fide.

    >>> sum(p.numel() for p in Aasist(SIZES["AASIST-L"]).parameters())
    85306
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        c, g, h = size.channels, size.graph, _HETEROGENEOUS
        spectral, temporal, mixed = size.pools
        self.register_buffer("filters", sinc_filters(), persistent=False)
        self.first_bn = nn.BatchNorm2d(1)
        widths = [(1, 32), (32, 32), (32, c), (c, c), (c, c), (c, c)]
        self.encoder = nn.Sequential(
            *(nn.Sequential(Residual(a, b, first=i == 0)) for i, (a, b) in enumerate(widths))
        )
        self.pos_S = nn.Parameter(torch.randn(1, _ROWS, c))
        self.master1 = nn.Parameter(torch.randn(1, 1, g))
        self.master2 = nn.Parameter(torch.randn(1, 1, g))
        self.GAT_layer_S, self.GAT_layer_T = Attention(c, g), Attention(c, g)
        self.HtrgGAT_layer_ST11, self.HtrgGAT_layer_ST12 = (
            MixedAttention(g, h),
            MixedAttention(h, h),
        )
        self.HtrgGAT_layer_ST21, self.HtrgGAT_layer_ST22 = (
            MixedAttention(g, h),
            MixedAttention(h, h),
        )
        self.pool_S, self.pool_T = Pool(spectral, g), Pool(temporal, g)
        self.pool_hS1, self.pool_hT1 = Pool(mixed, h), Pool(mixed, h)
        self.pool_hS2, self.pool_hT2 = Pool(mixed, h), Pool(mixed, h)
        self.out_layer = nn.Linear(5 * h, 2)

    def forward(self, sound: Tensor) -> Tensor:
        banded = F.conv1d(sound[:, None], self.get_buffer("filters")).abs()
        seen = self.encoder(F.selu(self.first_bn(F.max_pool2d(banded[:, None], 3)))).abs()
        spectral = self.pool_S(self.GAT_layer_S(seen.amax(3).transpose(1, 2) + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(seen.amax(2).transpose(1, 2)))
        one = self._branch(temporal, spectral, 1)
        two = self._branch(temporal, spectral, 2)
        # The element-wise maximum of two parallel branches ("max graph operation", section 3.3).
        temporal, spectral, stack = (torch.maximum(a, b) for a, b in zip(one, two, strict=True))
        read = [temporal.abs().amax(1), temporal.mean(1), spectral.abs().amax(1), spectral.mean(1)]
        return self.out_layer(torch.cat([*read, stack[:, 0]], dim=1))  # type: ignore[no-any-return]

    def _branch(self, temporal: Tensor, spectral: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        first, second = (getattr(self, f"HtrgGAT_layer_ST{n}{stage}") for stage in (1, 2))
        t, s, stack = first(temporal, spectral, getattr(self, f"master{n}"))
        t, s = getattr(self, f"pool_hT{n}")(t), getattr(self, f"pool_hS{n}")(s)
        t_more, s_more, stack_more = second(t, s, stack)
        return t + t_more, s + s_more, stack + stack_more


def _vector(size: int) -> nn.Parameter:
    made = nn.Parameter(torch.empty(size, 1))
    nn.init.xavier_normal_(made)
    return made


def _normalised(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch normalisation of every node, then SELU."""
    return F.selu(norm(x.reshape(-1, x.shape[-1])).reshape(x.shape))

"""LPIPS against a reference, with weights that the user gives.

Legend: ``b`` pictures of a batch, ``c`` channels, ``h`` ``w`` pixels; a frame is (h, w, 3) uint8
RGB, a picture of the network (b, 3, h, w) float32 in [-1, 1].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.video.given import digest_of, given_file
from avsafe_metrics.video.paired import PairedMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from avsafe.media.view import View

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]; v0.1
LEAST = 32  # pixels a side; the strides of AlexNet leave nothing of less
# Layers by their index in the "features" of the usual models. A convolution: (index, in, out,
# kernel, stride, padding); "pool"; "tap": what LPIPS compares, always after a rectifier.
_Layer = tuple[int, int, int, int, int, int] | str
ALEX: tuple[_Layer, ...] = (
    (0, 3, 64, 11, 4, 2), "tap", "pool3", (3, 64, 192, 5, 1, 2), "tap", "pool3",
    (6, 192, 384, 3, 1, 1), "tap", (8, 384, 256, 3, 1, 1), "tap", (10, 256, 256, 3, 1, 1), "tap",
)  # fmt: skip
VGG: tuple[_Layer, ...] = (
    (0, 3, 64, 3, 1, 1), (2, 64, 64, 3, 1, 1), "tap", "pool2",
    (5, 64, 128, 3, 1, 1), (7, 128, 128, 3, 1, 1), "tap", "pool2",
    (10, 128, 256, 3, 1, 1), (12, 256, 256, 3, 1, 1), (14, 256, 256, 3, 1, 1), "tap", "pool2",
    (17, 256, 512, 3, 1, 1), (19, 512, 512, 3, 1, 1), (21, 512, 512, 3, 1, 1), "tap", "pool2",
    (24, 512, 512, 3, 1, 1), (26, 512, 512, 3, 1, 1), (28, 512, 512, 3, 1, 1), "tap",
)  # fmt: skip
NETS = {"alex": ALEX, "vgg": VGG}
# "features.3.weight" of the models, "net.slice2.3.weight" of the package lpips
_CONVOLUTION = re.compile(r"(?:^|\.)(?:features|slice\d)\.(\d+)\.(weight|bias)$")
_HEAD = re.compile(r"(?:^|\.)lin(\d)\.(?:model\.\d\.)?weight$")


class Network:
    """AlexNet or VGG-16 up to the last convolution, and the five linear heads of LPIPS v0.1."""

    def __init__(self, net: str, state: Mapping[str, Tensor], device: str = "cpu") -> None:
        import torch

        self.net, self._layers = net, NETS[net]
        convolutions: dict[tuple[int, str], Tensor] = {}
        heads: dict[int, Tensor] = {}
        for key, value in state.items():
            if found := _CONVOLUTION.search(key):
                convolutions[int(found[1]), found[2]] = value.to(device, torch.float32)
            elif found := _HEAD.search(key):
                heads[int(found[1])] = value.to(device, torch.float32).reshape(1, -1, 1, 1)
        self._convolutions, self._heads = convolutions, heads
        self._check()
        self._shift = torch.tensor(SHIFT, device=device).reshape(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=device).reshape(1, 3, 1, 1)
        self.device = device

    def _check(self) -> None:
        width, tap = 3, 0
        for layer in self._layers:
            if layer == "tap":
                head = self._heads.get(tap)
                if head is None or head.numel() != width:
                    raise MissingExtra(
                        f"The weights have no linear head lin{tap} of {width} channels for LPIPS "
                        f'with {self.net}. Give weights={{"lpips_heads": "PATH"}}: the package '
                        f"lpips ships them as weights/v0.1/{self.net}.pth."
                    )
                tap += 1
            elif not isinstance(layer, str):
                index, inner, width, kernel = layer[:4]
                weight = self._convolutions.get((index, "weight"))
                wanted = (width, inner, kernel, kernel)
                shape = None if weight is None else tuple(weight.shape)
                if shape != wanted or (index, "bias") not in self._convolutions:
                    raise MissingExtra(
                        f"The weights have no convolution features.{index} of shape {wanted} "
                        f"(found: {shape}) for LPIPS with {self.net}. Give the state dict of "
                        f"{'AlexNet' if self.net == 'alex' else 'VGG-16'} trained on ImageNet."
                    )

    def features(self, pictures: Tensor) -> list[Tensor]:
        """The five maps of (b, 3, h, w) in [-1, 1], each of unit length over its channels."""
        import torch
        import torch.nn.functional as functional

        found = []
        x = (pictures - self._shift) / self._scale
        for layer in self._layers:
            if isinstance(layer, str):
                if layer == "tap":
                    length = torch.sqrt(x.square().sum(dim=1, keepdim=True))
                    found.append(x / (length + 1e-10))
                else:
                    x = functional.max_pool2d(x, int(layer[-1]), 2)
                continue
            index, _, _, _, stride, padding = layer
            x = functional.conv2d(
                x, self._convolutions[index, "weight"], self._convolutions[index, "bias"],
                stride, padding,
            ).relu()  # fmt: skip
        return found

    def distance(self, one: Tensor, other: Tensor) -> Tensor:
        """(b,) LPIPS of pictures (b, 3, h, w) in [-1, 1]; 0 is equal. Zhang et al. 2018, eq. 1."""
        import torch

        with torch.inference_mode():
            both = self.features(torch.cat([one, other]))
            total = torch.zeros(len(one), device=self.device)
            for tap, maps in enumerate(both):
                apart = (maps[: len(one)] - maps[len(one) :]).square()
                total += (apart * self._heads[tap]).sum(dim=1).mean(dim=(1, 2))
        return total


def as_picture(rgb: NDArray[np.uint8], device: str = "cpu") -> Tensor:
    """(1, 3, h, w) in [-1, 1] of a frame."""
    import torch

    picture = torch.from_numpy(np.ascontiguousarray(rgb)).to(device, torch.float32)
    return picture.permute(2, 0, 1)[None] / 127.5 - 1


def read_state(path: Path) -> dict[str, Any]:
    """Tensors by name from a .safetensors, or from a .pth without running what is in it."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MissingExtra(
            f"{path} cannot be read as plain weights ({error}). Save it as .safetensors."
        ) from error
    found = found.get("state_dict", found) if isinstance(found, dict) else {}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def shipped_heads(net: str) -> Path | None:
    """The linear heads (v0.1) inside an installed lpips or torchmetrics; None without either."""
    for package, folder in (
        ("lpips", "weights/v0.1"),
        ("torchmetrics", "functional/image/lpips_models"),
    ):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(place) / folder / f"{net}.pth"
            if path.is_file():
                return path
    return None


class LPIPS:
    """LPIPS v0.1 (linear heads), mean over frames, on full frames without scaling.

    ``weights={"lpips": PATH}`` names the backbone (.safetensors or .pth): the state dict of AlexNet
    or VGG-16, or of the whole LPIPS model. Heads not in it come from ``lpips_heads``, else from an
    installed lpips or torchmetrics. ``every`` = n looks at each n-th frame.
    """

    info = MetricInfo(
        name="lpips",
        version="1",
        title="LPIPS",
        columns=(Column("", "", "lower", "0 is equal; 0.1 is close, above 0.5 is another", 0.0),),
        wants=("rgb",),
        family="video",
        beside="reference",
        weights=("lpips",),
        source="Zhang et al. 2018 (arXiv:1801.03924), eq. 1, version 0.1",
    )

    def __init__(
        self,
        *,
        net: str = "alex",
        weights: Mapping[str, str] | None = None,
        device: str = "cpu",
        every: int = 1,
    ) -> None:
        if net not in NETS:
            raise UsageError(f"net={net!r}; LPIPS has alex and vgg here")
        if every < 1:
            raise UsageError(f"every={every}; expected 1 (every frame) or more")
        self._net, self._weights, self._device, self.every = net, weights, device, every
        self._network: Network | None = None
        self._digests: dict[str, str] = {}

    def prepare(self) -> None:
        what = "AlexNet or VGG-16 features trained on ImageNet"
        path = given_file(self._weights, "lpips", "lpips", what)
        if find_spec("torch") is None:
            raise MissingExtra('lpips needs torch: pip install "avsafe[bench]"')
        state = read_state(path)
        digests = {"lpips": digest_of(path)}
        if (self._weights or {}).get("lpips_heads"):
            heads: Path | None = given_file(self._weights, "lpips_heads", "lpips", "linear heads")
        else:
            own = any(_HEAD.search(name) for name in state)
            heads = None if own else shipped_heads(self._net)
        if heads is not None:
            state |= read_state(heads)
            digests["lpips_heads"] = digest_of(heads)
        self._network, self._digests = Network(self._net, state, self._device), digests

    def digests(self) -> Mapping[str, str]:
        return dict(self._digests)

    def open(self, clip: Clip) -> PairedMeter:
        network = self._network
        if network is None:
            raise MissingExtra("prepare() was not called")
        width, height = clip.shape.width, clip.shape.height
        if min(width, height) < LEAST:
            raise Unscorable(f"{width}x{height} pixels: LPIPS needs {LEAST} a side")

        def compare(view: View, beside: View) -> tuple[float, ...]:
            if view.index % self.every:
                return ()
            one, other = as_picture(view.rgb, self._device), as_picture(beside.rgb, self._device)
            return (float(network.distance(one, other)[0]),)

        # a NaN of the network must show: only the frames that were not looked at are left out
        return PairedMeter(
            clip, compare, lambda rows: {"": float(np.mean([row for row in rows if row]))}
        )

"""A DINO or DINOv2 vision transformer that the user gives, as one unit vector a picture.

Legend: ``d`` features, ``p`` tokens (class token first), ``g`` patches of a side in training;
a picture is (h, w, 3) uint8 RGB, a batch (b, 3, sh, sw).

The network is written out here from its weights, so that a state dict of facebookresearch/dino
needs no other package and no code from a hub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe_metrics.text.pictures import prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

SIDE = 224  # pixels of the short side, as in VBench
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as DINO was trained
HEAD = 64  # features of one attention head, in all published DINO models
EPSILON = 1e-6  # of its layer norms
REMEMBERED = 4
LONGEST = 6  # long side over short side; attention costs its square

# What transformers calls a tensor -> what facebookresearch calls it.
_RENAMED = (
    (r"^(vit|dinov2|backbone|module\.backbone|module)\.", ""),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^(encoder\.)?layers?\.(\d+)\.", r"blocks.\2."),
    (r"\.attention\.(attention\.)?(query|key|value)\.", r".attn.\2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
_UNUSED = re.compile(r"^(pooler|head|mask_token|classifier)")
_KNOWN = re.compile(
    r"^(cls_token|pos_embed|patch_embed\.proj\.\w+|norm\.\w+"
    r"|blocks\.\d+\.(norm[12]\.\w+|attn\.(qkv|proj)\.\w+|mlp\.fc[12]\.\w+|ls[12]\.gamma))$"
)


class DinoBackbone:
    """The class token after the last layer norm. ``digests``: SHA-256 of the files that were read.

    Pictures are scaled to 224 pixels of the short side and not cropped; positions are interpolated
    the way DINO does.
    """

    def __init__(
        self, state: Mapping[str, Any], device: str, digests: dict[str, str], heads: int, eps: float
    ) -> None:
        self._state = {name: tensor.float().to(device) for name, tensor in state.items()}
        self.digests, self._heads, self._eps, self._device = digests, heads, eps, device
        self._seen: list[tuple[Frame, NDArray[np.float32]]] = []

    def images(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """(k, d) float32 of length 1."""
        return np.stack([self.image(frame) for frame in frames])

    def image(self, frame: Frame) -> NDArray[np.float32]:
        """(d,) of one frame; the last few are remembered by the array itself."""
        for held, vector in self._seen:
            if held is frame:
                return vector
        height, width = frame.shape[:2]
        if max(height, width) > LONGEST * min(height, width):
            raise Unscorable(
                f"{width} x {height} pixels: DINO's patches grow with the long side; "
                f"expected at most {LONGEST} times the short one"
            )
        features = self.class_token(prepared(frame, SIDE, "bilinear", MEAN, STD))[0]
        vector = np.asarray(features / np.linalg.norm(features), np.float32)
        self._seen = [*self._seen[-(REMEMBERED - 1) :], (frame, vector)]
        return vector

    def class_token(self, batch: Any) -> NDArray[np.float32]:
        """(b, d) of a normalised batch, not of length 1."""
        import torch

        with torch.inference_mode():
            tokens = class_tokens(self._state, batch.to(self._device), self._heads, self._eps)
        return np.asarray(tokens.cpu().numpy(), np.float32)


def class_tokens(state: Mapping[str, Any], batch: Any, heads: int, eps: float = EPSILON) -> Any:
    """The class token (b, d) of a vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929) in
    the form of DINO (Caron et al. 2021, arXiv:2104.14294) or DINOv2 (with layer scale).

    ``state`` has the names of facebookresearch/dino.
    """
    import torch
    from torch.nn import functional as nn

    kernel = state["patch_embed.proj.weight"]
    patches = nn.conv2d(batch, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1])
    rows, columns = patches.shape[-2:]
    cls = state["cls_token"].expand(len(batch), -1, -1)
    x = torch.cat([cls, patches.flatten(2).transpose(1, 2)], 1)
    x = x + _positions(state["pos_embed"], rows, columns)
    width = x.shape[-1]
    for block in range(_depth(state)):
        own = {
            name.split(".", 2)[2]: tensor
            for name, tensor in state.items()
            if name.startswith(f"blocks.{block}.")
        }
        y = nn.layer_norm(x, (width,), own["norm1.weight"], own["norm1.bias"], eps)
        qkv = nn.linear(y, own["attn.qkv.weight"], own.get("attn.qkv.bias"))
        q, k, v = qkv.reshape(len(x), -1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        y = nn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = nn.linear(y, own["attn.proj.weight"], own["attn.proj.bias"])
        x = x + y * own.get("ls1.gamma", 1.0)
        y = nn.layer_norm(x, (width,), own["norm2.weight"], own["norm2.bias"], eps)
        y = nn.gelu(nn.linear(y, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
        y = nn.linear(y, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
        x = x + y * own.get("ls2.gamma", 1.0)
    return nn.layer_norm(x[:, 0], (width,), state["norm.weight"], state["norm.bias"], eps)


def _positions(embedded: Any, rows: int, columns: int) -> Any:
    """(1, 1 + rows * columns, d): those of training, interpolated for pictures of another size.
    The tenth of a patch is DINO's own: its scale factors carry it into the sampling grid."""
    import torch
    from torch.nn.functional import interpolate

    side = round((embedded.shape[1] - 1) ** 0.5)
    if rows == columns == side:
        return embedded
    grid = embedded[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([embedded[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def _depth(state: Mapping[str, Any]) -> int:
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))


@lru_cache(maxsize=2)
def load(weights: str, device: str = "cpu") -> DinoBackbone:
    """A DINO model from a path; the same arguments give the same object.

    ``weights`` is a state dict (.safetensors, or torch without code: dino_vitbase16_pretrain.pth)
    or a folder of transformers (config.json and model.safetensors). Models with registers or SwiGLU
    are not understood. Raises MissingExtra where a file is absent or is none of these.
    """
    path = Path(weights).expanduser()
    if not path.exists():
        raise MissingExtra(
            f"DINO weights: there is no file or folder {weights}. Give the path of a state dict of "
            "facebookresearch/dino or dinov2, or of a folder of transformers."
        )
    file, settings, digests = path, dict[str, Any](), dict[str, str]()
    if path.is_dir():
        file, config = path / "model.safetensors", path / "config.json"
        if not file.is_file() or not config.is_file():
            raise MissingExtra(f"DINO weights: {path} needs config.json and model.safetensors.")
        settings = json.loads(config.read_text("utf-8"))
        digests[config.name] = _sha256(config)
    state = _renamed(_read(file))
    strange = [name for name in state if not _KNOWN.match(name)]
    absent = [name for name in ("cls_token", "pos_embed", "norm.weight") if name not in state]
    if strange or absent or not any(name.startswith("blocks.") for name in state):
        raise MissingExtra(
            f"the weights {file.name} are no plain DINO or DINOv2 vision transformer (unknown: "
            f"{strange[:3]}, absent: {absent}). Registers and SwiGLU are not understood."
        )
    digests[file.name] = _sha256(file)
    heads = int(settings.get("num_attention_heads", max(1, state["norm.weight"].numel() // HEAD)))
    return DinoBackbone(
        state, device, digests, heads, float(settings.get("layer_norm_eps", EPSILON))
    )


def _read(file: Path) -> dict[str, Any]:
    import torch

    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        state = torch.load(file, map_location="cpu", weights_only=True)
        for inner in ("teacher", "state_dict", "model"):
            state = state.get(inner, state)
        return dict(state)
    except Exception as error:
        raise MissingExtra(
            f"the DINO weights {file.name} cannot be read: {str(error)[:200]}. Expected "
            ".safetensors or a plain torch state dict, without pickled code."
        ) from error


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names of facebookresearch/dino; query, key and value joined."""
    import torch

    found: dict[str, Any] = {}
    for name, tensor in state.items():
        for old, new in _RENAMED:
            name = re.sub(old, new, name)
        if not _UNUSED.match(name):
            found[name] = tensor
    for name in [name for name in found if ".attn.query." in name]:
        parts = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = torch.cat(parts)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

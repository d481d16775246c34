"""CLIP's image tower (Radford et al. 2021, arXiv:2103.00020, section 2.4): a vision transformer.

Legend: ``b`` pictures, ``s`` side in pixels, ``p`` patches and one class token, ``d`` width.

Built from tensors alone, in the layout of OpenAI's and open_clip's state dicts (``visual.*``), so
that neither open_clip nor torchvision is needed (docs/decisions/0024 tells what those cost).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avsafe.errors import UsageError
from avsafe_detectors.adapters.running import require

_HEAD = 64  # numbers of an attention head, in every ViT of CLIP
ACTIVATIONS = ("quick_gelu", "gelu")


class Tower:
    """Pictures ``(b, 3, s, s)`` as CLIP normalises them -> features ``(b, d')``.

    ``activation``: OpenAI's weights use quick_gelu, most others gelu; with the wrong one features
    are near and wrong. Raises UsageError when the tensors are no such tower, MissingExtra without
    torch.
    """

    def __init__(self, tensors: Mapping[str, Any], activation: str, name: str) -> None:
        self._torch = require("torch", "'avsafe[detect]'")
        inside = {
            k.removeprefix("visual."): v for k, v in tensors.items() if k.startswith("visual.")
        }
        self._t = inside or dict(tensors)
        self._quick = activation == "quick_gelu"
        try:
            conv = self._t["conv1.weight"]
            self.width, self.patch = int(conv.shape[0]), int(conv.shape[-1])
            grid = int((self._t["positional_embedding"].shape[0] - 1) ** 0.5)
            self.side = grid * self.patch
            self.features = int(self._t["proj"].shape[1])
            self._layers = 1 + max(
                int(k.split(".")[2]) for k in self._t if k.startswith("transformer.resblocks.")
            )
            self._check(grid)
        except (KeyError, ValueError, IndexError) as error:
            raise UsageError(
                f"{name} holds no image tower of CLIP as open_clip lays it out: {error} is missing "
                "or of another shape. Vision transformers only."
            ) from error

    def _check(self, grid: int) -> None:
        d = self.width
        shapes = {
            "conv1.weight": (d, 3, self.patch, self.patch),
            "class_embedding": (d,),
            "positional_embedding": (grid * grid + 1, d),
            "proj": (d, self.features),
        }
        for norm in ("ln_pre", "ln_post"):
            shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
        for i in range(self._layers):
            at = f"transformer.resblocks.{i}."
            shapes |= {
                f"{at}attn.in_proj_weight": (3 * d, d),
                f"{at}attn.in_proj_bias": (3 * d,),
                f"{at}attn.out_proj.weight": (d, d),
                f"{at}mlp.c_fc.weight": (4 * d, d),
                f"{at}mlp.c_proj.weight": (d, 4 * d),
                f"{at}ln_1.weight": (d,),
                f"{at}ln_2.weight": (d,),
            }
        for key, shape in shapes.items():
            if tuple(self._t[key].shape) != shape:
                raise ValueError(key)
        if d % _HEAD:
            raise ValueError("a width of whole heads")

    def __call__(self, pictures: Any) -> Any:
        """Raises UsageError for another side."""
        torch, t = self._torch, self._t
        if tuple(pictures.shape[1:]) != (3, self.side, self.side):
            raise UsageError(
                f"This tower sees pictures of {self.side} pixels; input.pictures in the manifest "
                f"gives {tuple(pictures.shape[2:])}."
            )
        nn = torch.nn.functional
        with torch.inference_mode():
            x = nn.conv2d(pictures, t["conv1.weight"], stride=self.patch)
            x = x.flatten(2).transpose(1, 2)
            token = t["class_embedding"].expand(len(x), 1, -1)
            x = self._norm(torch.cat([token, x], 1) + t["positional_embedding"], "ln_pre")
            for i in range(self._layers):
                x = self._block(x, f"transformer.resblocks.{i}.")
            return self._norm(x[:, 0], "ln_post") @ t["proj"]

    def _block(self, x: Any, at: str) -> Any:
        t, nn = self._t, self._torch.nn.functional
        b, p, d = x.shape
        joined = nn.linear(
            self._norm(x, f"{at}ln_1"), t[f"{at}attn.in_proj_weight"], t[f"{at}attn.in_proj_bias"]
        )
        q, k, v = (
            part.reshape(b, p, d // _HEAD, _HEAD).transpose(1, 2) for part in joined.chunk(3, -1)
        )
        attended = nn.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, p, d)
        x = x + self._linear(attended, f"{at}attn.out_proj")
        inner = self._linear(self._norm(x, f"{at}ln_2"), f"{at}mlp.c_fc")
        inner = inner * self._torch.sigmoid(1.702 * inner) if self._quick else nn.gelu(inner)
        return x + self._linear(inner, f"{at}mlp.c_proj")

    def _linear(self, x: Any, name: str) -> Any:
        t = self._t
        return self._torch.nn.functional.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])

    def _norm(self, x: Any, name: str) -> Any:
        t = self._t
        weight, bias = t[f"{name}.weight"], t[f"{name}.bias"]
        return self._torch.nn.functional.layer_norm(x, (self.width,), weight, bias, 1e-5)

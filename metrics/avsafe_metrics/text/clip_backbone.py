"""A CLIP model that the user names: pictures and texts as unit vectors of one space.

Legend: ``k`` pictures or texts, ``d`` features; a picture is (h, w, 3) uint8 RGB.

Weights come from a path; nothing is ever fetched unless ``allow_download=True`` is given.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra
from avsafe_metrics.text.compat import open_clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

_log = logging.getLogger(__name__)

CONFIG = "open_clip_config.json"
# Checkpoints in a folder, best first: the names that open_clip and its hub use.
CHECKPOINTS = (
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
REMEMBERED = 4  # pictures whose features are kept: several metrics ask for one frame


class ClipBackbone:
    """An open_clip model in evaluation mode, its preparation of pictures and its tokeniser.

    ``digests`` holds the SHA-256 of the files that were read.
    """

    def __init__(
        self, model: Any, tokenizer: Any, device: str, digests: dict[str, str], name: str
    ) -> None:
        package = open_clip()
        self.model = model.to(device).eval()
        self.device, self.digests, self.name = device, digests, name
        self._tokenizer = tokenizer
        settings = package.transform.PreprocessCfg(**model.visual.preprocess_cfg)
        self._prepare = package.transform.image_transform_v2(settings, is_train=False)
        size = settings.size
        self.side = int(size if isinstance(size, int) else min(size))  # pixels of its pictures
        self.mean, self.std = tuple(settings.mean), tuple(settings.std)
        self._seen: list[tuple[Frame, NDArray[np.float32]]] = []

    def images(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """(k, d) float32 of length 1, with the model's own preparation of pictures."""
        from PIL import Image

        if not frames:
            return np.zeros((0, self.dimensions), np.float32)
        import torch

        batch = torch.stack([self._prepare(Image.fromarray(frame)) for frame in frames])
        vectors: NDArray[np.float32] = self.prepared(batch)
        return vectors

    def image(self, frame: Frame) -> NDArray[np.float32]:
        """(d,) of one frame. The last few are remembered by the array itself, so that several
        metrics of one pass cost one encoding."""
        for held, known in self._seen:
            if held is frame:
                return known
        vector: NDArray[np.float32] = self.images([frame])[0]
        self._seen = [*self._seen[-(REMEMBERED - 1) :], (frame, vector)]
        return vector

    def prepared(self, batch: Any) -> NDArray[np.float32]:
        """(k, d) of a tensor (k, 3, side, side) that is already normalised."""
        import torch

        with torch.inference_mode():
            features = self.model.encode_image(batch.to(self.device))
        return _unit(features)

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(k, d) float32 of length 1. What lies beyond the model's context (77 tokens for the
        published ones) is cut off, as everywhere with CLIP, and logged."""
        import torch

        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        tokens = self._tokenizer(list(texts))
        full = (tokens[:, -1] != 0).nonzero().flatten().tolist()
        if full:
            _log.warning("%d texts fill CLIP's context and may be cut off", len(full))
        with torch.inference_mode():
            features = self.model.encode_text(tokens.to(self.device))
        return _unit(features)

    @property
    def dimensions(self) -> int:
        return int(self.texts(["a"]).shape[1])


def _unit(features: Any) -> NDArray[np.float32]:
    vectors = features.float()
    return np.asarray((vectors / vectors.norm(dim=-1, keepdim=True)).cpu().numpy(), np.float32)


@lru_cache(maxsize=2)
def load(
    weights: str, architecture: str = "", device: str = "cpu", *, allow_download: bool = False
) -> ClipBackbone:
    """A CLIP model from a path; the same arguments give the same object.

    ``weights`` is a checkpoint (.safetensors, or a torch state dict without code) with the name of
    its architecture in open_clip ("ViT-B-32"; OpenAI's own weights are "ViT-B-32-quickgelu"), or a
    folder with open_clip_config.json and a checkpoint, which needs no name. Only with
    ``allow_download=True`` may it be a hub id ("hf-hub:owner/name") or one of open_clip's tags.

    Raises MissingExtra where packages or files are absent or do not fit together.
    """
    package = open_clip()
    path = Path(weights).expanduser()
    if not path.exists():
        if not allow_download:
            raise MissingExtra(
                f"CLIP weights: there is no file or folder {weights}. Give the path of a "
                "checkpoint (or of a folder with open_clip_config.json); allow_download=True lets "
                "open_clip fetch a hub id or tag."
            )
        return _fetched(package, weights, architecture, device)
    if path.is_dir():
        return _from_folder(package, path, device)
    if not architecture:
        raise MissingExtra(
            f"CLIP weights {path.name}: a checkpoint does not say what it is. Name its design "
            "in open_clip, as in architecture=ViT-B-32."
        )
    settings = package.get_model_config(architecture)
    if settings is None:
        raise MissingExtra(
            f"open_clip knows no architecture {architecture!r}. Known are: "
            f"{', '.join(package.list_models()[:12])}, ... (open_clip.list_models())"
        )
    _offline(settings, architecture)
    return _built(package, architecture, path, device, architecture, {})


def _from_folder(package: Any, folder: Path, device: str) -> ClipBackbone:
    config = folder / CONFIG
    found = [folder / name for name in CHECKPOINTS if (folder / name).is_file()]
    if not config.is_file() or not found:
        raise MissingExtra(
            f"CLIP weights: the folder {folder} needs {CONFIG} and a checkpoint (one of "
            f"{', '.join(CHECKPOINTS)}). Give the folder of a model as open_clip saves it, or a "
            "checkpoint and its architecture."
        )
    try:
        settings = json.loads(config.read_text("utf-8"))["model_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise MissingExtra(f"{config} is no configuration of open_clip: {error!r}") from error
    _offline(settings, folder.name, tokenizer_inside=True)
    name = f"local-dir:{folder}"
    return _built(package, name, found[0], device, folder.name, {CONFIG: _sha256(config)})


def _offline(settings: dict[str, Any], name: str, *, tokenizer_inside: bool = False) -> None:
    """Refuse what open_clip would fetch by itself."""
    text = settings.get("text_cfg", {})
    wanted = text.get("hf_model_name") or (not tokenizer_inside and text.get("hf_tokenizer_name"))
    if wanted or (not tokenizer_inside and "siglip" in name.lower()):
        raise MissingExtra(
            f"{name} takes its text model or tokeniser from a hub ({wanted or 'SigLIP'}). Give a "
            "folder that has both (open_clip_config.json with the tokeniser's files beside it), or "
            "allow_download=True with a hub id."
        )


def _built(
    package: Any, model_name: str, checkpoint: Path, device: str, name: str, digests: dict[str, str]
) -> ClipBackbone:
    try:
        with _root_logger_off():  # it would say that the model is random
            model = package.create_model(model_name, load_weights=False, pretrained_text=False)
        package.load_checkpoint(model, str(checkpoint), strict=True, weights_only=True)
    except MissingExtra:
        raise
    except Exception as error:
        raise MissingExtra(
            f"the CLIP weights {checkpoint.name} do not load as {name}: {str(error)[:300]}. "
            "Expected .safetensors or a plain state dict (no pickled code, no TorchScript) of that "
            "architecture; an architecture on timm needs: pip install --no-deps timm."
        ) from error
    with _root_logger_off():
        tokenizer = package.get_tokenizer(model_name)
    return ClipBackbone(
        model, tokenizer, device, {**digests, checkpoint.name: _sha256(checkpoint)}, name
    )


def _fetched(package: Any, weights: str, architecture: str, device: str) -> ClipBackbone:
    """The user allowed it: open_clip fetches a hub id, or a tag for an architecture."""
    on_hub = weights.startswith("hf-hub:")
    try:
        model = package.create_model(
            weights if on_hub else architecture,
            None if on_hub else weights,
            require_pretrained=True,
        )
        tokenizer = package.get_tokenizer(weights if on_hub else architecture)
    except Exception as error:
        raise MissingExtra(f"open_clip could not fetch {weights}: {str(error)[:300]}") from error
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.contiguous().cpu().numpy().tobytes())
    return ClipBackbone(model, tokenizer, device, {"state": digest.hexdigest()}, weights)


@contextmanager
def _root_logger_off() -> Iterator[None]:
    """open_clip logs by the root logger, which sets up a handler where there is none."""
    root, handler = logging.getLogger(), logging.NullHandler()
    was, root.disabled = root.disabled, True
    root.addHandler(handler)
    try:
        yield
    finally:
        root.disabled = was
        root.removeHandler(handler)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

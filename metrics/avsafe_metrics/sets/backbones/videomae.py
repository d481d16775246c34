"""VideoMAE (Tong et al. 2022, arXiv:2203.12602) as transformers has it, from a folder.

The features are the mean of all tokens after the last layer, normalised by the model's own
``fc_norm`` where it was fine-tuned with one. Frames follow the folder's own
``preprocessor_config.json`` in mean and deviation and are stretched to the model's size without
antialiasing, as cd-fvd does. That package uses VideoMAE-v2 giant, whose layout transformers does
not have: a distance over this backbone is ``fd_videomae`` and no published FVD.

Legend: ``k`` windows, ``t`` frames. This module imports torch, and is imported inside functions.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

EXPECTED = "the folder of a VideoMAE model of transformers (config.json, model.safetensors)"
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class VideoMAE:
    """Windows of video -> ``features`` (k, hidden size)."""

    name = "videomae"

    def __init__(self, source: str, device: str = "cpu", *, allow_download: bool = False) -> None:
        try:
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise MissingExtra(
                "VideoMAE runs on transformers, which is not installed: pip install transformers."
            ) from error
        folder = Path(source).expanduser()
        if not folder.is_dir() and not allow_download:
            raise MissingExtra(
                f"There is no folder {source}. Expected {EXPECTED}; allow_download=True lets "
                "transformers fetch a hub id."
            )
        try:
            self._net: Any = transformers.VideoMAEForVideoClassification.from_pretrained(
                str(folder) if folder.is_dir() else source,
                local_files_only=not allow_download,
                use_safetensors=True,
            )
        except (OSError, ValueError) as error:
            raise MissingExtra(
                f"{source} does not load: {str(error)[:200]}. Expected {EXPECTED}."
            ) from error
        self._net.eval().requires_grad_(False).to(device)
        config = self._net.config
        self.frames, self.width = int(config.num_frames), int(config.hidden_size)
        self._side, self._device = int(config.image_size), device
        mean, deviation = _norm(folder)
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._deviation = torch.tensor(deviation).view(3, 1, 1)
        self.digests = {"videomae": _digest(folder, self._net)}

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
        size = (self._side, self._side)
        picture = F.interpolate(picture, size, mode="bilinear", align_corners=False)[0] / 255
        return np.asarray(((picture - self._mean) / self._deviation).numpy(), np.float32)

    def features(self, windows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            batch = torch.from_numpy(windows).to(self._device)
            tokens = self._net.videomae(batch).last_hidden_state
            found = tokens.mean(dim=1)
            if self._net.fc_norm is not None:
                found = self._net.fc_norm(found)
        return {"features": found.float().cpu().numpy()}


def _norm(folder: Path) -> tuple[list[float], list[float]]:
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return _IMAGENET
    given = json.loads(file.read_text("utf-8"))
    return given.get("image_mean", _IMAGENET[0]), given.get("image_std", _IMAGENET[1])


def _digest(folder: Path, net: Any) -> str:
    file = folder / "model.safetensors"
    if file.is_file():
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()

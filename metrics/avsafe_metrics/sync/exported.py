"""Models that a user exported to ONNX: loaded from a path, checked against what a metric feeds.

A metric says which inputs it feeds; the graph holds whatever lies behind them (normalisation of
pictures, spectrograms of sound), so nothing of a model's own preparation is guessed here. What the
model is, its metadata says: ``model.metadata_props`` has ``model`` (its name, lower case).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra
from avsafe_metrics.sync.user_weights import digest_of, weight_path

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Exported:
    """One graph: arrays by input name in, its first output out.

    Raises MissingExtra when it is not given, can't be read, has other inputs than ``inputs``, or
    says that it is another model than ``model``.
    """

    def __init__(
        self, weights: Mapping[str, str], name: str, *, inputs: tuple[str, ...], model: str,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        path = weight_path(weights, name, f"an ONNX export of {model} (docs/metrics/sync.md)")
        self._session = _session(path, device)
        found = tuple(sorted(given.name for given in self._session.get_inputs()))
        if found != tuple(sorted(inputs)):
            raise MissingExtra(
                f"{path} takes {', '.join(found) or 'nothing'}; expected the inputs "
                f"{', '.join(inputs)}. Export the model as docs/metrics/sync.md describes."
            )
        meta = self._session.get_modelmeta()
        self.metadata: Mapping[str, str] = dict(meta.custom_metadata_map)
        said = self.metadata.get("model", "")
        if said != model:
            raise MissingExtra(
                f"{path} says that it is {said or 'no model in particular'}, not {model}: its "
                f"number must not go by that name. Set metadata_props model={model} if it is."
            )
        self.digest = digest_of(path)

    def __call__(self, **arrays: NDArray[Any]) -> NDArray[np.float32]:
        fed = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
        return np.asarray(self._session.run(None, fed)[0], np.float32)


def _session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime is not installed: pip install onnxruntime") from error
    wanted = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as error:
        raise MissingExtra(
            f"{path} cannot be loaded as ONNX ({type(error).__name__}). Export the model again."
        ) from error


def square(rgb: NDArray[Any], side: int = 224) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 -> (side, side, 3): short side to ``side``, centre cut out.

    >>> square(np.zeros((90, 160, 3), np.uint8), 45).shape
    (45, 45, 3)
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return scaled[top : top + side, left : left + side]


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of the mean directions of (k, d) and (l, d) embeddings, -1 to 1.

    >>> cosine(np.array([[2.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    0.7071067811865475
    """
    means = []
    for rows in (one, other):
        rows = np.asarray(rows, np.float64)
        mean = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).mean(axis=0)
        means.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
    return float(np.clip(means[0] @ means[1], -1, 1))

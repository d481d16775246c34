"""Running networks: onnxruntime on one CPU thread, and what is missing said clearly."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


def require(module: str, install: str) -> Any:
    """An optional package.

    >>> require("json", "json").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"This network needs the package {module.partition('.')[0]!r} ({error}). Install it: "
            f"pip install {install}"
        ) from error


class Session:
    """An ONNX model with one input. Raises MissingExtra without onnxruntime, UsageError for a model
    that it does not load or that wants something else."""

    def __init__(self, data: bytes, name: str, output: str = "") -> None:
        ort = require("onnxruntime", "onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen of its own
            raise UsageError(f"onnxruntime does not load {name}: {_first_line(error)}") from error
        self._name = name
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            said = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise UsageError(
                f"{name} has the inputs {said or 'none'}; one of floating-point numbers was "
                "expected. Export the network so that everything else is inside."
            )
        self._input, self._type = inputs[0].name, _TYPES[inputs[0].type]
        self.rank = len(inputs[0].shape)
        self.shape: tuple[int | None, ...] = tuple(
            side if isinstance(side, int) else None for side in inputs[0].shape
        )
        outputs = [one.name for one in self._session.get_outputs()]
        if output and output not in outputs:
            raise UsageError(f"{name} has no output {output!r} (found: {', '.join(outputs)}).")
        self._output = output or outputs[0]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """The output for an input of any shape. Raises UsageError when it does not fit."""
        try:
            found = self._session.run([self._output], {self._input: batch.astype(self._type)})[0]
        except Exception as error:
            raise UsageError(
                f"{self._name} does not take an input of {batch.shape}: {_first_line(error)}. "
                "Compare input in the manifest."
            ) from error
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise UsageError(f"{self._name} gives no array of numbers.")
        return found.astype(np.float64)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def tensors(data: bytes, name: str) -> dict[str, Any]:
    """All torch tensors of a safetensors file, as float32 (whole numbers stay). Raises UsageError,
    MissingExtra."""
    torch = require("torch", "torch")
    load = require("safetensors.torch", "safetensors").load
    try:
        found = load(data)
    except Exception as error:
        raise UsageError(f"{name} is no safetensors file: {_first_line(error)}") from error
    return {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in found.items()}


def known_options(options: Mapping[str, Any], *names: str) -> None:
    """Raises UsageError for an option that the adapter does not know."""
    if unknown := sorted(set(options) - set(names)):
        raise UsageError(
            f"options.{unknown[0][:60]} means nothing to this adapter "
            f"(known: {', '.join(names) or 'none'})."
        )


def choice(options: Mapping[str, Any], name: str, default: str, *among: str) -> str:
    """One option out of some. Raises UsageError."""
    found = options.get(name, default)
    if found not in among:
        raise UsageError(f"options.{name} is one of {', '.join(among)}, not {str(found)[:60]!r}.")
    return str(found)


def yes_no(options: Mapping[str, Any], name: str, default: bool) -> bool:
    """An option that is true or false. Raises UsageError."""
    found = options.get(name, default)
    if not isinstance(found, bool):
        raise UsageError(f"options.{name} is true or false, not {str(found)[:60]!r}.")
    return found

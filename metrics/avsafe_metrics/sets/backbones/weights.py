"""Weights from a file: tensors only.

``.safetensors``, or a state dict as ``torch.save`` writes it, read with ``weights_only=True``. A
TorchScript archive is refused: ``torch.jit.load`` runs the program inside the file, and nothing
about a metric needs another's program. Whoever trusts one turns it into tensors once:

    torch.save(torch.jit.load("file.pt").state_dict(), "file.pth")
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPERS = ("state_dict", "model", "module", "model_state_dict")


def require_torch() -> None:
    """Raises MissingExtra without torch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "This metric runs a network and torch is not installed: pip install 'avsafe[bench]'."
        ) from error


def path_of(weights: Mapping[str, str] | None, name: str, what: str) -> Path:
    """The file that the user gave as ``name``. Raises MissingExtra, saying what to give."""
    given = dict(weights or {}).get(name)
    if not given:
        raise MissingExtra(
            f"No weights named {name!r} were given. Expected {what}. Pass their path, as in "
            f"--weights {name}=PATH."
        )
    path = Path(given).expanduser()
    if not path.exists():
        raise MissingExtra(f"The weights {path} are not there. Expected {what}.")
    return path


def read_state(path: Path, what: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file by name, and the file's SHA-256.

    Raises MissingExtra for a file that is no state dict; ``what`` says what was expected.
    """
    require_torch()
    import torch

    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if _is_script(path):
        raise MissingExtra(
            f"{path.name} is a TorchScript program, and loading one runs it. Expected {what}. If "
            "you trust it, save its tensors once: torch.save(torch.jit.load(FILE).state_dict(), "
            "NEW), and give NEW."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MissingExtra(
            f"{path.name} cannot be read as tensors ({str(error).splitlines()[0][:200]}). "
            f"Expected {what}."
        ) from error
    while isinstance(state, dict) and any(isinstance(state.get(key), dict) for key in _WRAPPERS):
        state = next(state[key] for key in _WRAPPERS if isinstance(state.get(key), dict))
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise MissingExtra(f"{path.name} holds no dictionary of tensors. Expected {what}.")
    return {name.removeprefix("module."): value for name, value in state.items()}, found


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Put tensors into a module, all of them. Raises MissingExtra when they are of another one.

    Counters of batches, which say nothing in use, may be absent.
    """
    own = module.state_dict()
    lacking = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    strange = [n for n in own if n in state and state[n].shape != own[n].shape]
    if lacking or strange:
        worst = (lacking or strange)[0]
        raise MissingExtra(
            f"{path.name} has other tensors ({len(lacking)} absent, {len(strange)} of another "
            f"shape, first {worst}). Expected {what}."
        )
    module.load_state_dict({n: state[n] if n in state else own[n] for n in own})
    module.requires_grad_(False)
    module.eval()


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(
            "/code/" in name or name.endswith("constants.pkl") for name in archive.namelist()
        )

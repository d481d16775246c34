"""open_clip, and under it torchvision, imported so that a CPU build of torch can.

The wheels of torchvision on PyPI are built for CUDA. Beside a CPU build of torch their compiled
operators do not load, and ``import torchvision`` then fails while it registers what they look like
(``operator torchvision::nms does not exist``). open_clip needs torchvision's picture transforms,
which are plain Python, and no operator. ``mend_torchvision`` declares the two names, and nothing
else: there is no code behind them, so that who calls one is told so, and never gets a wrong number.
Where torchvision loads as it should, nothing is touched.

A torchvision that must be mended breaks everybody who looks for it and does not mend it
(transformers, diffusers, torchmetrics). It is therefore kept out of site-packages, in the folder
``SIDE_FOLDER`` of the environment, which is put at the end of ``sys.path`` only when open_clip is
asked for (docs/decisions/0024).
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

from avsafe.errors import MissingExtra

_log = logging.getLogger(__name__)

SIDE_FOLDER = "avsafe-clip"  # below sys.prefix
NAMES = (
    "nms",
    "qnms",
)  # operators that torchvision describes at import, whether they loaded or not
TESTED = {"0.28"}  # torchvision releases that were seen to import when mended
_KEPT: list[Any] = []  # a torch Library lives as long as its handle

State = Literal["native", "mended"]


def matching(torch_version: str) -> str | None:
    """The release of torchvision that belongs to a release of torch; None where no rule is known.

    Source: the table in torchvision's README; since torch 2.0 the two count upwards together.

    >>> matching("2.13.0+cpu")
    '0.28'
    """
    found = re.match(r"2\.(\d+)\.", torch_version)
    return f"0.{int(found[1]) + 15}" if found else None


def command(torch_version: str) -> str:
    """How to install what ``open_clip`` needs, without another build of torch coming with it.

    >>> command("2.13.0")[:45]
    'pip install --no-deps --target "$(python -c \\''
    """
    target = f"import sys; print(sys.prefix + '/{SIDE_FOLDER}')".replace("'", '"')
    vision = matching(torch_version)
    return (
        f"pip install --no-deps --target \"$(python -c '{target}')\" "
        f"open_clip_torch==3.3.0 torchvision{f'=={vision}.*' if vision else ''}"
    )


def mend_torchvision() -> State:
    """Make ``import torchvision`` work. "native": nothing had to be done; "mended": the names of
    its operators were declared without code. The answer is logged once.

    Raises MissingExtra where torchvision (or torch) is absent, belongs to another torch, or does
    not import even so.
    """
    if "torchvision" in sys.modules:
        return "mended" if _KEPT else "native"
    torch = _torch()
    spec = util.find_spec("torchvision") or _beside("torchvision")
    if spec is None or spec.origin is None:
        raise MissingExtra(
            "torchvision is not installed; open_clip prepares pictures with it. Install it for "
            f"torch {torch.__version__}: {command(torch.__version__)}"
        )
    state: State = "native" if _loads(torch, Path(spec.origin).parent) else "mended"
    if state == "mended":
        _check_pair(torch.__version__)
        if not _KEPT:
            _declare(torch)
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        raise MissingExtra(
            f"torchvision does not import ({error}). Install the release that belongs to torch "
            f"{torch.__version__}: {command(torch.__version__)}"
        ) from error
    said = "loaded natively" if state == "native" else "its operators do not load here; mended"
    _log.info("torchvision: %s", said)
    return state


def open_clip() -> Any:
    """The module ``open_clip``. Raises MissingExtra with the command that installs it."""
    mend_torchvision()
    if util.find_spec("open_clip") is None and _beside("open_clip") is None:
        raise MissingExtra(
            "open_clip is not installed. Install it without its dependencies, so that torch stays "
            f"as it is: {command(_torch().__version__)}"
        )
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise MissingExtra(
            f"open_clip does not import: {error}. It needs ftfy, regex, tqdm, huggingface-hub and "
            "safetensors: pip install ftfy regex tqdm huggingface-hub safetensors"
        ) from error


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingExtra(
            'torch is not installed; this metric runs a network: pip install "avsafe[bench]"'
        ) from error


def _beside(name: str) -> Any:
    """The spec of a package in the side folder, which then stays on ``sys.path``."""
    folder = str(Path(sys.prefix) / SIDE_FOLDER)
    if folder in sys.path or not (Path(folder) / name).is_dir():
        return None
    sys.path.append(folder)
    importlib.invalidate_caches()
    return util.find_spec(name)


def _loads(torch: Any, package: Path) -> bool:
    """Whether torchvision's own operators load and are those that it describes."""
    for library in (*package.glob("_C*.so"), *package.glob("_C*.pyd"), *package.glob("_C*.dylib")):
        try:
            torch.ops.load_library(str(library))
        except (OSError, ImportError, RuntimeError) as error:
            _log.debug("%s does not load: %s", library.name, error)
    return all(hasattr(torch.ops.torchvision, name) for name in NAMES)


def _check_pair(torch_version: str) -> None:
    wanted, found = matching(torch_version), metadata.version("torchvision")
    if wanted is None or not found.startswith(f"{wanted}."):
        raise MissingExtra(
            f"torchvision {found} belongs to another torch than {torch_version}. Install the one "
            f"that belongs to it: {command(torch_version)}"
        )
    if wanted not in TESTED:
        _log.warning("torchvision %s was never tried mended; expected one of %s", found, TESTED)


def _declare(torch: Any) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in NAMES:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)

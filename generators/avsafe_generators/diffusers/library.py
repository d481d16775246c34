"""diffusers, transformers and torch: imported late, kept offline, loading only safetensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from avsafe.errors import GeneratorFailed, MissingExtra, UsageError
from avsafe_generators.diffusers.folder import ModelFolder

# Read when the libraries are imported, and kept by them.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    "DIFFUSERS_DISABLE_CUSTOM_CODE": "1",
}
# Advice about torchvision and the like at import; what the user has set stays.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
_HINT = "Install it with: pip install 'avsafe[diffusers]'."


def diffusers() -> Any:
    """The library. Raises MissingExtra with what to install."""
    try:
        with _environment({k: v for k, v in _QUIET.items() if k not in os.environ} | OFFLINE):
            import_module("torch")
            transformers: Any = import_module("transformers")
            library: Any = import_module("diffusers")
            import_module("diffusers.pipelines")
            for needed in ("accelerate", "ftfy"):  # Wan and others don't run without them
                import_module(needed)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The generator diffusers needs the package {error.name}. {_HINT}"
        ) from error
    except (ImportError, RuntimeError, OSError) as error:
        # a torchvision built for another torch fails like this; pictures need none of it
        raise MissingExtra(
            f"diffusers is installed but can't be imported: {shortened(error)}. If it names "
            "torchvision, remove that package: it doesn't fit this torch, and is not needed."
        ) from error
    library.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    return library


def pipeline_class(folder: ModelFolder) -> Any:
    """The class of the pipeline, once every part of the folder is known to the libraries.

    ``diffusers`` imports whatever package a folder names; so the names are checked here first.
    Raises UsageError.
    """
    library = diffusers()
    transformers: Any = import_module("transformers")
    base = library.DiffusionPipeline
    found = getattr(library, folder.pipeline, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UsageError(
            f"{folder.path} is made for {folder.pipeline}, which diffusers {library.__version__} "
            "does not have. Update diffusers, or use another model."
        )
    for part, (package, name) in folder.parts.items():
        if package in ("diffusers", "transformers"):
            known = hasattr(library if package == "diffusers" else transformers, name)
        else:  # a pipeline's own classes, as "stable_diffusion" has for its safety checker
            known = hasattr(getattr(library.pipelines, package, None), name)
        if not known:
            raise UsageError(
                f"{folder.path}: the part {part} wants {package}.{name}, which is no part of "
                f"diffusers {library.__version__} or transformers {transformers.__version__}."
            )
    return found


def device_and_dtype(device: str, dtype: str) -> tuple[str, Any]:
    """A torch device that is there, and a dtype: "auto" is float32 on a CPU, else bfloat16."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but torch sees no CUDA device here. Use device=cpu.")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device=mps, but torch sees no Metal device here. Use device=cpu.")
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    return device, getattr(torch, dtype)


def load(folder: ModelFolder, device: str, dtype: Any, *, offload: bool) -> Any:
    """The pipeline on its device. Raises GeneratorFailed when its files don't fit together."""
    base = pipeline_class(folder)
    with _environment(OFFLINE):
        try:
            pipeline = base.from_pretrained(
                str(folder.path),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
            )
        except ImportError as error:
            raise MissingExtra(f"{folder.pipeline} needs more: {shortened(error)}") from error
        except Exception as error:
            raise GeneratorFailed(
                f"{folder.path} can't be loaded as {folder.pipeline}: {shortened(error)}. Is the "
                "folder complete, with all its weights as safetensors?"
            ) from error
    try:
        if offload:
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.to(device)
    except (ImportError, RuntimeError) as error:
        raise GeneratorFailed(
            f"{folder.pipeline} can't be moved to {device}: {shortened(error)}"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def shortened(error: BaseException, limit: int = 400) -> str:
    """The first lines of an error of others, without control characters."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    text = "".join(c for c in text if c.isprintable())
    return text if len(text) <= limit else text[: limit - 1] + "…"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value

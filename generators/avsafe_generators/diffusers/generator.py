"""The ``diffusers`` generator: pictures, video and sound by a model of the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import UsageError
from avsafe.types import (
    Cancelled,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Progress,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking, listed
from avsafe_generators.listed import Listed

if TYPE_CHECKING:
    from avsafe_generators.diffusers.fitting import Signature
    from avsafe_generators.diffusers.folder import ModelFolder

TASKS = (
    Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.STYLIZE_VIDEO,
    Task.EDIT_VIDEO, Task.INPAINT_VIDEO, Task.VIDEO_TO_AUDIO,
)  # fmt: skip
_OF_A_REQUEST: dict[str, asking.Knob] = {
    "model": asking.Text("", max_chars=4096),
    "steps": asking.Number(1, 1000, None, whole=True),
    "guidance": asking.Number(0, 100, None),
    "strength": asking.Number(0, 1, None),
    "fps": asking.Number(1, 60, None),
    "num_frames": asking.Number(1, 257, None, whole=True),
}
_OF_THE_OWNER: dict[str, asking.Knob] = {
    "allow_download": asking.Flag(False),
    "revision": asking.Text("", max_chars=100),
    "device": asking.Choice("cpu", "cuda", "mps"),
    "dtype": asking.Choice("auto", "float32", "bfloat16", "float16"),
    "offload": asking.Flag(False),
}
_IN_THE_FILE: dict[str, type] = {"path": str, "device": str, "dtype": str, "offload": bool}


@dataclass(frozen=True)
class Loaded:
    """A pipeline in memory, and what is known of it."""

    key: tuple[Any, ...]
    pipeline: Any
    signature: Signature


class Diffusers:
    """Runs any pipeline of the diffusers library from a local folder of safetensors, offline.

    ``parameters``: ``model`` (a folder, or the id of a model of the hub: from the local cache, or
    fetched with ``allow_download=true``), ``steps``, ``guidance``, ``strength``, ``fps``,
    ``num_frames``, ``device`` (cpu), ``dtype``, ``offload``. With ``$AVSAFE_MODELS`` a request only
    picks one of the models of that file.

    ``RawMedia.details``: ``model``, ``pipeline``, ``frame_rate_from``, ``safety_checker`` (the
    model's own, if any ran), ``prompt_cut`` (the model reads only the beginning), ``made_as``.

    The output is made in ``generate`` and held in memory (257 frames at the most). The instance
    keeps the last pipeline, so one instance serves many requests faster.

    Raises UsageError (no such model, pickled weights or code in its folder, a request that the
    pipeline can't take), MissingExtra, GeneratorFailed, Cancelled (also inside a step).
    """

    # For a listing: what must be there beside avsafe.
    needs = (
        "package torch", "package diffusers", "package transformers", "package accelerate",
        "package ftfy", "a model (safetensors)",
    )  # fmt: skip

    def __init__(self, model: Listed | None = None) -> None:
        self._model = model
        self._loaded: Loaded | None = None

    @classmethod
    def from_file(cls, path: Path, name: str) -> Diffusers:
        """A generator of its own out of one model of a file, with its licence for the policy."""
        return cls(listed.pick(_models(path), name, path))

    @property
    def info(self) -> GeneratorInfo:
        name, terms = listed.offered(self._model, _models, "diffusers")
        return GeneratorInfo(
            name=name,
            version="1",
            tasks=TASKS,
            kind=Kind.VIDEO,
            licence=terms.licence,
            commercial_ok=terms.commercial_ok,
            territory=terms.territory,
            realism=terms.realism,
            max_duration_s=257.0,
            controls=tuple(sorted({**_OF_A_REQUEST, **_OF_THE_OWNER, "mask": None})),
            summary="Runs a diffusers model of yours from a local folder of safetensors, offline.",
            card="cards/diffusers.md",
        )

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia:
        from avsafe_generators.diffusers import fitting, library, making
        from avsafe_generators.diffusers.folder import inspect

        asking.refuse_other_tasks(request, self.info)
        if cancelled():
            raise Stopped("The diffusers generator was asked to stop before it began.")
        given = self._given(request)
        progress(0.0, "looking at the model")
        folder = inspect(_folder(given, progress, cancelled))
        signature = fitting.Signature.of(library.pipeline_class(folder))
        way = fitting.way(request, signature)  # refused here: before gigabytes are read
        call = fitting.settings(request, signature, given)
        progress(0.04, f"loading {folder.path.name}")
        loaded = self._load(folder, signature, given)
        progress(0.1, "preparing")
        maker = making.Maker(request, loaded.pipeline, signature, given, call, progress, cancelled)
        raw = maker.make(way)
        progress(1.0, "done")
        details = {"model": folder.path.name, "pipeline": signature.pipeline, **raw.details}
        return _with_details(raw, details)

    def _given(self, request: GenerationRequest) -> dict[str, Any]:
        """The parameters, with what the owner of the machine has fixed."""
        fixed = os.environ.get(listed.VARIABLE)
        of_a_request = dict(_OF_A_REQUEST)
        if request.task is Task.INPAINT_VIDEO:
            of_a_request["mask"] = asking.Box()
        if self._model is None and not fixed:
            return asking.parameters(request, **of_a_request, **_OF_THE_OWNER)
        given = asking.parameters(request, **of_a_request)
        if self._model is not None:
            entry = self._model
            if given["model"] not in ("", entry.name):
                raise UsageError(f"The generator {entry.name} has one model; leave model out.")
        else:
            path = Path(str(fixed))
            entry = listed.pick(_models(path), given["model"], path)
        owner = {name: knob.default for name, knob in _OF_THE_OWNER.items()}
        for name, value in entry.settings.items():
            if name in owner:
                owner[name] = _OF_THE_OWNER[name].read(name, value)
        if "path" not in entry.settings:
            raise UsageError(f"The model {entry.name} has no path in its file.")
        return {**given, **owner, "model": entry.settings["path"]}

    def _load(self, folder: ModelFolder, signature: Signature, given: Mapping[str, Any]) -> Loaded:
        from avsafe_generators.diffusers import library

        device, dtype = library.device_and_dtype(given["device"], given["dtype"])
        index = (folder.path / "model_index.json").stat()
        key = (str(folder.path.resolve()), index.st_mtime_ns, device, dtype, given["offload"])
        if self._loaded is None or self._loaded.key != key:
            self._loaded = None  # free the last one first
            pipeline = library.load(folder, device, dtype, offload=given["offload"])
            self._loaded = Loaded(key, pipeline, signature)
        return self._loaded


def _folder(given: Mapping[str, Any], progress: Progress, cancelled: Cancelled) -> Path:
    from avsafe_generators.diffusers import hub

    model = given["model"]
    if not model:
        raise UsageError(
            "Which model? Give --param model=FOLDER (a folder with a model_index.json), or the id "
            "of a model of the Hugging Face hub."
        )
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if given["allow_download"]:
        return hub.fetch(model, given["revision"], progress, cancelled)
    return hub.cached(model, given["revision"])


def _models(path: Path) -> dict[str, Listed]:
    return listed.entries(path, "models", _IN_THE_FILE)


def _with_details(raw: RawMedia, details: Mapping[str, Any]) -> RawMedia:
    from dataclasses import replace

    return replace(raw, details=dict(details))

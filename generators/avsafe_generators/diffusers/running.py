"""One call of a pipeline: steps become progress, cancel works inside a step, output becomes arrays.

Legend: frames ``(h, w, 3)`` uint8 RGB; sound ``(c, n)`` float32 in [-1, 1].
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import AvsafeError, GeneratorFailed
from avsafe.errors import Cancelled as Stopped
from avsafe.types import Cancelled, Frame, Progress, Samples
from avsafe_generators.diffusers.fitting import Signature
from avsafe_generators.diffusers.library import shortened

_TELL_S = 0.5  # progress is told at least this often while modules run


class Watch:
    """Progress and cancel of the calls of one request; ``low`` to ``high`` is their share."""

    def __init__(self, progress: Progress, cancelled: Cancelled, name: str) -> None:
        self._progress, self._cancelled, self._name = progress, cancelled, name
        self._low, self._high = 0.1, 0.95
        self._at, self._stage, self._told = 0.1, "preparing", 0.0
        self._calls = 0

    def span(self, low: float, high: float, stage: str) -> None:
        self._low, self._high, self._stage, self._calls = low, high, stage, 0
        self._tell(low)

    def step(self, done: int, steps: int) -> None:
        """After a step of the sampler; the last tenth is for decoding."""
        share = 0.9 * min(1.0, done / max(1, steps))
        self._tell(self._low + (self._high - self._low) * share)
        self.poll()

    def poll(self) -> None:
        """Before a module runs. Raises Cancelled."""
        if self._cancelled():
            raise Stopped(f"{self._name} was asked to stop.")
        if time.monotonic() - self._told > _TELL_S:
            self._tell(self._at)

    def creep(self, calls_at_half: int) -> None:
        """For a pipeline that reports no steps: half of what is left for so many module calls."""
        self._calls += 1
        share = 0.9 * (1 - 0.5 ** (self._calls / max(1, calls_at_half)))
        self._at = max(self._at, self._low + (self._high - self._low) * share)
        self.poll()

    def _tell(self, at: float) -> None:
        self._at, self._told = max(self._at, at), time.monotonic()
        self._progress(min(1.0, self._at), self._stage)


def run(
    pipeline: Any, signature: Signature, call: Mapping[str, Any], seed: int, watch: Watch
) -> Any:
    """Call the pipeline; what it returns. Raises Cancelled, GeneratorFailed."""
    import torch

    arguments = dict(call)
    if "generator" in signature:
        # on the CPU wherever the model is: the same noise on every device
        arguments["generator"] = torch.Generator("cpu").manual_seed(seed % 2**63)
    if "output_type" in signature:
        arguments["output_type"] = "pt" if signature.defaults["output_type"] == "pt" else "np"
    steps = arguments.get("num_inference_steps") or signature.defaults.get("num_inference_steps")
    steps = steps if isinstance(steps, int) else 1
    if "callback_on_step_end" in signature:

        def after(_: Any, index: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            watch.step(index + 1, steps)
            return tensors

        arguments["callback_on_step_end"] = after
    elif "callback" in signature and "callback_steps" in signature:
        arguments["callback"] = lambda index, *_: watch.step(index + 1, steps)
        arguments["callback_steps"] = 1
    try:
        with _polled(pipeline, watch, steps, silent=not reports_steps(signature)):
            torch.manual_seed(seed % 2**63)  # for noise that is drawn without the generator
            return pipeline(**arguments)
    except AvsafeError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise GeneratorFailed(
            f"{signature.pipeline} ran out of memory. Ask for a smaller size or fewer frames, or "
            "set dtype=bfloat16 or offload=true."
        ) from error
    except Exception as error:
        raise GeneratorFailed(
            f"{signature.pipeline} failed with {type(error).__name__}: {shortened(error)}"
        ) from error


def reports_steps(signature: Signature) -> bool:
    """Whether the pipeline tells each step of its sampler."""
    return "callback_on_step_end" in signature or "callback" in signature


@contextmanager
def _polled(pipeline: Any, watch: Watch, steps: int, *, silent: bool) -> Iterator[None]:
    """Ask for cancel before every block of every part, so that a long step or a decoding can stop;
    of a pipeline without step reports the same hooks move the progress."""
    import torch

    blocks: list[Any] = []
    for part in getattr(pipeline, "components", {}).values():
        if not isinstance(part, torch.nn.Module):
            continue
        blocks.append(part)
        for module in part.modules():
            if isinstance(module, torch.nn.ModuleList):
                blocks.extend(module)
    at_half = max(1, steps * len(blocks))

    def before(*_: Any) -> None:
        if silent:
            watch.creep(at_half)
        else:
            watch.poll()

    handles = [block.register_forward_pre_hook(before) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ---------------------------------------------------------------- output


def frames_of(output: Any, name: str) -> list[Frame]:
    """The pictures of an output, from whichever field it has: ``frames`` or ``images``.

    Raises GeneratorFailed when there are none, when they are not finite, and when the model's own
    checker blanked them.
    """
    flags = getattr(output, "nsfw_content_detected", None)
    if flags is not None and any(np.ravel(np.asarray(flags, dtype=bool))):
        raise GeneratorFailed(
            f"The safety checker that comes with {name} flagged its output and blanked it, so "
            "there is nothing to release. Change the prompt or the seed."
        )
    for field in ("frames", "images", "videos"):
        value = getattr(output, field, None)
        if value is not None:
            found = [_frame(item, name) for item in _sequence(value, field)]
            if found:
                return found
    raise GeneratorFailed(f"{name} returned no pictures (it returned {type(output).__name__}).")


def _sequence(value: Any, field: str) -> list[Any]:
    """The frames of the first item of a batch, or all pictures."""
    value = _array(value)
    if isinstance(value, np.ndarray):
        if value.ndim == 5:
            value = value[0]
        return list(value) if value.ndim == 4 else [value]
    items = list(value)
    if field != "images" and items and isinstance(items[0], list | np.ndarray):
        return _sequence(items[0], "images")
    return items


def _array(value: Any) -> Any:
    """Tensors ``(…, c, h, w)`` become arrays ``(…, h, w, c)``."""
    if hasattr(value, "detach"):
        return np.moveaxis(value.detach().float().cpu().numpy(), -3, -1)
    return value


def _frame(item: Any, name: str) -> Frame:
    if hasattr(item, "convert"):  # a PIL picture
        return np.ascontiguousarray(np.asarray(item.convert("RGB"), dtype=np.uint8))
    picture = np.asarray(_array(item))
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
        raise GeneratorFailed(f"{name} returned a picture of shape {picture.shape}.")
    if picture.dtype != np.uint8:
        if not np.isfinite(picture).all():
            raise GeneratorFailed(
                f"{name} returned numbers that are not finite, which would be black frames. With "
                "dtype=float16 this is an overflow: use bfloat16 or float32."
            )
        picture = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    return np.ascontiguousarray(picture[:, :, :3])


def sound_of(output: Any, pipeline: Any, name: str) -> tuple[Samples, int] | None:
    """The sound of an output and its rate; None when it has none. Raises GeneratorFailed."""
    for field in ("audios", "audio"):
        value = getattr(output, field, None)
        if value is not None:
            break
    else:
        return None
    if hasattr(value, "detach"):
        value = value.detach().float().cpu().numpy()
    sound: NDArray[Any] = np.asarray(value, dtype=np.float32)
    if sound.ndim == 3:
        sound = sound[0]
    elif sound.ndim == 2 and sound.shape[0] == 1:
        sound = sound[:1]
    if sound.ndim == 1:
        sound = sound[None]
    if sound.ndim != 2 or not 1 <= sound.shape[0] <= 8 or not sound.shape[1]:
        raise GeneratorFailed(f"{name} returned sound of shape {sound.shape}.")
    if not np.isfinite(sound).all():
        raise GeneratorFailed(f"{name} returned sound that is not finite. Use dtype=float32.")
    peak = float(np.abs(sound).max(initial=0.0))
    if peak > 1.0:
        sound = sound / peak
    return np.ascontiguousarray(sound, dtype=np.float32), _rate_of(pipeline, name)


def _rate_of(pipeline: Any, name: str) -> int:
    for part in ("vocoder", "vae", "audio_vae"):
        owner = getattr(pipeline, part, None)
        for holder in (getattr(owner, "config", None), owner):
            for key in ("output_sampling_rate", "sampling_rate", "sample_rate"):
                value = getattr(holder, key, None)
                if isinstance(value, int) and 4000 <= value <= 384_000:
                    return value
    raise GeneratorFailed(f"{name} doesn't say the sampling rate of its sound.")

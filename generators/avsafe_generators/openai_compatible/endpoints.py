"""What is asked of a server for each task, and the file that comes back.

Fields after OpenAI's reference (videos, images, audio/speech). ``extended`` adds those of vLLM-Omni
and SGLang: seed, negative_prompt, num_inference_steps, guidance_scale, fps, num_frames.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from avsafe.errors import AvsafeError, GeneratorFailed, UsageError
from avsafe.types import GenerationRequest, Media, Task
from avsafe_generators import asking
from avsafe_generators.openai_compatible.client import Client, File, clean, problem_of

MAX_INPUT_BYTES = 256 << 20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")
_DONE = ("completed", "succeeded", "success", "done")
_OVER = ("failed", "error", "cancelled", "canceled", "expired", "rejected", "deleted")


def video(
    client: Client,
    request: GenerationRequest,
    given: Mapping[str, Any],
    target: Path,
    tell: Callable[[float], None],
) -> dict[str, Any]:
    """Create a job, wait for it, fetch its content. A job that isn't finished is deleted.

    Raises GeneratorFailed (the server's reason, or nonsense from it), Cancelled.
    """
    fields = {"prompt": request.prompt, **_extras(request, given)}
    if given["model"]:
        fields["model"] = given["model"]
    if request.duration_s is not None:
        fields["seconds"] = f"{request.duration_s:g}"
    if size := _size(request):
        fields["size"] = size
    files = [_file("input_reference", media) for media in _references(request)]
    job = client.send_form("videos", fields, files)
    name = job.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise GeneratorFailed("The server made a job without a usable id.")
    path = f"videos/{quote(name, safe='')}"
    try:
        while (status := str(job.get("status", "")).lower()) not in _DONE:
            if status in _OVER:
                raise _failed(job, status)
            tell(_share(job))
            client.wait(given["poll_s"])
            job = client.get_json(path)
        tell(0.99)
        client.save(f"{path}/content", target, media="video")
    except AvsafeError:
        client.delete(path)
        raise
    return {"job": name}


def image(
    client: Client, request: GenerationRequest, given: Mapping[str, Any], target: Path
) -> dict[str, Any]:
    """A picture from a prompt, or a picture changed. Raises GeneratorFailed, Cancelled."""
    body: dict[str, Any] = {"prompt": request.prompt, "n": 1, **_extras(request, given)}
    if given["model"]:
        body["model"] = given["model"]
    if size := _size(request):
        body["size"] = size
    if not given["model"].startswith("gpt-image"):  # those send base64 only, and refuse the field
        body["response_format"] = "b64_json"
    source = asking.optional(request, "image", "portrait")
    if source is None:
        answer = client.send_json("images/generations", body)
    else:
        files = [_file("image", source)]
        mask = asking.optional(request, "mask")
        files += [_file("mask", mask)] if mask is not None else []
        answer = client.send_form("images/edits", {k: str(v) for k, v in body.items()}, files)
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data else None
    if not isinstance(first, dict):
        raise GeneratorFailed("The server answered without a picture (no data).")
    text = first.get("b64_json")
    if not isinstance(text, str):
        host = _host_of(first.get("url"))
        raise GeneratorFailed(
            f"The server gave a link ({clean(host or 'none')}) in place of the picture itself; "
            "links are not followed. Set it up to answer with b64_json."
        )
    try:
        target.write_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise GeneratorFailed("The server sent a picture that is no base64.") from error
    revised = first.get("revised_prompt")
    return {"revised_prompt": clean(revised, 1000)} if isinstance(revised, str) else {}


def speech(
    client: Client, request: GenerationRequest, given: Mapping[str, Any], target: Path
) -> dict[str, Any]:
    """The prompt, spoken. Raises GeneratorFailed, Cancelled."""
    body = {"input": request.prompt, "voice": given["voice"], "response_format": "wav"}
    body |= {name: given[name] for name in ("model", "speed", "instructions") if given[name]}
    client.save("audio/speech", target, media="audio", body=body)
    return {"voice": given["voice"]}


def _extras(request: GenerationRequest, given: Mapping[str, Any]) -> dict[str, str]:
    """Fields beyond OpenAI's; asked for without the dialect they are refused, not dropped."""
    wanted = {
        "negative_prompt": request.negative_prompt or None,
        "num_inference_steps": given["steps"],
        "guidance_scale": given["guidance"],
        "fps": given["fps"],
        "num_frames": given["num_frames"],
    }
    extras = {name: f"{v:g}" if isinstance(v, float) else str(v)
              for name, v in wanted.items() if v is not None}  # fmt: skip
    if given["dialect"] == "extended":
        return {**extras, "seed": str(request.seed)}
    if extras:
        raise UsageError(
            f"OpenAI's interface has no {', '.join(sorted(extras))}. If the server knows it (vLLM-"
            "Omni and SGLang do), add --param dialect=extended."
        )
    return {}


def _size(request: GenerationRequest) -> str:
    if request.width is None and request.height is None:
        return ""
    width, height = asking.size(request, low=16, high=8192, max_pixels=4096 * 4096)
    return f"{width}x{height}"


def _references(request: GenerationRequest) -> list[Media]:
    if request.task is Task.TEXT_TO_VIDEO:
        return []
    if request.task is Task.IMAGE_TO_VIDEO:
        return [asking.media_in(request, "image", "portrait", need="a picture")]
    return [asking.media_in(request, "video", need="a video")]


def _file(field: str, media: Media) -> File:
    if media.size_bytes > MAX_INPUT_BYTES:
        raise UsageError(
            f"{media.path.name} has {media.size_bytes >> 20} MiB; at most "
            f"{MAX_INPUT_BYTES >> 20} are sent to a server. Pass a smaller one."
        )
    # a name of our own: that of the user's file is nobody's business
    suffix = re.sub(r"[^a-z0-9.]", "", media.path.suffix.lower())
    return File(field, f"{field}{suffix}", media.mime, media.path.read_bytes())


def _host_of(link: object) -> str | None:
    try:
        return urlsplit(link).hostname if isinstance(link, str) else None
    except ValueError:
        return "unreadable"


def _share(job: Mapping[str, Any]) -> float:
    value = job.get("progress")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return 0.0
    return float(value) / 100


def _failed(job: Mapping[str, Any], status: str) -> GeneratorFailed:
    message, code = problem_of(job) if job.get("error") else ("", "")
    blocked = "moderation" in code.lower() or "content_policy" in code.lower()
    what = "by its own moderation" if blocked else f"({clean(code) or status})"
    return GeneratorFailed(
        f"The server gave the job up {what}" + (f": {message}" if message else ", without a reason")
    )

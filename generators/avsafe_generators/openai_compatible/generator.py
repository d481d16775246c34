"""The ``openai-compatible`` generator: a model on a server that the user names."""

from __future__ import annotations

import os
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, UnreadableMedia, UsageError
from avsafe.media.replay import Replay
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
from avsafe_generators.kept import Kept
from avsafe_generators.listed import Listed

TASKS = (
    Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.STYLIZE_VIDEO,
    Task.EDIT_VIDEO, Task.VIDEO_TO_AUDIO, Task.TEXT_TO_SPEECH,
)  # fmt: skip
_OF_A_REQUEST: dict[str, asking.Knob] = {
    "model": asking.Text("", max_chars=200),
    "voice": asking.Text("alloy", max_chars=100),
    "speed": asking.Number(0.25, 4, None),
    "instructions": asking.Text("", max_chars=8000),
    "steps": asking.Number(1, 1000, None, whole=True),
    "guidance": asking.Number(0, 100, None),
    "fps": asking.Number(1, 240, None, whole=True),
    "num_frames": asking.Number(1, 10_000, None, whole=True),
    "poll_s": asking.Number(0.05, 60, 2.0),
}
_OF_THE_OWNER: dict[str, asking.Knob] = {
    "base_url": asking.Text("", max_chars=2000),
    "key_env": asking.Text("", max_chars=100),
    "insecure": asking.Flag(False),
    "dialect": asking.Choice("openai", "extended"),
    "timeout_s": asking.Number(1, 86_400, 900.0),
    "max_mib": asking.Number(1, 16_384, 512, whole=True),
}
_IN_THE_FILE: dict[str, type] = {
    "base_url": str, "key_env": str, "insecure": bool, "dialect": str, "timeout_s": float,
    "max_mib": int, "model": str,
}  # fmt: skip
_KINDS = {
    Task.TEXT_TO_IMAGE: Kind.IMAGE, Task.VIDEO_TO_AUDIO: Kind.AUDIO,
    Task.TEXT_TO_SPEECH: Kind.AUDIO,
}  # fmt: skip
_SUFFIX = {Kind.IMAGE: ".png", Kind.AUDIO: ".wav", Kind.VIDEO: ".mp4"}
_BEAT_S = 0.5
_SOUND = Task.VIDEO_TO_AUDIO
_WISHES = {"instructions"}  # in words, for the policy to read as it reads a prompt


class OpenAICompatible:
    """Asks a server for videos (``/videos``), pictures (``/images``) or speech (``/audio/speech``).

    The network is used because the request, or the owner of the machine, names a server. Only that
    host is called, over https unless it is this machine. What comes back is read in the sandbox.

    ``parameters``: ``base_url`` (usually ends in /v1), ``model``, ``key_env`` (the *name* of an
    environment variable), ``timeout_s``, ``poll_s``, ``max_mib``, ``insecure``, ``dialect``
    (``extended`` also sends seed, negative prompt, ``steps``, ``guidance``, ``fps``,
    ``num_frames``); for speech ``voice``, ``speed``, ``instructions``. With ``$AVSAFE_MODELS`` a
    request picks ``server`` of that file.

    Raises UsageError, GeneratorFailed (with the server's reason), Cancelled (the job is deleted).
    """

    needs = ("network", "a server of yours")  # for a listing

    def __init__(self, server: Listed | None = None) -> None:
        self._server = server

    @classmethod
    def from_file(cls, path: Path, name: str) -> OpenAICompatible:
        """A generator of its own out of one server of a file, with its licence for the policy."""
        return cls(listed.pick(_servers(path), name, path))

    @property
    def info(self) -> GeneratorInfo:
        name, terms = listed.offered(self._server, _servers, "openai-compatible")
        return GeneratorInfo(
            name=name,
            version="1",
            tasks=TASKS,
            kind=Kind.VIDEO,
            licence=terms.licence,
            commercial_ok=terms.commercial_ok,
            territory=terms.territory,
            realism=terms.realism,
            max_duration_s=600.0,
            max_pixels=4096 * 4096,
            controls=tuple(sorted(({*_OF_A_REQUEST, *_OF_THE_OWNER, "server"}) - _WISHES)),
            summary="Asks a server of yours that speaks OpenAI's interface; uses the network.",
            card="cards/openai-compatible.md",
        )

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia:
        from avsafe_generators.openai_compatible import endpoints
        from avsafe_generators.openai_compatible.address import Address
        from avsafe_generators.openai_compatible.client import Client

        asking.refuse_other_tasks(request, self.info)
        given = self._given(request)
        _refuse_useless(request, given)
        if not request.prompt.strip():
            raise UsageError(f"{request.task} needs a prompt: --prompt.")
        address = Address.parse(given["base_url"], given["key_env"], insecure=given["insecure"])
        if cancelled():
            raise Stopped(f"The request to {address.host} was asked to stop before it began.")
        told = _Told(progress, f"waiting for {address.host}")
        told.at(0.02)
        client = Client(
            address, timeout_s=given["timeout_s"], max_bytes=given["max_mib"] << 20,
            cancelled=cancelled, beat=told.beat,
        )  # fmt: skip
        kind = _KINDS.get(request.task, Kind.VIDEO)
        folder = _Folder()
        target = folder.path / f"answer{_SUFFIX[kind]}"
        if kind is Kind.VIDEO:
            details = endpoints.video(
                client, request, given, target, lambda share: told.at(0.05 + 0.85 * share)
            )
        elif kind is Kind.IMAGE:
            details = endpoints.image(client, request, given, target)
        else:
            details = endpoints.speech(client, request, given, target)
        told.at(0.95)
        raw = _read(target, folder, address.host, kind, cancelled)
        progress(1.0, "done")
        about = {
            "server": address.host,
            "model": given["model"],
            "seed_sent": given["dialect"] == "extended" and kind is not Kind.AUDIO,
        }
        raw = replace(raw, details={**raw.details, **about, **details})
        return _under_video(request, raw, cancelled) if request.task == _SOUND else raw

    def _given(self, request: GenerationRequest) -> dict[str, Any]:
        """The parameters, with what the owner of the machine has fixed."""
        fixed = os.environ.get(listed.VARIABLE)
        if self._server is None and not fixed:
            return asking.parameters(request, **_OF_A_REQUEST, **_OF_THE_OWNER)
        if self._server is not None:
            entry, given = self._server, asking.parameters(request, **_OF_A_REQUEST)
        else:
            server = asking.Text("", max_chars=100)
            given = asking.parameters(request, server=server, **_OF_A_REQUEST)
            path = Path(str(fixed))
            entry = listed.pick(_servers(path), given.pop("server"), path)
        owner = {name: knob.default for name, knob in _OF_THE_OWNER.items()}
        for name, value in entry.settings.items():
            if name in owner:
                owner[name] = _OF_THE_OWNER[name].read(name, value)
        model = entry.settings.get("model", "")
        if model and given["model"] not in ("", model):
            raise UsageError(f"The server {entry.name} is for the model {model} alone.")
        return {**given, **owner, "model": model or given["model"]}


class _Told:
    """Progress that only grows, repeated while nothing happens."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage, self._at, self._last = progress, stage, 0.0, 0.0

    def at(self, share: float) -> None:
        self._at = max(self._at, share)
        self._last = time.monotonic()
        self._progress(self._at, self._stage)

    def beat(self) -> None:
        if time.monotonic() - self._last > _BEAT_S:
            self.at(self._at)


class _Folder:
    """A private folder that goes when nothing refers to it any more."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="avsafe-answer-", ignore_cleanup_errors=True)
        self.path = Path(folder.name)  # 0700
        self._end = weakref.finalize(self, folder.cleanup)


def _servers(path: Path) -> Mapping[str, Listed]:
    return listed.entries(path, "servers", _IN_THE_FILE)


def _read(path: Path, folder: _Folder, host: str, kind: Kind, cancelled: Cancelled) -> RawMedia:
    """What the server sent, read in the sandbox; it keeps its file alive."""
    from avsafe import media

    try:
        raw = media.decode(path)
    except UnreadableMedia as error:
        raise GeneratorFailed(f"{host} sent a file that can't be read as media: {error}") from error
    if raw.kind is not kind:
        raise GeneratorFailed(f"{host} sent {raw.kind} in place of {kind}.")
    return replace(
        raw,
        frames=None if raw.frames is None else Kept(raw.frames, folder, host, cancelled),
        samples=None if raw.samples is None else Kept(raw.samples, folder, host, cancelled),
    )


def _refuse_useless(request: GenerationRequest, given: Mapping[str, Any]) -> None:
    """Raises UsageError for what would be left undone."""
    if request.task is Task.TEXT_TO_SPEECH:
        if request.inputs:
            raise UsageError("The interface sends no recording: name a voice of the server.")
        if request.negative_prompt.strip() or request.duration_s or request.width:
            raise UsageError("Speech has no negative prompt, length or size.")
    elif request.task != _SOUND and (given["speed"] is not None or given["instructions"]):
        raise UsageError(f"speed and instructions are for speech, not for {request.task}.")


def _under_video(request: GenerationRequest, raw: RawMedia, cancelled: Cancelled) -> RawMedia:
    """The speech under the video of the request, followed by silence."""
    media = asking.media_in(request, "video", need="a video (text-to-speech is speech alone)")
    clip = asking.footage(media, max_duration_s=600.0, cancelled=cancelled)
    sound = np.concatenate(list(raw.samples or ()), axis=1)
    if clip.frame_count is None:
        raise GeneratorFailed(f"The length of {media.path.name} is not known. Pass another file.")
    length = round(clip.frame_count / clip.frame_rate * raw.rate_hz)
    if sound.shape[1] > length:
        raise UsageError(
            f"The speech lasts {sound.shape[1] / raw.rate_hz:.1f} s and {media.path.name} "
            f"{length / raw.rate_hz:.1f} s. Shorten the text, or pass a longer video."
        )
    sound = np.pad(sound, ((0, 0), (0, length - sound.shape[1])))
    return replace(
        raw,
        kind=Kind.VIDEO,
        frames=clip.frames, frame_rate=clip.frame_rate, frame_count=clip.frame_count,
        width=clip.width, height=clip.height,
        samples=Replay(lambda: iter([sound.copy()])),
    )  # fmt: skip

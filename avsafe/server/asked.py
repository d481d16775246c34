"""What a client asks in the OpenAI shape, as plain data for the queue and as a request to the gate.

Beside the fields of that shape a client may give ours: ``task``, ``negative_prompt``, ``seed``,
``purpose``, ``consent_ids`` (with commas between in a form), ``parameters`` (JSON in a form). Files
come under the role that they play. Who asks is never among them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from avsafe import media, plugins
from avsafe.errors import UsageError
from avsafe.media import sha256_of
from avsafe.server.uploads import Form
from avsafe.types import Approval, GenerationRequest, InputMedia, Kind, Principal, Task

# Fields that may be files, and the role that each plays.
ROLES = {
    "input_reference": "image", "image": "image", "video": "video", "audio": "audio",
    "portrait": "portrait", "voice": "voice", "mask": "mask",
}  # fmt: skip
OURS = ("task", "negative_prompt", "seed", "purpose", "consent_ids", "parameters")
VIDEO_FIELDS = frozenset({"model", "prompt", "seconds", "size", *OURS})
SPEECH_FIELDS = frozenset(
    {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format", "seed",
     "purpose", "consent_ids", "parameters"}
)  # fmt: skip
IMAGE_FIELDS = frozenset(
    {"model", "prompt", "n", "size", "response_format", "output_format", "quality", "style",
     "background", "user", *OURS}
)  # fmt: skip
LONGEST_PROMPT = 8000
LONGEST_SPEECH = 4000  # letters that the policy's scorers read
# Formats of speech that carry a credential, and what stands in the way of the others
SOUNDS = {"mp3": ".mp3", "wav": ".wav", "flac": ".flac", "m4a": ".m4a"}
_UNSIGNED = {
    "pcm": "it is samples alone",
    "aac": "it is frames alone; m4a holds the same coding",
    "opus": "Ogg takes none inside, and a file beside it cannot be sent along",
}
# Tasks that have an address of their own
_ELSEWHERE = {
    Task.TEXT_TO_IMAGE: "/v1/images/generations",
    Task.TEXT_TO_SPEECH: "/v1/audio/speech",
}
MOST_CONSENTS = 50
DEEPEST = 6  # lists and objects inside of parameters
_MEMBER = re.compile(r"parameters\[([a-z][a-z0-9_]{0,59})\]")
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def video(
    fields: Mapping[str, Any], offered: Collection[str], form: Form | None = None
) -> dict[str, Any]:
    """Body of ``POST /v1/videos``. Raises UsageError in the client's words."""
    fields = _nested(fields)
    _known(fields, VIDEO_FIELDS)
    inputs = _inputs(form)
    task = _task(fields, {one["role"] for one in inputs})
    if task in _ELSEWHERE:
        raise UsageError(f"{str(task)!r} belongs to {_ELSEWHERE[task]}.")
    seconds = fields.get("seconds")
    duration = None if seconds in (None, "") else _number(seconds, "seconds", 0.04, 600.0)
    return _common(fields, task, offered) | {"duration_s": duration, "inputs": inputs}


def image(fields: Mapping[str, Any], offered: Collection[str]) -> dict[str, Any]:
    """Body of ``POST /v1/images/generations``. Raises UsageError."""
    _known(fields, IMAGE_FIELDS)
    for name, only in (("response_format", "b64_json"), ("output_format", "png")):
        if _text(fields, name) not in ("", only):
            raise UsageError(f"{name} is {only} here.")
    return _common(fields, Task.TEXT_TO_IMAGE, offered) | {"duration_s": None, "inputs": []}


def speech(fields: Mapping[str, Any], offered: Collection[str]) -> dict[str, Any]:
    """Body of ``POST /v1/audio/speech``. Raises UsageError, with the reason for a format that
    cannot carry a credential."""
    _known(fields, SPEECH_FIELDS)
    text = _text(fields, "input", LONGEST_SPEECH)
    if not text.strip():
        raise UsageError("input is the text to speak.")
    form = _text(fields, "response_format") or "mp3"
    if form not in SOUNDS:
        reason = f": {_UNSIGNED[form]}" if form in _UNSIGNED else ""
        raise UsageError(
            f"response_format {form[:20]!r} cannot carry the signed credential that every release "
            f"has{reason}. Ask for one of: {', '.join(SOUNDS)}."
        )
    if _text(fields, "stream_format") not in ("", "audio"):
        raise UsageError("stream_format is audio here: a sound is signed when it is complete.")
    manner: dict[str, Any] = {
        "voice": _text(fields, "voice"),
        "instructions": _text(fields, "instructions", LONGEST_PROMPT),
    }
    if fields.get("speed") is not None:
        manner["speed"] = _number(fields["speed"], "speed", 0.25, 4.0)
    manner = {name: value for name, value in manner.items() if value != ""}
    parameters = _parameters(fields.get("parameters"))
    if twice := sorted(set(manner) & set(parameters)):
        raise UsageError(f"{twice[0]} is given twice, as a field and among the parameters.")
    said = dict(fields) | {"prompt": text, "parameters": parameters | manner}
    return _common(said, Task.TEXT_TO_SPEECH, offered) | {
        "duration_s": None, "inputs": [], "suffix": SOUNDS[form],
    }  # fmt: skip


def of_page(
    fields: Mapping[str, Any], offered: Collection[str], form: Form | None = None
) -> dict[str, Any]:
    """What the team's page asks: one form for every task. Raises UsageError."""
    if fields.get("task") == Task.TEXT_TO_IMAGE:
        return image(fields, offered)
    if fields.get("task") == Task.TEXT_TO_SPEECH:
        names = {"prompt": "input", "speaker": "voice"}
        said = {names.get(name, name): text for name, text in fields.items() if name != "task"}
        if form is not None and form.files:
            raise UsageError("Speech is made of a text alone: leave the files out.")
        return speech(said, offered)
    return video(fields, offered, form)


def count(fields: Mapping[str, Any]) -> int:
    """How many pictures."""
    return int(_number(1 if fields.get("n") is None else fields["n"], "n", 1, 4))


def request(
    asked: Mapping[str, Any], principal: Principal, folder: Path, approval: Mapping[str, Any] | None
) -> GenerationRequest:
    """What the gate is asked, from what the queue holds. Raises children of UnreadableMedia."""
    approved = None
    if approval is not None:
        approved = Approval(
            approval["reviewer"],
            tuple(approval["rules"]),
            approval["reason"],
            approval["at"],
            tuple((sha256, consent) for sha256, consent in approval.get("binds", ())),
        )
    return GenerationRequest(
        principal=principal,
        task=Task(asked["task"]),
        generator=asked["generator"],
        prompt=asked["prompt"],
        negative_prompt=asked["negative_prompt"],
        inputs=tuple(
            InputMedia(media.probe(folder / one["file"]), one["role"]) for one in asked["inputs"]
        ),
        consent_ids=tuple(asked["consent_ids"]),
        purpose=asked["purpose"],
        seed=asked["seed"],
        width=asked["width"],
        height=asked["height"],
        duration_s=asked["duration_s"],
        parameters=asked["parameters"],
        approval=approved,
    )


def suffix(asked: Mapping[str, Any]) -> str:
    """Of the file that is released."""
    return str(
        asked.get("suffix") or (".png" if asked.get("task") == Task.TEXT_TO_IMAGE else ".mp4")
    )


def _common(fields: Mapping[str, Any], task: Task, offered: Collection[str]) -> dict[str, Any]:
    name = _text(fields, "model") or plugins.DEFAULT_GENERATORS[task]
    info = plugins.generator_info(name) if name in offered else None
    if info is None:
        known = ", ".join(offered)
        raise UsageError(f"There is no model {name[:80]!r} here (models: {known}).")
    if task not in info.tasks:
        raise UsageError(f"{name} does not do {task} (it does: {', '.join(info.tasks)}).")
    width, height = _size(_text(fields, "size"))
    return {
        "task": str(task),
        "generator": name,
        "prompt": _text(fields, "prompt", LONGEST_PROMPT),
        "negative_prompt": _text(fields, "negative_prompt", LONGEST_PROMPT),
        "purpose": _text(fields, "purpose") or "general",
        "seed": _seed(fields.get("seed")),
        "consent_ids": _list(fields.get("consent_ids")),
        "parameters": _parameters(fields.get("parameters")),
        "width": width,
        "height": height,
    }


def _nested(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """A form as OpenAI's client writes one: an object's members as ``parameters[NAME]``, a list as
    ``consent_ids[]``, which the parser joined."""
    found: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for name, value in fields.items():
        if match := _MEMBER.fullmatch(name):
            members[match[1]] = value
        else:
            found["consent_ids" if name == "consent_ids[]" else name] = value
    if members and "parameters" in found:
        raise UsageError("parameters is given twice.")
    return found | {"parameters": members} if members else found


def _known(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(fields) - known):
        raise UsageError(
            f"The field {unknown[0][:60]!r} is not understood here (fields: "
            f"{', '.join(sorted(known))})."
        )


def _inputs(form: Form | None) -> list[dict[str, str]]:
    """Role, hash and new name of each file; the hash stands for the file in an idempotent call."""
    found = []
    for name, upload in sorted(form.files.items()) if form else ():
        role = ROLES[name]
        if name == "input_reference" and media.probe(upload.path).kind is Kind.VIDEO:
            role = "video"
        found.append(
            {"field": name, "role": role, "sha256": sha256_of(upload.path), "file": f"in-{name}"}
        )
    return found


def _task(fields: Mapping[str, Any], roles: set[str]) -> Task:
    named = _text(fields, "task")
    if named:
        try:
            found = Task(named)
        except ValueError:
            found = Task.RELEASE
        if found is Task.RELEASE:
            names = ", ".join(sorted(plugins.DEFAULT_GENERATORS))
            raise UsageError(f"There is no task {named[:60]!r} (tasks: {names}).")
        return found
    if "portrait" in roles:
        return Task.TALKING_HEAD
    if "video" in roles:
        return Task.INPAINT_VIDEO if "mask" in roles else Task.EDIT_VIDEO
    return Task.IMAGE_TO_VIDEO if "image" in roles else Task.TEXT_TO_VIDEO


def _text(fields: Mapping[str, Any], name: str, longest: int = 200) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UsageError(f"{name} is a text.")
    if len(value) > longest:
        raise UsageError(f"{name} has {len(value)} letters; at most {longest} are read.")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise UsageError(f"{name} is not valid UTF-8.")
    if "\x00" in value:
        raise UsageError(f"{name} holds a NUL.")
    return value


def _number(value: Any, name: str, low: float, high: float) -> float:
    try:
        found = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not low <= found <= high:
        raise UsageError(f"{name} is a number from {low:g} to {high:g}.")
    return found


def _seed(value: Any) -> int:
    """Whole, and not through a float: it would change what is beyond 2**53."""
    if value in (None, ""):
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise UsageError(f"seed is a number from 0 to {2**63 - 1}.")
    return value


def _size(text: str) -> tuple[int | None, int | None]:
    if text in ("", "auto"):
        return None, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"size is WIDTHxHEIGHT, e.g. 512x512, not {text[:40]!r}.")
    return int(match[1]), int(match[2])


def _list(value: Any) -> list[str]:
    if value is None:
        return []
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UsageError("consent_ids is a list of texts.")
    named = [one.strip() for one in found if one.strip()]
    if len(named) > MOST_CONSENTS:
        raise UsageError(f"A request names at most {MOST_CONSENTS} consents.")
    for one in named:
        _text({"consent_ids": one}, "consent_ids")
    return named


def _parameters(value: Any) -> dict[str, Any]:
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UsageError("parameters is a JSON object.") from None
    if not isinstance(value, dict):
        raise UsageError("parameters is a JSON object.")
    _plain(value, DEEPEST)
    return value


def _plain(value: Any, deepest: int) -> None:
    """Raises UsageError for what no database takes and no generator asks for."""
    if isinstance(value, dict | list):
        if not deepest:
            raise UsageError("parameters is nested too deeply.")
        if isinstance(value, dict):
            _plain(list(value), deepest)
            value = list(value.values())
        for one in value:
            _plain(one, deepest - 1)
    elif isinstance(value, str):
        _text({"parameters": value}, "parameters", LONGEST_PROMPT)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError("parameters holds a number that is none.")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise UsageError("parameters holds a number that is too large.")

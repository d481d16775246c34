"""HTML out of templates. The verdict's page is streamed: it tells what happens while it happens."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from avsafe import media
from avsafe.errors import MissingExtra, UsageError
from avsafe.server import lanes, report
from avsafe.server.analysis import Analyses
from avsafe.server.plain import verdict_json, where
from avsafe.server.settings import Settings
from avsafe.server.uploads import Upload
from avsafe.server.words import Words, languages, words

if TYPE_CHECKING:
    from jinja2 import Environment

    from avsafe.types import Verdict

_log = logging.getLogger(__name__)
STATIC = Path(__file__).with_name("static")
TEMPLATES = Path(__file__).with_name("templates")


class Binding(BaseModel):
    """A soft binding: the algorithm of a mark, its value in base64."""

    alg: str = Field(max_length=200)
    value: str = Field(max_length=4096)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.globals["source_name"] = lanes.source_name
    found.globals["reload_s"] = 0
    found.globals["rest"] = ""  # of the address, behind the language
    found.globals["languages"] = languages()
    found.globals["names"] = {code: words(code)("language") for code in languages()}
    return found


def render(template: str, settings: Settings, say: Words, **values: Any) -> str:
    """One template."""
    return _templates().get_template(template).render(settings=settings, say=say, **values)


def form(settings: Settings, language: str) -> Response:
    """Where a file is dropped."""
    return HTMLResponse(render("form.html", settings, words(language)))


def error(
    settings: Settings, language: str, code: str, status: int,
    headers: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    """What went wrong, with the form below it."""
    say = words(language)
    message = say(f"error:{code}", mb=settings.max_upload_mb)
    body = render("error.html", settings, say, message=message)
    return HTMLResponse(body, status, headers=dict(headers or {}))


def verdict(
    settings: Settings,
    language: str,
    upload: Upload,
    analyses: Analyses,
    place: AbstractAsyncContextManager[Upload],
) -> Response:
    """The page that grows; ``place`` is left, and the upload gone, before its last byte."""
    say = words(language)

    async def parts() -> AsyncIterator[str]:
        inside = True
        try:
            yield render("begin.html", settings, say)
            last = ""
            async for step in analyses.follow(upload, with_stills=True):
                if step.verdict is not None:
                    await place.__aexit__(None, None, None)
                    inside = False
                    yield await anyio.to_thread.run_sync(
                        _shown, settings, say, upload, step.verdict, step.stills
                    )
                    return
                text = say("waiting", ahead=step.ahead) if step.ahead else say("working")
                if text != last:
                    yield render("step.html", settings, say, text=text)
                    last = text
        except Exception as error:
            _log.error("an upload could not be answered: %s", where(error))
            yield render("failed.html", settings, say, message=say("error:failed"))
        finally:
            if inside:
                with anyio.CancelScope(shield=True):
                    await place.__aexit__(None, None, None)

    return StreamingResponse(parts(), media_type="text/html; charset=utf-8")


def _shown(
    settings: Settings, say: Words, upload: Upload, found: Verdict, stills: Mapping[str, bytes]
) -> str:
    page = lanes.page(found, say)
    size = size_text(upload.size_bytes)
    text = json.dumps(verdict_json(found, upload.name), indent=1, ensure_ascii=False)
    try:
        paper: bytes = report.pdf(
            page, say, name=upload.name, size=size, sha256=found.sha256, stills=stills,
            now=datetime.now(UTC),
        )  # fmt: skip
    except MissingExtra:
        paper = b""
    return render(
        "verdict.html",
        settings,
        say,
        page=page,
        name=upload.name,
        size=size,
        sha256=found.sha256,
        stills={source: base64.b64encode(data).decode() for source, data in stills.items()},
        json=base64.b64encode(text.encode(errors="backslashreplace")).decode(),
        pdf=base64.b64encode(paper).decode(),
    )


def still(path: Path) -> bytes:
    """The first frame of a video, or a picture, small and coded anew (WebP).

    Raises UsageError for sound.
    """
    import io

    from PIL import Image

    frames = media.decode(path).frames
    if frames is None:
        raise UsageError("It has no pictures.")
    picture = Image.fromarray(next(iter(frames)))
    picture.thumbnail((640, 640))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=80)
    return out.getvalue()


def size_text(size_bytes: int) -> str:
    """
    >>> size_text(2_500_000)
    '2.5 MB'
    """
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"

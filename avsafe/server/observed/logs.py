"""Log lines of the service: one event a line, as JSON or as text, with request, job and trace.

Nothing of a traceback is written but kinds of errors and places in code: the sentence of an error
may quote a prompt, a name or a path. Of a record's own fields only ``FIELDS`` are.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from avsafe.server.observed import context, traces
from avsafe.server.plain import where

# What a line may tell beside its event. All are numbers, or words of a fixed or small set.
FIELDS = (
    "method", "route", "status", "seconds", "code", "state", "task", "generator",
    "attempt", "effect", "rules", "stage", "pid", "count",
)  # fmt: skip
_LONGEST = 300
_OURS = ("avsafe", "uvicorn")


class Shaped(logging.Formatter):
    """A record as one line; ``kind`` is ``json`` or ``text``."""

    def __init__(self, kind: str = "json") -> None:
        super().__init__()
        self._kind = kind

    def format(self, record: logging.LogRecord) -> str:
        """
        >>> record = logging.LogRecord("avsafe", 20, "", 0, "job ended", (), None)
        >>> record.state, record.prompt = "released", "a cat"
        >>> line = json.loads(Shaped().format(record))
        >>> line["event"], line["state"], "prompt" in line
        ('job ended', 'released', False)
        """
        told = self._told(record)
        if self._kind == "json":
            return json.dumps(told, ensure_ascii=True)
        time, level, event = told.pop("time"), told.pop("level"), told.pop("event")
        rest = " ".join(f"{key}={_word(value)}" for key, value in told.items())
        return f"{time} {level} {event} {rest}".rstrip()

    def _told(self, record: logging.LogRecord) -> dict[str, Any]:
        at = datetime.fromtimestamp(record.created, UTC)
        found: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": _event(record),
            "logger": record.name,
            "process": record.process,
        }
        for name, value in (
            ("request_id", context.request_id.get()),
            ("job_id", context.job_id.get()),
            ("trace_id", traces.current_id()),
        ):
            if value:
                found[name] = value
        found |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            found["error"] = where(record.exc_info[1])
        return found


def _event(record: logging.LogRecord) -> str:
    """The message: its first line, cut. Of a foreign library that reports an error only the text
    before its values, which may be a user's."""
    ours = record.name.split(".", 1)[0] in _OURS
    text = str(record.msg) if record.exc_info and not ours else record.getMessage()
    line = text.strip().split("\n", 1)[0][:_LONGEST]
    # What a file says of itself gets into sentences: it moves no cursor and begins no line.
    return "".join(c if c.isprintable() else " " for c in line)


def _word(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return json.dumps(text) if " " in text or not text.isprintable() else text


def setting(kind: str) -> dict[str, Any]:
    """For ``logging.config.dictConfig``: our lines and uvicorn's from INFO, those of others from
    WARNING, all on standard error in one shape."""
    quiet = {"level": "INFO", "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"shaped": {"()": f"{__name__}.Shaped", "kind": kind}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "shaped",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": dict.fromkeys((*_OURS, "uvicorn.error", "uvicorn.access"), quiet),
    }


def configure(kind: str) -> None:
    """Shape the log of this process. For the command line alone."""
    import logging.config

    logging.config.dictConfig(setting(kind))

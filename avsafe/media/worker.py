"""The sandbox child: confine, read one request from stdin, run one function, answer on stdout.

Started by ``avsafe.media.sandbox`` as ``python -I -m avsafe.media.worker``. Imports little, so that
a child which only reads a credential stays cheap.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any


def main() -> None:
    """Serve one request and leave."""
    request = json.loads(sys.stdin.buffer.read())
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not corrupt the answers
    for path in request["sys_path"]:
        if path not in sys.path:
            sys.path.append(path)
    from avsafe.media.confine import allow_cpu, confine

    confined = confine(
        request["limits"], request["parent"], request["readable"], request["listable"]
    )
    from avsafe.errors import AvsafeError
    from avsafe.media.limits import Limits
    from avsafe.media.wire import Message, send

    send(answers, Message({"kind": "ready", "confined": confined}))
    try:
        result = _resolve(request["target"])(**request["kwargs"])
        if isinstance(result, Message):
            result = iter((result,))
        if isinstance(result, Iterator):
            for message in result:
                kind = "item"
                if "work" in message.header:
                    kind, limits = "work", Limits.from_json(request["limits"])
                    allow_cpu(limits.for_work(message.header["work"]).cpu_s)
                send(answers, Message({**message.header, "kind": kind}, message.arrays))
            result = None
        send(answers, Message({"kind": "result", "value": result}))
    except MemoryError as error:
        send(answers, _failure("MemoryError", str(error)))
    except AvsafeError as error:
        send(answers, _failure(type(error).__name__, str(error)))
    except Exception as error:
        import traceback

        traceback.print_exc()
        send(answers, _failure("", f"{type(error).__name__}: {error}"))
    sys.stderr.flush()
    os._exit(0)  # nothing to clean up: no file was written, and libraries' atexit hooks cost time


def _failure(name: str, text: str) -> Any:
    from avsafe.media.wire import Message

    return Message({"kind": "error", "type": name, "message": text[:4000]})


def _resolve(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()

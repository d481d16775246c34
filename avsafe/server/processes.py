"""The processes of ``avsafe serve``: servers at one address, and workers.

The parent serves nothing itself, so that nothing of a request can hurt it. What dies is started
again. At SIGTERM every child hears of it at once, and has a limit for finishing what it does. When
the parent dies, however it dies, its children see the end of their standard input and stop.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avsafe.errors import AvsafeError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from avsafe.server.settings import Settings

_log = logging.getLogger(__name__)
KEPT = "AVSAFE_KEPT"  # set for children: they watch for the end of their parent
_LOOK_S = 0.1
_SOON_S = 10.0  # a process that ends by itself before that has failed to start
_MOST_FAILURES = 3
_SPARE_S = 10.0  # for closing databases, after the limit for requests
_BACKLOG = 2048


class ServiceFailed(AvsafeError):
    """A process of the service does not start."""


@dataclass
class _Child:
    name: str
    command: Sequence[str]
    fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    failures: int = 0
    not_before: float = field(default=0.0)

    def start(self) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, pass_fds=self.fds, process_group=0,
            env=os.environ | {KEPT: "1"},
        )  # fmt: skip
        _log.info("%s started", self.name, extra={"pid": self.process.pid})

    def look(self) -> None:
        """Start it again when it has ended. Raises ServiceFailed when it does not stay."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.not_before:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        _log.warning("%s ended", self.name, extra={"pid": self.process.pid, "code": code})
        if self.process.stdin is not None:
            self.process.stdin.close()
        soon = now - self.began < _SOON_S
        self.failures = self.failures + 1 if soon and code > 0 else 0
        if self.failures >= _MOST_FAILURES:
            raise ServiceFailed(f"A {self.name} ends at once (exit code {code}): see above.")
        self.process, self.not_before = None, now + self.failures


def run(
    settings: Settings, *, host: str, port: int, servers: int, workers: int,
    metrics: tuple[str, int] | None = None,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT.

    Raises UsageError when an address cannot be had, ServiceFailed when a process does not start.
    """
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    with ExitStack() as held:
        listening = _listening(host, port, servers)
        held.callback(_close, listening)
        if metrics is not None:
            held.enter_context(_metrics(settings, *metrics))
        for number in (signal.SIGTERM, signal.SIGINT):
            held.callback(signal.signal, number, signal.signal(number, end))
        children = [
            _Child("server", _command("serve_from", str(fd)), (fd,))
            for fd in (one.fileno() for one in listening)
        ]
        children += [_Child("worker", _command("work")) for _ in range(workers)]
        held.callback(_stop, children, settings.drain_s + settings.shutdown_s + _SPARE_S)
        held.callback(_close, listening)  # or connections would wait where nobody serves
        _log.info("serving at http://%s:%d", host, listening[0].getsockname()[1])
        while True:
            for child in children:
                child.look()
            if ended.wait(_LOOK_S):
                return


def serve_from(fd: int) -> None:
    """One server process, on a socket that it was handed."""
    import uvicorn

    from avsafe.server.observed import logs, metrics
    from avsafe.server.patience import Impatient
    from avsafe.server.settings import Settings

    settings = Settings.from_environment()
    watch_parent()
    metrics.on_when_shared()
    config = uvicorn.Config(
        "avsafe.server.app:from_environment",
        factory=True,
        http=Impatient,
        # Behind a proxy its own log of requests is the better one; addresses are personal data.
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        log_config=logs.setting(settings.log),
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
    )
    server = uvicorn.Server(config)
    server.run([socket.socket(fileno=fd)])
    if not server.started:
        sys.exit(3)


def work() -> None:
    """One worker, kept by the service."""
    from avsafe.server.observed import logs, metrics
    from avsafe.server.settings import Settings
    from avsafe.server.worker import run

    settings = Settings.from_environment()
    watch_parent()
    logs.configure(settings.log)
    metrics.on_when_shared()
    run(settings)


def watch_parent() -> None:
    """Stop in good order when the process that keeps this one is gone."""
    if not os.environ.pop(KEPT, ""):
        return

    def wait() -> None:
        os.read(0, 1)  # nothing is ever written: it returns at the end
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _command(function: str, *arguments: str) -> list[str]:
    call = f"{function}(*map(int, sys.argv[1:]))"
    code = f"import sys; from avsafe.server.processes import {function}; {call}"
    return [sys.executable, "-c", code, *arguments]


def _listening(host: str, port: int, count: int) -> list[socket.socket]:
    """A socket for each server process, all at one address: the kernel deals connections out to
    them. Of one socket that they share, whoever wakes first would take all that wait.

    The parent keeps them open, so that a connection to a process that just died waits for the next.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made: list[socket.socket] = []
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:  # is it ours alone?
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
        for _ in range(count):
            made.append(socket.socket(family, socket.SOCK_STREAM))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made[-1].bind((host, port))
            made[-1].listen(_BACKLOG)
    except OSError as error:
        _close(made)
        raise UsageError(
            f"Nothing can be served at {host}:{port}: {error.strerror or error}. "
            "Choose another --port or --host."
        ) from None
    return made


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _metrics(settings: Settings, host: str, port: int) -> ExitStack:
    from avsafe.server.observed import metrics
    from avsafe.server.observed.state import StateCollector

    with ExitStack() as held:
        held.enter_context(metrics.shared_folder())
        at = held.enter_context(metrics.shown(host, port, [StateCollector(settings)]))
        _log.info("metrics at http://%s:%d/metrics", host, at)
        return held.pop_all()


def _stop(children: Sequence[_Child], within_s: float) -> None:
    living = [c.process for c in children if c.process is not None and c.process.poll() is None]
    for process in living:
        process.terminate()
    deadline = time.monotonic() + within_s
    for process in living:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("a process did not end in time", extra={"pid": process.pid})
            process.kill()
            process.wait()

"""Run one function on one file in a limited process that can be killed.

The child is a fresh interpreter with a clean environment: no secret of the parent, no network, no
way to write a file or start a program, and bounds on CPU time, memory, waiting time and output.
Targets are named by our own code, never by a file.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from avsafe import errors
from avsafe.errors import AvsafeError, LimitExceeded, SandboxFailure, UsageError
from avsafe.media import access
from avsafe.media.limits import Limits
from avsafe.media.wire import Message, receive

log = logging.getLogger(__name__)

_OWN_PACKAGES = frozenset(("avsafe", "avsafe_generators", "avsafe_metrics", "avsafe_detectors"))
_PLUGIN_KINDS = (
    "generators", "watermarkers", "metrics", "detectors", "detector_adapters", "embedders",
)  # fmt: skip
_STDERR_BYTES = 64 * 1024  # kept of what the child prints, for the log
_PIPE_BYTES = 1 << 20  # Linux's largest pipe for an ordinary user


def call(
    target: str,
    kwargs: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    readable: Sequence[Path | str] = (),
) -> Any:
    """Call ``"module:function"`` with JSON arguments in the limited process; returns JSON.

    The child may read the interpreter's own folders and the files that the arguments name by an
    absolute path; ``readable`` adds others, such as a folder with model weights.

    Raises what the function raised when it is one of avsafe's errors, ``LimitExceeded`` when a
    limit ended it (the message says which), ``SandboxFailure`` for a crash or any other exception.

    >>> call("avsafe.media.selftest:echo", {"value": [1, 2]})  # doctest: +SKIP
    [1, 2]
    """
    with _Child(target, kwargs, limits or Limits(), readable, 0) as child:
        for message in child.messages():
            raise SandboxFailure(
                f"{target} streams ({sorted(message.header)}); use sandbox.stream."
            )
        return child.result


@contextmanager
def stream(
    target: str,
    kwargs: Mapping[str, Any],
    *,
    limits: Limits | None = None,
    readable: Sequence[Path | str] = (),
    item_bytes: int = 0,
) -> Iterator[Iterator[Message]]:
    """Like ``call`` for a function that yields ``wire.Message``: headers with numpy arrays.

    The child waits while the caller is busy, so neither side holds more than one message. Leaving
    the context ends the child. One message may be as large as ``Limits.output_bytes``, or
    ``item_bytes`` where that is more.
    """
    with _Child(target, kwargs, limits or Limits(), readable, item_bytes) as child:
        yield child.messages()


class _Child:
    """One child process and one request."""

    def __init__(
        self,
        target: str,
        kwargs: Mapping[str, Any],
        limits: Limits,
        readable: Sequence[Path | str],
        item_bytes: int,
    ) -> None:
        check_target(target)
        if os.name != "posix":
            raise SandboxFailure(
                "Reading files of others needs a POSIX system: this one has no resource limits for "
                "processes. Use Linux (also in WSL 2 or a container)."
            )
        self._target = target
        self._limits = self._given = limits
        self._most_bytes = max(limits.output_bytes, item_bytes)
        self._waited_s = 0.0
        self._printed = bytearray()
        self.result: Any = None
        self.confined: dict[str, Any] = {}
        request = {
            "target": target,
            "kwargs": dict(kwargs),
            "limits": limits.as_json(),
            "parent": os.getpid(),
            "sys_path": access.listable(),
            "listable": access.listable(),
            "readable": access.readable(dict(kwargs), readable),
        }
        body = json.dumps(request).encode()
        self._process = _starter.start()
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise SandboxFailure("The limited process has no pipes.")
        self._out, self._err = stdout.fileno(), stderr.fileno()
        _widen(self._out)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        with suppress(BrokenPipeError):  # it died at once; reading its answer tells why
            stdin.write(body)
            stdin.close()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._selector.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def messages(self) -> Iterator[Message]:
        """The streamed messages; afterwards ``result`` is set."""
        while True:
            message = receive(self._read_into, self._most_bytes)
            kind = message.header.get("kind")
            if kind == "item":
                yield message
            elif kind == "result":
                self.result = message.header.get("value")
                return
            elif kind == "error":
                raise self._error(message)
            elif kind == "work":
                self._limits = self._allowed(message.header.get("work"))
            elif kind == "ready":
                self.confined = dict(message.header.get("confined") or {})
                _warn_once(self.confined)
            else:
                raise SandboxFailure(f"{self._target} answered with an unknown kind {kind!r}.")

    def _allowed(self, pixels: Any) -> Limits:
        """The time for long media; a process that lies gets no more than ``Limits.most_times``."""
        if not isinstance(pixels, int):
            raise SandboxFailure(f"{self._target} announced its work as {pixels!r}.")
        return self._given.for_work(min(pixels, 1 << 60))

    def _read_into(self, buffer: memoryview) -> None:
        while len(buffer):
            count = os.readv(self._out, [buffer]) if self._wait() else 0
            if count == 0:
                raise self._ended()
            buffer = buffer[count:]

    def _wait(self) -> bool:
        """Until there is an answer to read; only the time spent waiting here counts."""
        while True:
            began = time.monotonic()
            ready = self._selector.select(max(0.0, self._limits.wall_s - self._waited_s))
            self._waited_s += time.monotonic() - began
            names = {key.fd for key, _ in ready}
            if self._err in names:
                self._keep_printed()
            if self._out in names:
                return True
            if not ready and self._waited_s >= self._limits.wall_s:
                self._kill()
                raise LimitExceeded(
                    f"{self._label()} gave no answer within {self._limits.wall_s:g} s and was "
                    "ended (Limits.wall_s). The file makes its reader hang; raise the limit only "
                    "if you trust the file."
                )

    def _keep_printed(self) -> None:
        text = os.read(self._err, 65536)
        if not text:
            self._selector.unregister(self._err)
            return
        self._printed += text
        del self._printed[:-_STDERR_BYTES]

    def _kill(self) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads its own group
        self._process.wait()

    def _label(self) -> str:
        return f"The limited process for {self._target.partition(':')[2]}"

    def _error(self, message: Message) -> AvsafeError:
        name, text = str(message.header.get("type")), str(message.header.get("message"))
        if name == "MemoryError":
            return LimitExceeded(
                f"{self._label()} needed more than {self._limits.memory_bytes / (1 << 30):.2g} GiB "
                "of memory and was ended (Limits.memory_bytes)."
            )
        kind = getattr(errors, name, None) if name and not name.startswith("_") else None
        if isinstance(kind, type) and issubclass(kind, AvsafeError):
            with suppress(TypeError):  # those with a Decision take more; none comes from there
                return kind(text)
        log.debug("%s printed: %s", self._target, self._printed.decode(errors="replace"))
        return SandboxFailure(f"{self._label()} failed: {text}")

    def _ended(self) -> AvsafeError:
        """Why the child closed its pipe before it had answered."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
            return SandboxFailure(f"{self._label()} closed its output without an answer.")
        printed = self._printed.decode(errors="replace").strip()
        log.debug("%s printed: %s", self._target, printed)
        if code == -signal.SIGXCPU:
            return LimitExceeded(
                f"{self._label()} used more than {self._limits.cpu_s} s of CPU time and was ended "
                "(Limits.cpu_s)."
            )
        if code < 0:
            name = signal.Signals(-code).name
            hint = (
                ": by the system, perhaps for lack of memory"
                if code == -signal.SIGKILL
                else ": the file crashes its reader, or the memory limit "
                f"({self._limits.memory_bytes / (1 << 30):.2g} GiB) was reached"
            )
            return SandboxFailure(f"{self._label()} was ended by {name}{hint}.")
        last = printed.splitlines()[-1] if printed else "it printed nothing"
        return SandboxFailure(f"{self._label()} ended with code {code} and no answer ({last}).")


class _Starter:
    """Starts children from one thread that lives as long as this process.

    A child asks the kernel to end it with its parent, and Linux means the *thread* that started it
    (prctl(2), PR_SET_PDEATHSIG): started from a short-lived thread, it would die with that.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pid = 0
        self._queue: SimpleQueue[Future[subprocess.Popen[bytes]]] = SimpleQueue()

    def start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():  # first use, or this process is a fork without the thread
                self._pid = os.getpid()
                self._queue = SimpleQueue()
                Thread(target=self._serve, args=(self._queue,), daemon=True).start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._queue.put(future)
        return future.result()

    def _serve(self, queue: SimpleQueue[Future[subprocess.Popen[bytes]]]) -> None:
        while True:
            future = queue.get()
            try:
                future.set_result(
                    subprocess.Popen(
                        [sys.executable, "-I", "-m", "avsafe.media.worker"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        bufsize=0,
                        cwd="/",
                        env=_environment(),
                        start_new_session=True,
                    )
                )
            except BaseException as error:
                future.set_exception(error)


_starter = _Starter()
_warned: set[str] = set()


def _warn_once(confined: Any) -> None:
    """Say it when a wall is missing on this system; the others still stand."""
    for name in ("rlimits", "seccomp", "landlock"):
        if isinstance(confined, dict) and not confined.get(name) and name not in _warned:
            _warned.add(name)
            log.warning("The process that reads files of others runs without %s here", name)


def capabilities() -> dict[str, bool]:
    """Which walls stand on this system, measured by a child that runs against each of them.

    What the kernel accepted (``rlimits``, ``no_new_privileges``, ``dies_with_parent``,
    ``landlock``, ``seccomp``, ``audit_hook``), and what was tried and failed as it should
    (``network_refused``, ``programs_refused``, ``writing_refused``, ``foreign_files_refused``,
    ``clean_environment``).
    """
    if os.name != "posix":
        return {"rlimits": False}
    with _Child("avsafe.media.selftest:report", {"parent": os.getpid()}, Limits(), (), 0) as child:
        for _ in child.messages():
            pass
        return {**child.confined, **child.result}


def _environment() -> dict[str, str]:
    """Nothing of the parent's environment goes in: it may hold keys and tokens."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # each arena takes 64 MB of address space
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _widen(descriptor: int) -> None:
    """A larger pipe: fewer switches for each frame."""
    import fcntl

    with suppress(OSError, AttributeError):  # not Linux, or a lower limit: slower, not wrong
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def check_target(target: str) -> None:
    module, _, name = target.partition(":")
    package = module.partition(".")[0]
    if not name.isidentifier():
        raise UsageError(f"A sandbox target is 'module:function', not {target!r}.")
    if package not in _OWN_PACKAGES and package not in _plugin_packages():
        raise UsageError(
            f"{package!r} is neither avsafe nor an installed plugin of it; only those run in the "
            "sandbox. Register the plugin by an entry point, e.g. avsafe.watermarkers."
        )


def _plugin_packages() -> set[str]:
    from importlib.metadata import entry_points

    return {
        point.value.partition(".")[0].partition(":")[0]
        for kind in _PLUGIN_KINDS
        for point in entry_points(group=f"avsafe.{kind}")
    }

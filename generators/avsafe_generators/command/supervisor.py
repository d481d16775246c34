"""Runs one program under limits and never leaves a process behind. Standard library only.

Started by ``runner.run`` as ``python -I supervisor.py ORDER`` (a JSON file) in a session of its
own. It lives between avsafe and the program for three reasons: limits are set in a fresh process
(not in a fork of a threaded one), every orphaned grandchild becomes *its* child (Linux sub-reaper),
and when avsafe dies - even by kill -9 - standard input closes and the whole tree is killed.

Standard output carries one JSON line, ``{"code": n}`` or ``{"signal": n}``; the program's own
output goes to standard error, which the caller drains.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_POLL_S = 0.05
_GRACE_S = 2.0  # between the polite and the final signal


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        order = json.load(file)
    os.unlink(sys.argv[1])
    os.set_blocking(0, False)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _become(order)
    code = _wait(child)
    _kill_all(grace_s=0.0)
    if os.WIFSIGNALED(code):
        _say({"signal": os.WTERMSIG(code)})
    else:
        _say({"code": os.waitstatus_to_exitcode(code)})


def _become(order: dict) -> None:  # type: ignore[type-arg]
    """Set the limits and turn into the program. Never returns."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(
                number, signal.SIG_DFL
            )  # Python ignores them, and exec would pass that on
        for name, value in order["limits"].items():
            kind = getattr(resource, name)
            _, hard = resource.getrlimit(kind)
            if hard != resource.RLIM_INFINITY:
                value = min(value, hard)
            # processor time: a signal with a name first, the final one a little later
            last = value + 5 if name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY else value
            resource.setrlimit(kind, (value, last))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        os.closerange(3, 256)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(order["program"], order["argv"], order["env"])  # noqa: S606  no shell is wanted
    except BaseException as error:
        # the caller tells this line from the program's own output by its random word
        os.write(2, f"\n{order['word']} {error}\n".encode(errors="replace"))
    os._exit(127)


def _wait(child: int) -> int:
    """The wait status of the program; kills the tree when standard input closes."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == child:
                    return status
                if pid == 0:
                    break
        ready, _, _ = select.select([0], [], [], _POLL_S)
        if ready and not os.read(0, 64):
            _kill_all(grace_s=_GRACE_S)
            os._exit(1)


def _kill_all(grace_s: float) -> None:
    """Signal every descendant until none is left."""
    end = time.monotonic() + grace_s
    polite = grace_s > 0
    while True:
        found = _descendants()
        if not found:
            return
        late = time.monotonic() >= end
        for pid in found:
            if polite or late:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        polite = False
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _descendants() -> list:  # type: ignore[type-arg]
    """Process ids below this one; zombies are left out."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry)] = int(parent)
    me, grown = os.getpid(), True
    found: set[int] = set()
    while grown:
        more = {pid for pid, up in parents.items() if up == me or up in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def _say(line: dict) -> None:  # type: ignore[type-arg]
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()

"""Runs a program through the supervisor: drain its output, watch the clock, stop it as a whole."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, MissingExtra
from avsafe.types import Cancelled, Progress
from avsafe_generators.command.recipe import Recipe

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_POLL_S = 0.1
_STOP_S = 5.0  # the supervisor needs at most 2 s to end the tree
_TAIL_BYTES = 8192  # of the program's output that we keep
_TAIL_LINES = 12  # ... and show in an error
# What a program gets of our environment. No AVSAFE_*: they name the folder with the keys.
PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH",
    "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "HF_HOME", "HF_HUB_OFFLINE",
    "XDG_CACHE_HOME", "OMP_NUM_THREADS", "SSL_CERT_FILE",
)  # fmt: skip
# A line of the program's output that reports progress: "PROGRESS 0.42" or "PROGRESS 0.42
# denoising".
_PROGRESS = re.compile(rb"PROGRESS ([01](?:\.\d{1,9})?)(?: (.{1,60}))?")


@dataclass(frozen=True)
class _Output:
    """What the drain thread leaves behind."""

    tail: deque[bytes]
    progress: list[tuple[float, str]]


def environment(recipe: Recipe, folder: Path) -> dict[str, str]:
    """The variables that the program sees; its temporary files go into its own folder."""
    passed = {key: os.environ[key] for key in (*PASSED_ON, *recipe.env) if key in os.environ}
    return {**passed, "TMPDIR": str(folder)}


def run(
    recipe: Recipe, argv: list[str], folder: Path, *, progress: Progress, cancelled: Cancelled
) -> None:
    """Run ``argv`` in ``folder`` until it ends well.

    Raises MissingExtra when there is no such program, GeneratorFailed when it fails, is killed by a
    limit or takes too long (with the last lines it wrote), Cancelled when asked to stop. No process
    of it is left in any case.
    """
    env = environment(recipe, folder)
    program = find(argv[0], env.get("PATH", os.defpath))
    word = secrets.token_hex(8)
    order = {"program": program, "argv": argv, "env": env, "limits": _limits(recipe), "word": word}
    # the order goes through a file: a long prompt would not fit beside the environment
    order_file = folder.parent / "order.json"
    order_file.write_text(json.dumps(order), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), str(order_file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=recipe.folder or folder, env=env, start_new_session=True, close_fds=True,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101  it is a pipe
    assert process.stderr is not None  # noqa: S101  it is a pipe
    output = _Output(deque(maxlen=64), [])
    drain = threading.Thread(target=_drain, args=(process.stderr, output), daemon=True)
    drain.start()
    try:
        reason = _watch(process, recipe, folder, output, progress, cancelled)
    finally:
        _end(process)
        drain.join(timeout=_STOP_S)
        said = process.stdout.read()
        for pipe in (process.stdout, process.stderr):
            pipe.close()
    if reason == "cancelled":
        raise Stopped(f"{recipe.name} was asked to stop; its program was ended.")
    _judge(recipe, argv[0], reason, said, output, word)


def find(program: str, path: str) -> str:
    """The full name of a program. Raises MissingExtra with what to do."""
    found = shutil.which(program, path=path)
    if found is None:
        raise MissingExtra(
            f"The program {program!r} was not found or can't be executed. Install it, put its "
            "folder on PATH, or give its full path as the first element of argv."
        )
    return os.path.abspath(found)


def _limits(recipe: Recipe) -> dict[str, int]:
    return {
        "RLIMIT_CPU": max(1, int(recipe.cpu_s)),
        "RLIMIT_DATA": recipe.memory_bytes,
        "RLIMIT_FSIZE": recipe.file_bytes,
        "RLIMIT_CORE": 0,
    }


def _watch(
    process: subprocess.Popen[bytes], recipe: Recipe, folder: Path, output: _Output,
    progress: Progress, cancelled: Cancelled,
) -> str | None:  # fmt: skip
    """Wait for the end; the reason when we must end it."""
    start = time.monotonic()
    shown, stage = 0.0, f"running {recipe.name}"
    next_size = start
    while True:
        try:
            process.wait(_POLL_S)
            return None
        except subprocess.TimeoutExpired:
            pass
        if cancelled():
            return "cancelled"
        now = time.monotonic()
        if now - start > recipe.timeout_s:
            return "timeout"
        if now >= next_size:
            next_size = now + 1.0
            if folder_bytes(folder) > recipe.file_bytes:
                return "space"
        while output.progress:
            fraction, text = output.progress.pop(0)
            shown, stage = max(shown, min(fraction, 1.0)), text or stage
        # without word from the program the bar creeps: half of the way after a fifth of the timeout
        waited = (now - start) / recipe.timeout_s
        progress(max(shown, 0.9 * waited / (waited + 0.2)) * 0.95, stage)


def folder_bytes(folder: Path) -> int:
    """What all files below a folder take, links not followed."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # gone in between
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing standard input makes the supervisor end the tree; if it hangs, the session goes."""
    assert process.stdin  # noqa: S101  it is a pipe
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _drain(pipe: IO[bytes], output: _Output) -> None:
    """Read all that the program writes, so that it never blocks; keep the end of it."""
    rest = b""
    while chunk := os.read(pipe.fileno(), 65536):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        rest = rest[-_TAIL_BYTES:]
        for line in lines:
            if match := _PROGRESS.fullmatch(line.strip()):
                text = (match.group(2) or b"").decode(errors="replace")
                output.progress[:] = [
                    (float(match.group(1)), "".join(c for c in text if c.isprintable()))
                ]
            elif line.strip():
                output.tail.append(line[-1024:])
    if rest.strip():
        output.tail.append(rest[-1024:])


def _judge(
    recipe: Recipe, program: str, reason: str | None, said: bytes, output: _Output, word: str
) -> None:
    name = os.path.basename(program)
    lines = [_clean(line) for line in output.tail]
    refused = [line.partition(word)[2].strip() for line in lines if line.startswith(word)]
    tail = "\n".join(line for line in lines if not line.startswith(word)).splitlines()[
        -_TAIL_LINES:
    ]
    last = "\nIts last lines:\n  " + "\n  ".join(tail) if tail else "\nIt wrote no message."
    if reason == "timeout":
        raise GeneratorFailed(
            f"{name} ran longer than timeout_s = {recipe.timeout_s:g} and was ended. "
            f"Raise timeout_s if it needs more.{last}"
        )
    if reason == "space":
        raise GeneratorFailed(
            f"{name} wrote more than file_gib = {recipe.file_gib:g} into its folder and "
            f"was ended.{last}"
        )
    if refused:
        raise GeneratorFailed(f"{name} could not be started: {refused[0]}.")
    try:
        end = json.loads(said)
    except ValueError:
        raise GeneratorFailed(f"{name} was ended from outside.{last}") from None
    if "signal" in end:
        number = int(end["signal"])
        hint = {
            signal.SIGXCPU: f" It used more than cpu_s = {recipe.cpu_s:g} of processor time.",
            signal.SIGXFSZ: f" It wrote a file larger than file_gib = {recipe.file_gib:g}.",
            signal.SIGKILL: " It may have passed cpu_s, or the machine ran out of memory.",
            signal.SIGSEGV: f" It may have passed memory_gib = {recipe.memory_gib:g}.",
        }.get(number, "")  # type: ignore[call-overload]
        raise GeneratorFailed(f"{name} was killed by signal {number}.{hint}{last}")
    if end.get("code") != 0:
        raise GeneratorFailed(f"{name} ended with exit code {end.get('code')}.{last}")


def _clean(line: bytes) -> str:
    """Text without control characters: an error message must not drive a terminal."""
    text = line.decode("utf-8", errors="replace")
    return "".join(c for c in text if c.isprintable() or c == "\t")

"""The walls of the limited process, each tried from within, and what its death is called."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsafe.errors import LimitExceeded, SandboxFailure, TruncatedMedia, UsageError
from avsafe.media import Limits, sandbox, wire

SELF = "avsafe.media.selftest"
linux = pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")


def call(function: str, limits: Limits | None = None, **kwargs: object) -> object:
    return sandbox.call(f"{SELF}:{function}", kwargs, limits=limits)


def test_a_result_comes_back_as_json() -> None:
    value = {"a": [1, 2.5, None], "ü": True}
    assert call("echo", value=value) == value


def test_arrays_are_streamed_in_order() -> None:
    with sandbox.stream(f"{SELF}:count", {"n": 5}) as messages:
        for index, message in enumerate(messages):
            assert message.header["index"] == index
            assert message.arrays["data"].tolist() == [index] * 3
    assert index == 4


def test_leaving_a_stream_ends_the_child() -> None:
    with sandbox.stream(f"{SELF}:count", {"n": 10**9}) as messages:
        next(messages)
        process = messages.gi_frame.f_locals["self"]._process  # type: ignore[attr-defined]
        assert process.poll() is None
    assert process.returncode is not None


@linux
def test_every_wall_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    found = sandbox.capabilities()
    landlock = found.pop("landlock")  # kernels before 5.13 have none
    if not landlock:
        del found["foreign_files_refused"]
    assert all(found.values()), found
    assert "network_refused" in found


@linux
def test_only_named_files_can_be_read(tmp_path: Path) -> None:
    if not sandbox.capabilities()["landlock"]:
        pytest.skip("this kernel has no Landlock")
    named, other = tmp_path / "named", tmp_path / "other"
    named.write_text("yes")
    other.write_text("no")
    assert call("read_text", path=str(named)) == "yes"
    hidden = {"path": f"file://{other}"}  # not recognised as a path, so not allowed
    with pytest.raises(SandboxFailure, match="PermissionError"):
        sandbox.call(f"{SELF}:read_url", hidden)
    assert sandbox.call(f"{SELF}:read_url", hidden, readable=[tmp_path]) == "no"


@pytest.mark.parametrize(
    ("name", "kwargs", "limits", "words"),
    [
        ("spin", {"seconds": 30}, {"cpu_s": 1}, r"1 s of CPU time.*Limits.cpu_s"),
        ("sleep", {"seconds": 30}, {"wall_s": 0.5}, r"within 0.5 s.*Limits.wall_s"),
        ("allocate", {"gibibytes": 2}, {"memory_bytes": 1 << 30}, r"1 GiB.*Limits.memory_bytes"),
        ("flood", {"mebibytes": 2}, {"output_bytes": 1 << 20}, r"Limits.output_bytes"),
    ],
)
def test_a_limit_is_named(name: str, kwargs: dict, limits: dict, words: str) -> None:
    with pytest.raises(LimitExceeded, match=words):
        call(name, replace(Limits(), **limits), **kwargs)


@pytest.mark.parametrize(
    ("name", "words"),
    [("crash", "SIGSEGV"), ("leave", "code 7"), ("garbage", "not a message")],
)
def test_a_death_is_a_sandbox_failure(name: str, words: str) -> None:
    with pytest.raises(SandboxFailure, match=words):
        call(name)


def test_typed_errors_cross_and_others_do_not() -> None:
    with pytest.raises(TruncatedMedia, match="too short"):
        call("fail", name="TruncatedMedia", message="too short")
    with pytest.raises(SandboxFailure, match="ZeroDivisionError: by zero"):
        call("fail", name="ZeroDivisionError", message="by zero")


@pytest.mark.parametrize("target", ["os:system", "numpy:load", "avsafe.media.selftest", "avsafe:"])
def test_only_our_code_is_a_target(target: str) -> None:
    with pytest.raises(UsageError):
        sandbox.call(target, {})


def test_a_slow_consumer_is_no_hanging_reader() -> None:
    with sandbox.stream(
        f"{SELF}:count", {"n": 3}, limits=replace(Limits(), wall_s=1.0)
    ) as messages:
        for _ in messages:
            time.sleep(0.5)


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    """PR_SET_PDEATHSIG follows the thread that forks; ours lives as long as the process."""
    opened = []

    def ask() -> None:
        context = sandbox.stream(f"{SELF}:count", {"n": 3})
        opened.append((context, context.__enter__()))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    context, messages = opened[0]
    time.sleep(0.2)
    assert len(list(messages)) == 3
    context.__exit__(None, None, None)


@linux
def test_a_child_dies_with_its_parent() -> None:
    """A parent killed outright leaves no reader behind."""
    program = (
        "import threading, time\n"
        "from avsafe.media import sandbox\n"
        "threading.Thread(target=lambda: sandbox.call('avsafe.media.selftest:sleep',"
        " {'seconds': 60}), daemon=True).start()\n"
        "time.sleep(0.6); print('ready', flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout
    parent.stdout.readline()
    children = _children(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(children) == 1
    for _ in range(50):
        if not Path(f"/proc/{children[0]}").exists() or _state(children[0]) == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def _children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry))
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


# ------------------------------------------------------------ the wire, against a hostile sender


def receive(data: bytes, most: int = 1 << 20) -> wire.Message:
    at = 0

    def read_into(buffer: memoryview) -> None:
        nonlocal at
        buffer[:] = data[at : at + len(buffer)]
        at += len(buffer)

    return wire.receive(read_into, most)


def framed(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(header)) + header + body


@pytest.mark.parametrize(
    "header",
    [
        b"nonsense",
        b"[]",
        b"{}",
        b'{"arrays": [["x", "O", [1]]]}',
        b'{"arrays": [["x", "|O", [1]]]}',
        b'{"arrays": [["x", "<U8", [1]]]}',
        b'{"arrays": [["x", "f4", [-1]]]}',
        b'{"arrays": [["x", "f4", "ab"]]}',
        b'{"arrays": [["x", [["a", "O"]], [1]]]}',
        b"[" * 3000,
    ],
)
def test_what_is_no_message_is_refused(header: bytes) -> None:
    with pytest.raises(SandboxFailure):
        receive(framed(header, bytes(64)))


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 0xFFFFFFFF),
        framed(b'{"arrays": [["x", "f8", [4294967296, 4294967296]]]}'),
        framed(b'{"arrays": [["x", "u1", [2000000]]]}'),
    ],
)
def test_sizes_are_checked_before_memory_is_taken(data: bytes) -> None:
    with pytest.raises(LimitExceeded):
        receive(data)


def test_arrays_survive_the_wire(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int16).reshape(2, 3),
        "b": np.array(2.5),
        "c": np.zeros((0, 4), np.complex64),
        "d": np.arange(10)[::2],
    }
    path = tmp_path / "wire"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    wire.send(descriptor, wire.Message({"kind": "item"}, arrays))
    os.close(descriptor)
    back = receive(path.read_bytes())
    assert back.header == {"kind": "item"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype
        assert back.arrays[name].shape == array.shape


def test_objects_do_not_leave(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        wire.send(1, wire.Message({}, {"x": np.array([object()])}))


def test_time_grows_with_the_media_up_to_a_bound() -> None:
    limits = Limits(cpu_s=10, wall_s=20.0, pixels_at_once=1000, most_times=3)
    times = [limits.for_work(pixels) for pixels in (-5, 0, 500, 2000, 10**30)]
    assert [one.cpu_s for one in times] == [10, 10, 15, 30, 30]
    assert [one.wall_s for one in times] == [20.0, 20.0, 30.0, 60.0, 60.0]
    assert Limits.from_json(limits.as_json()) == limits


@linux
@pytest.mark.parametrize(
    ("pixels", "times"), [(0, (1, 1, 3)), (1000, (1, 2, 3)), (10**40, (1, 3, 3))]
)
def test_a_child_that_announces_work_gets_the_time_for_it(pixels: int, times: tuple) -> None:
    """Soft limit before and after, and the hard one that nobody raises; in seconds."""
    limits = replace(Limits(), cpu_s=1, pixels_at_once=1000, most_times=3)
    with sandbox.stream(f"{SELF}:working", {"pixels": pixels}, limits=limits) as messages:
        (found,) = (message.arrays["cpu_s"].tolist() for message in messages)
    before, after, hard = times
    assert found == [before, after, hard + 2]


@pytest.mark.parametrize("pixels", [0, 10**40])
def test_announced_work_is_ended_at_its_limit(pixels: int) -> None:
    limits = replace(Limits(), cpu_s=1, pixels_at_once=1000, most_times=2)
    most = 2 if pixels else 1
    with (
        pytest.raises(LimitExceeded, match=f"more than {most} s of CPU time"),
        sandbox.stream(f"{SELF}:working", {"pixels": pixels, "spins": True}, limits=limits) as all_,
    ):
        list(all_)


@pytest.mark.parametrize("pixels", ["much", None, [1], 2.5])
def test_work_that_is_no_number_is_refused(pixels: object) -> None:
    with (
        pytest.raises(SandboxFailure, match="announced its work"),
        sandbox.stream(f"{SELF}:lying", {"header": {"kind": "work", "work": pixels}}) as messages,
    ):
        list(messages)


def test_limits_must_be_positive() -> None:
    with pytest.raises(UsageError, match="cpu_s"):
        Limits(cpu_s=0)

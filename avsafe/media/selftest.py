"""Functions that run against the sandbox's walls; ``avsafe doctor`` and the tests start them there.

Each attempt goes straight to the C library, past Python's own checks, as hostile code would.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from avsafe.media.wire import Message, work_ahead

if TYPE_CHECKING:
    from avsafe.types import Features, Frame, Media, Picture, Samples


def echo(value: Any) -> Any:
    """The argument, back from the child."""
    return value


def environment() -> dict[str, str]:
    """The environment variables of the child."""
    return dict(os.environ)


def report(parent: int) -> dict[str, bool]:
    """Try what must fail. True means that it was refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    write_flags = os.O_WRONLY | os.O_CREAT
    return {
        "network_refused": all(libc.socket(family, 1, 0) < 0 for family in (1, 2, 10)),
        "programs_refused": libc.execve(b"/bin/true", None, None) < 0 and libc.vfork() < 0,
        "writing_refused": libc.open(b"/tmp/avsafe-selftest", write_flags, 0o600) < 0,
        "foreign_files_refused": all(
            libc.open(path, os.O_RDONLY) < 0
            for path in (b"/etc/passwd", b"/proc/%d/environ" % parent)
        ),
        "clean_environment": not any("AVSAFE" in name or "TOKEN" in name for name in os.environ),
    }


def read_text(path: str) -> str:
    """The beginning of a file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(100)


def read_url(path: str) -> str:
    """The same for a path that the sandbox does not recognise as one."""
    return read_text(path.removeprefix("file://"))


def spin(seconds: float) -> None:
    """Use CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def sleep(seconds: float) -> None:
    """Wait without using anything, as a reader that hangs."""
    time.sleep(seconds)


def allocate(gibibytes: float) -> int:
    """Take memory and touch it."""
    block = bytearray(int(gibibytes * (1 << 30)))
    return len(block)


def crash() -> None:
    """End by a segmentation fault, as a broken decoder would."""
    ctypes.string_at(0)


def leave() -> None:
    """End without an answer."""
    os._exit(7)


def fail(name: str, message: str) -> None:
    """Raise an error by name: one of avsafe's, or a built-in one."""
    import builtins

    from avsafe import errors

    raise (getattr(errors, name, None) or getattr(builtins, name))(message)


def count(n: int) -> Iterator[Message]:
    """Stream numbers."""
    import numpy as np

    for index in range(n):
        yield Message({"index": index}, {"data": np.full(3, index, np.int32)})


def flood(mebibytes: int) -> Message:
    """Answer with more than is allowed."""
    import numpy as np

    return Message({}, {"data": np.zeros(mebibytes << 20, np.uint8)})


def working(pixels: int, spins: bool = False) -> Iterator[Message]:
    """Announce work; then the limits of CPU time in seconds: soft before and after, and hard."""
    import resource

    import numpy as np

    before, _ = resource.getrlimit(resource.RLIMIT_CPU)
    yield work_ahead(pixels)
    if spins:
        spin(60)
    after, hard = resource.getrlimit(resource.RLIMIT_CPU)
    yield Message({}, {"cpu_s": np.array([before, after, hard])})


def lying(header: dict[str, Any]) -> None:
    """Send a message of one's own making, as code that took the process over could."""
    from avsafe.media.wire import send

    for descriptor in range(3, 10):
        try:
            send(descriptor, Message(header))
        except OSError:
            continue
    os._exit(0)


def garbage() -> None:
    """Write what is no message to the answer pipe, as code that took the process over could."""
    for descriptor in range(3, 10):
        try:
            os.write(descriptor, b"\x00\x00\x00\x05nojso" * 10)
        except OSError:
            continue
    os._exit(0)


class Means:
    """The smallest FeatureExtractor: the mean of each frame and the number of samples."""

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._means: list[float] = []
        self._times_s: list[float] = []
        self._samples = 0

    def start(self, media: Media) -> None:
        pass

    def frame(self, frame: Frame, time_s: float) -> None:
        self._means.append(float(frame.mean()))
        self._times_s.append(time_s)

    def samples(self, block: Samples, rate_hz: int) -> None:
        self._samples += block.shape[1]

    def finish(self) -> Features:
        import numpy as np

        return {
            "means": np.array(self._means),
            "times_s": np.array(self._times_s),
            "samples": np.array([self._samples]),
        }


class LumaMeans(Means):
    """The same of luma."""

    picture: Picture = "luma"


class Deaf(Means):
    """The same without pictures: counts samples."""

    picture: Picture = "none"


class Seldom(LumaMeans):
    """The same of one frame in half a second."""

    def wants(self, time_s: float) -> bool:
        return not self._times_s or time_s >= self._times_s[-1] + 0.5 - 1e-9


class Unstated:
    """No extractor: it does not say what it needs."""


class Spinning(Means):
    """An extractor that never comes to an end."""

    def frame(self, frame: Frame, time_s: float) -> None:
        spin(3600)


class Patches:
    """Stands in for a network that knows faces (``types.LikenessEmbedder``): each square of a
    picture that lies on its side is a face, its mean colour who it is; black is nobody."""

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._found: list[tuple[list[float], int]] = []
        self._looks = 0

    def start(self, media: Media) -> None:
        pass

    def frame(self, frame: Frame, time_s: float) -> None:
        side = frame.shape[0]
        for x in range(0, frame.shape[1] - side + 1, side):
            colour = frame[:, x : x + side].mean((0, 1)) / 255
            if colour.max() > 0.1:
                self._found.append((colour.tolist(), self._looks))
        self._looks += 1

    def samples(self, block: Samples, rate_hz: int) -> None:
        pass

    def finish(self) -> Features:
        import numpy as np

        return {
            "vectors": np.array([v for v, _ in self._found], np.float32).reshape(-1, 3),
            "look": np.array([look for _, look in self._found], np.int64),
            "looks": np.array([self._looks], np.int64),
        }

"""How the limited process speaks: length, JSON header, raw arrays. No pickle, nothing executable.

A message is a 4-byte big-endian length, a JSON object of that length, and the bytes of the arrays
that the object lists under ``arrays`` as ``[name, dtype, shape]``, one after the other.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from avsafe.errors import LimitExceeded, SandboxFailure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_HEADER_BYTES = 64 << 20
_PLAIN_KINDS = frozenset("biufc")  # numpy kinds that are numbers; never objects
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Message:
    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def work_ahead(pixels: int) -> Message:
    """What a streaming target yields first when its work grows with the media: how many pixels it
    will decode. Child and parent then allow it the time for that (``Limits.for_work``)."""
    return Message({"work": pixels})


def send(descriptor: int, message: Message) -> None:
    """Write one message; blocks while the reader is busy, which is what bounds the memory."""
    arrays = []
    buffers: list[memoryview] = []
    if message.arrays:
        import numpy as np

        for name, value in message.arrays.items():
            array = np.ascontiguousarray(value)
            if array.dtype.kind not in _PLAIN_KINDS:
                raise TypeError(f"array {name!r} of {array.dtype} does not leave the sandbox")
            arrays.append([name, array.dtype.str, list(np.shape(value))])
            buffers.append(_bytes_of(array))
    header = json.dumps({**message.header, "arrays": arrays}).encode()
    buffers.insert(0, memoryview(_LENGTH.pack(len(header)) + header))
    for buffer in buffers:
        while len(buffer):
            buffer = buffer[os.write(descriptor, buffer) :]


def receive(read_into: Callable[[memoryview], None], most_bytes: int) -> Message:
    """Read one message. The sender may be hostile: every size is checked before memory is taken.

    Raises ``SandboxFailure`` for what is not a message, ``LimitExceeded`` when it is too large.
    """
    length = bytearray(_LENGTH.size)
    read_into(memoryview(length))
    (size,) = _LENGTH.unpack(length)
    if size > min(MAX_HEADER_BYTES, most_bytes):
        raise LimitExceeded(_too_much(size, most_bytes))
    text = bytearray(size)
    read_into(memoryview(text))
    try:
        header = json.loads(text)
        listed = [(str(name), *_layout(dtype, shape)) for name, dtype, shape in header["arrays"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SandboxFailure(f"The limited process sent what is not a message: {error}") from error
    total = size + sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in listed)
    if total > most_bytes:
        raise LimitExceeded(_too_much(total, most_bytes))
    arrays = {}
    for name, dtype, shape in listed:
        import numpy as np

        array = np.empty(shape, dtype)
        if array.size:
            read_into(_bytes_of(array))
        arrays[name] = array
    del header["arrays"]
    return Message(header, arrays)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    import numpy as np

    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # PEP 688 stubs


def _layout(dtype: Any, shape: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    import numpy as np

    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise TypeError("an array needs a dtype and a shape")
    kind = np.dtype(dtype)
    if kind.kind not in _PLAIN_KINDS or kind.hasobject:
        raise TypeError(f"dtype {dtype} is not allowed")
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise ValueError("negative size")
    return kind, sizes


def _too_much(found: int, allowed: int) -> str:
    return (
        f"The limited process wants to send {found} bytes at once; the limit is {allowed} "
        "(Limits.output_bytes)."
    )

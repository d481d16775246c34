"""Reading weights: inside their folder, never through a link, digest checked, never a pickle."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from avsafe.errors import UsageError
from avsafe.qualify import onnx_file
from avsafe.qualify.manifest import PICKLE, Weight

MAX_BYTES = 8 << 30
_ONNX_BYTES = 2 << 30  # protobuf's own limit
_HEADER_BYTES = 100 << 20  # safetensors' own limit of its header
# First bytes of torch.save (a ZIP archive, or a bare pickle of protocol 2 to 5) and of NumPy.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY")


def opened(folder: Path, relative: str) -> BinaryIO:
    """A regular file inside ``folder``, no part of whose path is a link.

    Raises UsageError when there is none.
    """
    parts = PurePosixPath(relative).parts
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(parts[-1], flags, dir_fd=at)
    except OSError as error:
        linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
        reason = "is, or lies behind, a link" if linked else f"can't be read ({error.strerror})"
        raise UsageError(
            f"{relative} {reason}. Weights are plain files in the folder of the manifest."
        ) from error
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{relative} is no plain file.")
    return os.fdopen(descriptor, "rb")


def read(folder: Path, weight: Weight) -> bytes:
    """The bytes of a file of weights, digest and format checked: what is loaded is what was named.

    Raises UsageError.
    """
    with opened(folder, weight.path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size, weight)
        data = file.read()
    found = hashlib.sha256(data).hexdigest()
    if found != weight.sha256:
        raise another_digest(weight, found)
    check(data, weight)
    return data


def another_digest(weight: Weight, found: str) -> UsageError:
    return UsageError(
        f"{weight.path} has SHA-256 {found}, but the manifest names {weight.sha256}. Use the file "
        "that was named; if you trust this one instead, name it in the manifest, add it anew and "
        "qualify it again."
    )


def check(data: bytes, weight: Weight) -> None:
    """Raises UsageError when the bytes are not of the format that the manifest names."""
    check_size(len(data), weight)
    if data.startswith(_PICKLES):
        raise UsageError(f"{weight.path} {PICKLE}")
    if weight.format == "onnx":
        onnx_file.check(data, weight.path)
    else:
        _check_safetensors(data, weight.path)


def check_size(size: int, weight: Weight) -> None:
    """Raises UsageError when a file of this format can not have so many bytes."""
    most = _ONNX_BYTES if weight.format == "onnx" else MAX_BYTES
    if not 0 < size <= most:
        raise UsageError(
            f"{weight.path} has {size} bytes; a file of {weight.format} has 1 to {most}."
        )


def _check_safetensors(data: bytes, name: str) -> None:
    """The header: eight bytes of its length, then JSON (github.com/huggingface/safetensors)."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 10 or not 2 <= size <= min(_HEADER_BYTES, len(data) - 8):
        raise UsageError(f"{name} is no safetensors file (no header at its beginning).")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no safetensors file (its header is no JSON).") from error
    if not isinstance(header, dict) or not set(header) - {"__metadata__"}:
        raise UsageError(f"{name} is no safetensors file with tensors.")

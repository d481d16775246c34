"""Landlock (Linux 5.13): this process may from now on read some files and folders, and write none.

Legend: ``readable`` are files or folders whose files may be read; ``listable`` are folders in which
only names may be listed, which is what Python's import system needs of a folder on ``sys.path``.
Source: docs.kernel.org/userspace-api/landlock.html; numbers from linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls; the same on every architecture
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_BY_ABI = {1: 13, 2: 14, 3: 15, 5: 16}  # ABI -> how many file-system rights it knows


def abi(libc: ctypes.CDLL) -> int:
    """The version of Landlock in the running kernel; 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE, None, 0, _VERSION_FLAG)))


def restrict(libc: ctypes.CDLL, readable: Iterable[str], listable: Iterable[str]) -> bool:
    """Give up every access to files but these; True when the kernel agreed.

    Needs ``no_new_privs``. Paths that do not exist are passed over.
    """
    version = abi(libc)
    if version == 0:
        return False
    rights = (1 << max(n for known, n in _FS_BY_ABI.items() if known <= version)) - 1
    attributes = struct.pack("Q", rights)
    if version >= 4:
        attributes += struct.pack("Q", 3)  # TCP bind and connect
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
        for path in listable:
            _allow(libc, ruleset, path, _READ_DIR)
        return bool(libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _READ_FILE
        libc.syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)

"""Which files the limited process may read: its own program, and what its arguments name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# What a C library, OpenBLAS and OpenSSL look at when they start. Nothing here is private.
_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
)


def readable(arguments: Any, more: Iterable[Path | str] = ()) -> list[str]:
    """Files and folders whose content the child needs."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    interpreter = [path for path in sorted(prefixes) if path not in ("/", "/usr")]
    packages = [item for root in _roots() for item in _packages(root)]
    return [*_SYSTEM, *interpreter, *packages, *named_files(arguments), *map(str, more)]


def listable() -> list[str]:
    """Folders in which Python looks for modules."""
    return _roots()


def named_files(value: Any) -> Iterator[str]:
    """The absolute paths of existing files among JSON arguments."""
    if isinstance(value, str):
        if value.startswith("/") and len(value) < 4096 and os.path.isfile(value):
            yield value
            yield os.path.realpath(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from named_files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_files(item)


def _roots() -> list[str]:
    return [path for path in sys.path if os.path.isabs(path) and os.path.isdir(path)]


def _packages(root: str) -> Iterator[str]:
    """The modules in one folder of ``sys.path``, without what else lies there."""
    if os.path.basename(root) in ("site-packages", "dist-packages", "lib-dynload"):
        yield root
        return
    for entry in os.scandir(root):
        if entry.is_dir():
            if os.path.isfile(os.path.join(entry.path, "__init__.py")):
                yield entry.path
        elif entry.name.endswith((".py", ".so", ".zip")):
            yield entry.path

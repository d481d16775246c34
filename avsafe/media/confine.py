"""What a process does to itself before it touches a file of others. Runs first in the child.

Order: limits (``setrlimit``), death with the parent, no new privileges, Landlock (which files it
may read), then a system-call filter that refuses the network, new processes and every way to
write, and last a Python audit hook that says the same one layer up, for systems without the
filter.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from typing import Any

from avsafe.media import landlock

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

# Classic BPF (linux/bpf_common.h) and seccomp return values (linux/seccomp.h).
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EACCES, _ENOSYS = 1, 13, 38
_NR, _ARCH, _ARG0 = 0, 4, 16  # offsets in struct seccomp_data; arguments are 8 bytes each
_CLONE_THREAD = 0x00010000
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# Refused outright: network, new programs, other processes, kernel interfaces, changes to files.
_X86_64 = (
    "41 42 43 44 46 49 50 53 288 307 "  # socket connect accept sendto sendmsg bind listen ...
    "57 58 59 322 "  # fork vfork execve execveat
    "62 101 310 311 424 434 438 "  # kill ptrace process_vm_* pidfd_*
    "155 161 163 165 166 169 175 246 248 249 250 272 298 303 304 308 313 320 321 323 "  # mount,
    "425 426 427 428 429 430 431 432 433 442 "  # modules, keys, namespaces, bpf, perf, io_uring
    "76 82 83 84 85 86 87 88 90 91 92 93 94 132 133 188 189 190 235 258 259 260 261 263 "
    "264 265 266 268 280 316 452 "  # truncate rename mkdir creat link unlink chmod chown utime
)
_AARCH64 = (
    "198 199 200 201 202 203 206 211 242 269 "
    "221 281 "
    "129 117 270 271 424 434 438 "
    "39 40 41 51 89 92 97 104 105 142 217 218 219 241 264 265 268 273 280 282 294 425 426 427 428 "
    "429 430 431 432 433 442 "
    "5 6 7 33 34 35 36 37 38 45 52 53 54 55 88 276 452 "
)
# machine -> audit architecture, refused, clone, open (None: no such call), openat
_MACHINES: dict[str, tuple[int, str, int, int | None, int]] = {
    "x86_64": (0xC000003E, _X86_64, 56, 2, 257),
    "aarch64": (0xC00000B7, _AARCH64, 220, None, 56),
}
_CLONE3, _OPENAT2 = 435, 437  # the same number everywhere; flags in memory that a filter cannot see


def confine(
    limits: dict[str, Any], parent: int, readable: list[str], listable: list[str]
) -> dict[str, bool]:
    """Give up everything that reading one file does not need. Returns what could be given up."""
    done = {"rlimits": _set_rlimits(limits)}
    done["dies_with_parent"] = done["no_new_privileges"] = done["seccomp"] = False
    done["landlock"] = False
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        done["dies_with_parent"] = libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
        if os.getppid() != parent:
            os._exit(1)  # the parent died before it could be watched
        done["no_new_privileges"] = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        if done["no_new_privileges"]:
            done["landlock"] = landlock.restrict(libc, readable, listable)
        done["seccomp"] = done["no_new_privileges"] and _install_filter(libc)
    sys.addaudithook(_audit)
    done["audit_hook"] = True
    return done


def _set_rlimits(limits: dict[str, Any]) -> bool:
    import resource

    cpu_s = int(limits["cpu_s"])
    most_s = cpu_s * int(limits["most_times"])
    bounds = [
        (resource.RLIMIT_CPU, cpu_s, most_s + 2),  # SIGXCPU, then SIGKILL
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, 128, 128),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    memory = int(limits["memory_bytes"])
    if sys.platform == "linux":  # macOS has the constant but refuses the call
        bounds.append((resource.RLIMIT_AS, memory, memory))
    for which, soft, hard in bounds:
        _, ceiling = resource.getrlimit(which)
        if ceiling == resource.RLIM_INFINITY:
            ceiling = hard
        resource.setrlimit(which, (min(soft, ceiling), min(hard, ceiling)))
    return True


def allow_cpu(cpu_s: int) -> None:
    """More CPU time for long media, within the hard limit that cannot be raised any more."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = cpu_s if hard == resource.RLIM_INFINITY else min(cpu_s, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def filter_program(machine: str) -> bytes | None:
    """The BPF program for a machine, or None where we have none."""
    if machine not in _MACHINES:
        return None
    arch, refused, clone, plain_open, openat = _MACHINES[machine]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),  # another architecture's call numbers mean other calls
        (_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _ERRNO | _EPERM)]  # x32
    for number in sorted({int(item) for item in refused.split()}):
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    for number in (_CLONE3, _OPENAT2):  # "no such call": the C library then uses the older one
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += [  # threads yes, processes no
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _ARG0),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    for call, argument in ((plain_open, 1), (openat, 2)):
        if call is not None:
            code += [
                (_EQUAL, 0, 4, call),
                (_LOAD, 0, 0, _ARG0 + 8 * argument),
                (_ANY_BIT, 0, 1, _WRITE_FLAGS),
                (_RETURN, 0, 0, _ERRNO | _EACCES),
                (_RETURN, 0, 0, _ALLOW),
            ]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in code)


def _install_filter(libc: ctypes.CDLL) -> bool:
    program = filter_program(platform.machine())
    if program is None:
        return False

    class SockFprog(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    value = SockFprog(len(program) // 8, program)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(value), 0, 0) == 0)


_FORBIDDEN_EVENTS = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "shutil.",
    "urllib.",
    "ftplib.",
    "http.client",
    "smtplib.",
)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"{event} is refused in the process that reads a file of others")
    if event == "open" and len(arguments) == 3:
        flags = arguments[2]
        if (
            isinstance(flags, int)
            and flags & _WRITE_FLAGS
            and isinstance(arguments[0], str | bytes)
        ):
            raise PermissionError("writing is refused in the process that reads a file of others")

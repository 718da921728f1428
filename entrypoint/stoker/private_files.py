"""Files that a process makes are its user's alone, whatever mode the process means to give them.

Triton's Python backend makes its region in /dev/shm, through which prompts and answers go, with mode 0644 and sets that
mode again by fchmod, which no umask keeps it from. Between that and a chmod of ours another user could open the region
and keep it. So the kernel is told to answer such an fchmod without doing it: a seccomp filter, which needs no
privilege, and which Triton and all its children inherit.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

UMASK = 0o077
_READABLE_BY_ALL = 0o644
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4  # else older kernels also switch off speculation, which costs the engine speed
# The architecture as seccomp calls it, and the numbers of fchmod and seccomp there.
_NUMBERS = {"x86_64": (0xC000003E, 91, 317), "aarch64": (0xC00000B7, 52, 277)}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF's
_ALLOW, _PRETEND = 0x7FFF0000, 0x00050000  # seccomp's verdicts; the second: without doing it, with error 0
_NUMBER, _ARCHITECTURE, _MODE = 0, 4, 24  # offsets in struct seccomp_data; the last is the second argument's
_libc = ctypes.CDLL(None, use_errno=True)


def keep_private() -> None:
    """For this process and all that it starts. Where the kernel has no seccomp, the umask alone holds."""
    os.umask(UMASK)
    numbers = _NUMBERS.get(platform.machine())
    if numbers is not None:
        _ignore_fchmod(*numbers)


def _ignore_fchmod(architecture: int, fchmod: int, seccomp: int) -> int:
    """0, or the error's number."""
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 0, 5, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 0, 3, fchmod),
        (_LOAD, 0, 0, _MODE),
        (_JUMP_IF_EQUAL, 0, 1, _READABLE_BY_ALL),
        (_RETURN, 0, 0, _PRETEND),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    header = struct.pack("@HP", len(steps), ctypes.addressof(program))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = _libc.syscall(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW, header)
    return 0 if done == 0 else ctypes.get_errno() or errno.EINVAL

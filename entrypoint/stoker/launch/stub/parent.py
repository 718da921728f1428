"""The stub ends with the server that started it, whatever the stub is doing.

A thread that waits for the server's end is not enough: it needs the interpreter's lock (GIL) to act, and some calls
never give that back. Setting one of Triton's metrics, for example, waits with the lock held for an answer of the
server. So the kernel itself ends the process: the server holds one end of a pipe, its lifeline, and when the last
writer closes it, the kernel sends a signal to whoever has asked for one (fcntl(2), O_ASYNC).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading

from stoker.launch.settings import LIFELINE


def die_with(parent: int) -> None:
    """Not by PR_SET_PDEATHSIG: it follows the thread that started the stub, and the server ends that after loading."""
    descriptor = os.pidfd_open(parent)
    if line := os.environ.pop(LIFELINE, ""):
        reading, writing = map(int, line.split(","))
        with contextlib.suppress(OSError):  # closed by a launcher between the server and us: the thread has to do
            _hang_on(reading, writing)

    def watch() -> None:
        select.select([descriptor], [], [])
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _hang_on(reading: int, writing: int) -> None:
    """Ours is an opening of its own: the signal's addressee belongs to an opening, and the server has other stubs."""
    if not os.path.sameopenfile(reading, writing):
        return  # closed by a launcher, and other files have their numbers now
    own = os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.close(reading)
    os.close(writing)
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)

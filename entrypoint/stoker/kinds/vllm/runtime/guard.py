"""The parent of the host: `python -m stoker.kinds.vllm.runtime.guard SETTINGS`. Ends all below it when anything ends.

A killed process leaves its children behind, and one of vLLM's holds the GPU's memory. So the guard is the reaper of all
of them (prctl(2), PR_SET_CHILD_SUBREAPER): whoever loses its parent becomes the guard's own child. It ends them when
the host ends or when its standard input does, a pipe that whoever started it never writes to and never closes.
Should the guard itself be killed, the kernel kills the host, then the EngineCore, then the ranks (hook/sitecustomize).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "STOKER_VLLM_GUARD"
HOST = "stoker.kinds.vllm.runtime.host"
_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 1.0  # seconds for the host to end by itself; then it is killed, which frees the GPU as well
_TRACKER_GRACE = 10.0  # for multiprocessing's resource trackers to unlink shared memory
_TRACKER = b"multiprocessing.resource_tracker"


def main(settings: str) -> int:
    """The host's exit code; 128 and the signal's number if one ended it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, _raise_exit)
    hook = str(Path(__file__).parent / "hook")
    path = os.pathsep.join(filter(None, [hook, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, VARIABLE: str(os.getpid())}
    host = subprocess.Popen([sys.executable, "-m", HOST, settings], stdin=subprocess.DEVNULL, env=environment)
    try:
        _wait(host.pid)
    finally:
        code = _end(host)
        end_descendants()
    return code if code >= 0 else 128 - code


def _raise_exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _wait(host: int) -> None:
    """Until the host ends, or our standard input does."""
    poller = select.poll()
    descriptor = os.pidfd_open(host)
    poller.register(descriptor, select.POLLIN)
    kind = os.fstat(0).st_mode
    if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):  # not a terminal, nor /dev/null
        poller.register(0, select.POLLIN)
    while True:
        ready = {number for number, _ in poller.poll()}
        if descriptor in ready or (0 in ready and not os.read(0, 4096)):
            break
    os.close(descriptor)


def _end(host: subprocess.Popen[bytes]) -> int:
    if host.poll() is None:
        host.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(_GRACE)
    host.kill()
    return host.wait()


def end_descendants() -> None:
    """Returns when none is left. Resource trackers go last: each unlinks shared memory once nobody else uses it."""
    alone_since = 0.0
    while children := descendants():
        others = [child for child in children if not _is_tracker(child)]
        alone_since = 0.0 if others else alone_since or time.monotonic()
        late = alone_since and time.monotonic() - alone_since > _TRACKER_GRACE
        for child in children if late else others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _reap()
        time.sleep(0.02)


def descendants() -> list[int]:
    """Process ids of all that descend from this one."""
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
    found, queue = [], [os.getpid()]
    while queue:
        parent = queue.pop()
        children = [pid for pid, above in parents.items() if above == parent]
        found += children
        queue += children
    return found


def _is_tracker(pid: int) -> bool:
    try:
        return _TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

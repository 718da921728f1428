"""One run of a tool: in a process group of its own, its output kept and read, its memory watched."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stoker.processes import group_members
from stoker.tethered import OWN_GROUP, tethered

_SAMPLE_SECONDS = 0.2
_KEPT_LINES = 200
_BREAKS = re.compile(rb"[\r\n]+")  # progress bars end in a carriage return


@dataclass
class Ran:
    """`peak_bytes`: the most resident memory of its processes together, as sampled. `lines`: the last it printed."""

    code: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))


def run_tool(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], log: Path, on_line: Callable[[str], None]
) -> Ran:
    """Runs it to its end, however that comes; no process of its group is left then."""
    ran, began = Ran(), time.monotonic()
    with log.open("wb") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        with _group(command, directory, environment) as process:
            assert process.stdout is not None
            for line in _lines(process.pid, process.stdout, file, ran):
                ran.lines.append(line)
                on_line(line)
            ran.code = process.wait()
    ran.seconds = round(time.monotonic() - began, 3)
    return ran


@contextlib.contextmanager
def _group(
    command: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        tethered(command, signal.SIGKILL, OWN_GROUP),
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The group, or the process alone where it has not made the group yet."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _lines(group: int, stream: IO[bytes], log: IO[bytes], ran: Ran) -> Iterator[str]:
    """Until the process ends: what it has started may hold the stream open for longer."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(_SAMPLE_SECONDS):
                ran.peak_bytes = max(ran.peak_bytes, _resident(group))
                if _ended(group):
                    break
                continue
            data = os.read(stream.fileno(), 1 << 16)
            log.write(data)
            log.flush()
            *whole, rest = _BREAKS.split(rest + data) if data else [rest, b""]
            ran.peak_bytes = max(ran.peak_bytes, _resident(group))
            yield from (line.decode(errors="replace").rstrip() for line in whole if line.strip())
            if not data:
                break


def _ended(pid: int) -> bool:
    """Without collecting it: its exit code is still to be read."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _resident(group: int) -> int:
    """Bytes of its processes now, and at least the most that one of them has had."""
    together, highest = 0, 0
    for pid in group_members(group):
        with contextlib.suppress(OSError, ValueError):
            status = Path(f"/proc/{pid}/status").read_text()
            together += _kib(status, "VmRSS")
            highest = max(highest, _kib(status, "VmHWM"))
    return max(together, highest) << 10


def _kib(status: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) if match else 0

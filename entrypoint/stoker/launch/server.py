"""The tritonserver process: on Unix sockets of its private run directory, in a process group of its own, nothing of it
left behind.

Triton's own protocols know no users: whoever reaches its socket can read and crash the engine. The directory's mode
(0700) keeps other users of the machine from the sockets; private_files.py keeps them from its shared memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import re
import secrets
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stoker.launch import shared_memory
from stoker.launch.installation import Installation, server_environment
from stoker.launch.kind import alone
from stoker.launch.settings import LIFELINE, STUB_PID_FILE
from stoker.pinning import ANYWHERE, Pinning
from stoker.processes import process_lives, session_members
from stoker.tethered import PRIVATE, tethered

logger = logging.getLogger("stoker.triton")

# Triton appends `:PORT` to the address of its gRPC, also where that is a file's name, and ignores the metrics' port.
GRPC_SOCKET, GRPC_PORT = "grpc", 1
METRICS_SOCKET, METRICS_PORT = "metrics", 2
# What our client never asks for. shared-memory and model-repository are the ways to write to the server's memory and to
# run other code in it; they are open only to who knows a word that is nowhere kept.
CLOSED_PROTOCOLS = ("model-repository", "model-config", "shared-memory", "statistics", "trace", "logging")
KEPT_LINES = 50
LONGEST_LINE = 64 << 10  # bytes
# What is said at every start, and what is no error on a machine without a GPU: neither kept nor shown unless asked for.
_CHATTER = re.compile(r"^(I\d{4} |[|+]|Signal \(|$)|CudaDriverHelper|NODELAY NOT SUPPORTED")
_LEVELS = {"W": logging.WARNING, "E": logging.ERROR, "F": logging.ERROR}
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Command:
    """Everything that a server process is started from.

    `launcher` turns the server's command line into the one that is run, for an engine of several processes.
    """

    installation: Installation
    backends: Path
    repository: Path
    run_directory: Path
    shm_prefix: str
    exit_seconds: int = 5
    launcher: Callable[[list[str]], list[str]] = alone
    environment: Mapping[str, str] = field(default_factory=dict)
    pinning: Pinning = ANYWHERE

    def relative(self, path: Path) -> str:
        """As seen from the run directory: Triton starts its Python stub by way of a shell, for which a run directory
        with a space in its name is two words, and one with `$(...)` a command."""
        return str(path.relative_to(self.run_directory)) if path.is_relative_to(self.run_directory) else str(path)


@dataclass
class TritonServer:
    """A started server. `lines` are the last that it and its stub wrote, without chatter.

    `directory` is an open descriptor of the run directory: /proc's name for it fits into a socket's address (108
    bytes), whatever the directory is called.
    """

    command: Command
    process: asyncio.subprocess.Process
    directory: int
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _relay: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where gRPC clients of this machine and user find it."""
        return f"unix:{self._socket(GRPC_SOCKET)}:{GRPC_PORT}"

    @property
    def metrics_socket(self) -> str:
        """The Unix socket of its metrics page."""
        return self._socket(METRICS_SOCKET)

    def _socket(self, name: str) -> str:
        return f"/proc/{os.getpid()}/fd/{self.directory}/{name}"

    def stub_pid(self) -> int | None:
        """None until the model has begun to load."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.command.run_directory / STUB_PID_FILE).read_text())
        return None

    async def stop(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL for the whole group; afterwards no process and no shared memory of it is left."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.process.wait(), seconds)
        await self.kill()

    def pids(self) -> list[int]:
        """Its processes: all of its session, since mpirun gives each rank a process group of its own."""
        return session_members(self.process.pid)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        for pid in self.pids():
            await _end(pid)
        await self._end_stub()
        if self._relay is not None:
            await self._relay
        shared_memory.remove_regions(self.command.shm_prefix)
        with contextlib.suppress(OSError):  # closed by an earlier call
            os.close(self.directory)

    async def _end_stub(self) -> None:
        """Waits until the stub has exited too: it may still be writing to the shared memory about to be removed.

        With its parent dead it is ours to collect (see start_server); PID 1 of a container might never do so.
        """
        pid = self.stub_pid()
        if pid is not None:
            await _end(pid)

    async def relay(self) -> None:
        assert self.process.stdout is not None
        async for raw in _lines(self.process.stdout):
            line = raw.decode(errors="replace").rstrip()
            if not _CHATTER.search(line):
                self.lines.append(line)
            logger.log(_level(line), "%s", line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Each up to LONGEST_LINE. StreamReader's own lines end in an error where one is longer, and a server whose output
    nobody reads stands still."""
    line = b""
    while chunk := await stream.read(LONGEST_LINE):
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            yield (line + end)[:LONGEST_LINE]
            line = b""
        line = (line + rest)[:LONGEST_LINE]
    if line:
        yield line


def _level(line: str) -> int:
    if _CHATTER.search(line):
        return logging.DEBUG
    return _LEVELS.get(line[:1], logging.INFO) if line[1:2].isdigit() else logging.INFO


async def start_server(command: Command) -> TritonServer:
    """Starts the process; whether it comes up is for the caller to watch.

    This process becomes a subreaper: a stub whose server was killed is handed to it, not to the machine's init.
    """
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lifeline = os.pipe()
    try:
        process = await _started(command, lifeline)
    finally:
        for end in lifeline:
            os.close(end)
    directory = os.open(command.run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    server = TritonServer(command, process, directory)
    server._relay = asyncio.create_task(server.relay())
    return server


async def _started(command: Command, lifeline: tuple[int, int]) -> asyncio.subprocess.Process:
    reading, writing = lifeline
    environment = {**server_environment(command.installation), **command.environment}
    return await asyncio.create_subprocess_exec(
        *tethered(command.launcher(server_arguments(command)), signal.SIGKILL, PRIVATE, pinning=command.pinning),
        env={**environment, LIFELINE: f"{reading},{writing}"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=lifeline,
        start_new_session=True,
        cwd=command.run_directory,
    )


def server_arguments(command: Command) -> list[str]:
    """Its sockets are named relative to its working directory, the run directory."""
    return [
        str(command.installation.server),
        f"--model-repository={command.relative(command.repository)}",
        f"--backend-directory={command.relative(command.backends)}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--allow-http=false",
        f"--grpc-address=unix:{GRPC_SOCKET}",
        f"--grpc-port={GRPC_PORT}",
        f"--grpc-restricted-protocol={','.join(CLOSED_PROTOCOLS)}:closed={secrets.token_hex(16)}",
        f"--metrics-address=unix:{METRICS_SOCKET}",
        f"--metrics-port={METRICS_PORT}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--allow-cpu-metrics=false",
        f"--exit-timeout-secs={command.exit_seconds}",
        f"--backend-config=python,shm-region-prefix-name={command.shm_prefix}",
        "--backend-config=python,stub-timeout-seconds=3600",
    ]


async def _end(pid: int) -> None:
    for _ in range(500):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if _collected(pid):
            return
        await asyncio.sleep(0.01)


def _collected(pid: int) -> bool:
    """Whether a killed process has ended, its zombie too if that is for us to collect."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return not process_lives(pid)

"""The tritonserver process: loopback only, in a process group of its own, nothing of it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import re
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker.launch import shared_memory
from stoker.launch.installation import Installation, server_environment
from stoker.launch.settings import STUB_PID_FILE
from stoker.processes import process_lives, session_members

logger = logging.getLogger("stoker.triton")

LOOPBACK = "127.0.0.1"
KEPT_LINES = 50
# What is said at every start, and what is no error on a machine without a GPU: neither kept nor shown unless asked for.
_CHATTER = re.compile(r"^(I\d{4} |[|+]|Signal \(|$)|CudaDriverHelper")
_LEVELS = {"W": logging.WARNING, "E": logging.ERROR, "F": logging.ERROR}
_PORT_TAKEN = ("address already in use", "unable to bind", "no address added out of")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


def alone(arguments: list[str]) -> list[str]:
    """One server process: the command line as it is."""
    return arguments


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


@dataclass
class TritonServer:
    """A started server. `lines` are the last that it and its stub wrote, but for chatter."""

    command: Command
    process: asyncio.subprocess.Process
    grpc_port: int
    metrics_port: int
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _relay: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.grpc_port}"

    @property
    def identity(self) -> str:
        """Its name in its own metadata, which no other server has."""
        return self.command.shm_prefix

    @property
    def port_was_taken(self) -> bool:
        return any(words in line.lower() for line in self.lines for words in _PORT_TAKEN)

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

    async def _end_stub(self) -> None:
        """Waits until the stub is gone too: it may still be writing to the shared memory that is about to be removed.

        With its parent dead it is ours to collect (see start_server); PID 1 of a container might never do so.
        """
        pid = self.stub_pid()
        if pid is not None:
            await _end(pid)

    async def relay(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if not _CHATTER.search(line):
                self.lines.append(line)
            logger.log(_level(line), "%s", line)


def _level(line: str) -> int:
    if _CHATTER.search(line):
        return logging.DEBUG
    return _LEVELS.get(line[:1], logging.INFO) if line[1:2].isdigit() else logging.INFO


async def start_server(command: Command) -> TritonServer:
    """Starts the process; whether it comes up is for the caller to watch.

    This process becomes a subreaper: a stub whose server was killed is handed to it, not to the machine's init.
    """
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    grpc_port, metrics_port = free_ports(2)
    process = await asyncio.create_subprocess_exec(
        *command.launcher(server_arguments(command, grpc_port, metrics_port)),
        env={**server_environment(command.installation), **command.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        cwd=command.run_directory,
    )
    server = TritonServer(command, process, grpc_port, metrics_port)
    server._relay = asyncio.create_task(server.relay())
    return server


def server_arguments(command: Command, grpc_port: int, metrics_port: int) -> list[str]:
    return [
        str(command.installation.server),
        f"--id={command.shm_prefix}",
        f"--model-repository={command.repository}",
        f"--backend-directory={command.backends}",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--allow-http=false",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={grpc_port}",
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={metrics_port}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--allow-cpu-metrics=false",
        f"--exit-timeout-secs={command.exit_seconds}",
        f"--backend-config=python,shm-region-prefix-name={command.shm_prefix}",
        "--backend-config=python,stub-timeout-seconds=3600",
    ]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> Sequence[int]:
    """Ports that were free on loopback a moment ago; the server says so if one has been taken since."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


async def _end(pid: int) -> None:
    for _ in range(500):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if _collected(pid):
            return
        await asyncio.sleep(0.01)


def _collected(pid: int) -> bool:
    """Whether a killed process is gone, its zombie too if that is for us to collect."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return not process_lives(pid)

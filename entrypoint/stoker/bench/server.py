"""`stoker serve` as a child: started, watched until ready, measured from outside, stopped with nothing left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from stoker.bench.types import Phase, Start
from stoker.errors import EngineError
from stoker.json_text import parse_json
from stoker.tethered import tethered

HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Server:
    pid: int
    port: int
    log: Path
    start: Start

    @property
    def found_engine(self) -> bool:
        """Whether the engine was in the store already."""
        return self.start.of("building") == 0

    def accepted(self) -> float:
        """Guessed tokens that the model kept, for each step of a sequence so far; 0 where that is not reported."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/v1/status", timeout=10) as answer:
                return float(parse_json(answer.read()).get("accepted_tokens_per_step", 0))
        except OSError:  # an answer of 401 is one too: the key is not ours to read
            return 0.0


@contextlib.contextmanager
def served(arguments: Sequence[str], log: Path) -> Iterator[Server]:
    """A server that is ready. EngineError with the child's own last words when it does not get there."""
    began = time.monotonic()
    with log.open("wb") as output:
        process, port = start_server(arguments, output)
    try:
        _wait_ready(process, port, log)
        seconds = time.monotonic() - began
        yield Server(process.pid, port, log, Start(round(seconds, 3), _phases(port)))
    finally:
        stop_server(process)


def start_server(
    arguments: Sequence[str], output: BinaryIO, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """The process and its port. `output` gets all that it says; without an `environment` it has this process's.

    It has a session of its own, so that Ctrl-C reaches only this process, which then stops it, and ends when this
    process does.
    """
    port = _free_port()
    command = [sys.executable, "-m", "stoker", "serve", *arguments, "--host", HOST, "--port", str(port)]
    process = subprocess.Popen(
        tethered([*command, "--drain-timeout", "1", "--log-format", "text"], signal.SIGTERM),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    return process, port


def _free_port() -> int:
    """One that was free a moment ago; `stoker serve` says so if it has been taken since."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if _get(port, "ready")["status"] == 200:
                return
        time.sleep(_POLL_SECONDS)
    raise EngineError(f"`stoker serve` ended with exit code {process.returncode}", why=last_words(log))


def _get(port: int, what: str) -> dict[str, Any]:
    """The answer of /v1/health/WHAT and its status."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/v1/health/{what}", timeout=10) as answer:
            return {"status": answer.status, "body": answer.read()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": b""}


def _phases(port: int) -> tuple[Phase, ...]:
    """The finished ones; `ready` is open, and `starting` is what came before the first step."""
    report = parse_json(_get(port, "startup")["body"])
    return tuple(Phase(phase["name"], phase["seconds"]) for phase in report["phases"] if phase["name"] != "ready")


def last_words(log: Path) -> str:
    """The failure that the child reported, else the last line that it wrote."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1]


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM and time to clean up; then, or on Ctrl-C meanwhile, SIGKILL for the whole session."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

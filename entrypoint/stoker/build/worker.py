"""The parent's side of a build: a process of its own does the work, so that its memory goes back to the system when it
ends, and so that a crash inside a compiler is an error and not the end of the server."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker import errors
from stoker.build.jobs import Job, Site, as_json
from stoker.build.kind import BuildPart
from stoker.child_environment import child_environment
from stoker.errors import BuildError, StokerError
from stoker.json_text import parse_json
from stoker.plan.types import Chosen
from stoker.processes import kill_session
from stoker.progress import Progress
from stoker.resolve.model import Model

CANCEL_POLL_SECONDS = 0.1
STDERR_LINES = 20


class BuildCancelledError(BuildError):
    """The build was stopped because it was asked to."""

    code = "build_cancelled"


def run_build(
    part: BuildPart,
    model: Model,
    chosen: Chosen,
    directory: Path,
    progress: Progress,
    calibration: Path | None = None,
    cancel: threading.Event | None = None,
    site: Site | None = None,
    draft: Model | None = None,
) -> dict[str, Any]:
    """Builds into `directory` in a worker process of the kind and returns its record.

    Raises the worker's own StokerError, BuildError for a worker that died or a tool that is missing, and
    BuildCancelledError once `cancel` is set; every process of the worker's session has ended by then.
    """
    text = str(calibration.resolve()) if calibration else ""
    job = Job(model, chosen, str(directory), text, site or Site(), draft)
    part.package_folders()
    with _worker(part.worker) as process:
        _send(process, job)
        final, stderr = _listen(process, progress, cancel or threading.Event())
        code = process.wait()
    if "done" in final:
        record: dict[str, Any] = final["done"]
        return record
    raise _error(final.get("error"), code, stderr)


@contextlib.contextmanager
def _worker(module: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process in a session of its own, all of which is killed on the way out, however that comes: a builder's tools
    have process groups of their own in it."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(os.getpid())],
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            kill_session(process.pid)


def _send(process: subprocess.Popen[bytes], job: Job) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(json.dumps(as_json(job)).encode())


def _listen(
    process: subprocess.Popen[bytes], progress: Progress, cancel: threading.Event
) -> tuple[dict[str, Any], list[str]]:
    """Relays progress until both streams end; returns the final message and stderr's last lines."""
    final: dict[str, Any] = {}
    stderr: deque[str] = deque(maxlen=STDERR_LINES)
    for stream, line in _lines(process, cancel):
        if stream is process.stderr:
            stderr.append(line)
        else:
            final.update(_relay(line, progress))
    return final, list(stderr)


def _lines(process: subprocess.Popen[bytes], cancel: threading.Event) -> Iterator[tuple[Any, str]]:
    """Lines of stdout and stderr as they come. Raises BuildCancelledError once `cancel` is set."""
    assert process.stdout is not None
    assert process.stderr is not None
    rest = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in rest:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            if cancel.is_set():
                raise BuildCancelledError("the build was cancelled")
            for key, _ in selector.select(CANCEL_POLL_SECONDS):
                stream: Any = key.fileobj
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(stream)
                *whole, rest[stream] = (rest[stream] + (data or b"\n")).split(b"\n")
                yield from ((stream, line.decode(errors="replace")) for line in whole if line.strip())


def _relay(line: str, progress: Progress) -> Mapping[str, Any]:
    """The message, if it is a final one."""
    message: dict[str, Any] = parse_json(line)
    if "phase" in message:
        progress.phase(*message["phase"])
    elif "advance" in message:
        progress.advance(*message["advance"])
    elif "note" in message:
        progress.note(message["note"])
    else:
        return message
    return {}


def _error(message: Mapping[str, str] | None, code: int, stderr: list[str]) -> StokerError:
    if message is not None:
        kind = getattr(errors, message["type"], BuildError)
        error: StokerError = kind(message["what"], why=message["why"], remedy=message["remedy"])
        return error
    said = "; its last words: " + " | ".join(stderr[-3:]) if stderr else ""
    if code == -signal.SIGKILL:
        return BuildError(
            "the build was killed, most likely because memory ran out",
            why=f"its process ended with signal 9{said}",
            remedy="give it more memory, or use --precision int4",
        )
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return BuildError("the build process died", why=f"{how}{said}", remedy="run it again; if it persists, report it")

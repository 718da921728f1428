"""A chat template in a process of its own, since it is a program from a model hub: Jinja's sandbox keeps it from the
system, this from the API's time and memory. A rendering that takes too long, or too much, is ended with its process."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import msgspec

SECONDS = 5.0


class RenderingEndedError(Exception):
    """The process ended under a rendering; the text says why."""


class TemplateProcess:
    """Started by the first rendering, and again by the first one after its end. Thread-safe: one at a time."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], seconds: float = SECONDS) -> None:
        self._opening = msgspec.json.encode([source, special_tokens]) + b"\n"
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(self, *given: Any) -> dict[str, str]:
        """`given`: messages, arguments, tools. `text`, or `refused` with the template's words. RenderingEndedError."""
        line = msgspec.json.encode(given) + b"\n"
        with self._lock:
            process = self._process if self._process and self._process.poll() is None else self._start()
            late = threading.Event()
            timer = threading.Timer(self._seconds, _end_late, (process, late))
            timer.start()
            try:
                answer = _ask(process, line)
            finally:
                timer.cancel()
            if not answer:
                process.wait()
                raise RenderingEndedError(f"it took longer than {self._seconds:g} s" if late.is_set() else "it crashed")
            return dict(msgspec.json.decode(answer))

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stoker.serve.request.template_child"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        if self._process is not None:
            _end(self._process)
        self._process = process
        weakref.finalize(self, _end, process)
        _ask(process, self._opening, answered=False)
        return process


def _ask(process: subprocess.Popen[bytes], line: bytes, *, answered: bool = True) -> bytes:
    """Empty where the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except OSError:
        return b""
    return process.stdout.readline() if answered else b""


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()

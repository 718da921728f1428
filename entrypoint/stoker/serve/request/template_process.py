"""A chat template in a process of its own (`template_child`), which ends when it takes too much time or memory."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping

import msgspec

from stoker.child_environment import child_environment

SECONDS = 5.0  # of processor time, so that a busy machine refuses nothing
_MOST_WALL = 12  # times as long by the clock: a process that waits instead of computing
_LONGEST_ANSWER = 128 << 20


class RenderingEndedError(Exception):
    """The process ended under a rendering that was too much for it; the text says why."""


class TemplateBrokenError(Exception):
    """The source is no template; the text says why."""


class TemplateUnavailableError(Exception):
    """The process could not be started, or was ended by somebody else. It is not the request's fault."""


class TemplateProcess:
    """Started when it is first needed, and again after its end. Thread-safe: one rendering at a time."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], seconds: float = SECONDS) -> None:
        self._opening = msgspec.json.encode([source, special_tokens, seconds]) + b"\n"
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """TemplateBrokenError; TemplateUnavailableError where that cannot be found out."""
        with self._lock:
            self._running()

    def render(self, given: bytes) -> dict[str, str]:
        """`given`: messages, arguments and tools as a JSON list. `text`, or `refused` with the template's words.

        Once more in a new process where somebody else ended the current one. Raises the errors above.
        """
        line = given + b"\n"
        with self._lock:
            try:
                return self._ask(self._running(), line)
            except TemplateUnavailableError:
                return self._ask(self._running(), line)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        process = self._start()
        try:
            answer = self._ask(process, self._opening)
        except RenderingEndedError as error:
            raise TemplateBrokenError(f"compiling it failed: {error}") from error
        if "broken" in answer:
            raise TemplateBrokenError(answer["broken"])
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stoker.serve.request.template_child"]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True, env=child_environment()
            )
        except OSError as error:
            raise TemplateUnavailableError(f"its process cannot be started: {error}") from error
        if self._process is not None:
            _end(self._process)
        self._process = process
        weakref.finalize(self, _end, process)
        return process

    def _ask(self, process: subprocess.Popen[bytes], line: bytes) -> dict[str, str]:
        late = threading.Event()
        timer = threading.Timer(self._seconds * _MOST_WALL, _end_late, (process, late))
        timer.start()
        try:
            answer = _exchanged(process, line)
        finally:
            timer.cancel()
        try:
            return dict(msgspec.json.decode(answer))
        except (msgspec.DecodeError, TypeError, ValueError):  # none, or half of one: it has ended, or must
            process.kill()
            raise self._end_of(process.wait(), late=late.is_set()) from None

    def _end_of(self, status: int, *, late: bool) -> Exception:
        if late or status == -signal.SIGXCPU:
            return RenderingEndedError(f"it took longer than {self._seconds:g} s")
        if status == -signal.SIGKILL:
            return TemplateUnavailableError("its process was killed")
        return RenderingEndedError("it crashed")


def _exchanged(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """Empty where the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except OSError:
        return b""
    return process.stdout.readline(_LONGEST_ANSWER)


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()

"""The build's own process, whatever the engine's kind: `python -m MODULE [PID OF THE PARENT]`, MODULE a kind's worker.

Reads one job in JSON from stdin and writes lines of JSON to stdout: {"phase": ...}, {"advance": ...}, {"note": ...},
and last {"done": record} or {"error": {...}}. Whatever a library prints goes to stderr. Exit code 0 or 1.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from stoker.build.jobs import Job, job_from
from stoker.errors import BuildError, StokerError
from stoker.json_text import parse_json
from stoker.processes import die_with_parent


class Lines:
    """Progress as lines of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def phase(self, name: str, detail: str = "") -> None:
        self.write({"phase": [name, detail]})

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        self.write({"advance": [done, total, unit]})

    def note(self, text: str) -> None:
        self.write({"note": text})

    def expect(self, seconds: Mapping[str, float]) -> None:
        """The parent knows what was measured."""

    def write(self, message: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


def run_worker(build: Callable[[Job, Lines], dict[str, object]], *, tidies_up: bool = False) -> int:
    """What a kind's worker does: `build` makes the engine in the job's directory and returns its record.

    `tidies_up`: SIGTERM, which then is also what the parent's end sends, leaves `build` by way of its `finally`s.
    """
    signal.signal(signal.SIGTERM, _unwind if tidies_up else signal.SIG_DFL)  # the default also stops inside a library
    die_with_parent(_parent(), signal.SIGTERM if tidies_up else signal.SIGKILL)
    lines = Lines(_own_stdout())
    try:
        record = build(job_from(parse_json(sys.stdin.read())), lines)
    except StokerError as error:
        lines.write({"error": described(error)})
        return 1
    except MemoryError:
        lines.write({"error": described(BuildError("the build ran out of memory", remedy="use --precision int4"))})
        return 1
    lines.write({"done": record})
    return 0


def _unwind(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _parent() -> int:
    return int(sys.argv[1]) if len(sys.argv) > 1 else os.getppid()


def described(error: StokerError) -> dict[str, str]:
    return {"type": type(error).__name__, "what": error.what, "why": error.why, "remedy": error.remedy}


def _own_stdout() -> TextIO:
    """A stream to the real stdout, whose place stderr then takes for everybody else, C++ included."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream

"""Why the server went: its exit code or signal, an out-of-memory kill, and the last it said."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import EngineError, EngineMemoryError
from stoker.launch.server import TritonServer

_CGROUP = Path("/sys/fs/cgroup")
_EVENTS = ("memory.events", "memory/memory.oom_control")
_LOGGED = re.compile(r'^[EF]\d{4} \S+ \d+ \S+ "(?P<said>.*)"$')
_RANK_ENDED = re.compile(r"mpirun noticed that process rank (?P<rank>\d+) .* exited on (?P<how>signal \d+ \([^)]*\))")
_OWN_RANK = re.compile(r"rank (?P<rank>\d+) of the engine (?P<how>was killed by \w+|failed: .*)")
_OWN_WORDS = re.compile(r"the engine failed: (?P<why>.+)")  # of a stub whose engine is a process of its own
NO_ROOM = "memory does not hold the engine"  # what a model says that could not be loaded for lack of memory
_TOLD = 2
_LONGEST = 600


@dataclass(frozen=True)
class Death:
    """An engine's that had been ready. `moment`: seconds on the monotonic clock. `blamed`: the request that ended it,
    in a few words; empty where none is known to have."""

    moment: float
    cause: str
    blamed: str = ""


def cause_of_death(server: TritonServer, kills_before: int) -> EngineError:
    code = server.process.returncode
    if out_of_memory_kills() > kills_before:
        return EngineMemoryError(
            "the engine was killed for lack of memory",
            why="the container's memory limit was reached",
            remedy="raise the limit, or choose a smaller --max-seq-len, --max-batch-size or --precision",
        )
    for line in server.lines:
        if match := _RANK_ENDED.search(line):
            return EngineError(f"rank {match['rank']} of the engine was killed", why=match["how"])
        if NO_ROOM in line:
            return EngineMemoryError(NO_ROOM, why=_said(line.partition(NO_ROOM)[2].lstrip(": "))[:_LONGEST])
        if match := _OWN_RANK.search(line):
            return EngineError(f"rank {match['rank']} of the engine ended", why=match["how"][:_LONGEST])
        if match := _OWN_WORDS.search(line):
            return EngineError("the engine process died", why=match["why"].strip()[:_LONGEST])
    what = "the engine process died" if code is None else f"Triton {_ending(code)}"
    return EngineError(what, why=last_words(server.lines))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def last_words(lines: Iterable[str]) -> str:
    """The first errors that it logged: what came after them followed from them."""
    spoken = [line.strip() for line in lines]
    errors = [_said(match["said"]) for line in spoken if (match := _LOGGED.match(line))]
    return (errors[0] if errors else " | ".join(spoken[-_TOLD:]))[:_LONGEST] or "it said nothing"


def _said(text: str) -> str:
    """An error of Triton's in one line, without the stub's traceback."""
    return " ".join(text.partition("\\n\\nAt:")[0].replace("\\n", " ").split())


def out_of_memory_kills() -> int:
    """How often the kernel has killed in this cgroup for lack of memory; 0 where that is not known."""
    for name in _EVENTS:
        with contextlib.suppress(OSError):
            match = re.search(r"^oom_kill (\d+)", (_CGROUP / name).read_text(), re.MULTILINE)
            if match:
                return int(match[1])
    return 0

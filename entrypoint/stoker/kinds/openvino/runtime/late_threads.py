"""Steps of a pipeline with an EAGLE-3 head, which GenAI ends before its own work has ended.

Each leaves a thread behind that moves entries of the KV cache. It copies the tokens of running sequences meanwhile, to
which the next step appends its guesses before it waits for that thread: where the thread is late, as on a busy machine,
it writes behind the end of its copy. docs/speculative.md has the report for upstream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.0001
# Long for a thread that is at work for a millisecond. A step that starts threads which stay, as TBB's do, takes so much
# longer.
LONGEST_SECONDS = 1.0


@contextmanager
def threads_ended(longest: float = LONGEST_SECONDS) -> Iterator[None]:
    """Returns when the threads that this process started within have ended, or after `longest` seconds."""
    before = _threads()
    yield
    until = time.monotonic() + longest
    while _threads() - before and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)


def _threads() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}

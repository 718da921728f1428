"""`stoker serve` as a child of a command that needs a server for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stoker.bench.server import HOST, start_server, stop_server
from stoker.containers.watch import Follower, last_words, startup_report
from stoker.errors import EngineError
from stoker.progress import Progress

_POLL_SECONDS = 0.1
# Of the servers that others are to reach: this one is asked by HTTP, and a management port may be taken by one of them.
_OF_OTHERS = ("STOKER_TLS_CERT", "STOKER_TLS_KEY", "STOKER_TLS_CLIENT_CA", "STOKER_MANAGEMENT_PORT")


@contextlib.contextmanager
def started_server(arguments: Sequence[str], progress: Progress) -> Iterator[str]:
    """The URL of a server that is ready; it is stopped afterwards. EngineError with its own words, and its exit code,
    where it ends before."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
    with tempfile.TemporaryFile() as log:
        process, port = start_server(arguments, log, environment)
        try:
            url = f"http://{HOST}:{port}"
            _follow(process, url, progress, Path(f"/proc/self/fd/{log.fileno()}"))
            yield url
        finally:
            stop_server(process)


def _follow(process: subprocess.Popen[bytes], url: str, progress: Progress, log: Path) -> None:
    follower = Follower(progress)
    while process.poll() is None:
        report = startup_report(url)
        if report is not None and follower.follow(report):
            return
        time.sleep(_POLL_SECONDS)
    progress.phase("failed")
    what, why, hint = last_words(log.read_text(errors="replace"))
    error = EngineError(what, why=why, remedy=hint)
    error.exit_code = process.returncode or error.exit_code
    raise error

"""`stoker serve` as a child of a command that needs a server for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stoker.bench.server import HOST, free_port, stop_server
from stoker.containers.watch import Follower, last_words, startup_report
from stoker.errors import EngineError
from stoker.progress import Progress
from stoker.tethered import tethered

_POLL_SECONDS = 0.1
# Of the servers that others are to reach: this one is asked by HTTP, and a management port may be taken by one of them.
_OF_OTHERS = ("STOKER_TLS_CERT", "STOKER_TLS_KEY", "STOKER_TLS_CLIENT_CA", "STOKER_MANAGEMENT_PORT")


@contextlib.contextmanager
def started_server(arguments: Sequence[str], progress: Progress) -> Iterator[str]:
    """The URL of a server that is ready; it is stopped afterwards. EngineError with its own words, and its exit code,
    where it ends before.

    It has a session of its own, so that Ctrl-C reaches only this process, and ends when this process does.
    """
    port = free_port()
    command = [sys.executable, "-m", "stoker", "serve", *arguments, "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            tethered([*command, "--drain-timeout", "1", "--log-format", "text"], signal.SIGTERM),
            env={name: value for name, value in os.environ.items() if name not in _OF_OTHERS},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
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

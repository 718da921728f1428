"""The ranks of tensor parallelism but the first: its child processes. All live and die together. Imports no PyTorch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path

from stoker.child_environment import child_environment
from stoker.launch.settings import EngineSettings

logger = logging.getLogger(__name__)

RANK_ENDED = 72  # this process's exit code when it has lost a rank
_ENDING_SECONDS = 5


class Ranks:
    """Ranks 1 and up. They end when this process does, since their standard input does.

    When one of them ends, so does this process at once: the others would wait for it in the middle of a step, and the
    supervisor starts all of them anew.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ranks-", dir=settings.run_directory or None)
        self.rendezvous = Path(self._folder.name) / "rendezvous"
        self._ending = threading.Event()
        self._children = [self._start(settings, rank) for rank in range(1, settings.chosen.tensor_parallel)]

    def _start(self, settings: EngineSettings, rank: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stoker.kinds.torch.runtime.rank", str(rank), str(self.rendezvous)]
        child = subprocess.Popen(command, env=child_environment(), stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
        child.stdin.flush()
        threading.Thread(target=self._watch, args=(rank, child), name=f"rank {rank}", daemon=True).start()
        return child

    def _watch(self, rank: int, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        if self._ending.is_set():
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        logger.error("rank %d of the engine %s", rank, how)
        os._exit(RANK_ENDED)

    def expect_end(self) -> None:
        """From now on a rank may end."""
        self._ending.set()

    def close(self) -> None:
        """Returns when all have exited."""
        self.expect_end()
        for child in self._children:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_ENDING_SECONDS)
            child.kill()
            child.wait()
        self._folder.cleanup()

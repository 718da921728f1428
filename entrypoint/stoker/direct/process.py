"""The parent's side of the engine's process: starts it, talks to it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.child_environment import child_environment
from stoker.direct.messages import line
from stoker.errors import EngineError, StuckEngineError
from stoker.json_text import parse_json
from stoker.launch.kind import Child
from stoker.launch.life_signs import Idleness
from stoker.launch.run_directory import temporary_run_directory
from stoker.processes import kill_session

_LAST_WORDS = 3  # lines of standard error that an error quotes
_ENDING_SECONDS = 10.0
_IDLE_SECONDS = 120.0


class EngineProcess:
    """A started engine. EngineError, with the cause, when it does not start or dies; `close` ends all of it.

    The child's environment is what children get of this process's, and `child.environment`.
    """

    def __init__(
        self,
        child: Child,
    ) -> None:
        self._directory = temporary_run_directory()
        folder = Path(self._directory.name)
        self._log = folder / "stderr"
        settings_file = replace(child.settings, run_directory=str(folder)).write(folder)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                child.launcher([sys.executable, "-m", "stoker.direct.child", str(settings_file)]),
                env=child_environment(child.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends it
            )
        try:
            self._wait_until_open()
            self.receive()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # receive() tells why it died
            self._process.stdin.write(line(message))
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message; blocks until there is one."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text.endswith(b"\n"):
            raise self._died()
        message: dict[str, Any] = parse_json(text)
        if "failed" in message:
            fields = message["failed"]
            raise EngineError(fields["what"], why=fields["why"], remedy=fields["remedy"])
        return message

    def _wait_until_open(self) -> None:
        """Until it says something or ends. EngineError where it does nothing any more."""
        assert self._process.stdout is not None
        idleness, messages = Idleness(self.pid, _IDLE_SECONDS), select.poll()
        messages.register(self._process.stdout, select.POLLIN)
        while not messages.poll(idleness.step * 1000):
            if idleness.is_too_long():
                why = f"while it loaded, it did nothing for {idleness.seconds:.0f} s"
                raise StuckEngineError("the engine is stuck", why=why, remedy="try again")

    def close(self) -> None:
        """Ends the process and all that it started, and waits for them: what they hold of a GPU is free afterwards.

        May be called again.
        """
        kill_session(self._process.pid)
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=_ENDING_SECONDS)
        self._directory.cleanup()

    def _died(self) -> EngineError:
        code = self._process.wait(_ENDING_SECONDS)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_WORDS:]
        words = "; its last words: " + " | ".join(said) if said else ""
        remedy = "it may have run out of memory: give it more, or ask for a smaller --max-seq-len"
        return EngineError(
            "the engine's process died", why=how + words, remedy=remedy if code == -signal.SIGKILL else ""
        )

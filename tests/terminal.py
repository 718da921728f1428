"""A program on a terminal of its own: what a person types, what they see, and a recording of both."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

COLUMNS, LINES = 100, 30
SECONDS = 180.0  # the longest wait for anything
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Terminal:
    """The program runs in `folder`, or where the tests do."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self.seconds = SECONDS
        self.events: list[tuple[float, str]] = []
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR", "CI")
        }
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**inherited, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
        )
        os.close(slave)

    @property
    def raw(self) -> str:
        return "".join(text for _, text in self.events)

    @property
    def text(self) -> str:
        """What was shown, without colours and movements of the cursor."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str, after: int = 0) -> int:
        """Until the text matches, from an offset on; returns the offset of its end."""
        deadline = time.monotonic() + self.seconds
        while not (found := re.compile(pattern).search(self.text, after)):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text[after:]!r}"
            assert self._read() or self.process.poll() is None, f"ended without {pattern!r}: {self.text!r}"
        return found.end()

    def wait(self) -> int:
        """Reads to the end; returns the exit code."""
        deadline = time.monotonic() + self.seconds
        while self._read() or self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
        return self.process.wait()

    def _read(self) -> bool:
        """False at the end, or where nothing came in a while."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the last one that held the other side has exited
            return False
        text = self._decoder.decode(data)
        self.events.append((time.monotonic() - self._began, text))
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_cast(path: Path, title: str, terminals: Sequence[tuple[str, Terminal]], pause: float = 1.5) -> None:
    """asciinema's format, version 2: each command line, typed at a prompt, and then what it showed. Pauses between
    events are at most `pause` seconds long."""
    lines = [json.dumps({"version": 2, "width": COLUMNS, "height": LINES, "title": title})]
    now = 0.0
    for command, terminal in terminals:
        lines.append(json.dumps([round(now, 3), "o", f"$ {command}\r\n"]))
        before = 0.0
        for at, text in terminal.events:
            now += min(at - before, pause)
            before = at
            lines.append(json.dumps([round(now, 3), "o", text], ensure_ascii=False))
        now += pause
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

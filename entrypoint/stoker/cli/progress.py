"""Listeners to progress: bars on a terminal, log lines elsewhere, and several at once."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stoker.progress import Progress
from stoker.redaction import redacted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LOG = logging.getLogger("stoker")
_QUIET_SECONDS = 5.0
_OVER = {
    "starting": "started",
    "probing": "probed",
    "resolving": "resolved",
    "downloading": "downloaded",
    "planning": "planned",
    "tuning": "tuned",
    "building": "built",
    "loading": "loaded",
    "warming": "warmed up",
}


def listener(log_format: str) -> Progress:
    """Bars where a person watches standard error and has not asked for JSON."""
    return TerminalProgress() if sys.stderr.isatty() and log_format == "text" else LogProgress()


class LogProgress:
    """A line when a phase begins and one when it is over, one every few seconds while it advances, and every note."""

    def __init__(self) -> None:
        self._phase = "starting"
        self._began = time.monotonic()
        self._spoke = 0.0

    def phase(self, name: str, detail: str = "") -> None:
        """One that is open already goes on, and after draining comes no other but failed."""
        if self._phase == "draining" and name != "failed":
            return
        if name != self._phase:
            self._close(name)
        self._phase, self._spoke = name, time.monotonic()
        _LOG.info("%s%s", name, f" {detail}" if detail else "", extra={"fields": {"phase": name}})

    def _close(self, following: str) -> None:
        now = time.monotonic()
        seconds, self._began = now - self._began, now
        fields = {"phase": self._phase, "seconds": round(seconds, 3)}
        _LOG.info("%s %.1f s", ended(self._phase, following), seconds, extra={"fields": fields})

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        if time.monotonic() - self._spoke < _QUIET_SECONDS:
            return
        self._spoke = time.monotonic()
        fields = {"phase": self._phase, "done": done, "total": total, "unit": unit}
        _LOG.info("%s %s", self._phase, _amount(done, total, unit), extra={"fields": fields})

    def note(self, text: str) -> None:
        _LOG.info("%s", text)

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Said by a note."""


class TerminalProgress:
    """One bar for the open phase; finished phases stay above it with the time they took. Log lines go above it too:
    while it is shown, standard error is the console's."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._lock = threading.Lock()
        self._bar = _bar(self._console)
        self._task: TaskID | None = None
        self._open: tuple[str, float] | None = None
        self._name = ""
        self._expected: Mapping[str, float] = {}
        atexit.register(self._leave)

    def phase(self, name: str, detail: str = "") -> None:
        with self._lock:
            if self._name == "draining" and name != "failed":
                return
            self._close()
            self._name = name
            text = redacted(f"{name} {detail}").strip()
            if name == "draining":  # nothing comes after it that would clear a bar away
                self._console.print(f"\n{text}", highlight=False, markup=False)
            elif name not in ("ready", "failed"):
                self._begin(text)

    def _begin(self, text: str) -> None:
        self._open = (text, time.monotonic())
        self._bar = _bar(self._console)
        expected = self._expected.get(self._name, 0.0)
        self._task = self._bar.add_task(self._open[0], total=None, amount="", expected=expected)
        self._bar.start()

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        with self._lock:
            if self._task is not None:
                amount = _amount(done, total, unit)
                self._bar.update(self._task, completed=done, total=total or None, amount=amount)

    def note(self, text: str) -> None:
        self._console.print(redacted(text), highlight=False, markup=False)

    def expect(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            self._expected = {**self._expected, **seconds}
            if self._task is not None and self._name in seconds:
                self._bar.update(self._task, expected=seconds[self._name])

    def _close(self) -> None:
        if self._open is None:
            return
        self._bar.stop()
        text, began = self._open
        self._console.print(f"[green]✓[/] {_escaped(text)} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)
        self._open = self._task = None

    def _leave(self) -> None:
        """A bar that is open where the program ends, by Ctrl-C for example, leaves the cursor on a line of its own."""
        if self._open is not None:
            self._bar.stop()


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def ended(phase: str, following: str) -> str:
    """What to say of a phase, before its seconds, when another follows it."""
    if phase == "ready":
        return "was ready for"
    if following == "failed":
        return f"{phase} failed after"
    if following == "draining":
        return f"{phase} was stopped after"
    return f"{_OVER.get(phase, phase)} in"


def _bar(console: Console) -> Bar:
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class TimeColumn(ProgressColumn):
        """What is left where that was measured before, else what has passed."""

        def render(self, task: Task) -> Text:
            return Text(time_text(task.elapsed or 0.0, float(task.fields["expected"])), style="dim")

    text, amount = (TextColumn(f"{{task.{what}}}", markup=False) for what in ("description", "fields[amount]"))
    columns = (SpinnerColumn(), text, BarColumn(), amount)
    return RichProgress(*columns, TimeColumn(), console=console, transient=True, redirect_stdout=False)


def time_text(elapsed: float, expected: float) -> str:
    """`expected` is 0 where nothing is known; a phase that has taken longer is told like one."""
    left = expected - elapsed
    return f"about {left:.0f} s left" if left >= 1 else f"{elapsed:.0f} s elapsed"


def _amount(done: int, total: int, unit: str) -> str:
    if unit != "bytes":
        return f"{done}/{total} {unit}" if total else f"{done} {unit}"
    size = f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
    return f"{size} {100 * done // total}%" if total else size

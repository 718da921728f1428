"""Listeners to progress: bars on a terminal, log lines elsewhere, and several at once."""

from __future__ import annotations

import logging
import sys
import threading
import time
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


class TerminalProgress:
    """One bar for the open phase; finished phases stay above it with the time they took."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._lock = threading.Lock()
        self._bar = _bar(self._console)
        self._task: TaskID | None = None
        self._open: tuple[str, float] | None = None

    def phase(self, name: str, detail: str = "") -> None:
        with self._lock:
            self._close()
            if name in ("ready", "failed"):
                return
            self._open = (redacted(f"{name} {detail}").strip(), time.monotonic())
            self._bar = _bar(self._console)
            self._task = self._bar.add_task(self._open[0], total=None, amount="")
            self._bar.start()

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        with self._lock:
            if self._task is not None:
                amount = _amount(done, total, unit)
                self._bar.update(self._task, completed=done, total=total or None, amount=amount)

    def note(self, text: str) -> None:
        self._console.print(redacted(text), highlight=False, markup=False)

    def _close(self) -> None:
        if self._open is None:
            return
        self._bar.stop()
        text, began = self._open
        self._console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)
        self._open = self._task = None


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
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    return RichProgress(*columns, TimeElapsedColumn(), console=console, transient=True)


def _amount(done: int, total: int, unit: str) -> str:
    if unit != "bytes":
        return f"{done}/{total} {unit}" if total else f"{done} {unit}"
    size = f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
    return f"{size} {100 * done // total}%" if total else size

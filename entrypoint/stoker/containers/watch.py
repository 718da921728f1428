"""Follows a server in a container to ready, with the same progress as in the foreground."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from stoker.containers.connection import asked
from stoker.errors import ContainerError
from stoker.json_text import parse_json
from stoker.progress import Progress

if TYPE_CHECKING:
    from docker.models.containers import Container

_POLL_SECONDS = 0.2
_LAST_LINES = 200


def wait_ready(container: Container, url: str, progress: Progress) -> None:
    """Returns when the server is ready; ContainerError with its last words, and its exit code, when it has ended."""
    follower = Follower(progress)
    while True:
        report = startup_report(url)
        if report is not None and follower.follow(report):
            return
        with asked(f"tell how {container.name} is"):
            container.reload()
        if container.status not in ("running", "created", "restarting"):
            raise _death(container)
        time.sleep(_POLL_SECONDS)


class Follower:
    """Turns reports of /v1/health/startup into progress. What went by between two reports is told as well."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = 0

    def follow(self, report: dict[str, Any]) -> bool:
        """True once ready."""
        phases = [str(phase["name"]) for phase in report["phases"]]
        for name in phases[self._told :]:
            self._progress.phase(name, str(report["detail"]) if name == report["phase"] else "")
        self._told = max(self._told, len(phases))
        if report["eta_seconds"] is not None:
            spent = float(report["phases"][-1]["seconds"])
            self._progress.expect({str(report["phase"]): spent + float(report["eta_seconds"])})
        if report["progress"]:
            state = report["progress"]
            self._progress.advance(state["done"], state["total"], state["unit"])
        return bool(report["ready"])


def startup_report(url: str) -> dict[str, Any] | None:
    """None where nothing answers yet, or any more. Whose certificate it is does not matter: nothing is told to it."""
    trusting = ssl._create_unverified_context() if url.startswith("https:") else None  # noqa: S323
    address = f"{url}/v1/health/startup"
    try:
        with urllib.request.urlopen(address, timeout=5, context=trusting) as answer:  # noqa: S310  our own URL
            report: dict[str, Any] = parse_json(answer.read())
            return report
    except (OSError, ValueError):
        return None


def _death(container: Container) -> ContainerError:
    code = int(container.attrs["State"].get("ExitCode", 70))
    what, why, hint = last_words(container.logs(tail=_LAST_LINES).decode(errors="replace"))
    error = ContainerError(
        f"the server in {container.name} has ended with exit code {code}: {what}", why=why, remedy=hint
    )
    error.exit_code = code or error.exit_code
    return error


def last_words(log: str) -> tuple[str, str, str]:
    """What the server said of its failure, and its hint; or else the last line that it wrote."""
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    if errors:
        return errors[-1], "", hints[-1] if hints else ""
    return (lines or ["it said nothing"])[-1], "", ""

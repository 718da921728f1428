"""How a failure reaches the user: what happened, why, and what to do; last on standard error, never a traceback."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from stoker.errors import StokerError

TERMINATION_LOG = Path("/dev/termination-log")
_LOG = logging.getLogger("stoker")


def report_failure(error: Exception, termination_log: Path = TERMINATION_LOG) -> int:
    """Prints the failure and returns the exit code. Kubernetes shows what stands in the termination log."""
    if not isinstance(error, StokerError):
        _LOG.debug("the internal error's origin", exc_info=error)
        error = _internal(error)
    text = failure_text(error)
    print(text, file=sys.stderr)  # noqa: T201
    if termination_log.exists():
        with contextlib.suppress(OSError):
            termination_log.write_text(text + "\n")
    return error.exit_code


def failure_text(error: StokerError) -> str:
    why = f": {error.why}" if error.why else ""
    hint = f"\nhint: {error.remedy}" if error.remedy else ""
    return f"error: {error.what}{why}{hint}"


def _internal(error: Exception) -> StokerError:
    return StokerError(
        "Stoker failed in a way it should not",
        why=f"{type(error).__name__}: {error}",
        remedy="run again with --log-level debug and report what it prints",
    )

"""Why an engine could not be loaded: vLLM's processes log it, each its own part, and the first one is the cause.

vLLM's parent process only says "see root cause above". So its logging, which VLLM_LOGGING_CONFIG_PATH configures in all
its processes, has this handler too: it notes logged exceptions in a file.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from stoker.json_text import parse_json
from stoker.kinds.vllm.runtime import link

VARIABLE = "STOKER_VLLM_FAILURES"
_FORMAT = "%(levelname)s vllm[%(process)d] %(name)s: %(message)s"
_MEMORY = ("out of memory", "no available memory", "kv cache memory", "insufficient memory", "free memory on device")


class FailureHandler(logging.Handler):
    """Appends each logged exception to the file that the environment names."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.exc_info or record.exc_info[1] is None:
            return
        error = record.exc_info[1]
        line = json.dumps([code_of(error), f"{type(error).__name__}: {error}"])
        with open(os.environ[VARIABLE], "a") as file:  # noqa: PTH123  short, and at a time when little works
            file.write(line + "\n")


def code_of(error: BaseException) -> str:
    """One of the codes of link.FAILED."""
    text = str(error).lower()
    if type(error).__name__ == "OutOfMemoryError" or any(phrase in text for phrase in _MEMORY):
        return link.OUT_OF_MEMORY
    if isinstance(error, ValueError | NotImplementedError):
        return link.UNFIT
    return link.BROKEN


def write_logging_config(folder: Path, level: str) -> dict[str, str]:
    """The environment in which vLLM's processes log to stderr in our format, and note failures in `folder`."""
    failures = folder / "failures"
    failures.unlink(missing_ok=True)
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": _FORMAT}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "level": level},
            "failures": {"class": f"{__name__}.FailureHandler", "level": "ERROR"},
        },
        "loggers": {"vllm": {"handlers": ["stderr", "failures"], "level": level, "propagate": False}},
    }
    path = folder / "logging.json"
    path.write_text(json.dumps(config))
    return {"VLLM_LOGGING_CONFIG_PATH": str(path), VARIABLE: str(failures)}


def cause_of(error: BaseException) -> tuple[str, str]:
    """The code and text of the first failure noted; of memory first, since the others follow from it."""
    try:
        noted = [tuple(parse_json(line)) for line in Path(os.environ[VARIABLE]).read_text().splitlines()]
    except (OSError, KeyError, ValueError):
        noted = []
    noted.append((code_of(error), f"{type(error).__name__}: {error}"))
    memory = [each for each in noted if each[0] == link.OUT_OF_MEMORY]
    code, text = (memory or noted)[0]
    return code, text

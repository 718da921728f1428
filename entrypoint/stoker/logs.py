"""Log lines: plain for people, one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

from stoker.redaction import redacted


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, and the record's `fields` when it has them."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Whatever standard error is at the moment: while a bar is shown, it is the bar's, and lines go above it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_up_logging(log_format: str, level: str) -> None:
    """`log_format`: text or json. Everything goes to standard error; standard output belongs to a command's result."""
    handler = _ToStandardError()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "urllib3", "huggingface_hub", "filelock", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def resolved_format(setting: str) -> str:
    """`auto` is text for a terminal and for plain output alike; JSON is asked for by name."""
    return "text" if setting == "auto" else setting

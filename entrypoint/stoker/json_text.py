"""JSON that others wrote: however it is damaged, one error."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Pairs = Sequence[tuple[str, object]]


def parse_json(text: str | bytes | bytearray, pairs_hook: Callable[[Pairs], Any] | None = None) -> Any:
    """Raises ValueError, where `json` itself raises RecursionError for a document that is nested too deeply. With
    `pairs_hook` each object is what that makes of its keys and values."""
    try:
        return json.loads(text, object_pairs_hook=pairs_hook)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error

"""What the parent and the engine's process say to each other: one JSON object a line, token ids in both directions.

To the child `{"add": ...}` and `{"cancel": id}`; the end of its input ends it. From the child `{"ready": true}` once,
then `{"id": ..., "ids": [...], "log_probs": [...], "ended": ..., "out_of_memory": ...}`, `{"id": ..., "refused": ...}`
for a request that the engine will not take, and `{"failed": ...}` as its last word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stoker.errors import StokerError
from stoker.launch.generation import Adapter, Generation


def line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def add_message(generation: Generation) -> dict[str, Any]:
    plain = asdict(generation)
    return {"add": {**plain, "input_ids": list(generation.input_ids)}}


def generation_of(plain: Mapping[str, Any]) -> Generation:
    adapter = plain.get("adapter")
    return Generation(
        **{**plain, "end_ids": tuple(plain["end_ids"]), "adapter": Adapter(**adapter) if adapter else None}
    )


def error_fields(error: Exception) -> dict[str, str]:
    if isinstance(error, StokerError):
        return {"what": error.what, "why": error.why, "remedy": error.remedy}
    return {"what": "the engine failed", "why": f"{type(error).__name__}: {error}", "remedy": ""}

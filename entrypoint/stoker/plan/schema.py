"""The JSON Schema of `stoker plan --json`, made from the types that the document is made from.

`python -m stoker.plan.schema > docs/plan.schema.json` after a change; a test compares them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

from stoker.plan.types import Chosen, MemoryBudget, Rejection, Replica
from stoker.probe.machine import Machine
from stoker.resolve.model import Architecture, Pooling

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}


def plan_schema() -> dict[str, object]:
    sizes = [field.name for field in fields(MemoryBudget) if field.name != "kv"]
    pool = ("kv_cache", "kv_bytes_per_token", "kv_block_tokens", "kv_blocks")
    memory = _object(dict.fromkeys((*sizes, *pool, "total"), _WHOLE))
    properties = {
        "machine": schema_of(Machine),
        "model": _model_schema(),
        "chosen": schema_of(Chosen),
        "memory": {"description": "bytes, per device", **memory},
        "replicas": {
            "description": "copies of the engine, each as `chosen` and `memory` say, and where each runs",
            "type": "array",
            "items": schema_of(Replica),
        },
        "rejected": {"type": "array", "items": schema_of(Rejection)},
        "reasons": {"type": "array", "items": _TEXT},
        "sources": {
            "description": "where each field of `chosen` came from",
            **_sources(),
        },
        "command": _TEXT,
        "next_profile": {"description": "taken, once, should this one fail to build; empty for none", **_TEXT},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "stoker plan --json"}
    return {**head, **_object(properties)}


def _sources() -> dict[str, object]:
    return _object({field.name: _TEXT for field in fields(Chosen)})


def _model_schema() -> dict[str, object]:
    quantization = _object({"method": _TEXT, "bits": _WHOLE, "group_size": _WHOLE})
    pooling = schema_of(Pooling)
    return _object(
        {
            "reference": _TEXT,
            "served_name": _TEXT,
            "revision": _TEXT,
            "architecture": schema_of(Architecture),
            "parameters": _WHOLE,
            "weight_bytes": _WHOLE,
            "weights_measured": {"type": "boolean"},
            "pooling": {"anyOf": [pooling, {"type": "null"}]},
            "quantization": {"anyOf": [quantization, {"type": "null"}]},
        }
    )


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def schema_of(kind: object) -> dict[str, object]:
    """Of a scalar, a tuple, a mapping of texts, a union or a dataclass of those."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return _object({field.name: schema_of(hints[field.name]) for field in fields(kind)})
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if get_origin(kind) in (Union, UnionType):
        return {"anyOf": [schema_of(choice) for choice in get_args(kind)]}
    if get_origin(kind) is Mapping:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1])}
    return _array(get_args(kind))


def _array(items: tuple[object, ...]) -> dict[str, object]:
    if len(items) == 2 and items[1] is Ellipsis:
        return {"type": "array", "items": schema_of(items[0])}
    return {
        "type": "array",
        "prefixItems": [schema_of(item) for item in items],
        "minItems": len(items),
        "maxItems": len(items),
    }


def schema_text() -> str:
    return json.dumps(plan_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())

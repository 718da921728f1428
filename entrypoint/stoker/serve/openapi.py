"""The inference endpoints in the OpenAPI document: they are raw ASGI, so their schemas come from the request types."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from stoker.serve.requests import ChatRequest, CompletionRequest

_BODIES = {
    "/v1/chat/completions": (ChatRequest, "Answer a conversation"),
    "/v1/completions": (CompletionRequest, "Continue a text"),
}


def describe(app: FastAPI) -> None:
    """Adds the inference endpoints to what `app.openapi()` gives."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        if "/v1/completions" not in document["paths"]:
            _add(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add(document: dict[str, Any]) -> None:
    types = [request for request, _ in _BODIES.values()]
    references, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    for (path, (_, summary)), reference in zip(_BODIES.items(), references, strict=True):
        document["paths"][path] = {"post": _operation(summary, reference)}


def _operation(summary: str, reference: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {}, "text/event-stream": {}}
    return {
        "summary": summary,
        "tags": ["inference"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "responses": {
            "200": {"description": "The answer, whole or as server-sent events", "content": answer},
            "400": {"description": "A parameter is at fault; error.param names it"},
            "404": {"description": "No such model"},
            "503": {"description": "Not ready, going down, or the engine died; see Retry-After"},
        },
    }

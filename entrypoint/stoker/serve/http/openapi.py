"""The OpenAPI document. What takes a body is raw ASGI, so its schema comes from the request types, and the statuses of
every endpoint from what the server can answer at all."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from stoker.serve.apis.anthropic.requests import CountRequest, MessagesRequest
from stoker.serve.apis.ollama import requests as ollama
from stoker.serve.apis.openai_responses.requests import ResponsesRequest
from stoker.serve.apis.pooled.requests import EmbeddingRequest, RankingRequest, RerankRequest
from stoker.serve.apis.tokens.requests import TokensRequest
from stoker.serve.request.requests import ChatRequest, CompletionRequest
from stoker.serve.request.tokenization import DetokenizeRequest, TokenizeRequest

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}
_OLLAMA_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_EVERYWHERE = {
    401: "An API key is needed",
    405: "Not this method",
    413: "The body is too large",
    500: "A fault of the server",
}
_WITH_BODY = {
    400: "A parameter is at fault; error.param names it",
    404: "No such model",
    408: "The body did not arrive in time",
    503: "Not ready, going down, or the engine died; see Retry-After",
}
_GENERATING = {
    429: "The queue is full of this client's requests; see Retry-After",
    504: "The answer was not finished in the time that the request may take",
}
_BODIES: dict[str, tuple[type, str]] = {
    "/v1/chat/completions": (ChatRequest, "Answer a conversation"),
    "/v1/completions": (CompletionRequest, "Continue a text"),
    "/inference/v1/generate": (TokensRequest, "Continue token ids, as vLLM's token route does"),
    "/v1/responses": (ResponsesRequest, "Answer a conversation, in OpenAI's newer form"),
    "/v1/messages": (MessagesRequest, "Answer a conversation, in Anthropic's form"),
    "/v1/embeddings": (EmbeddingRequest, "The vectors of texts"),
    "/v1/rerank": (RerankRequest, "How well documents answer a query"),
    "/v1/ranking": (RankingRequest, "The same in NIM's form"),
    "/rerank": (RerankRequest, "The same, where Jina's clients look for it"),
    "/v1/messages/count_tokens": (CountRequest, "How many tokens a conversation has"),
    "/tokenize": (TokenizeRequest, "The tokens of a text or a conversation"),
    "/detokenize": (DetokenizeRequest, "The text of tokens"),
    "/api/chat": (ollama.OllamaChatRequest, "Answer a conversation, in Ollama's form"),
    "/api/generate": (ollama.GenerateRequest, "Answer or continue a text, in Ollama's form"),
    "/api/embed": (ollama.EmbedRequest, "The vectors of texts, in Ollama's form"),
    "/api/embeddings": (ollama.EmbeddingsRequest, "The vector of a text, in Ollama's older form"),
    "/api/show": (ollama.ShowRequest, "What the model is, in Ollama's form"),
}
_FORMS = {"/v1/messages": "AnthropicError", "/api/": "OllamaError"}
_METHODS = ("get", "post", "delete")


def describe(app: FastAPI) -> None:
    """Adds to what `app.openapi()` gives."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        if "Error" not in document.setdefault("components", {}).setdefault("schemas", {}):
            _complete(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    types = [request for request, _ in _BODIES.values()]
    template = "#/components/schemas/{name}"
    references, schemas = msgspec.json.schema_components(types, schema_hook=_schema, ref_template=template)
    document["components"]["schemas"] = {"Error": _ERROR, "AnthropicError": _ANTHROPIC_ERROR}
    document["components"]["schemas"] |= {"OllamaError": _OLLAMA_ERROR, **schemas}
    for (path, (_, summary)), reference in zip(_BODIES.items(), references, strict=True):
        document["paths"].setdefault(path, {})["post"] = _operation(path, summary, reference)
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                _document_refusals(methods[method]["responses"], path)


def _schema(kind: type) -> dict[str, object]:
    """Of what msgspec has none for. An empty schema, which would mean the same, it takes for none."""
    assert kind is object
    return {"description": "Any JSON value"}


def _operation(path: str, summary: str, reference: dict[str, Any]) -> dict[str, Any]:
    stream = "application/x-ndjson" if path.startswith("/api/") else "text/event-stream"
    answer: dict[str, Any] = {"application/json": {}, stream: {}}
    refusals = {str(status): {"description": text} for status, text in (_WITH_BODY | _GENERATING).items()}
    return {
        "summary": summary,
        "tags": ["inference"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
        "responses": {"200": {"description": "The answer, whole or as a stream", "content": answer}} | refusals,
    }


def _document_refusals(responses: dict[str, Any], path: str) -> None:
    """FastAPI's own 422 never comes: no parameter of ours is validated by it."""
    responses.pop("422", None)
    name = next((form for prefix, form in _FORMS.items() if path.startswith(prefix)), "Error")
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    for status, text in _EVERYWHERE.items():
        responses.setdefault(str(status), {"description": text})
    for number, response in responses.items():
        if number != "200":
            response.setdefault("content", content)

"""/api/*, as Ollama's clients ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec
from fastapi import FastAPI, Response

from stoker.serve.apis.ollama.answers import JSON_LINES, LinesWriter, chat_part, generate_part, timestamp
from stoker.serve.apis.ollama.description import running, show, tags
from stoker.serve.apis.ollama.embeddings import prepare_embed, prepare_embeddings
from stoker.serve.apis.ollama.names import served_name
from stoker.serve.apis.ollama.requests import (
    Asking,
    EmbeddingsRequest,
    EmbedRequest,
    GenerateRequest,
    OllamaChatRequest,
    ShowRequest,
)
from stoker.serve.apis.ollama.translation import chat_request, generate_request
from stoker.serve.apis.pooled.endpoints import Encoding
from stoker.serve.generate.inference import Exchange, Inference, Lookup
from stoker.serve.http.asgi import App
from stoker.serve.http.limits import Call
from stoker.serve.http.replies import json_response
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.serve.request import requests as core
from stoker.serve.request.job import Job
from stoker.serve.request.preparation import chat_job, completion_job
from stoker.serve.request.purpose import VECTORS

INFERENCE_PATHS = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
OTHER_PATHS = ("/api/tags", "/api/show", "/api/ps", "/api/version")
# The version of Ollama whose API this is; clients compare it.
API_VERSION = "0.12.11"

_Asked = TypeVar("_Asked", bound=Asking)


def add_ollama(app: FastAPI, service: Service) -> None:
    async def shown(request: ShowRequest, frontend: Frontend) -> object:
        return show(request, frontend, service)

    endpoints = {**inference(service), "/api/show": Lookup(ShowRequest, shown, service)}
    for path, endpoint in endpoints.items():
        app.add_route(path, endpoint, methods=["POST"])  # type: ignore[arg-type]
    _add_listings(app, service)


def inference(service: Service) -> dict[str, App]:
    """Endpoints by their path."""
    return {
        "/api/chat": Asked(OllamaChatRequest, prepare_chat, service),
        "/api/generate": Asked(GenerateRequest, prepare_generate, service),
        "/api/embed": Encoding(EmbedRequest, prepare_embed, service, VECTORS),
        "/api/embeddings": Encoding(EmbeddingsRequest, prepare_embeddings, service, VECTORS),
    }


def _add_listings(app: FastAPI, service: Service) -> None:
    @app.get("/api/tags", tags=["ollama"])
    async def models() -> Response:
        """The served model under each of its names; empty until it is ready."""
        return json_response(tags(service))

    @app.get("/api/ps", tags=["ollama"])
    async def loaded() -> Response:
        """The same with what it takes of the memory."""
        return json_response(running(service))

    @app.get("/api/version", tags=["ollama"])
    async def version() -> Response:
        """The version of Ollama whose API this is."""
        return json_response({"version": API_VERSION})


class Asked(Inference[_Asked]):
    """A request without a prompt loads the model or, with `keep_alive` 0, unloads it: here it stays, and is told so."""

    async def _answer(self, request: _Asked, exchange: Exchange) -> None:
        if _has_prompt(request):
            await super()._answer(request, exchange)
            return
        served_name(request.model, exchange.serving.frontend)
        reason = "unload" if request.keep_alive in (0, "0", "0s", "0m") else "load"
        part = chat_part("") if isinstance(request, OllamaChatRequest) else generate_part("")
        head = {"model": request.model, "created_at": timestamp(exchange.serving.frontend.created)}
        await exchange.reply.whole(200, msgspec.json.encode({**head, **part, "done": True, "done_reason": reason}))


def _has_prompt(request: Asking) -> bool:
    if isinstance(request, OllamaChatRequest):
        return bool(request.messages)
    assert isinstance(request, GenerateRequest)
    return bool(request.prompt or request.suffix or request.images)


async def prepare_chat(request: OllamaChatRequest, frontend: Frontend, _: Call) -> Job:
    """Raises ApiError naming the parameter at fault."""
    meant = chat_request(request, served_name(request.model, frontend), frontend)
    return await _job(meant, partial(LinesWriter, chat_part, request.model), frontend)


async def prepare_generate(request: GenerateRequest, frontend: Frontend, _: Call) -> Job:
    """Raises ApiError naming the parameter at fault."""
    meant = generate_request(request, served_name(request.model, frontend), frontend)
    return await _job(meant, partial(LinesWriter, generate_part, request.model), frontend)


async def _job(
    meant: core.ChatRequest | core.CompletionRequest, writer: Callable[[Job], LinesWriter], frontend: Frontend
) -> Job:
    """`num_predict` is a limit: an answer that does not fit the context ends where that does."""
    if isinstance(meant, core.ChatRequest):
        job = await chat_job(meant, frontend, capped=True)
    else:
        job = await completion_job(meant, frontend, capped=True)
    return replace(job, writer=writer, media_type=JSON_LINES)

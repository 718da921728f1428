"""The HTTP application: it exists from the first second, long before there is an engine to serve."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from stoker import __version__
from stoker.errors import StokerError
from stoker.serve.asgi import App
from stoker.serve.errors import RETRY_AFTER_SECONDS, ApiError, internal
from stoker.serve.frontend import Frontend
from stoker.serve.inference import Inference
from stoker.serve.lifecycle import Lifecycle
from stoker.serve.metrics import CONTENT_TYPE
from stoker.serve.middleware import Envelope
from stoker.serve.openapi import describe
from stoker.serve.preparation import prepare_chat, prepare_completion
from stoker.serve.service import Service

_STATE_PATIENCE_SECONDS = 1.0

INFERENCE_PATHS = ("/v1/chat/completions", "/v1/completions")
OTHER_PATHS = (
    "/v1/models",
    "/v1/health/live",
    "/v1/health/ready",
    "/v1/health/startup",
    "/metrics",
    "/version",
)


def create_app(service: Service) -> App:
    app = FastAPI(title="Stoker", version=__version__, summary="OpenAI-compatible inference", redoc_url=None)
    for path, prepare in zip(INFERENCE_PATHS, (prepare_chat, prepare_completion), strict=True):
        app.add_route(path, Inference(prepare, service), methods=["POST"])  # type: ignore[arg-type]
    _add_health(app, service.lifecycle)
    _add_models(app, service.lifecycle)
    _add_observation(app, service)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(Exception, _on_fault)
    describe(app)
    return Envelope(
        app, service.metrics, max_body=service.limits.body_bytes, endpoints=(*INFERENCE_PATHS, *OTHER_PATHS)
    )


def _add_health(app: FastAPI, lifecycle: Lifecycle) -> None:
    @app.get("/v1/health/live", tags=["health"])
    async def live() -> Response:
        """200 as long as the process answers."""
        return _json({"object": "health.response", "live": True})

    @app.get("/v1/health/ready", tags=["health"])
    async def ready() -> Response:
        """200 when requests are taken, else 503 with the phase."""
        is_ready = lifecycle.ready
        body = {"object": "health.response", "ready": is_ready, "phase": lifecycle.current}
        return _json(body, 200 if is_ready else 503)

    @app.get("/v1/health/startup", tags=["health"])
    async def startup() -> Response:
        """What the server is doing on its way to ready, how far it is, and why it failed if it did."""
        return _json(lifecycle.report())


def _add_models(app: FastAPI, lifecycle: Lifecycle) -> None:
    @app.get("/v1/models", tags=["models"])
    async def models() -> Response:
        """The served model under each of its names; empty until it is ready."""
        serving = lifecycle.serving
        cards = [_card(name, serving.frontend) for name in serving.frontend.names] if serving else []
        return _json({"object": "list", "data": cards})

    @app.get("/v1/models/{name:path}", tags=["models"])
    async def model(name: str) -> Response:
        """One model."""
        serving = lifecycle.serving
        names = serving.frontend.names if serving else ()
        if serving is None or name not in names:
            served = ", ".join(names) or "none yet"
            text = f"The model '{name[:200]}' does not exist; served here: {served}."
            raise ApiError(404, text, param="model", code="model_not_found")
        return _json(_card(name, serving.frontend))


def _card(name: str, frontend: Frontend) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": frontend.created,
        "owned_by": "stoker",
        "max_model_len": frontend.context.length,
    }


def _add_observation(app: FastAPI, service: Service) -> None:
    @app.get("/metrics", tags=["observation"])
    async def metrics() -> Response:
        """Prometheus' text format; docs/metrics.md lists the names."""
        await _ask_engine(service)
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE.decode()})

    @app.get("/version", tags=["observation"])
    async def version() -> Response:
        """The version of this server."""
        return _json({"version": __version__})


async def _ask_engine(service: Service) -> None:
    """Brings the engine's gauges up to date; leaves them as they are where it does not answer."""
    serving = service.lifecycle.serving
    if serving is None or not service.lifecycle.ready:
        return
    with suppress(asyncio.TimeoutError, StokerError):
        state = await asyncio.wait_for(serving.engine.state(), _STATE_PATIENCE_SECONDS)
        service.metrics.engine(serving.frontend.names[0], state, serving.frontend.max_batch_size)


def _json(document: Any, status: int = 200) -> Response:
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return Response(msgspec.json.encode(document), status, headers, "application/json")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, not this method."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_value")
    text = f"{error.detail}: {request.method} {request.url.path[:200]}"
    body = ApiError(error.status_code, text, code=code).body()
    return Response(body, error.status_code, error.headers, "application/json")


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.body(), error.status, media_type="application/json")


async def _on_fault(_: Request, __: Exception) -> Response:
    """The exception goes on to the server, which logs it."""
    return Response(internal().body(), 500, media_type="application/json")

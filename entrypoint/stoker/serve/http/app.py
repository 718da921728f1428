"""The HTTP application: it is made long before there is an engine to serve."""

from __future__ import annotations

from typing import Any, cast

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from stoker.launch.capabilities import GUIDES
from stoker.serve.apis.anthropic.endpoints import count_tokens, prepare_message
from stoker.serve.apis.anthropic.requests import CountRequest, MessagesRequest
from stoker.serve.apis.ollama import endpoints as ollama
from stoker.serve.apis.openai_responses.endpoints import Responses, add_kept
from stoker.serve.apis.openai_responses.requests import ResponsesRequest
from stoker.serve.apis.pooled.embeddings import prepare_embeddings
from stoker.serve.apis.pooled.endpoints import Encoding
from stoker.serve.apis.pooled.requests import EmbeddingRequest, RankingRequest, RerankRequest
from stoker.serve.apis.pooled.reranking import prepare_ranking, prepare_rerank
from stoker.serve.apis.tokens.endpoint import TokenInference
from stoker.serve.generate.inference import Inference, Lookup
from stoker.serve.http.asgi import App, Receive, Scope, Send
from stoker.serve.http.browsers import BrowserCheck
from stoker.serve.http.errors import ApiError
from stoker.serve.http.keys import KeyCheck
from stoker.serve.http.middleware import Envelope
from stoker.serve.http.openapi import describe
from stoker.serve.http.paths import HeadOfGet, PlainPaths
from stoker.serve.http.peers import Forwarded
from stoker.serve.http.replies import json_response, on_api_error, on_fault, on_http_exception
from stoker.serve.operate.adapter_endpoints import add_adapters
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.nim import add_nim
from stoker.serve.operate.observation import add_description, add_health, add_metrics
from stoker.serve.operate.page import add_page
from stoker.serve.operate.service import Service
from stoker.serve.request.preparation import prepare_chat, prepare_completion
from stoker.serve.request.purpose import SCORES, VECTORS
from stoker.serve.request.requests import ChatRequest, CompletionRequest
from stoker.serve.request.tokenization import DetokenizeRequest, TokenizeRequest, detokenize, tokenize
from stoker.version import __version__

INFERENCE_PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/inference/v1/generate"),
    *("/v1/embeddings", "/v1/rerank", "/rerank", "/v1/ranking"),
    *ollama.INFERENCE_PATHS,
)
OTHER_PATHS = (
    "/",
    "/v1/messages/count_tokens",
    "/tokenize",
    "/detokenize",
    "/v1/models",
    "/v1/health/live",
    "/v1/health/ready",
    "/v1/health/startup",
    "/v1/metadata",
    "/v1/version",
    "/v1/license",
    "/v1/manifest",
    "/v1/metrics",
    "/v1/plan",
    "/v1/status",
    "/metrics",
    "/version",
    "/health",
    "/ping",
    "/load",
    *ollama.OTHER_PATHS,
)
_CORS_SECONDS = 600


def create_app(service: Service) -> App:
    return _guarded(create_answering(service), service)


def create_worker_app(service: Service, elsewhere: App) -> App:
    """Of a process that only answers inference: all the rest is answered `elsewhere`, once it has been let through."""
    own = {**_inference(service, Responses(service.responses)), **ollama.inference(service)}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        here = own.get(scope["path"]) if scope.get("method") == "POST" else None
        await (here or elsewhere)(scope, receive, send)

    return _guarded(answer, service)


def create_answering(service: Service) -> App:
    """The API without what surrounds each request: keys, log, limits of bodies."""
    app = _application()
    _add_inference(app, service)
    ollama.add_ollama(app, service)
    add_health(app, service.lifecycle)
    _add_models(app, service.lifecycle)
    add_description(app, service)
    add_nim(app, service)
    if not service.exposure.management_apart:
        add_metrics(app, service)
    add_page(app)
    describe(app)
    return HeadOfGet(cast(App, app))


def _add_inference(app: FastAPI, service: Service) -> None:
    responses = Responses(service.responses)
    for path, endpoint in _inference(service, responses).items():
        app.add_route(path, endpoint, methods=["POST"])  # type: ignore[arg-type]
    add_kept(app, responses)


def _inference(service: Service, responses: Responses) -> dict[str, App]:
    return {
        "/v1/chat/completions": Inference(ChatRequest, prepare_chat, service),
        "/v1/completions": Inference(CompletionRequest, prepare_completion, service),
        "/inference/v1/generate": TokenInference(service),
        "/v1/responses": Inference(ResponsesRequest, responses.prepare, service),
        "/v1/messages": Inference(MessagesRequest, prepare_message, service),
        "/v1/embeddings": Encoding(EmbeddingRequest, prepare_embeddings, service, VECTORS),
        **dict.fromkeys(("/v1/rerank", "/rerank"), Encoding(RerankRequest, prepare_rerank, service, SCORES)),
        "/v1/ranking": Encoding(RankingRequest, prepare_ranking, service, SCORES),
        "/v1/messages/count_tokens": Lookup(CountRequest, count_tokens, service),
        "/tokenize": Lookup(TokenizeRequest, tokenize, service),
        "/detokenize": Lookup(DetokenizeRequest, detokenize, service),
    }


def create_management_app(service: Service) -> App:
    """Health, metrics and adapters, for a port that only operators reach: no key is asked for."""
    app = _application(documented=False)
    add_health(app, service.lifecycle)
    add_metrics(app, service)
    add_adapters(app, service)
    return _enveloped(_browsers_checked(HeadOfGet(cast(App, app)), service, keys=False), service)


def _application(*, documented: bool = True) -> FastAPI:
    address = "/openapi.json" if documented else None
    summary = "OpenAI-compatible inference"
    app = FastAPI(
        title="Stoker",
        version=__version__,
        summary=summary,
        docs_url=None,  # the page brings its own, which needs no network
        redoc_url=None,
        openapi_url=address,
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(Exception, on_fault)
    return app


def _guarded(answering: App, service: Service) -> App:
    """Keys inside, so that what they refuse is logged and counted too; CORS outside, as browsers ask first."""
    exposure = service.exposure
    keyed = KeyCheck(answering, exposure.keys) if exposure.keys else answering
    guarded = _enveloped(_browsers_checked(keyed, service, keys=bool(exposure.keys)), service)
    if not exposure.cors_origins:
        return guarded
    return cast(
        App,
        CORSMiddleware(
            cast(Any, guarded),
            allow_origins=exposure.cors_origins,
            allow_methods=("DELETE", "GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=("x-request-id", "retry-after", "warning"),
            max_age=_CORS_SECONDS,
        ),
    )


def _browsers_checked(app: App, service: Service, *, keys: bool) -> App:
    exposure = service.exposure
    return BrowserCheck(app, hosts=exposure.allowed_hosts, origins=exposure.cors_origins, keys=keys)


def _enveloped(app: App, service: Service) -> App:
    enveloped = Envelope(
        app,
        service.metrics,
        max_body=service.limits.body_bytes,
        endpoints=(*INFERENCE_PATHS, *OTHER_PATHS),
        log_prompts=service.exposure.log_prompts,
        tracer=service.tracer,
    )
    trusted = service.exposure.trusted_proxies
    return PlainPaths(Forwarded(enveloped, trusted) if trusted else enveloped)


def _add_models(app: FastAPI, lifecycle: Lifecycle) -> None:
    @app.get("/v1/models", tags=["models"])
    async def models() -> Response:
        """The served model under each of its names, and its adapters; empty until it is ready."""
        serving = lifecycle.serving
        cards = _cards(serving.frontend) if serving else {}
        return json_response({"object": "list", "data": list(cards.values())})

    @app.get("/v1/models/{name:path}", tags=["models"], responses={404: {"description": "No such model"}})
    async def model(name: str) -> Response:
        """One model."""
        serving = lifecycle.serving
        cards = _cards(serving.frontend) if serving else {}
        if name not in cards:
            served = ", ".join(cards) or "none yet"
            text = f"The model '{name[:200]}' does not exist; served here: {served}."
            raise ApiError(404, text, param="model", code="model_not_found")
        return json_response(cards[name])


def _cards(frontend: Frontend) -> dict[str, dict[str, object]]:
    """The model under each of its names, and the adapters, whose parent it is."""
    cards = {name: _card(name, frontend) for name in frontend.names}
    for each in frontend.adapters:
        own = {"created": each.created, "root": each.root, "parent": frontend.names[0]}
        cards[each.name] = {**_card(each.name, frontend), **own}
    return cards


def _card(name: str, frontend: Frontend) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": frontend.created,
        "owned_by": "stoker",
        "root": name,
        "parent": None,
        "max_model_len": frontend.context.length,
        "default_sampling_params": frontend.context.defaults.given(),
        "unsupported_parameters": _unsupported(frontend),
    }


def _unsupported(frontend: Frontend) -> list[str]:
    """As requests call them."""
    return sorted("response_format" if name == GUIDES else name for name in frontend.context.lacks)

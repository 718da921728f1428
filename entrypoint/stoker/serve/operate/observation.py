"""What the server reports about itself: health, metrics, its plan and its state."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from stoker.errors import StokerError
from stoker.launch.generation import EngineState, joint_gauges
from stoker.serve.http.errors import ApiError
from stoker.serve.http.replies import json_response
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.metrics import CONTENT_TYPE
from stoker.serve.operate.service import Service
from stoker.serve.request.purpose import purpose_of
from stoker.version import __version__

_STATE_PATIENCE_SECONDS = 1.0
_NOT_READY: dict[int | str, dict[str, object]] = {503: {"description": "Not ready"}}
_JSON: dict[str, object] = {"application/json": {}}


def add_health(app: FastAPI, lifecycle: Lifecycle) -> None:
    @app.get("/v1/health/live", tags=["health"])
    async def live() -> Response:
        """200 as long as the process answers."""
        return json_response({"object": "health.response", "message": "Service is live.", "live": True})

    @app.post("/ping", tags=["health"], responses=_NOT_READY, response_class=Response)
    @app.get("/ping", tags=["health"], responses=_NOT_READY, response_class=Response)
    @app.get("/health", tags=["health"], responses=_NOT_READY, response_class=Response)
    async def health() -> Response:
        """vLLM's: 200 without a body when requests are taken, else 503."""
        return Response(status_code=200 if lifecycle.ready else 503)

    @app.get("/v1/health/ready", tags=["health"], responses={503: {"description": "Not ready", "content": _JSON}})
    async def ready() -> Response:
        """200 when requests are taken, else 503 with the phase."""
        is_ready = lifecycle.ready
        message = "Service is ready." if is_ready else f"Service is not ready: {lifecycle.current}."
        body = {"object": "health.response", "message": message, "ready": is_ready, "phase": lifecycle.current}
        return json_response(body, 200 if is_ready else 503)

    @app.get("/v1/health/startup", tags=["health"])
    async def startup() -> Response:
        """What the server is doing on its way to ready, how far it is, and why it failed if it did."""
        return json_response(lifecycle.report())


def add_metrics(app: FastAPI, service: Service) -> None:
    @app.get("/v1/metrics", tags=["observation"], response_class=PlainTextResponse)
    @app.get("/metrics", tags=["observation"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus' text format; docs/metrics.md lists the names."""
        await engine_state(service)
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE.decode()})


def add_description(app: FastAPI, service: Service) -> None:
    @app.get("/version", tags=["observation"])
    async def version() -> Response:
        """The version of this server."""
        return json_response({"version": __version__})

    @app.get("/load", tags=["observation"])
    async def load() -> Response:
        """vLLM's: how many requests are being answered."""
        await _crew_state(service)
        return json_response({"server_load": service.lifecycle.in_flight + service.metrics.requests_elsewhere})

    @app.get("/v1/plan", tags=["observation"], responses={404: {"description": "No plan yet", "content": _JSON}})
    async def plan() -> Response:
        """What was chosen for this machine, and why: the document of `stoker plan --json`. 404 before there is one."""
        if service.plan is None:
            raise ApiError(404, "There is no plan yet; see /v1/health/startup.", code="not_found")
        return json_response(service.plan)

    @app.get("/v1/status", tags=["observation"])
    async def status() -> Response:
        """What the server is doing now: sequences, KV blocks, tokens so far."""
        state = await engine_state(service)
        workers = [vars(one) for one in service.metrics.workers]
        parts = {"replicas": _replicas(service), "adapters": _adapters(service.lifecycle), "api_workers": workers}
        return json_response({**_status(service, state), **parts})


def _replicas(service: Service) -> list[dict[str, object]]:
    """Each as it was when it was last asked, and where it runs."""
    places = (service.plan or {}).get("replicas", ())
    found = []
    for state, place in zip(service.metrics.replicas, places, strict=False):
        gauges = state.engine
        document = {name: value for name, value in vars(state).items() if name != "engine"}
        blocks = {"kv_blocks_used": gauges.kv_blocks_used, "kv_blocks": gauges.kv_blocks_total} if gauges else {}
        found.append({**document, **dict.fromkeys(("kv_blocks_used", "kv_blocks"), 0), **blocks, **place})
    return found


def _adapters(lifecycle: Lifecycle) -> list[dict[str, object]]:
    """Those that are served, with the model that they change, and how many requests named each."""
    if lifecycle.serving is None:
        return []
    frontend = lifecycle.serving.frontend
    return [
        {
            "name": each.name,
            "parent": frontend.names[0],
            "root": each.root,
            "revision": each.facts.revision,
            "rank": each.facts.rank,
            "requests": frontend.adapters.asked(each.name),
        }
        for each in frontend.adapters
    ]


def _status(service: Service, state: EngineState | None) -> dict[str, object]:
    lifecycle, admission, metrics = service.lifecycle, service.admission, service.metrics
    return {
        "phase": lifecycle.current,
        "ready": lifecycle.ready,
        "gives": purpose_of(lifecycle.serving.frontend) if lifecycle.serving else None,
        "requests_in_flight": lifecycle.in_flight + metrics.requests_elsewhere,
        "sequences_running": state.running if state else 0,
        "sequences_waiting": admission.waiting + (state.waiting if state else 0),
        "expected_wait_seconds": round(admission.expected_wait(), 3),
        "kv_blocks_used": state.kv_blocks_used if state else 0,
        "kv_blocks_reserved": admission.reserved_blocks,
        "kv_blocks": state.kv_blocks_total if state else 0,
        "tokens_generated": metrics.tokens_generated,
        "accepted_tokens_per_step": round(state.accepted_per_step, 3) if state else 0,
        "uptime_seconds": lifecycle.report()["elapsed_seconds"],
    }


async def _crew_state(service: Service) -> None:
    if service.crew is not None:
        service.metrics.workers = tuple(await service.crew.states())


async def engine_state(service: Service) -> EngineState | None:
    """Brings the gauges of the engine and of the API's processes up to date; leaves those of an engine as they are that
    does not answer."""
    await _crew_state(service)
    serving = service.lifecycle.serving
    if serving is None:
        return None
    if service.members is not None:
        service.metrics.replicas = tuple(await service.members())
    if not service.lifecycle.ready:
        return None
    with suppress(asyncio.TimeoutError, StokerError):
        state = joint_gauges(service.metrics.replicas)
        if service.members is None:
            state = await asyncio.wait_for(serving.engine.state(), _STATE_PATIENCE_SECONDS)
        if state is not None:
            service.metrics.engine(serving.frontend.names[0], state, serving.frontend.max_batch_size)
        return state
    return None

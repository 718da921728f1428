"""Health, phases, and what surrounds a request."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import BuildError, UsageError
from stoker.serve.http.app import Service
from stoker.serve.http.server import bind
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.metrics import Metrics

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once"}


@pytest.fixture
def unready(service: Service) -> Service:
    """The same service before there is an engine."""
    service.lifecycle = Lifecycle()
    service.metrics = Metrics(service.lifecycle)
    return service


def test_live_answers_from_the_first_second(unready: Service, ask: Ask) -> None:
    assert ask("/v1/health/live").status == 200
    ready = ask("/v1/health/ready")
    assert (ready.status, ready.json["phase"]) == (503, "starting")
    assert ready.headers["retry-after"] == "5"
    assert ask("/v1/models").json == {"object": "list", "data": []}
    assert ask("/v1/models/demo").status == 404
    assert 'stoker_phase{phase="starting"} 1.0' in ask("/metrics").text
    assert "version" in ask("/version").json


def test_inference_before_ready_is_503_with_the_phase(unready: Service, ask: Ask) -> None:
    unready.lifecycle.phase("building", "layer 3 of 24")
    answer = ask("/v1/completions", PLAIN)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "not_ready", "5")
    assert "building: layer 3 of 24" in answer.error["message"]


def test_startup_tells_phase_progress_and_times(unready: Service, ask: Ask) -> None:
    unready.lifecycle.phase("downloading", "model.safetensors")
    unready.lifecycle.advance(25, 100)
    report = ask("/v1/health/startup").json
    assert report["phase"] == "downloading"
    assert report["detail"] == "model.safetensors"
    assert report["percent"] == 25.0
    assert report["progress"] == {"done": 25, "total": 100, "unit": "bytes"}
    assert report["eta_seconds"] >= 0
    assert [phase["name"] for phase in report["phases"]] == ["starting", "downloading"]
    assert report["error"] is None
    unready.lifecycle.phase("building")
    report = ask("/v1/health/startup").json
    assert (report["percent"], report["progress"], report["eta_seconds"]) == (None, None, None)


def test_the_pace_of_a_beginning_foretells_nothing_but_a_download(unready: Service, ask: Ask) -> None:
    """A build's first percent may take most of its time: that once made 252 s of 2.6 s."""
    unready.lifecycle.phase("building")
    unready.lifecycle.advance(1, 100)
    report = ask("/v1/health/startup").json
    assert (report["percent"], report["eta_seconds"]) == (1.0, None)


def test_the_time_left_is_told_by_what_the_phase_took_before_until_its_own_throughput_tells(
    unready: Service, ask: Ask
) -> None:
    lifecycle = unready.lifecycle
    lifecycle.expect({"building": 1000.0, "warming": 0.0})
    lifecycle.phase("building")
    before = ask("/v1/health/startup").json["eta_seconds"]
    lifecycle.advance(1, 4)  # its own throughput shows that almost nothing is left
    begun = ask("/v1/health/startup").json["eta_seconds"]
    lifecycle.advance(3, 4)
    further = ask("/v1/health/startup").json["eta_seconds"]
    assert 990 < before <= 1000
    assert (begun, further) == (pytest.approx(0.75 * before, abs=5), pytest.approx(0.25 * before, abs=5))
    lifecycle.phase("warming")  # it has taken longer than ever before
    assert ask("/v1/health/startup").json["eta_seconds"] is None


def test_a_failure_is_told_and_final(unready: Service, ask: Ask) -> None:
    unready.lifecycle.fail(BuildError("the compiler failed", why="no memory", remedy="use --precision int4"))
    unready.lifecycle.phase("building")
    report = ask("/v1/health/startup").json
    assert report["phase"] == "failed"
    assert report["error"]["code"] == "build_failed"
    assert report["error"]["remedy"] == "use --precision int4"


def test_readiness_follows_the_engine(service: Service, ask: Ask) -> None:
    lifecycle = service.lifecycle
    assert ask("/v1/health/ready").status == 200
    for state, ready in [
        ("stalled", False),
        ("ready", True),
        ("restarting", False),
        ("loading", False),
        ("warming", False),
        ("ready", True),
    ]:
        lifecycle.engine_state(state)
        assert lifecycle.ready is ready
    assert lifecycle.restarts == 1
    assert "stoker_engine_restarts_total 1.0" in ask("/metrics").text
    lifecycle.drain()
    lifecycle.engine_state("ready")
    assert lifecycle.current == "draining"


def test_a_replaced_engine_is_ready_only_once_it_is_attached(service: Service, ask: Ask) -> None:
    lifecycle, serving = service.lifecycle, service.lifecycle.serving
    assert serving is not None
    lifecycle.forget("the engine is damaged and is being replaced")
    lifecycle.engine_state("ready")  # of the new one, whose client is not here yet
    assert not lifecycle.ready
    assert ask("/v1/completions", PLAIN).status == 503
    lifecycle.attach(serving.engine, serving.frontend)
    assert ask("/v1/completions", PLAIN).status == 200


def test_an_engine_state_before_anything_is_attached_changes_nothing() -> None:
    lifecycle = Lifecycle()
    lifecycle.engine_state("ready")
    assert lifecycle.current == "starting"
    with pytest.raises(ValueError, match="no such phase"):
        lifecycle.phase("sleeping")


def test_drained_at_once_when_nothing_is_in_flight() -> None:
    assert asyncio.run(Lifecycle().drained(0))


def test_model_cards(ask: Ask) -> None:
    [card] = ask("/v1/models").json["data"]
    assert {key: card[key] for key in ("id", "object", "owned_by", "max_model_len")} == {
        "id": "demo",
        "object": "model",
        "owned_by": "stoker",
        "max_model_len": 512,
    }
    assert ask("/v1/models/demo").json == card


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2", True), ("", False), ("a b", False), ("x" * 129, False)])
def test_request_ids_are_taken_over_or_made(ask: Ask, given: str, kept: bool) -> None:
    returned = ask("/v1/health/live", headers={"x-request-id": given}).headers["x-request-id"]
    assert (returned == given) is kept
    assert len(returned) >= 7


def test_the_access_log_has_figures_and_no_text(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stoker.access")
    ask("/v1/completions", {**PLAIN, "prompt": "a secret"}, headers={"x-request-id": "r-1"})
    [record] = [record for record in caplog.records if record.name == "stoker.access"]
    fields = record.__dict__["fields"]
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/v1/completions", 200)
    assert fields["completion_tokens"] > 0
    assert record.getMessage().startswith("POST /v1/completions 200 ")
    assert record.getMessage().endswith("tokens r-1")
    assert "secret" not in caplog.text


def test_the_openapi_document_has_the_inference_endpoints(ask: Ask) -> None:
    document = ask("/openapi.json").json
    assert set(document["paths"]) >= {"/v1/chat/completions", "/v1/completions", "/v1/models", "/metrics"}
    properties = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert "max_completion_tokens" in properties
    assert ask("/docs").status == 200


def test_a_taken_port_is_told_with_its_holder() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen on 127.0.0.1:{port}: process \d+ \(.+\) has the port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70000), ("192.0.2.1", 0)])
def test_an_address_that_is_not_ours_is_told(host: str, port: int) -> None:
    with pytest.raises(UsageError, match="cannot listen on"):
        bind(host, port)


def test_connections_wait_from_the_moment_of_binding() -> None:
    with bind("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), timeout=5) as client:
        assert client.getpeername() == listening.getsockname()

"""Traces, as a real OTLP exporter sends them and a collector receives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.otlp_collector import Collector, collecting

from stoker.launch.generation import PerfMetrics
from stoker.serve.operate.service import Service
from stoker.serve.operate.tracing import open_tracer

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "a secret", "max_tokens": 5}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as server:
        yield server


def test_a_request_is_a_span_with_its_phases_in_the_clients_trace(
    ask: Ask, service: Service, collector: Collector
) -> None:
    service.tracer = open_tracer(f"http://127.0.0.1:{collector.server_port}")
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r-1"}
    assert ask("/v1/completions", PLAIN, headers=headers).status == 200
    assert ask("/v1/health/live").status == 200
    service.tracer.close()
    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {"POST /v1/completions", "prepare", "queue", "engine"}
    whole = spans["POST /v1/completions"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    attributes = {each.key: each.value for each in whole.attributes}
    assert attributes["stoker.request_id"].string_value == "r-1"
    assert attributes["gen_ai.usage.output_tokens"].int_value == 5
    phases = [spans[name] for name in ("prepare", "queue", "engine")]
    assert all(span.parent_span_id == whole.span_id for span in phases)
    edges = [edge for span in phases for edge in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (whole.start_time_unix_nano, whole.end_time_unix_nano)
    assert [event.name for event in spans["engine"].events] == ["first token"]
    assert not any(b"secret" in body for body in collector.received)


def test_a_trace_that_nobody_began_begins_here_and_faults_are_marked(
    ask: Ask, service: Service, collector: Collector
) -> None:
    service.tracer = open_tracer(f"http://127.0.0.1:{collector.server_port}/v1/traces")
    service.lifecycle.drain()
    assert ask("/v1/completions", PLAIN, headers={"traceparent": "nonsense"}).status == 503
    service.tracer.close()
    (span,) = collector.spans
    assert (span.parent_span_id, span.status.code) == (b"", 2)


def test_what_the_engine_tells_is_within_its_span(
    ask: Ask, service: Service, engine: ScriptedEngine, collector: Collector
) -> None:
    service.tracer = open_tracer(f"http://127.0.0.1:{collector.server_port}")
    engine.perf_metrics = PerfMetrics(queue=1e-6, prefill=2e-6, decode=3e-6)
    assert ask("/v1/completions", {**PLAIN, "n": 2, "max_tokens": 100}).status == 200
    assert ask("/v1/completions", {**PLAIN, "max_tokens": 2, "stop": "x"}).status == 200
    service.tracer.close()
    (whole,) = [span for span in collector.spans if span.name == "engine" and len(collector.below(span)) == 6]
    children = collector.below(whole)
    assert [span.name for span in children] == ["engine queue", "prefill", "decode"] * 2
    for run in (children[:3], children[3:]):
        lengths = [span.end_time_unix_nano - span.start_time_unix_nano for span in run]
        assert lengths == [1000, 2000, 3000]
        edges = [edge for span in run for edge in (span.start_time_unix_nano, span.end_time_unix_nano)]
        assert whole.start_time_unix_nano <= edges[0]
        assert edges == sorted(edges)
        assert edges[-1] <= whole.end_time_unix_nano


def test_nothing_is_asked_of_the_engine_for_nobody(ask: Ask, service: Service, engine: ScriptedEngine) -> None:
    assert ask("/v1/completions", PLAIN).status == 200
    assert [generation.perf_metrics for generation in engine.asked] == [False]

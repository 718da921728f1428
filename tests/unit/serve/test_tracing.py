"""Traces, as a real OTLP exporter sends them and a collector receives them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stoker.serve.tracing import open_tracer

PLAIN: dict[str, Any] = {"model": "demo", "prompt": "a secret", "max_tokens": 5}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.received: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def spans(self) -> list[Any]:
        requests = map(ExportTraceServiceRequest.FromString, self.received)
        return [
            s for request in requests for r in request.resource_spans for scope in r.scope_spans for s in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_request_is_a_span_with_its_phases_in_the_clients_trace(ask: Any, service: Any, collector: Collector) -> None:
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
    ask: Any, service: Any, collector: Collector
) -> None:
    service.tracer = open_tracer(f"http://127.0.0.1:{collector.server_port}/v1/traces")
    service.lifecycle.drain()
    assert ask("/v1/completions", PLAIN, headers={"traceparent": "nonsense"}).status == 503
    service.tracer.close()
    (span,) = collector.spans
    assert (span.parent_span_id, span.status.code) == (b"", 2)

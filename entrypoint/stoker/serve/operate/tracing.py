"""OpenTelemetry traces: a span for each request, in it those of preparing, queueing and generating, and in the last
what the engine reports about each sequence: its own queue, prefill and decode.

They are made when the request has ended, from what was measured anyway, so that a token costs nothing more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from stoker.errors import UsageError
from stoker.installing import with_extra
from stoker.serve.generate.measurement import EngineRun, Measurement
from stoker.serve.http.asgi import Scope
from stoker.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Status
    from opentelemetry.util.types import AttributeValue


class Tracer(Protocol):
    def request(
        self, scope: Scope, request_id: str, status: int, seconds: float, measurement: Measurement | None
    ) -> None:
        """One that has just ended, after so many seconds."""
        ...

    def close(self) -> None:
        """Sends what is left."""
        ...


def open_tracer(endpoint: str) -> Tracer:
    """`endpoint`: of an OTLP collector, over HTTP. UsageError where OpenTelemetry is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError("traces need OpenTelemetry", why=str(error), remedy=with_extra("otel")) from error
    url = endpoint.rstrip("/")
    url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
    provider = TracerProvider(resource=Resource.create({"service.name": "stoker", "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    return OtelTracer(provider)


class OtelTracer:
    """Goes on with the trace that the client's `traceparent` names."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("stoker", __version__)
        self._extract = TraceContextTextMapPropagator().extract
        self._server = SpanKind.SERVER

    def request(
        self, scope: Scope, request_id: str, status: int, seconds: float, measurement: Measurement | None
    ) -> None:
        end = time.time_ns()
        start = end - int(seconds * 1e9)
        carrier = {name.decode(): value.decode(errors="replace") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            f"{scope['method']} {scope['path']}",
            context=self._extract(carrier),
            kind=self._server,
            attributes=_attributes(scope, request_id, status, measurement),
            start_time=start,
        )
        if measurement is not None:
            self._phases(span, measurement, start, end)
        if status >= 500:
            span.set_status(_error_status())
        span.end(end)

    def _phases(self, parent: Span, measurement: Measurement, start: int, end: int) -> None:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(parent)
        prepared = start + int(measurement.prepared_seconds * 1e9)
        queued = prepared + int(measurement.queue_seconds * 1e9)
        for name, begin, until in (("prepare", start, prepared), ("queue", prepared, queued), ("engine", queued, end)):
            span = self._tracer.start_span(name, context=context, start_time=begin)
            if name == "engine" and measurement.first_token_seconds is not None:
                span.add_event("first token", timestamp=start + int(measurement.first_token_seconds * 1e9))
            if name == "engine":
                for run in measurement.engine_runs:
                    asked = start + int((run.asked - measurement.started) * 1e9)
                    self._run(span, run, max(begin, asked), until)
            span.end(max(begin, until))

    def _run(self, parent: Span, run: EngineRun, begin: int, latest: int) -> None:
        """The engine's clock is its own: only how long each phase took is taken from it."""
        from opentelemetry.trace import set_span_in_context

        context, metrics = set_span_in_context(parent), run.perf_metrics
        phases = (("engine queue", metrics.queue), ("prefill", metrics.prefill), ("decode", metrics.decode))
        for name, seconds in phases:
            span = self._tracer.start_span(name, context=context, start_time=begin)
            begin = min(begin + int(seconds * 1e9), latest)
            span.end(begin)

    def close(self) -> None:
        self._provider.shutdown()


def _attributes(
    scope: Scope, request_id: str, status: int, measurement: Measurement | None
) -> dict[str, AttributeValue]:
    """Names of OpenTelemetry's semantic conventions; no text of anybody's."""
    attributes: dict[str, AttributeValue] = {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "http.response.status_code": status,
        "stoker.request_id": request_id,
    }
    if measurement is None:
        return attributes
    return attributes | {
        "gen_ai.usage.input_tokens": measurement.prompt_tokens,
        "gen_ai.usage.output_tokens": measurement.completion_tokens,
        "gen_ai.response.finish_reasons": list(measurement.finish_reasons),
    }


def _error_status() -> Status:
    from opentelemetry.trace import Status, StatusCode

    return Status(StatusCode.ERROR)

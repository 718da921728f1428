"""What /metrics shows. Names without a prefix are those of NVIDIA NIM 1.x, so that its dashboards and autoscalers
work; ours begin with `stoker_`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker.launch.generation import EngineState, ReplicaState
from stoker.progress import PHASES
from stoker.serve.generate.admission import Admission
from stoker.serve.generate.measurement import Measurement
from stoker.serve.operate.counted import Summed, total
from stoker.serve.operate.crew import WorkerState
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.version import __version__

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_MODEL = ("model_name",)
_LAYOUT = ("model_name", "block_size", "num_gpu_blocks")  # the labels that inference gateways read
_FIRST_TOKEN = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_QUEUE = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_GAP = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
_WHOLE = (0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 15, 20, 30, 45, 60, 120, 300, 600)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


@dataclass(frozen=True)
class Instrument:
    """What the documentation says about one metric; `buckets` are upper bounds."""

    name: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


class Metrics:
    """One registry for one server. All but `collect`ing happens on the event loop."""

    def __init__(self, lifecycle: Lifecycle, admission: Admission | None = None) -> None:
        self._admission = admission = admission or Admission()
        self._active: dict[int, Measurement] = {}
        self._ended_tokens = 0
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the page and nothing reads them
        self.registry = CollectorRegistry()
        self.instruments: list[Instrument] = []
        ProcessCollector(registry=self.registry)
        self.replicas: tuple[ReplicaState, ...] = ()
        self.workers: tuple[WorkerState, ...] = ()
        self.counted: Path | None = None
        self.registry.register(_LifecycleCollector(lifecycle, admission, self))
        self.registry.register(_ReplicaCollector(self))
        self.registry.register(_WorkerCollector(self))
        self._http = self._counter("stoker_http_requests", "Requests by endpoint and HTTP status", "endpoint", "status")
        self._ignored = self._counter(
            "stoker_ignored_fields",
            "Fields of requests that were passed over; the Warning header names them",
            "endpoint",
        )
        self._success = self._counter("request_success", "Requests answered in full", "model_name")
        self._failure = self._counter("request_failure", "Requests that ended in an error or were left", "model_name")
        self._finish = self._counter("request_finish", "Choices by how they ended", "model_name", "finished_reason")
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts", "model_name")
        self._generated = self._counter("generation_tokens", "Tokens generated", "model_name")
        self._first = self._histogram(
            "time_to_first_token_seconds", "From the request to its first token", _FIRST_TOKEN
        )
        self._gap = self._histogram("time_per_output_token_seconds", "Between tokens, once for each step", _GAP)
        self._queue = self._histogram(
            "request_queue_time_seconds", "From the request to its place in the engine", _QUEUE
        )
        self._whole = self._histogram("e2e_request_latency_seconds", "From the request to its last token", _WHOLE)
        self._prompts = self._histogram("request_prompt_tokens", "Prompt tokens of a request", _TOKENS)
        self._answers = self._histogram("request_generation_tokens", "Tokens generated for a request", _TOKENS)
        self._running = self._gauge("num_requests_running", "Sequences in the engine's batch")
        self._waiting = self._gauge("num_requests_waiting", "Sequences that wait for a place in the batch")
        self._most = self._gauge("num_request_max", "The largest batch")
        self._cache = self._gauge("kv_cache_usage_perc", "KV cache in use by running sequences, 0 to 1")
        self._gpu_cache = self._gauge("gpu_cache_usage_perc", "The same as kv_cache_usage_perc, under NIM's name")
        self._used = self._gauge("stoker_kv_blocks_used", "KV blocks in use by running sequences")
        self._blocks = self._gauge("stoker_kv_blocks", "KV blocks in all")
        self._accepted = self._gauge(
            "stoker_accepted_tokens_per_step",
            "Guessed tokens that the model kept, for each step of a sequence since the engine started",
        )
        self._layout = self._info("stoker_cache_config_info", "1, for what the labels say of the KV cache", *_LAYOUT)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        self.instruments.append(Instrument(name, labels))
        return Counter(name, help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        self.instruments.append(Instrument(name, _MODEL))
        return Gauge(name, help_, _MODEL, registry=self.registry)

    def _info(self, name: str, help_: str, *labels: str) -> Gauge:
        self.instruments.append(Instrument(name, labels))
        return Gauge(name, help_, labels, registry=self.registry)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...]) -> Histogram:
        self.instruments.append(Instrument(name, _MODEL, buckets))
        return Histogram(name, help_, _MODEL, buckets=buckets, registry=self.registry)

    def begin(self, model: str, started: float) -> Measurement:
        """Its tokens count in `tokens_generated` as they come; `end` must follow."""
        measurement = Measurement(self._first.labels(model).observe, self._gap.labels(model).observe, started)
        self._active[id(measurement)] = measurement
        return measurement

    def end(self, model: str, measurement: Measurement, seconds: float, *, success: bool) -> None:
        """Once for each request that was admitted and understood."""
        del self._active[id(measurement)]
        self._ended_tokens += measurement.completion_tokens
        (self._success if success else self._failure).labels(model).inc()
        self._prompt.labels(model).inc(measurement.prompt_tokens)
        self._generated.labels(model).inc(measurement.completion_tokens)
        for reason in measurement.finish_reasons:
            self._finish.labels(model, reason).inc()
        if success:
            self._whole.labels(model).observe(seconds)
            self._queue.labels(model).observe(measurement.queue_seconds)
            self._prompts.labels(model).observe(measurement.prompt_tokens)
            self._answers.labels(model).observe(measurement.completion_tokens)

    @contextmanager
    def measured(self, model: str, prompt_tokens: int, started: float) -> Iterator[Measurement]:
        """Counts a request that was understood, as a failure unless the block ends in peace. `started` is
        time.perf_counter's."""
        measurement = self.begin(model, started)
        measurement.prompt_tokens = prompt_tokens
        measurement.prepared_seconds = time.perf_counter() - started
        complete = False
        try:
            yield measurement
            complete = True
        finally:
            self.end(model, measurement, time.perf_counter() - started, success=complete)

    @property
    def tokens_generated(self) -> int:
        """Of all requests so far, those under way included, in all processes."""
        others = total(self.counted, "generation_tokens") if self.counted else 0
        return self._ended_tokens + self.tokens_under_way + int(others) + sum(one.tokens for one in self.workers)

    @property
    def tokens_under_way(self) -> int:
        """Of this process's requests that have not ended."""
        return sum(each.completion_tokens for each in self._active.values())

    @property
    def requests_elsewhere(self) -> int:
        """In flight in other processes."""
        return sum(one.requests_in_flight for one in self.workers)

    def http_request(self, endpoint: str, status: int) -> None:
        self._http.labels(endpoint, str(status)).inc()

    def ignored(self, endpoint: str, fields: int) -> None:
        if fields:
            self._ignored.labels(endpoint).inc(fields)

    def engine(self, model: str, state: EngineState, max_batch_size: int) -> None:
        usage = state.kv_blocks_used / state.kv_blocks_total if state.kv_blocks_total else 0.0
        self._running.labels(model).set(state.running)
        self._waiting.labels(model).set(state.waiting + self._admission.waiting)
        self._most.labels(model).set(max_batch_size)
        self._cache.labels(model).set(usage)
        self._gpu_cache.labels(model).set(usage)
        self._used.labels(model).set(state.kv_blocks_used)
        self._blocks.labels(model).set(state.kv_blocks_total)
        self._accepted.labels(model).set(state.accepted_per_step)
        self._layout.clear()  # an engine that came back with fewer blocks has one layout too
        self._layout.labels(model, str(state.kv_block_tokens), str(state.kv_blocks_total)).set(1)

    def render(self) -> bytes:
        if self.counted is None:
            return generate_latest(self.registry)
        summed = CollectorRegistry()
        summed.register(Summed(self.registry, self.counted))
        return generate_latest(summed)


class _LifecycleCollector(Collector):
    """Asked when /metrics is, so that the lifecycle need not know of metrics."""

    def __init__(self, lifecycle: Lifecycle, admission: Admission, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        lifecycle = self._lifecycle
        seconds = lifecycle.phase_seconds()
        yield _labelled("stoker_info", "This version", "version", {__version__: 1})
        yield _labelled("stoker_phase", "1 for the phase that is open", "phase", _flags(lifecycle.current))
        yield _labelled("stoker_phase_seconds", "Time spent in each phase so far", "phase", seconds)
        yield GaugeMetricFamily("stoker_build_seconds", "What building the engine took", _build_seconds(lifecycle))
        in_flight = lifecycle.in_flight + self._metrics.requests_elsewhere
        yield GaugeMetricFamily("stoker_requests_in_flight", "Requests being answered", in_flight)
        yield GaugeMetricFamily(
            "stoker_queue_sequences", "Sequences that wait outside the engine", self._admission.waiting
        )
        yield GaugeMetricFamily(
            "stoker_queue_wait_seconds", "How long a new one would", self._admission.expected_wait()
        )
        yield GaugeMetricFamily(
            "stoker_kv_blocks_reserved",
            "KV blocks that sequences let in may come to need",
            self._admission.reserved_blocks,
        )
        yield _adapters(lifecycle)
        yield CounterMetricFamily("stoker_engine_restarts", "How often the engine process exited", lifecycle.restarts)


class _ReplicaCollector(Collector):
    """Each replica of the engine as it was when it was last asked."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        told = [(str(one.replica), one) for one in self._metrics.replicas]
        yield from _families("replica", told, _REPLICA_GAUGES, _REPLICA_COUNTERS)


class _WorkerCollector(Collector):
    """Each API process as it was when it was last asked; nothing where the server itself is the only one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        told = [(str(one.worker), one) for one in self._metrics.workers]
        if told:
            yield from _families("worker", told, _WORKER_GAUGES, _WORKER_COUNTERS)


_T = TypeVar("_T")
_Told = Sequence[tuple[str, str, Callable[[_T], float]]]


def _families(label: str, told: Sequence[tuple[str, _T]], gauges: _Told[_T], counters: _Told[_T]) -> Iterator[Metric]:
    """Names, helps, and what each of those that are told of has in them."""
    for families, kind in ((gauges, GaugeMetricFamily), (counters, CounterMetricFamily)):
        for name, help_, value in families:
            family = kind(name, help_, labels=[label])
            for own, one in told:
                family.add_metric([own], value(one))
            yield family


_WORKER_GAUGES: _Told[WorkerState] = (
    ("stoker_api_worker_ready", "1 for an API process that takes requests", lambda one: one.state == "ready"),
    ("stoker_api_worker_connections", "Connections that the API process has", lambda one: one.connections),
    (
        "stoker_api_worker_requests_in_flight",
        "Requests that the API process is answering",
        lambda one: one.requests_in_flight,
    ),
)
_WORKER_COUNTERS: _Told[WorkerState] = (
    ("stoker_api_worker_restarts", "How often the API process was started anew", lambda one: one.restarts),
    (
        "stoker_api_worker_processor_seconds",
        "Processor time of the API process that runs now",
        lambda one: one.processor_seconds,
    ),
)
_REPLICA_GAUGES: _Told[ReplicaState] = (
    ("stoker_replica_ready", "1 for a replica that takes requests", lambda one: one.state == "ready"),
    ("stoker_replica_sequences", "Sequences that the replica has", lambda one: one.sequences),
    (
        "stoker_replica_tokens_waiting",
        "Tokens of prompts that the replica has not begun to answer",
        lambda one: one.tokens_waiting,
    ),
    (
        "stoker_replica_kv_blocks_used",
        "KV blocks in use by the replica's running sequences",
        lambda one: one.engine.kv_blocks_used if one.engine else 0,
    ),
)
_REPLICA_COUNTERS: _Told[ReplicaState] = (
    ("stoker_replica_restarts", "How often the replica was restarted", lambda one: one.restarts),
    ("stoker_replica_requests", "Sequences that the replica was given", lambda one: one.requests),
    ("stoker_replica_tokens_read", "Tokens of prompts that the replica had to read", lambda one: one.tokens_read),
    (
        "stoker_replica_tokens_held",
        "Tokens of prompts that the replica was expected to have in its cache",
        lambda one: one.tokens_held,
    ),
)


def _adapters(lifecycle: Lifecycle) -> Metric:
    """Their requests are those of the model_name that they are served under."""
    labels = ["adapter", "revision", "rank"]
    family = GaugeMetricFamily("stoker_adapter_info", "1 for each LoRA adapter that is served", labels=labels)
    serving = lifecycle.serving
    for each in serving.frontend.adapters if serving else ():
        family.add_metric([each.name, each.facts.revision, str(each.facts.rank)], 1)
    return family


def _labelled(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _flags(current: str) -> dict[str, int]:
    return {phase: int(phase == current) for phase in PHASES}


def _build_seconds(lifecycle: Lifecycle) -> float:
    serving = lifecycle.serving
    return (serving.frontend.build_seconds or 0.0) if serving else 0.0

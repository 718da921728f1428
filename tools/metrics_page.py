"""The document docs/metrics.md, from the registry of metrics itself."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.core import Metric

from stoker.launch.generation import ReplicaState
from stoker.serve.operate.crew import WorkerState
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.metrics import Instrument, Metrics

_HEAD = """# Metrics

`GET /metrics`, in Prometheus' text format. Times are seconds. Names without a prefix are those of NVIDIA NIM 1.x with
the same meaning, so that its dashboards and autoscalers work unchanged; Stoker's own begin with `stoker_`.
Those with the label `model_name` appear with the model's first request or, for the engine's gauges, once it is ready;
the others from the first second.

The gauges that the Gateway API Inference Extension asks for are `num_requests_waiting` (queued),
`num_requests_running` (running) and `kv_cache_usage_perc` (KV cache). Its endpoint picker looks for vLLM's names unless
told: `--total-queued-requests-metric=num_requests_waiting --total-running-requests-metric=num_requests_running
--kv-cache-usage-percentage-metric=kv_cache_usage_perc --cache-info-metric=stoker_cache_config_info`; the labels of the
last one are the optional block size and number of blocks. See [kubernetes.md](kubernetes.md).

| here and in NIM 1.x | vLLM, NIM 2.x |
|---|---|
| `num_requests_running`, `num_requests_waiting` | `vllm:num_requests_running`, `vllm:num_requests_waiting` |
| `kv_cache_usage_perc`, `gpu_cache_usage_perc` | `vllm:kv_cache_usage_perc` |
| `prompt_tokens_total`, `generation_tokens_total` | `vllm:prompt_tokens_total`, `vllm:generation_tokens_total` |
| `time_to_first_token_seconds` | `vllm:time_to_first_token_seconds` |
| `time_per_output_token_seconds` | `vllm:inter_token_latency_seconds` |
| `e2e_request_latency_seconds` | `vllm:e2e_request_latency_seconds` |
| `request_queue_time_seconds` | `vllm:request_queue_time_seconds` |
| `request_prompt_tokens`, `request_generation_tokens` | the same after `vllm:` |
| `request_success_total`, `request_finish_total` | `vllm:request_success_total`, by `finished_reason` |

| name | type | labels | what |
|---|---|---|---|
"""

_TAIL = """
Also the usual `process_*` metrics of the server's own process. With [several API processes](scaling.md) counters and
histograms are those of all of them, also of those that have ended; only then are there `stoker_api_worker_*`.

Buckets:

"""


def document() -> str:
    """Generated from the registry itself, so that it cannot say anything else."""
    metrics = Metrics(Lifecycle())
    metrics.replicas = (ReplicaState(0, "ready"),)
    metrics.workers = (WorkerState(0, "ready"),)
    return _HEAD + "".join(sorted(_rows(metrics))) + _TAIL + "".join(_bucket_lines(metrics.instruments))


def _rows(metrics: Metrics) -> list[str]:
    labels = {instrument.name: instrument.labels for instrument in metrics.instruments}
    families = [family for family in metrics.registry.collect() if not family.name.startswith("process_")]
    return [_row(family, labels.get(family.name) or _sampled_labels(family)) for family in families]


def _row(family: Metric, labels: Sequence[str]) -> str:
    shown = family.name + ("_total" if family.type == "counter" else "")
    names = ", ".join(f"`{label}`" for label in labels)
    return f"| `{shown}` | {family.type} | {names} | {family.documentation} |\n"


def _sampled_labels(family: Metric) -> list[str]:
    own = {label for sample in family.samples for label in sample.labels}
    return sorted(own | set(getattr(family, "_labelnames", ())))


def _bucket_lines(instruments: Sequence[Instrument]) -> list[str]:
    histograms = [(one.name, one.buckets) for one in instruments if one.buckets]
    return [f"- `{name}`: {', '.join(f'{bound:g}' for bound in bounds)}\n" for name, bounds in histograms]

"""`python -m stoker.serve.metrics_docs` prints docs/metrics.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from prometheus_client.core import Metric

from stoker.serve.lifecycle import Lifecycle
from stoker.serve.metrics import Instrument, Metrics

_HEAD = """# Metrics

`GET /metrics`, in Prometheus' text format. Times are seconds. Names without a prefix are those of NVIDIA NIM 1.x with
the same meaning, so that its dashboards and autoscalers work unchanged; Stoker's own begin with `stoker_`.
Those with the label `model_name` appear with the model's first request or, for the engine's gauges, once it is ready;
the others from the first second.

The gauges that the Gateway API Inference Extension asks for are `num_requests_waiting` (queued),
`num_requests_running` (running) and `kv_cache_usage_perc` (KV cache).

| name | type | labels | what |
|---|---|---|---|
"""

_TAIL = """
Also the usual `process_*` metrics of this process.

Buckets:

"""


def document() -> str:
    """Generated from the registry itself, so that it cannot say anything else."""
    metrics = Metrics(Lifecycle())
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
    return sorted({label for sample in family.samples for label in sample.labels})


def _bucket_lines(instruments: Sequence[Instrument]) -> list[str]:
    histograms = [(one.name, one.buckets) for one in instruments if one.buckets]
    return [f"- `{name}`: {', '.join(f'{bound:g}' for bound in bounds)}\n" for name, bounds in histograms]


if __name__ == "__main__":
    sys.stdout.write(document())

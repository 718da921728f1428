"""What the Gateway API Inference Extension's model server protocol asks of a server's metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"
# The protocol's name for each, the flag that tells the endpoint picker ours, and what the scripted engine has.
REQUIRED = {
    "total-queued-requests-metric": ("num_requests_waiting", 0.0),
    "total-running-requests-metric": ("num_requests_running", 0.0),
    "kv-cache-usage-percentage-metric": ("kv_cache_usage_perc", 0.25),
}


@pytest.fixture
def families(ask: Ask) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(ask("/metrics").text)}


@pytest.mark.parametrize(("name", "value"), REQUIRED.values())
def test_the_required_gauges_are_there_once_each_from_the_start(name: str, value: float, families: Any) -> None:
    family = families[name]
    assert family.type == "gauge"
    assert [sample.value for sample in family.samples] == [value]


def test_the_cache_is_described_by_the_labels_that_gateways_read(families: Any) -> None:
    [sample] = families["stoker_cache_config_info"].samples
    assert sample.labels == {"model_name": "demo", "block_size": "16", "num_gpu_blocks": "12"}


def test_the_page_tells_the_gateway_these_names() -> None:
    told = dict(re.findall(r"--([a-z-]+-metric)=(\w+)", PAGE.read_text()))
    assert told == {flag: name for flag, (name, _) in REQUIRED.items()} | {
        "cache-info-metric": "stoker_cache_config_info"
    }


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_both_apis_that_the_protocol_names_answer(path: str, ask: Ask) -> None:
    body = {"model": "demo", "prompt": "Once", "messages": [{"role": "user", "content": "Hello"}]}
    body.pop("messages" if path == "/v1/completions" else "prompt")
    assert ask(path, body).status == 200

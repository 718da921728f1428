"""The dashboard and the alerts against a real Prometheus that scrapes a real server under load."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.containers.engine import READY_SECONDS, Container, complete, wait_for
from tests.dashboard import MONITORING, alert_queries, panel_queries
from tests.ports import free_port

needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus: apt install prometheus")


@pytest.fixture(scope="module")
def prometheus(demo: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL, with the shipped configuration, except for the target, after some requests and scrapes."""
    directory = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{demo.port}"]}]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(MONITORING / "rules.yaml", directory)
    url = f"http://127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/data"]
    log = (directory / "log").open("w")
    with log, subprocess.Popen([*command, f"--web.listen-address={url[7:]}"], stdout=log, stderr=log) as server:
        wait_for(f"{url}/-/ready")
        deadline = time.monotonic() + READY_SECONDS
        while not query(url, "rate(request_generation_tokens_count[1m]) > 0"):
            list(ThreadPoolExecutor(4).map(lambda _: complete(demo.url, tokens=24), range(4)))
            assert time.monotonic() < deadline, (directory / "log").read_text()
        yield url
        server.terminate()


def query(url: str, expression: str) -> list[dict[str, Any]]:
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as answer:
        return list(json.load(answer)["data"]["result"])


@needs_prometheus
def test_every_panel_has_something_to_show(prometheus: str) -> None:
    empty = []
    for title, expression in panel_queries():
        values = [float(result["value"][1]) for result in query(prometheus, expression)]
        if not values or any(value != value for value in values):
            empty.append((title, expression))
    only_after_a_failure = [entry for entry in empty if "request_failure_total" in entry[1]]
    assert empty == only_after_a_failure


@needs_prometheus
def test_no_alert_fires_while_all_is_well(prometheus: str) -> None:
    for name, expression in alert_queries():
        assert query(prometheus, expression) == [], name
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        rules = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    assert {rule["name"] for rule in rules} == {name for name, _ in alert_queries()}


@needs_prometheus
def test_the_shipped_configuration_is_valid() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", Path(MONITORING, "prometheus.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr

"""`stoker bench` as a person runs it: real servers, real engines, small loads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_until_gone

LOADS = ("--streams", "1,3", "--prompt-tokens", "24", "--output-tokens", "12", "--rounds", "2")


def command(cache: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "stoker", "bench", "demo", "--cache", str(cache), *arguments]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Two precisions that can run and a kind that cannot, with and without a shared prefix, and the chart."""
    cache = tmp_path_factory.mktemp("cache")
    kinds = ("--kinds", "openvino:int8,openvino:int4,tensorrt_llm", "--shared-prefix", "0,16", "--json")
    arguments = command(cache, *LOADS, *kinds, "--chart", str(cache / "chart.svg"))
    return subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False), cache


def test_each_kind_is_served_and_measured(finished) -> None:
    answer, _ = finished
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert [(each["kind"], each["precision"]) for each in report["measured"]] == [
        ("openvino", "int8"),
        ("openvino", "int4"),
    ]
    for each in report["measured"]:
        assert [(load["streams"], load["shared_prefix"]) for load in each["loads"]] == [
            (1, 0),
            (3, 0),
            (1, 16),
            (3, 16),
        ]
        assert all(
            load["tokens_per_second"] > 0 and len(load["round_tokens_per_second"]) == 2 for load in each["loads"]
        )
        assert all(0 < load["first_token"]["p50"] <= load["first_token"]["p99"] for load in each["loads"])
        assert each["build_seconds"] > 0
        assert {"loading", "warming"} <= {phase["name"] for phase in each["warm_start"]["phases"]}
        assert "building" in {phase["name"] for phase in each["cold_start"]["phases"]}
        assert each["memory"]["server_peak"] > each["memory"]["engine_peak"] > 50e6


def test_what_cannot_run_is_named_with_its_reason(finished) -> None:
    answer, _ = finished
    (refused,) = json.loads(answer.stdout)["not_run"]
    assert refused["kind"] == "tensorrt_llm"
    assert "GPU" in refused["reason"]


def test_the_chart_is_drawn_and_the_cache_is_left_as_it_was(finished) -> None:
    _, cache = finished
    assert "openvino int4" in (cache / "chart.svg").read_text()
    assert not list(cache.glob("tmp/*"))
    assert not list(cache.glob("engines/*"))


def test_where_nothing_can_run_it_says_why(tmp_path: Path) -> None:
    arguments = command(tmp_path, "--kinds", "tensorrt_llm", *LOADS)
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 69
    assert "tensorrt_llm" in answer.stderr
    assert "error: none of the requested engine kinds can serve this model here" in answer.stderr


def ended_by(number: int, cache: Path) -> int:
    """The exit code of a benchmark that was measuring; nothing of its server is left."""
    arguments = command(cache, "--kinds", "openvino", *LOADS, "--rounds", "100000")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "ready after" in line:
                break
        children = descendants(process.pid)
        assert children, "the server was not found below the benchmark"
        process.send_signal(number)
        code = process.wait(120)
        print(process.stderr.read())  # shown where a test fails
    wait_until_gone(*children)
    return code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_the_server_too_and_leaves_nothing(number: int, code: int, tmp_path: Path) -> None:
    assert ended_by(number, tmp_path) == code
    assert not list((tmp_path / "tmp").iterdir())


def test_what_a_killed_benchmark_leaves_the_next_removes(tmp_path: Path) -> None:
    assert ended_by(signal.SIGKILL, tmp_path) == -signal.SIGKILL
    assert list((tmp_path / "tmp").iterdir())
    subprocess.run(command(tmp_path, "--kinds", "openvino", *LOADS), capture_output=True, timeout=300, check=True)
    assert not list((tmp_path / "tmp").iterdir())


def test_reuse_serves_the_caches_engine_and_keeps_it(tmp_path: Path) -> None:
    arguments = command(tmp_path, "--kinds", "openvino", *LOADS, "--reuse", "--json")
    answers = [subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True) for _ in range(2)]
    first, second = (json.loads(answer.stdout)["measured"][0] for answer in answers)
    assert first["cold_start"] is not None
    assert second["cold_start"] is None
    assert second["build_seconds"] is None
    assert len(list(tmp_path.glob("engines/*"))) == 1


def descendants(pid: int) -> list[int]:
    from stoker.processes import family

    return [each for each in family(pid) if each != pid]

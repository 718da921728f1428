"""From a plan for GPUs to a served engine, past a build that fails, runs out of memory or is killed half-way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

import pytest
from tests.waiting import wait_until

from stoker.processes import process_lives

pytest.importorskip("pytriton")
SECONDS = 60


def engines(tmp_path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "cache" / "engines").glob("*/engine.json"))]


def of_tools(tmp_path) -> list[int]:
    """Living processes that this test's builds have started: their variables tell."""
    mark, found = f"HF_HOME={tmp_path}/cache/tmp/".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes() and process_lives(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


def test_the_engine_is_built_once_with_its_cost_on_record(run, serve, tmp_path):
    server = serve(1)
    (engine,) = engines(tmp_path)
    assert engine["kind"] == "tensorrt_llm"
    assert engine["versions"] == {
        "builder": "1", "tensorrt-llm": "1.2.1", "tensorrt": "10.14.1.48", "nvidia-modelopt": "0.37.0",
    }  # fmt: skip
    assert set(engine["build"]["seconds"]) == {"convert", "build"}
    assert engine["build"]["peak_rss_bytes"] > 1 << 20
    assert {"engine/rank0.engine", "logs/build.log"} <= {file["path"] for file in engine["files"]}
    assert not list((tmp_path / "cache" / "tmp").iterdir())
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(SECONDS) == 0
    again = run("build", 1, FAKE_TENSORRT_LLM_FAIL="convert:error")
    assert again.process.wait(SECONDS) == 0
    assert f"found the engine {engine['key']}" in again.output


def test_a_quantised_build_that_fails_gives_way_to_the_plans_next_profile(serve, tmp_path):
    server = serve(1, SIXTEEN_BITS="refused", FAKE_TENSORRT_LLM_FAIL="quantize:error")
    said = re.search(r"tensorrt_llm-fp8-throughput failed to build, so (\S+) is built instead: (.*)", server.output)
    assert said is not None
    assert said[1] == "tensorrt_llm-int8_wo-throughput"
    assert "RuntimeError: quantize cannot do this" in said[2]
    (engine,) = engines(tmp_path)
    assert engine["chosen"]["precision"] == "int8_wo"
    with server.open(max_tokens=5) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == 5


def test_what_is_built_instead_fails_for_good(run, tmp_path):
    server = run("build", 1, SIXTEEN_BITS="refused", FAKE_TENSORRT_LLM_FAIL="build:error")
    assert server.process.wait(SECONDS) == 70
    assert server.output.count("is built instead") == 1
    assert "error: trtllm-build failed: exit code 1: RuntimeError: build cannot do this" in server.output
    assert "Traceback" not in server.output
    assert not engines(tmp_path)


def test_a_requested_precision_gives_way_to_nothing(run):
    server = run("build", 1, "--precision", "fp8", FAKE_TENSORRT_LLM_FAIL="quantize:error")
    assert server.process.wait(SECONDS) == 70
    assert "is built instead" not in server.output


@pytest.mark.parametrize("how", ["killed", "worker-killed"])
def test_a_build_that_is_out_of_memory_says_so_and_what_to_do(how, run, tmp_path):
    server = run("build", 2, "--tensor-parallel", "2", FAKE_TENSORRT_LLM_FAIL=f"build:{how}")
    assert server.process.wait(SECONDS) == 70
    assert "error: trtllm-build ran out of the host's memory" in server.output
    assert "hint: give it more memory (about 5.00 GiB is enough)" in server.output
    (log,) = re.findall(r"all that it said: (\S+)", server.output)
    assert "Build TensorRT engine" in Path(log).read_text()
    assert not of_tools(tmp_path)
    assert not list((tmp_path / "cache" / "tmp").iterdir())


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_build_killed_half_way_leaves_nothing_and_the_next_start_builds(by, run, tmp_path):
    server = run("build", 2, "--tensor-parallel", "2", FAKE_TENSORRT_LLM_FAIL="build:hangs")
    server.wait_until(lambda: len(of_tools(tmp_path)) >= 3 and "step 2 of 2, compiling" in server.output)
    os.kill(server.process.pid, by)
    server.process.wait(SECONDS)
    wait_until(lambda: not of_tools(tmp_path))
    assert not engines(tmp_path)
    if by == signal.SIGTERM:
        assert not list((tmp_path / "cache" / "tmp").iterdir())
    again = run("build", 2, "--tensor-parallel", "2")
    assert again.process.wait(SECONDS) == 0
    assert len(engines(tmp_path)) == 1
    assert not list((tmp_path / "cache" / "tmp").iterdir())


def test_without_the_tools_the_cpu_serves_and_says_which_image_would_use_the_gpu(run, tmp_path):
    server = run("build", 1, PATH=os.environ["PATH"])
    assert server.process.wait(SECONDS) == 0
    (engine,) = engines(tmp_path)
    assert engine["kind"] == "openvino"
    assert (
        "serving from the CPU, not from NVIDIA H100 80GB HBM3: tensorrt_llm engines need TensorRT-LLM" in server.output
    )
    assert "the NVIDIA image has it" in server.output

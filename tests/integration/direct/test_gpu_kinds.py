"""The direct API over TensorRT-LLM's two kinds, with the stand-in for its Python package."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.loading import python_path

from stoker import Runner
from stoker.errors import EngineError
from stoker.launch.generation import RequestRefusedError
from stoker.launch.server import process_lives
from stoker.plan.types import Chosen
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.store.engine import SCHEMA, Manifest
from stoker.store.manifest import describe_files, write_manifest

TESTS = Path(__file__).parents[2]
IMAGE = runpy.run_path(str(TESTS / "fake_tensorrtllm_backend" / "image.py"))
RANKS = [
    1,
    pytest.param(
        2,
        marks=pytest.mark.skipif(
            shutil.which("mpirun") is None, reason="several ranks need mpirun: apt install openmpi-bin"
        ),
    ),
]
PROMPT = (7, 8, 9)


def expected(count: int, prompt=PROMPT) -> tuple[int, ...]:
    return tuple((sum(prompt) + 31 * position) % 200 + 5 for position in range(count))


@pytest.fixture
def heard(tmp_path, monkeypatch) -> Callable[[], list[Any]]:
    """The stand-in on the path of processes that are started; what it heard, as a function."""
    log = tmp_path / "heard.jsonl"
    monkeypatch.setenv("PYTHONPATH", python_path(TESTS / "fake_tensorrt_llm"))
    monkeypatch.setenv("FAKE_TENSORRT_LLM_LOG", str(log))
    monkeypatch.setenv("FAKE_TENSORRT_LLM_STEP", "0.01")
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def compiled(root: Path, ranks: int, paged: bool = True, world: int | None = None) -> Path:
    """An engine of the store, as far as the stand-in looks at it."""
    chosen = Chosen("p", "tensorrt_llm", "text", "bf16", "bf16", "bf16", ranks, 1, tuple(range(ranks)), 8, 64, 512, 1)
    IMAGE["make_engine"](root, ranks)
    config = {
        "pretrained_config": {"mapping": {"world_size": world or ranks}},
        "build_config": {"max_seq_len": 512, "plugin_config": {"use_paged_context_fmha": paged}},
    }
    (root / "engine" / "config.json").write_text(json.dumps(config))
    for file in DEMO_DIRECTORY.iterdir():
        if file.suffix in (".json", ".jinja"):
            shutil.copy(file, root)
    manifest = Manifest(
        SCHEMA,
        "key",
        "tensorrt_llm",
        "demo",
        "",
        asdict(chosen),
        {},
        {},
        {"kv": {"blocks": 64, "block_tokens": 32, "bytes_per_token": 1}},
    )
    write_manifest(root, Manifest(**{**vars(manifest), "files": describe_files(root)}))
    return root


def executors(heard, ranks: int) -> dict[int, str]:
    """What each rank's executor was told, once all have been: the stand-in's do not wait for each other."""
    deadline = time.monotonic() + 60
    while True:
        found = {entry["executor"]: entry["config"] for entry in heard() if "executor" in entry}
        if len(found) == ranks or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_compiled_engine_generates_batched_and_streaming(heard, tmp_path, ranks):
    with Runner.from_dir(compiled(tmp_path / "stored", ranks)) as runner:
        one, two = runner.generate([PROMPT, (1, 2)], max_new_tokens=6)
        pieces = list(runner.stream([PROMPT], 6))
        configs = executors(heard, ranks)
    assert (one.ids, one.finish) == (expected(6), "length")
    assert two.ids == expected(6, (1, 2))
    assert "".join(piece.text for piece in pieces) == one.text
    assert len(pieces) > 1  # one a token, unless this process was slower than the stand-in
    assert sorted(configs) == list(range(ranks))
    assert "max_tokens=2048" in configs[0]
    assert "enable_chunked_context=True" in configs[0]


def test_an_engine_without_paged_context_attention_reuses_nothing(heard, tmp_path):
    with Runner.from_dir(compiled(tmp_path / "stored", 1, paged=False)) as runner:
        runner.generate([PROMPT], 1)
    (config,) = [entry["config"] for entry in heard() if "executor" in entry]
    assert "enable_block_reuse=False" in config
    assert "enable_chunked_context=False" in config


def test_sampling_and_cancelling_reach_the_executor(heard, tmp_path):
    with Runner.from_dir(compiled(tmp_path / "stored", 1)) as runner:
        runner.generate([PROMPT], 2, temperature=0.5, top_k=7, seed=3)
        stream = runner.stream([PROMPT], 400)
        next(stream)
        stream.close()
        runner.generate([PROMPT], 2)
    sampled, _, greedy = [entry["enqueued"] for entry in heard() if "enqueued" in entry]
    assert "top_k=7" in sampled
    assert "seed=3" in sampled
    assert "temperature=0.5" in sampled
    assert "top_k=1," in greedy
    assert sum("cancelled" in entry for entry in heard()) == 1


def test_what_goes_wrong_is_said(heard, tmp_path):
    with pytest.raises(EngineError, match="mpiSize == tp"):
        Runner.from_dir(compiled(tmp_path / "other", 1, world=2))


@pytest.mark.parametrize("gpus", [1, 2])
def test_generate_on_the_pytorch_kind(heard, tmp_path, gpus):
    """With two GPUs the LLM's ranks run this program's main module again, which must not start another engine."""
    script = TESTS / "integration" / "tensorrt_llm_pytorch" / "stoker_on_gpus.py"
    command = [sys.executable, str(script), str(gpus), "generate", "demo", "--prompt", "Once", "--raw"]
    overrides = ["--profile", "tensorrt_llm_pytorch-bf16-throughput", "--tensor-parallel", str(gpus)]
    limits = ["--max-tokens", "9", "--max-num-tokens", "2048", "--cache", str(tmp_path / "cache")]
    done = subprocess.run([*command, *overrides, *limits], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 9
    llms = [entry["llm"] for entry in heard() if "llm" in entry]
    assert [llm["tensor_parallel_size"] for llm in llms] == [gpus]
    started = [entry for entry in heard() if "started" in entry]
    assert len(started) == (gpus if gpus > 1 else 0)
    deadline = time.monotonic() + 30
    while any(process_lives(entry["pid"]) for entry in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None
    assert {entry["gpus"] for entry in started} in (set(), {"GPU-0,GPU-1"})


def test_a_request_that_the_executor_refuses_is_refused(heard, tmp_path):
    """Which the API's own check would have stopped, were the two of one mind."""
    root = compiled(tmp_path / "stored", 1)
    config = json.loads((root / "engine" / "config.json").read_text())
    config["build_config"]["max_seq_len"] = 10
    (root / "engine" / "config.json").write_text(json.dumps(config).ljust((root / "engine/config.json").stat().st_size))
    with Runner.from_dir(root) as runner, pytest.raises(RequestRefusedError, match="maximum input length"):
        runner.generate([PROMPT], 60)

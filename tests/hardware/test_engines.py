"""The whole chain for real, on NVIDIA GPUs with TensorRT-LLM (NVIDIA's image): build, serve, chat, drain, generate.

STOKER_TEST_MODEL names another model than the built-in demo: a directory or a hub repository.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_MODULE = runpy.run_path(str(Path(__file__).parents[1] / "served.py"))
Served, events = _MODULE["Served"], _MODULE["events"]
MODEL = os.environ.get("STOKER_TEST_MODEL", "demo")
KINDS = ("tensorrt_llm", "tensorrt_llm_pytorch")
QUESTION = [{"role": "user", "content": "Who are you?"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}
SECONDS = 1800.0  # a first start compiles kernels
STOKER = [sys.executable, "-m", "stoker"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One cache for all, so that each engine is built once."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module", params=[(kind, gpus) for gpus in (1, 2) for kind in KINDS], ids=str)
def case(request, machine) -> tuple[str, int]:
    kind, gpus = request.param
    if find_spec("tensorrt_llm") is None:
        pytest.skip("TensorRT-LLM is not installed in this Python: run in NVIDIA's image")
    if len([gpu for gpu in machine.gpus if not gpu.is_mig]) < gpus:
        pytest.skip(f"{gpus} GPUs are needed, and {len(machine.gpus)} are here")
    return kind, gpus


def overrides(kind: str, gpus: int) -> list[str]:
    limits = ["--max-batch-size", "8", "--max-num-tokens", "2048", "--max-seq-len", "2048"]
    return ["--profile", f"{kind}-bf16-throughput", "--tensor-parallel", str(gpus), *limits]


@pytest.fixture(scope="module")
def started(case, folder) -> Iterator[list[Any]]:
    """The case's servers, of which the last may run."""
    servers: list[Any] = []
    yield servers
    for one in servers:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def server(case, folder, started) -> Any:
    """Shared by the case's tests until one of them stops it."""
    if not started or started[-1].process.poll() is not None:
        started.append(Served(STOKER, MODEL, overrides(*case), folder, seconds=SECONDS))
        started[-1].wait_until_ready()
    return started[-1]


def chat(server, **body: Any) -> dict[str, Any]:
    return server.post("chat/completions", messages=QUESTION, temperature=0, **body)["choices"][0]


def test_it_answers_and_streams_the_same(server) -> None:
    whole = chat(server, max_tokens=48)
    assert whole["message"]["content"].strip()
    pieces = server.events("chat/completions", messages=QUESTION, temperature=0, max_tokens=48)
    assert pieces[-1] == "[DONE]"
    choices = [choice for piece in pieces[:-1] for choice in json.loads(piece)["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == whole["message"]["content"]
    assert choices[-1]["finish_reason"] == whole["finish_reason"]


def test_the_end_of_sequence_and_the_limit_are_told_apart(server) -> None:
    assert chat(server, max_tokens=3)["finish_reason"] == "length"
    if MODEL == "demo":
        assert chat(server, max_tokens=200)["finish_reason"] == "stop"


def test_a_schema_is_kept(server) -> None:
    override = {"type": "json_schema", "json_schema": {"name": "one", "schema": SCHEMA, "strict": True}}
    found = json.loads(chat(server, max_tokens=200, response_format=override)["message"]["content"])
    assert set(found) == {"name", "old"}
    assert isinstance(found["old"], bool)


def test_log_probabilities_and_seeds(server) -> None:
    told = server.complete(max_tokens=6, logprobs=1)["choices"][0]["logprobs"]
    assert all(value <= 0 for value in told["token_logprobs"])
    first, second = (server.complete(max_tokens=16, temperature=1, seed=5)["choices"][0]["text"] for _ in range(2))
    assert first == second


def test_a_client_that_goes_away_frees_its_blocks(server) -> None:
    stream = server.open("completions", prompt="Once", ignore_eos=True, max_tokens=1900, stream=True)
    stream.readline()
    stream.close()
    server.wait_until(lambda: server.metric("stoker_kv_blocks_used") == 0)


def test_each_gpu_holds_no_more_than_was_planned(server, case, machine) -> None:
    kind, gpus = case
    line = [*STOKER, "plan", MODEL, *overrides(kind, gpus), "--cache", str(server.folder / "cache"), "--json"]
    memory = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["memory"]
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    used = [int(row) << 20 for row in subprocess.run(query, capture_output=True, check=True).stdout.split()]
    busiest = sorted(used)[-gpus:]
    assert all(memory["weights"] < each <= max(gpu.memory_total for gpu in machine.gpus) for each in busiest)


def test_it_drains_and_generate_answers_like_it(server, case) -> None:
    answer = chat(server, max_tokens=48)["message"]["content"]
    assert server.stop() == 0  # the GPUs are for one of the two
    line = [*STOKER, "generate", MODEL, "--prompt", QUESTION[0]["content"], "--max-tokens", "48", *overrides(*case)]
    done = subprocess.run(
        [*line, "--cache", str(server.folder / "cache")], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.strip() == answer.strip()


def test_the_kinds_agree(folder, machine) -> None:
    """Greedy answers of both, from the engines that are built by now."""
    if find_spec("tensorrt_llm") is None:
        pytest.skip("TensorRT-LLM is not installed in this Python: run in NVIDIA's image")
    answers = []
    for kind in KINDS:
        with Served(STOKER, MODEL, overrides(kind, 1), folder, seconds=SECONDS).running() as one:
            answers.append(chat(one, max_tokens=24)["message"]["content"])
    assert answers[0] == answers[1]

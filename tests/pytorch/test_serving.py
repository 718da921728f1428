"""`stoker serve` with the torch kind, on the CPU: chosen last, with the reason; cancelled, drained and killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import engines
import pytest

TORCH = ("--profile", "torch-f32-throughput")


def post(server, **body) -> tuple[int, dict]:
    """Status and answer."""
    data = json.dumps({"max_tokens": 8, "ignore_eos": True, "temperature": 0, **body}).encode()
    request = urllib.request.Request(f"{server.url}/v1/completions", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@contextlib.contextmanager
def stream(server, model: str, tokens: int) -> Iterator[http.client.HTTPResponse]:
    """One whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {"model": model, "prompt": [5, 6, 7], "max_tokens": tokens, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    with contextlib.closing(connection), connection.getresponse() as response:
        response.readline()
        yield response


def running(server) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        return float(re.search(r"^num_requests_running(?:\{.*\})? (\S+)$", answer.read().decode(), re.MULTILINE)[1])


def test_an_architecture_that_no_builder_knows_is_served_and_the_plan_says_why(start, stablelm: Path) -> None:
    plan = subprocess.run([sys.executable, "-m", "stoker", "plan", str(stablelm)], capture_output=True, text=True)
    assert "engine torch, the last choice" in plan.stdout
    assert "StableLmForCausalLM" in plan.stdout
    server = start(str(stablelm))
    server.wait_ready()
    assert "engine torch, the last choice" in server.output
    prompt = list(range(5, 25))
    status, answer = post(server, model="tiny-stablelm", prompt=prompt)
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 8
    ids = engines.reference(stablelm, prompt, 8)
    assert answer["choices"][0]["text"] == engines.text_of(stablelm, prompt, ids)


def test_a_model_that_a_builder_knows_is_compiled_though_pytorch_is_here(llama: Path) -> None:
    plan = subprocess.run([sys.executable, "-m", "stoker", "plan", str(llama)], capture_output=True, text=True)
    assert "openvino-int8-throughput" in plan.stdout
    assert "engine torch" not in plan.stdout


def test_what_it_cannot_sample_is_a_clear_400(start, llama: Path) -> None:
    server = start(str(llama), *TORCH)
    server.wait_ready()
    penalties = {"presence_penalty": 1.0, "frequency_penalty": 1.0, "repetition_penalty": 1.5, "min_tokens": 4}
    for name, value in penalties.items():
        status, answer = post(server, model="tiny-llama", prompt="Once", **{name: value})
        assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, name, "unsupported_parameter")
    assert post(server, model="tiny-llama", prompt="Once", presence_penalty=0, repetition_penalty=1)[0] == 200
    answers = [post(server, model="tiny-llama", prompt="Once", temperature=1, seed=seed)[1] for seed in (1, 1, 2)]
    texts = [answer["choices"][0]["text"] for answer in answers]
    assert texts[0] == texts[1] != texts[2]


def test_a_client_that_leaves_a_drain_and_a_killed_stub(start, llama: Path) -> None:
    server = start(str(llama), *TORCH)
    server.wait_ready()
    with stream(server, "tiny-llama", 500):
        server.wait_until(lambda: running(server) == 1, "running")
    server.wait_until(lambda: running(server) == 0, "idle", 10)
    with stream(server, "tiny-llama", 500) as response:
        os.kill(server.stub(), signal.SIGKILL)
        events = re.findall(r"^data: (.*)$", response.read().decode(), re.MULTILINE)
    assert json.loads(events[-1])["error"]["type"]
    server.wait_until(lambda: "restarting" in server.output, "restarting")
    server.wait_ready()
    children = server.children()
    with stream(server, "tiny-llama", 400) as response:
        server.process.send_signal(signal.SIGTERM)
        events = re.findall(r"^data: (.*)$", response.read().decode(), re.MULTILINE)
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.parametrize("kind", ["gpt_neox", "falcon"])
def test_other_families(kind: str, tmp_path: Path) -> None:
    from stoker.kinds.torch.runtime.choice import open_runtime
    from stoker.launch.generation import Generation

    directory = engines.tiny(kind, tmp_path / kind)
    runtime = open_runtime(engines.settings(directory))
    ids, _ = engines.run(runtime, [Generation("one", (5, 6, 7), 16)])
    assert ids == [engines.reference(directory, (5, 6, 7), 16)]

"""Tensor parallel on the CPU: two processes over gloo, each with half of every layer, as NCCL joins GPUs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import engines
import pytest
from test_serving import post, stream

from stoker.direct.messages import add_message
from stoker.direct.process import EngineProcess
from stoker.errors import EngineError
from stoker.launch.generation import Generation
from stoker.launch.kind import Child
from stoker.launch.settings import EngineSettings
from stoker.resolve.local import DEMO_DIRECTORY

TWO_RANKS = ("--profile", "torch-f32-throughput", "--tensor-parallel", "2")


def settings_of(directory: Path, longest: int = 512) -> EngineSettings:
    return engines.settings(directory, max_seq_len=longest, tensor_parallel=2)


@contextlib.contextmanager
def opened(settings: EngineSettings) -> Iterator[EngineProcess]:
    with contextlib.closing(EngineProcess(Child(settings))) as process:
        yield process


def run(process: EngineProcess, generations: Sequence[Generation]) -> dict[str, list[int]]:
    """All at once to their ends: ids by request."""
    for generation in generations:
        process.send(add_message(generation))
    ids: dict[str, list[int]] = {generation.request_id: [] for generation in generations}
    running = set(ids)
    while running:
        message = process.receive()
        ids[message["id"]] += message["ids"]
        if message["ended"]:
            running.discard(message["id"])
    return ids


def test_two_ranks_give_the_tokens_of_the_references(tmp_path: Path) -> None:
    """Random ones too: each rank draws for itself, and had they drawn apart, the greedy ones beside would suffer."""
    prompts, continuations, longest = engines.golden("mixtral", tmp_path)
    greedy = [Generation(str(index), tuple(prompt), 64) for index, prompt in enumerate(prompts)]
    generation = Generation("random", tuple(prompts[0]), 32, temperature=1.5, seed=7, top_p=0.9)
    with opened(settings_of(tmp_path, longest)) as process:
        found = run(process, [*greedy, generation, dataclasses.replace(generation, request_id="again")])
    assert found.pop("random") == found.pop("again")
    assert list(found.values()) == continuations


def test_a_family_without_a_plan_is_refused_before_anything_is_loaded(stablelm: Path) -> None:
    with pytest.raises(EngineError, match="stablelm cannot be divided over 2 ranks"), opened(settings_of(stablelm)):
        pass


def ranks(server) -> list[int]:
    """The processes of ranks other than the first."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in server.children()}
    return [pid for pid, line in lines.items() if b"stoker.kinds.torch.runtime.rank" in line]


def test_served_over_two_ranks_which_live_and_die_together(start, tmp_path: Path) -> None:
    model = tmp_path / "golden"
    model.mkdir()
    prompts, continuations, _ = engines.golden("llama_biases", model)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(DEMO_DIRECTORY / name, model / name)
    server = start(str(model), *TWO_RANKS)
    server.wait_ready()
    assert "tensor parallel 2, by transformers' own plan" in server.output

    def answers_as_the_reference() -> bool:
        status, answer = post(server, model="golden", prompt=prompts[0], max_tokens=len(continuations[0]))
        expected = engines.text_of(model, prompts[0], continuations[0])
        return (status, answer["choices"][0]["text"]) == (200, expected)

    assert answers_as_the_reference()
    (rank,) = ranks(server)
    with stream(server, "golden", 400) as response:
        os.kill(rank, signal.SIGKILL)
        events = re.findall(r"^data: (.*)$", response.read().decode(), re.MULTILINE)
    assert json.loads(events[-1])["error"]["type"]
    server.wait_until(lambda: "rank 1 of the engine ended: was killed by SIGKILL" in server.output, "told of the rank")
    server.wait_ready()
    assert answers_as_the_reference()
    children = server.children()
    assert len(ranks(server)) == 1
    assert rank not in children
    assert server.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)

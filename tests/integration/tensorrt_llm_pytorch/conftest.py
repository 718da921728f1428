"""`stoker serve` over the stand-in for tensorrt_llm, in real Triton laid out as NVIDIA's image has it."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.loading import python_path
from tests.served import Served

TESTS = Path(__file__).parents[2]
FLAGS = ("--profile", "tensorrt_llm_pytorch-bf16-throughput", "--max-num-tokens", "2048", "--max-seq-len", "2048")


@contextlib.contextmanager
def served(folder: Path, gpus: int) -> Iterator[Any]:
    """The demo model on made-up GPUs, its build and all."""
    pytest.importorskip("pytriton")
    triton = runpy.run_path(str(TESTS / "fake_tensorrtllm_backend" / "image.py"))["make_triton"](folder / "triton")
    environment = {
        "PATH": f"{triton}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": python_path(TESTS / "fake_tensorrt_llm"),
        "FAKE_TENSORRT_LLM_LOG": str(folder / "tensorrt_llm.jsonl"),
    }
    command = [sys.executable, str(Path(__file__).with_name("stoker_on_gpus.py")), str(gpus)]
    with Served(command, "demo", [*FLAGS, "--tensor-parallel", str(gpus)], folder, environment).running() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Any]:
    with served(tmp_path_factory.mktemp("one"), 1) as one:
        yield one


@pytest.fixture
def on_two(tmp_path) -> Iterator[Any]:
    with served(tmp_path, 2) as two:
        yield two


@pytest.fixture
def heard() -> Callable[..., list[Any]]:
    """What the stand-in of a server has heard: its entries that have this key, or of those the value."""

    def entries(server, key: str, whole: bool = False) -> list[Any]:
        lines = (server.folder / "tensorrt_llm.jsonl").read_text().splitlines()
        found = [entry for entry in map(json.loads, lines) if key in entry]
        return found if whole else [entry[key] for entry in found]

    return entries

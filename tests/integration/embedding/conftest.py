"""`stoker serve` of tiny embedding models and rerankers, in real Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.embedding_models import make_embedding_model
from tests.loading import load
from tests.serving import Server

cache = load("chain_conftest", Path(__file__).parents[1] / "chain" / "conftest.py").cache


def _served(tmp_path_factory: pytest.TempPathFactory, cache: Path, golden: str, *flags: str, **files: Any) -> Any:
    folder = tmp_path_factory.mktemp(golden)
    model = make_embedding_model(folder / golden, golden, **files)
    return Server(folder / "server.log", [str(model), *flags, "--cache", str(cache)], {})


def _until_stopped(server: Any) -> Iterator[Any]:
    server.wait_ready()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Any]:
    """Qwen 3's way, with prompts, in int8 as planned."""
    prompts = {"query": "Find: ", "document": ""}
    yield from _until_stopped(_served(tmp_path_factory, cache, "qwen3_last", prompts=prompts))


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Any]:
    yield from _until_stopped(_served(tmp_path_factory, cache, "bert_score", "--precision", "f32"))


@pytest.fixture
def bert(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Any]:
    """For a test that does to it what it likes."""
    yield from _until_stopped(_served(tmp_path_factory, cache, "bert_cls", "--precision", "f32"))

"""The application on a real socket, over an engine that gives a few tokens at once: what is tried here is the API."""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import AsyncGenerator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering

import stoker.resolve
from stoker.launch.capabilities import Capabilities
from stoker.launch.generation import Delta, EngineState, Generation
from stoker.resolve.model import Pooling
from stoker.serve.operate.frontend import load_frontend
from stoker.serve.operate.service import Service
from stoker.store.engine import Engine, Manifest


class BriefEngine:
    """At most three tokens, whatever is asked for."""

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        for token in range(min(3, generation.max_tokens)):
            await asyncio.sleep(0)
            yield Delta((300 + token,), (-0.5,) if generation.log_probs else None)

    async def state(self) -> EngineState:
        return EngineState(0, 0, 0, 1, 16)


@pytest.fixture(scope="session")
def cases() -> int:
    """How many of each: few in CI, what `make fuzz` says there."""
    return int(os.environ.get("STOKER_FUZZ_CASES", "0"))


class EncodingEngine(BriefEngine):
    """A vector of two numbers for every input."""

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0)
        yield Delta((), embedding=array("f", (1, float(len(generation.input_ids)))))


def made_service(engine: BriefEngine, pooling: dict[str, Any] | None = None) -> Service:
    demo = Path(stoker.resolve.__file__).parent / "demo"
    made = Service(reject_unknown=True)  # what is wrong here must be refused, not passed over
    model = {"pooling": pooling, "architecture": {"hidden_size": 2}}
    manifest = Manifest(1, "brief", "brief", "demo", "", {"max_seq_len": 512}, {}, {}, model=model)
    made.attach(engine, load_frontend(Engine(demo, manifest), Capabilities(frozenset(), False)))
    return made


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with answering(made_service(BriefEngine())) as address:
        yield address


@pytest.fixture(params=["mean", "score"])
def pooled(request: pytest.FixtureRequest) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A server of vectors or of scores, and the endpoints that it is for."""
    own = ("/v1/embeddings",) if request.param == "mean" else ("/v1/rerank", "/rerank", "/v1/ranking")
    pooling = asdict(Pooling(request.param, True, 512, {"query": "q: "}))
    with answering(made_service(EncodingEngine(), pooling)) as address:
        yield address, own

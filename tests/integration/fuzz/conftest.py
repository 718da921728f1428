"""The application on a real socket, over an engine that gives a few tokens at once: what is tried here is the API."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import uvloop

import stoker.resolve
from stoker.launch.generation import Delta, EngineState, Generation
from stoker.serve.app import create_app
from stoker.serve.frontend import load_frontend
from stoker.serve.server import HttpServer, bind
from stoker.serve.service import Service
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


@pytest.fixture(scope="session")
def service() -> Service:
    demo = Path(stoker.resolve.__file__).parent / "demo"
    made = Service()
    manifest = Manifest(1, "brief", "brief", "demo", "", {"max_seq_len": 512}, {}, {})
    made.attach(BriefEngine(), load_frontend(Engine(demo, manifest)))
    return made


@pytest.fixture(scope="session")
def url(service: Service) -> Iterator[str]:
    loop = uvloop.new_event_loop()
    server = HttpServer(create_app(service), bind("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    thread.join(30)
    loop.close()

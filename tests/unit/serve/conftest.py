from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest
from httpx import ASGITransport
from tests.loading import load

import stoker.resolve
from stoker.kinds.openvino import TENSORS
from stoker.serve.http.app import Service, create_app
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.store.engine import Engine, Manifest

if TYPE_CHECKING:
    from tests.unit.serve.scripted import ScriptedEngine

DEMO = Path(stoker.resolve.__file__).parent / "demo"
TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."


scripted_module = load("scripted", Path(__file__).with_name("scripted.py"))


@pytest.fixture
def scripted() -> ModuleType:
    return scripted_module


def make_engine(directory: Path, **chosen: Any) -> Engine:
    manifest = Manifest(
        schema=1,
        key="demo-openvino-int8-0123",
        kind="openvino",
        served_name="demo",
        revision="",
        chosen={"max_seq_len": 512, "max_batch_size": 8, **chosen},
        inputs={},
        versions={},
        build={"seconds": 1.5},
    )
    return Engine(directory, manifest)


@pytest.fixture
def demo_engine() -> Engine:
    return make_engine(DEMO)


@pytest.fixture(scope="session")
def frontend() -> Iterator[Frontend]:
    made = load_frontend(make_engine(DEMO), TENSORS["text"].capabilities)
    yield made
    made.tokenizer.close()


@pytest.fixture
def answer_ids(frontend: Frontend) -> list[int]:
    """TEXT as the engine would give it: its tokens, then the end token."""
    return [*frontend.tokenizer.encode_now(TEXT, add_special_tokens=False), frontend.context.end_ids[0]]


@pytest.fixture
def engine(answer_ids: list[int]) -> ScriptedEngine:
    return scripted_module.ScriptedEngine(lambda generation: scripted_module.one_by_one(answer_ids))


@pytest.fixture
def service(engine: ScriptedEngine, frontend: Frontend) -> Service:
    made = Service()
    made.lifecycle.attach(engine, frontend)
    return made


@pytest.fixture
def says(service: Service, frontend: Frontend, scripted: ModuleType) -> Says:
    """Makes the engine say a text, token by token, to a model of these ways."""

    def say(text: str, **ways: Any) -> ScriptedEngine:
        ids = [*frontend.tokenizer.encode_now(text, add_special_tokens=False), frontend.context.end_ids[0]]
        engine: ScriptedEngine = scripted.ScriptedEngine(lambda generation: scripted.one_by_one(ids))
        service.attach(engine, replace(frontend, **ways))
        return engine

    return say


@dataclass(frozen=True)
class Reply:
    status: int
    headers: httpx.Headers
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The JSON of each event but the last, which must be [DONE]."""
        *chunks, last = self.text.removesuffix("\n\n").split("\n\n")
        assert last == "data: [DONE]"
        return [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]


Ask = Callable[..., Reply]
Says: TypeAlias = "Callable[..., ScriptedEngine]"
Listening = Callable[[], AbstractAsyncContextManager[int]]
WithClient = Callable[..., None]
PromptOf: TypeAlias = "Callable[[ScriptedEngine], str]"


@pytest.fixture
def ask(service: Service) -> Ask:
    """One request to the application in this process: `ask("/path")` gets, `ask("/path", {...})` posts."""

    def send(path: str, body: Any = None, *, method: str = "", headers: dict[str, str] | None = None) -> Reply:
        async def exchange() -> Reply:
            transport = ASGITransport(create_app(service), raise_app_exceptions=False)
            content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                verb = method or ("GET" if body is None else "POST")
                answer = await client.request(verb, path, content=content, headers=headers)
                return Reply(answer.status_code, answer.headers, answer.text)

        return asyncio.run(exchange())

    return send


@pytest.fixture
def listening(service: Service) -> Listening:
    """`async with listening() as port`: the application on a real socket."""

    @asynccontextmanager
    async def run() -> AsyncIterator[int]:
        server = HttpServer(create_app(service), bind("127.0.0.1", 0))
        task = asyncio.create_task(server.serve())
        try:
            yield server.port
        finally:
            await server.stop()
            await task

    return run


@pytest.fixture
def with_client(listening: Listening) -> WithClient:
    """Runs `use` with the client that `make` gives for the application's address on a real socket."""

    def run(make: Callable[[str], Any], use: Callable[[Any], Coroutine[object, object, None]]) -> None:
        async def go() -> None:
            async with listening() as port, make(f"http://127.0.0.1:{port}") as client:
                await use(client)

        asyncio.run(go())

    return run


@pytest.fixture
def prompt_of(frontend: Frontend) -> PromptOf:
    """The prompt of the last generation that an engine was asked for."""
    return lambda engine: frontend.tokenizer.decode(engine.asked[-1].input_ids)


@pytest.fixture
def ask_many(service: Service) -> Callable[[list[tuple[str, bytes]]], list[int]]:
    """The statuses of many posts, one after the other."""

    def send(requests: list[tuple[str, bytes]]) -> list[int]:
        async def exchange() -> list[int]:
            transport = ASGITransport(create_app(service), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [(await client.post(path, content=body)).status_code for path, body in requests]

        return asyncio.run(exchange())

    return send

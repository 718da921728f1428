"""The application on a real socket: the openai SDK, clients that disconnect, engines that die."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from tests.waiting import SECONDS, until

from stoker.launch.generation import EngineDiedError, RequestRefusedError
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Listening, WithClient
    from tests.unit.serve.scripted import ScriptedEngine


TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
CHAT: dict[str, Any] = {"model": "demo", "messages": MESSAGES}


def with_sdk(with_client: WithClient, use: Callable[[AsyncOpenAI], Coroutine[object, object, None]]) -> None:
    with_client(lambda url: AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0), use)


def test_the_openai_sdk_chats(with_client: WithClient) -> None:
    async def use(client: AsyncOpenAI) -> None:
        answer = await client.chat.completions.create(model="demo", messages=MESSAGES)
        assert answer.choices[0].message.content == TEXT
        assert answer.usage is not None
        stream = await client.chat.completions.create(
            model="demo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
        assert chunks[-1].usage == answer.usage

    with_sdk(with_client, use)


def test_the_openai_sdk_completes_and_lists(with_client: WithClient) -> None:
    async def use(client: AsyncOpenAI) -> None:
        answer = await client.completions.create(model="demo", prompt=["a", "b"], logprobs=1)
        assert [choice.text for choice in answer.choices] == [TEXT, TEXT]
        stream = await client.completions.create(model="demo", prompt="a", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == TEXT
        models = await client.models.list()
        assert [model.id for model in models.data] == ["demo"]
        assert (await client.models.retrieve("demo")).owned_by == "stoker"

    with_sdk(with_client, use)


def test_the_openai_sdk_understands_our_errors(with_client: WithClient) -> None:
    async def use(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="demo", messages=MESSAGES, temperature=3)
        assert refused.value.param == "temperature"
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="none", messages=MESSAGES)

    with_sdk(with_client, use)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_goes_away_cancels_its_generations(
    listening: Listening, engine: ScriptedEngine, service: Service, stream: bool, n: int
) -> None:
    async def run() -> None:
        blocked = asyncio.Event()
        engine.before_step = lambda step: blocked.wait() if step == 3 else None
        async with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({**CHAT, "stream": stream, "n": n}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await until(lambda: engine.running == n)
            if stream:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await until(lambda: engine.running == 0)
            await until(lambda: service.lifecycle.in_flight == 0)
        assert len(engine.cancelled) == n

    asyncio.run(run())


def dies(at: int, error: Exception) -> Callable[[int], object]:
    async def die() -> None:
        raise error

    return lambda step: die() if step == at else None


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineDiedError("the engine process exited"), 503, "engine_died"),
        (RequestRefusedError("the prompt does not fit"), 400, "request_refused"),
        (ZeroDivisionError("a fault"), 500, "internal_error"),
    ],
)
@pytest.mark.parametrize(("stream", "at"), [(False, 0), (False, 5), (True, 0)])
def test_an_engine_error_before_the_answer_has_its_status(
    ask: Ask, engine: ScriptedEngine, error: Exception, status: int, code: str, stream: bool, at: int
) -> None:
    engine.before_step = dies(at, error)
    answer = ask("/v1/chat/completions", {**CHAT, "stream": stream, "n": 2})
    assert (answer.status, answer.error["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert engine.running == 0
    assert 'request_failure_total{model_name="demo"} 1.0' in ask("/metrics").text


@pytest.mark.parametrize("n", [1, 3])
def test_an_engine_that_dies_under_a_stream_ends_it_with_an_error_event(
    ask: Ask, engine: ScriptedEngine, n: int
) -> None:
    engine.before_step = dies(5, EngineDiedError("the engine process exited"))
    answer = ask("/v1/chat/completions", {**CHAT, "stream": True, "n": n})
    assert answer.status == 200
    last = answer.text.removesuffix("\n\n").split("\n\n")[-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["code"] == "engine_died"
    assert error["type"] == "service_unavailable"


def test_the_sdk_raises_on_an_error_event(with_client: WithClient, engine: ScriptedEngine) -> None:
    engine.before_step = dies(5, EngineDiedError("the engine process exited"))

    async def use(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model="demo", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="the engine process exited"):
            async for _ in stream:
                pass

    with_sdk(with_client, use)


@pytest.mark.parametrize("stream", [False, True])
def test_draining_lets_requests_finish_and_abort_ends_them(
    listening: Listening, engine: ScriptedEngine, service: Service, stream: bool
) -> None:
    async def run() -> None:
        blocked = asyncio.Event()
        engine.before_step = lambda step: blocked.wait() if step == 3 else None
        lifecycle = service.lifecycle
        async with (
            listening() as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        ):
            asking = asyncio.create_task(client.post("/v1/chat/completions", json={**CHAT, "stream": stream}))
            await until(lambda: engine.running == 1)
            lifecycle.drain()
            assert (await client.get("/v1/health/ready")).status_code == 503
            refused = await client.post("/v1/chat/completions", json=CHAT)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
            assert not await lifecycle.drained(0.05)
            lifecycle.abort()
            assert await lifecycle.drained(5)
            answer = await asking
            assert answer.status_code == (200 if stream else 503)
            assert "going down" in answer.text

    asyncio.run(run())


def test_drained_is_told_when_the_last_request_ends(
    listening: Listening, engine: ScriptedEngine, service: Service
) -> None:
    async def run() -> None:
        blocked = asyncio.Event()
        engine.before_step = lambda step: blocked.wait() if step == 3 else None
        async with (
            listening() as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        ):
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
            await until(lambda: engine.running == 1)
            service.lifecycle.drain()
            draining = asyncio.create_task(service.lifecycle.drained(10))
            await asyncio.sleep(0)
            assert not draining.done()
            blocked.set()
            assert await draining
            assert (await asking).json()["choices"][0]["message"]["content"] == TEXT

    asyncio.run(run())


def test_a_long_prompt_is_encoded_off_the_loop(ask: Ask) -> None:
    error = ask("/v1/completions", {"model": "demo", "prompt": "word " * 5000}).error
    assert error["code"] == "context_length_exceeded"

"""Limits of a request, as a client meets them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.waiting import SECONDS, until

from stoker.launch.capabilities import Capabilities
from stoker.serve.generate.admission import Admission, Capacity
from stoker.serve.http.asgi import ClientGoneError
from stoker.serve.http.errors import ApiError
from stoker.serve.http.limits import Limits
from stoker.serve.http.outbox import outbox
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.requests import CompletionRequest
from stoker.serve.request.sampling import completion_length
from stoker.store.engine import Engine

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Listening
    from tests.unit.serve.scripted import ScriptedEngine


CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
PATH = "/v1/chat/completions"


def limited(service: Service, engine: ScriptedEngine, frontend: Frontend, **limits: Any) -> None:
    service.limits = Limits(**limits)
    service.lifecycle.attach(engine, replace(frontend, limits=service.limits))


def test_too_many_messages_are_refused_by_name(
    ask: Ask, service: Service, engine: ScriptedEngine, frontend: Frontend
) -> None:
    limited(service, engine, frontend, messages=2)
    answer = ask(PATH, {**CHAT, "messages": CHAT["messages"] * 3})
    assert (answer.status, answer.error["param"]) == (400, "messages")
    assert ask(PATH, {**CHAT, "messages": CHAT["messages"] * 2}).status == 200


def test_a_prompt_over_its_own_limit_is_refused_though_the_context_would_hold_it(frontend: Frontend) -> None:
    context = replace(frontend.context, longest_prompt=10)
    request = CompletionRequest(model="demo", prompt="x")
    assert completion_length(request, 10, context) == context.length - 10
    with pytest.raises(ApiError, match="Prompts may have 10 tokens here; your prompt resulted in 11"):
        completion_length(request, 11, context)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long_is_504_and_leaves_the_engine(
    ask: Ask, engine: ScriptedEngine, stream: bool
) -> None:
    engine.before_step = lambda step: asyncio.sleep(60)
    answer = ask(PATH, {**CHAT, "stream": stream}, headers={"x-request-timeout": "0.05"})
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert engine.running == 0


def test_the_server_may_set_the_deadline_and_the_client_only_shorten_it(
    ask: Ask, engine: ScriptedEngine, service: Service
) -> None:
    service.limits = Limits(seconds=0.05)
    engine.before_step = lambda step: asyncio.sleep(60)
    assert ask(PATH, CHAT).status == 504
    assert ask(PATH, CHAT, headers={"x-request-timeout": "1000"}).status == 504


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan", "inf", "1e999", ""])
def test_a_deadline_that_is_none_is_refused(ask: Ask, given: str) -> None:
    answer = ask(PATH, CHAT, headers={"x-request-timeout": given})
    assert answer.status == (400 if given else 200)


def test_what_overflows_the_queue_is_told_when_to_come_back(
    listening: Listening, engine: ScriptedEngine, service: Service
) -> None:
    service.admission = Admission(max_waiting=1)
    service.admission.resize(Capacity(sequences=1))

    async def run() -> None:
        held = asyncio.Event()
        engine.before_step = lambda step: held.wait()
        async with (
            listening() as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
        ):
            served = [asyncio.ensure_future(client.post(PATH, json=CHAT)) for _ in range(2)]
            await until(lambda: service.admission.waiting == 1)
            refused = await client.post(PATH, json=CHAT)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            held.set()
            assert [(await answer).status_code for answer in served] == [200, 200]

    asyncio.run(run())


def test_a_client_that_does_not_read_holds_no_place_in_the_engine(
    listening: Listening,
    engine: ScriptedEngine,
    service: Service,
    frontend: Frontend,
    answer_ids: list[int],
    scripted: ModuleType,
) -> None:
    """The answer is far longer than what the sockets buffer."""
    roomy = replace(frontend, context=replace(frontend.context, length=200_000))
    service.lifecycle.attach(engine, roomy)
    service.admission.resize(Capacity(sequences=1))
    engine.script = lambda generation: scripted.one_by_one(answer_ids[:-1] * 3000)

    async def run() -> None:
        async with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            body = json.dumps({**CHAT, "stream": True, "ignore_eos": True, "max_tokens": 50_000}).encode()
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await until(lambda: len(engine.asked) == 1 and engine.running == 0)
            assert service.lifecycle.in_flight == 1, "the rest of the answer is still to be read"
            events = 0
            while b"data: [DONE]" not in (line := await reader.readline()):
                events += line.startswith(b"data: {")
            assert events > 40_000
            writer.close()

    asyncio.run(run())


def test_a_client_that_takes_nothing_for_too_long_is_given_up() -> None:
    async def stuck(_: bytes) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        with pytest.raises(ClientGoneError):
            async with outbox(stuck, patience=0.01) as box:
                box.put(b"x")

    asyncio.run(run())


def test_what_was_put_before_an_error_is_written_before_it() -> None:
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)

    async def run() -> None:
        async with outbox(write) as box:
            box.put(b"a")
            box.put(b"b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert b"".join(written) == b"ab"


def test_the_context_is_no_longer_than_the_kv_cache(demo_engine: Engine) -> None:
    small = load_frontend(demo_engine, Capabilities(frozenset(), False), capacity=Capacity(blocks=3, block_tokens=16))
    small.tokenizer.close()
    assert small.context.length == 48

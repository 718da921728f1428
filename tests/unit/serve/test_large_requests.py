"""Large requests are limited before they are worked on, and the work is done where it holds nobody up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import SECONDS

from stoker.serve.http.asgi import read_body
from stoker.serve.http.errors import ApiError
from stoker.serve.http.uploads import MOST_CONTAINERS, MOST_VALUES, SMALL_BYTES, Upload, Uploads, check_values
from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.lanes import CLIENT, MAX_WAITING, MAX_WAITING_EACH, Lane

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20


@pytest.fixture
def encoded(frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters each call of the tokenizer is given."""
    sizes: list[int] = []
    encoding = frontend.tokenizer._encoding

    def counted(text: str, **options: Any) -> Any:
        sizes.append(len(text))
        return encoding(text, **options)

    monkeypatch.setattr(frontend.tokenizer, "_encoding", counted)
    return sizes


@pytest.mark.parametrize(
    "text", ["a" * 7 * MEGABYTE, "the old man " * 500_000, "\u4f60\u597d" * MEGABYTE, " " * 7_000_000]
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "demo", "prompt": "HERE"}),
        ("/v1/completions", {"model": "demo", "prompt": ["Once", "HERE"]}),
        ("/v1/completions", {"model": "demo", "prompt": "Once", "suffix": "HERE"}),
        ("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "HERE"}]}),
        ("/v1/messages", {"model": "demo", "max_tokens": 2, "messages": [{"role": "user", "content": "HERE"}]}),
        ("/v1/responses", {"model": "demo", "input": "HERE"}),
        ("/tokenize", {"prompt": "HERE"}),
    ],
    ids=["prompt", "prompts", "suffix", "chat", "messages", "responses", "tokenize"],
)
def test_a_text_that_is_too_long_is_not_read_to_its_end(
    ask: Ask, encoded: list[int], path: str, body: dict[str, Any], text: str
) -> None:
    answer = ask(path, json.dumps(body).replace("HERE", text).encode())
    assert answer.status == 400, answer.text[:300]
    assert sum(encoded) < 2 * MEGABYTE


def test_many_messages_are_as_long_as_one(ask: Ask, encoded: list[int]) -> None:
    messages = [{"role": "user", "content": "the old man " * 100}] * 4000
    answer = ask("/v1/chat/completions", {"model": "demo", "messages": messages})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert sum(encoded) < MEGABYTE


def test_prompts_are_counted_before_they_are_read(ask: Ask, encoded: list[int]) -> None:
    answer = ask("/v1/completions", {"model": "demo", "prompt": ["Once"] * 10_000})
    assert (answer.status, answer.error["param"]) == (400, "prompt")
    assert encoded == []


@pytest.mark.parametrize("item", ["[]", "{}", "[[[[1]]]]", '{"a": {}}'])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize", "/v1/responses"])
def test_millions_of_empty_lists_are_not_even_made(ask: Ask, path: str, item: str) -> None:
    body = b'{"model": "demo", "prompt": [' + b",".join([item.encode()] * 500_000) + b"]}"
    answer = ask(path, body)
    assert (answer.status, answer.error["code"]) == (400, "too_many_values")


def test_signs_in_texts_are_no_values() -> None:
    code = 'x = {"a": [1, 2, "\\\\"], "b": {}}  # \\"[[[,,,' * 40_000
    asyncio.run(check_values(json.dumps({"prompt": code, "other": ["[", ",", "\\", '"']}).encode()))


@pytest.mark.parametrize(
    ("item", "most"),
    [("[]", MOST_CONTAINERS), ('{"a[":1}', MOST_CONTAINERS), ("7", MOST_VALUES), ('"\\""', MOST_VALUES)],
)
def test_values_are_counted_exactly(item: str, most: int) -> None:
    asyncio.run(check_values(f'["a, [", {",".join([item] * (most - 9))}]'.encode()))
    with pytest.raises(ApiError):
        asyncio.run(check_values(f'["a, [", {",".join([item] * (most + 9))}]'.encode()))


@pytest.mark.parametrize("truncate", ["START", "END"])
def test_a_long_input_that_is_to_be_cut_is_cut_as_a_whole_one_is(frontend: Frontend, truncate: str) -> None:
    from stoker.serve.request.tokenizing import Cut

    text = " ".join(f"man{number} the" for number in range(30_000))
    cut = Cut(100, left=truncate == "START")

    async def run() -> Any:
        [found] = await frontend.tokenizer.encode_inputs([(text, None)], cut)
        return found

    ids = frontend.tokenizer._rust.encode(text, add_special_tokens=False).ids
    room = 100 - frontend.tokenizer._rust.num_special_tokens_to_add(False)
    found = asyncio.run(run())
    kept = ids[-room:] if truncate == "START" else ids[:room]
    assert [each for each in found.ids if each not in frontend.tokenizer.special] == kept
    assert found.length > 100


def test_one_that_fits_is_read_whole(frontend: Frontend) -> None:
    text = "the old man went down to the sea, \u00e4\u4f60\U0001f525 " * 4000

    async def run() -> list[int]:
        return await frontend.tokenizer.encode(text, add_special_tokens=False, most=10**6)

    assert asyncio.run(run()) == frontend.tokenizer._rust.encode(text, add_special_tokens=False).ids


class Held:
    """Work that goes on until it is told to end; `order`: what began."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.go = threading.Semaphore(0)

    def __call__(self, name: str) -> str:
        self.order.append(name)
        self.go.acquire()
        return name


async def spin(until: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if until():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came true")


def test_clients_take_turns_in_a_lane() -> None:
    async def run() -> list[str]:
        lane, held = Lane("test", large=True), Held()

        async def ask(client: str, number: int) -> None:
            CLIENT.set(client)
            await lane.run(held, f"{client}{number}")

        tasks = [asyncio.create_task(ask("a", number)) for number in range(4)]
        await spin(lambda: held.order == ["a0"])
        tasks += [asyncio.create_task(ask("b", number)) for number in range(2)]
        await asyncio.sleep(0)
        for _ in range(6):
            held.go.release()
        await asyncio.gather(*tasks)
        return held.order

    assert asyncio.run(run()) == ["a0", "a1", "b0", "a2", "b1", "a3"]


def test_a_lane_goes_on_when_those_who_wait_or_work_leave() -> None:
    async def run() -> list[str]:
        lane, held = Lane("test", large=True), Held()
        tasks = [asyncio.create_task(lane.run(held, str(number))) for number in range(4)]
        await spin(lambda: held.order == ["0"])
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0)
        for _ in range(3):
            held.go.release()
        assert await asyncio.gather(*tasks[1::2]) == ["1", "3"]
        return held.order

    assert asyncio.run(run()) == ["0", "1", "3"]


@pytest.mark.parametrize(("clients", "each", "status"), [(1, MAX_WAITING_EACH, 429), (16, MAX_WAITING // 16, 503)])
def test_a_lane_is_full_some_time(clients: int, each: int, status: int) -> None:
    async def run() -> int:
        lane, held = Lane("test", large=True), Held()

        async def ask(client: int) -> None:
            CLIENT.set(str(client))
            await lane.run(held, "x")

        tasks = [asyncio.create_task(ask(0))]
        await spin(lambda: held.order == ["x"])
        tasks += [asyncio.create_task(ask(client)) for client in range(clients) for _ in range(each)]
        await asyncio.sleep(0.01)
        try:
            await ask(0 if clients == 1 else 99)
        except ApiError as error:
            return error.status
        finally:
            for task in tasks:
                task.cancel()
            for _ in range(len(tasks)):
                held.go.release()
        return 200

    assert asyncio.run(run()) == status


def test_bodies_wait_for_room_and_no_client_takes_all() -> None:
    async def run() -> list[str]:
        uploads, events = Uploads(room=4 * MEGABYTE), []

        async def upload(client: str, gate: asyncio.Event) -> None:
            one = Upload(uploads, client, MEGABYTE)
            await one._arrived(SMALL_BYTES + 1)
            events.append(client)
            await gate.wait()
            one.done()

        gates = {client: asyncio.Event() for client in "abc"}
        tasks = [asyncio.create_task(upload("a", gates["a"])) for _ in range(4)]
        tasks += [asyncio.create_task(upload(client, gates[client])) for client in "bbc"]
        await asyncio.sleep(0.01)
        assert sorted(events) == ["a", "a", "b", "b"]
        gates["b"].set()
        await spin(lambda: sorted(events) == ["a", "a", "b", "b", "c"])
        for gate in gates.values():
            gate.set()
        await asyncio.gather(*tasks)
        return sorted(events)

    assert asyncio.run(run()) == ["a"] * 4 + ["b", "b", "c"]


def test_nothing_more_is_read_while_a_body_waits_for_room() -> None:
    async def run() -> int:
        uploads, read = Uploads(room=MEGABYTE), 0
        await uploads.enter("other", MEGABYTE)

        async def receive() -> dict[str, Any]:
            nonlocal read
            read += 1
            return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

        reading = asyncio.create_task(read_body(receive, Upload(uploads, "own", MEGABYTE)._arrived))
        await asyncio.sleep(0.05)
        reading.cancel()
        return read

    assert asyncio.run(run()) == SMALL_BYTES // 65536 + 1


@pytest.mark.parametrize("side", ["left", "right", None])
@pytest.mark.parametrize("form", ["text", "ids"])
def test_a_long_prompt_that_is_to_be_cut_is_cut_at_the_right_end(
    ask: Ask, engine: ScriptedEngine, frontend: Frontend, side: str | None, form: str
) -> None:
    text = " ".join(f"man{number} the" for number in range(20_000))
    ids = frontend.tokenizer._rust.encode(text, add_special_tokens=False).ids
    body = {"model": "demo", "prompt": text if form == "text" else ids, "max_tokens": 2, "add_special_tokens": False}
    answer = ask(
        "/v1/completions", {**body, "truncate_prompt_tokens": 50, **({"truncation_side": side} if side else {})}
    )
    assert answer.status == 200, answer.text[:200]
    assert list(engine.asked[-1].input_ids) == (ids[:50] if side == "right" else ids[-50:])


def test_ids_that_are_to_be_cut_off_are_checked_too(ask: Ask) -> None:
    body = {"model": "demo", "prompt": [7] * 5000 + [10**9], "truncate_prompt_tokens": 50, "truncation_side": "right"}
    assert ask("/v1/completions", body).status == 400


def test_a_lane_outlives_a_loop_that_ends_while_it_works() -> None:
    """As those of a test's requests do: what has been given to the thread may end when nobody listens any more."""
    lane, held = Lane("test", large=False), threading.Event()

    async def cancelled() -> None:
        task = asyncio.ensure_future(lane.run(held.wait, 30))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(cancelled())
    held.set()
    lane._thread.submit(int).result(30)  # the first piece has ended by then, and told a loop that runs no more
    loop.close()
    assert asyncio.run(asyncio.wait_for(lane.run(int, "5"), SECONDS)) == 5

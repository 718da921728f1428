"""OpenAI's Responses API, by OpenAI's own SDK on a real socket."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.apis.openai_responses import requests
from stoker.serve.apis.openai_responses.requests import ResponsesRequest
from stoker.serve.apis.openai_responses.store import DirectoryStore, Kept, MemoryStore, ResponseStore
from stoker.serve.http.keys import Keys
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf, Says, WithClient
    from tests.unit.serve.scripted import ScriptedEngine


TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CALL = 'On it.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
PATH = "/v1/responses"


@pytest.fixture
def with_sdk(with_client: WithClient) -> WithClient:
    def run(use: Callable[[AsyncOpenAI], Coroutine[object, object, None]], key: str = "none") -> None:
        with_client(lambda url: AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0), use)

    return run


def test_it_answers_and_streams_the_same(with_sdk: WithClient, says: Says) -> None:
    says("The sun is warm.")

    async def use(client: AsyncOpenAI) -> None:
        whole = await client.responses.create(model="demo", input="Hello", instructions="Be brief.", temperature=0.5)
        assert whole.output_text == "The sun is warm."
        assert (whole.status, whole.id[:5], whole.temperature) == ("completed", "resp_", 0.5)
        assert whole.usage is not None
        events = [event async for event in await client.responses.create(model="demo", input="Hello", stream=True)]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == "The sun is warm."
        kinds = [event.type for event in events if event.type != "response.output_text.delta"]
        assert kinds == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == whole.output_text
        async with client.responses.stream(model="demo", input="Hello") as stream:
            assert (await stream.get_final_response()).output_text == whole.output_text

    with_sdk(use)


def test_calls_are_items_whole_and_streamed(with_sdk: WithClient, says: Says) -> None:
    says(CALL)

    async def use(client: AsyncOpenAI) -> None:
        whole = await client.responses.create(model="demo", input="Weather?", tools=[TOOL])
        assert [item.type for item in whole.output] == ["message", "function_call"]
        (called,) = (item for item in whole.output if item.type == "function_call")
        assert (called.name, called.arguments) == ("weather", '{"city": "Bonn"}')
        async with client.responses.stream(model="demo", input="Weather?", tools=[TOOL]) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        (streamed,) = (item for item in final.output if item.type == "function_call")
        assert streamed.arguments == '{"city": "Bonn"}'
        assert kinds.count("response.function_call_arguments.delta") > 3

    with_sdk(use)


def test_thinking_is_an_item_and_goes_back_into_the_next_prompt(
    with_sdk: WithClient, says: Says, prompt_of: PromptOf
) -> None:
    engine = says("<think>\nHm, hm.\n</think>\n\nIt is four.", thinking=THINK)

    async def use(client: AsyncOpenAI) -> None:
        first = await client.responses.create(model="demo", input="2 + 2?")
        assert [item.type for item in first.output] == ["reasoning", "message"]
        (thought,) = (item for item in first.output if item.type == "reasoning")
        assert thought.content is not None
        assert thought.content[0].text.strip() == "Hm, hm."
        later: list[Any] = [{"role": "user", "content": "2 + 2?"}, *(item.model_dump() for item in first.output)]
        await client.responses.create(model="demo", input=[*later, {"role": "user", "content": "Sure?"}])

    with_sdk(use)
    prompt = prompt_of(engine)
    assert prompt.index("It is four.") < prompt.index("Sure?")


def test_results_of_tools_reach_the_prompt(with_sdk: WithClient, says: Says, prompt_of: PromptOf) -> None:
    engine = says("Sunny.")
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rom"}'},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": '{"city": "Bari"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "28 degrees"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "30 degrees"}]},
    ]

    async def use(client: AsyncOpenAI) -> None:
        await client.responses.create(model="demo", input=items, tools=[TOOL])

    with_sdk(use)
    prompt = prompt_of(engine)
    places = [prompt.index(part) for part in ("Weather?", '"city": "Rom"', '"city": "Bari"', "28 deg", "30 deg")]
    assert places == sorted(places)


def test_structured_output_and_demanded_calls_are_guided(ask: Ask, says: Says) -> None:
    engine = says('{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    answer = ask(PATH, {"model": "demo", "input": "x", "text": form}).json
    assert answer["text"]["format"]["schema"] == schema
    assert engine.asked[-1].guide is not None
    ask(PATH, {"model": "demo", "input": "x", "tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}})
    assert "weather" in engine.asked[-1].guide.text


def test_an_answer_that_was_cut_is_incomplete(ask: Ask, says: Says) -> None:
    says("one two three four")
    answer = ask(PATH, {"model": "demo", "input": "x", "max_output_tokens": 2}).json
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert answer["output"][0]["status"] == "incomplete"
    stream = ask(PATH, {"model": "demo", "input": "x", "max_output_tokens": 2, "stream": True}).text
    assert "event: response.incomplete\n" in stream


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ResponseStore:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "kept")


def test_a_conversation_goes_on_from_a_stored_response(
    with_sdk: WithClient, says: Says, service: Service, frontend: Frontend, store: ResponseStore
) -> None:
    engine = says("The sun is warm.")
    service.responses = store

    async def use(client: AsyncOpenAI) -> None:
        first = await client.responses.create(
            model="demo", input="First question", instructions="Be brief.", store=True
        )
        second = await client.responses.create(
            model="demo", input="Second question", previous_response_id=first.id, store=True
        )
        await client.responses.create(model="demo", input="Third question", previous_response_id=second.id)
        assert (await client.responses.retrieve(first.id)).output_text == "The sun is warm."
        await client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.id)
        unkept = await client.responses.create(model="demo", input="x")
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="demo", input="x", previous_response_id=unkept.id)

    with_sdk(use)
    prompt = frontend.tokenizer.decode(engine.asked[2].input_ids)
    parts = ("First question", "The sun is warm.", "Second question", "The sun is warm.", "Third question")
    begin = 0
    for part in parts:
        begin = prompt.index(part, begin) + 1
    assert "Be brief." not in prompt, "instructions hold for one response"


def test_a_stored_response_is_its_clients_alone(ask: Ask, says: Says, service: Service, store: ResponseStore) -> None:
    says("Mine.")
    service.responses = store
    service.exposure = Exposure(keys=Keys("alpha beta"))
    kept = ask(PATH, {"model": "demo", "input": "x", "store": True}, headers={"x-api-key": "alpha"}).json
    path = f"{PATH}/{kept['id']}"
    assert ask(path, headers={"x-api-key": "alpha"}).status == 200
    assert ask(path, headers={"x-api-key": "beta"}).status == 404
    assert ask(path, method="DELETE", headers={"x-api-key": "beta"}).status == 404
    body = {"model": "demo", "input": "x", "previous_response_id": kept["id"]}
    assert ask(PATH, body, headers={"x-api-key": "beta"}).status == 404


@pytest.mark.parametrize("id_", ["resp_" + "0" * 32, "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "resp_x"])
def test_what_is_not_stored_is_404(ask: Ask, service: Service, store: ResponseStore, id_: str) -> None:
    service.responses = store
    assert ask(f"{PATH}/{id_}").status == 404


def test_without_a_store_what_needs_one_is_refused(ask: Ask) -> None:
    for extra, param in (({"store": True}, "store"), ({"previous_response_id": "resp_1"}, "previous_response_id")):
        answer = ask(PATH, {"model": "demo", "input": "x", **extra})
        assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"tools": [{"type": "web_search", "external_web_access": False}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "custom", "name": "x", "format": {"type": "grammar"}}]}, "tools[0].format"),
        ({"tools": [{"type": "namespace", "name": "x", "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type"),
        ({"input": []}, "input"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(ask: Ask, extra: dict[str, Any], param: str) -> None:
    answer = ask(PATH, {"model": "demo", "input": "x", **extra})
    assert (answer.status, answer.error["param"]) == (400, param)


def test_a_tool_of_openais_servers_is_passed_over_beside_the_clients_own(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    search = {"type": "web_search", "external_web_access": False}
    answer = ask(PATH, {"model": "demo", "input": "x", "tools": [TOOL, search]})
    assert answer.status == 200, answer.text
    assert "tools[1] (web_search)" in answer.headers["warning"]
    assert "weather" in prompt_of(engine)
    assert "web_search" not in prompt_of(engine)


AGENTS: Any = {"type": "namespace", "name": "agents", "description": "Of agents", "tools": [TOOL]}


def test_a_function_within_a_namespace_is_called_by_both_names(with_sdk: WithClient, says: Says) -> None:
    says(CALL.replace("weather", "agents__weather"))
    tools = [AGENTS, TOOL]

    async def use(client: AsyncOpenAI) -> None:
        whole = await client.responses.create(model="demo", input="Weather?", tools=tools)
        call: Any = whole.output[-1]
        assert (call.type, call.name, call.namespace) == ("function_call", "weather", "agents")
        async with client.responses.stream(model="demo", input="Weather?", tools=tools) as stream:
            last: Any = (await stream.get_final_response()).output[-1]
        assert (last.name, last.namespace) == ("weather", "agents")
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
        said: Any = [{"role": "user", "content": "Weather?"}, call.to_dict(), result]
        await client.responses.create(model="demo", input=said, tools=tools)
        choice: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}
        await client.responses.create(model="demo", input="x", tools=tools, tool_choice=choice)

    with_sdk(use)


def test_a_call_within_a_namespace_is_shown_to_the_model_as_it_made_it(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "weather", "namespace": "agents", "arguments": "{}"}
    items = [{"role": "user", "content": "x"}, call, {"type": "function_call_output", "call_id": "c", "output": "y"}]
    assert ask(PATH, {"model": "demo", "input": items, "tools": [AGENTS]}).status == 200
    assert prompt_of(engine).count("agents__weather") == 2


def test_the_input_of_a_custom_tool_is_free_text(with_sdk: WithClient, says: Says, prompt_of: PromptOf) -> None:
    engine = says(CALL.replace("weather", "patch").replace('{"city": "Bonn"}', r'{"input": "*** a\n\"b\""}'))
    tool: Any = {"type": "custom", "name": "patch", "description": "Patches", "format": {"type": "text"}}
    body: Any = {"model": "demo", "input": "Patch", "tools": [tool]}

    async def use(client: AsyncOpenAI) -> None:
        call: Any = (await client.responses.create(**body)).output[-1]
        assert (call.type, call.name, call.input) == ("custom_tool_call", "patch", '*** a\n"b"')
        told: Any = {event.type: event async for event in await client.responses.create(**body, stream=True)}
        assert told["response.custom_tool_call_input.done"].input == call.input
        assert told["response.output_item.done"].item.input == call.input
        result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Done."}
        said: Any = [{"role": "user", "content": "Patch"}, call.to_dict(), result]
        await client.responses.create(model="demo", input=said, tools=[tool])
        assert "*** a" in prompt_of(engine)
        assert "Done." in prompt_of(engine)

    with_sdk(use)


def test_the_memory_store_holds_no_more_than_it_may() -> None:
    store = MemoryStore(most_bytes=1000)
    for number in range(50):
        store.put(Kept("a", {"id": f"resp_{number}", "text": "x" * 100}, []))
    assert sum(map(len, store._documents.values())) <= 1000
    assert store.get("resp_49", "a") is not None
    assert store.get("resp_0", "a") is None


def test_the_directory_store_forgets_what_is_old_and_is_private(tmp_path: Path) -> None:
    id_ = "resp_" + "a" * 32
    DirectoryStore(tmp_path / "kept").put(Kept("a", {"id": id_}, []))
    path = tmp_path / "kept" / f"{id_}.json"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    long_ago = time.time() - 40 * 24 * 3600
    os.utime(path, (long_ago, long_ago))
    assert DirectoryStore(tmp_path / "kept").get(id_, "a") is None
    assert not path.exists()


def _kept(number: int, text: str = "") -> Kept:
    return Kept("a", {"id": f"resp_{number:032x}", "text": text}, [])


@pytest.mark.parametrize("kind", ["memory", "directory"])
@pytest.mark.parametrize(("limits", "left"), [({"most": 3}, 3), ({"most_bytes": 1000}, 3), ({"most_bytes": 10}, 0)])
def test_a_store_is_bounded_in_size_and_count(tmp_path: Path, kind: str, limits: dict[str, int], left: int) -> None:
    store: Any = MemoryStore(**limits) if kind == "memory" else DirectoryStore(tmp_path, **limits)
    for number in range(20):
        store.put(_kept(number, "x" * 200))
    found = [number for number in range(20) if store.get(_kept(number).response["id"], "a")]
    assert found == list(range(20))[20 - left :]
    if kind == "directory":
        assert len(list(tmp_path.iterdir())) == left
        again = DirectoryStore(tmp_path, **{**limits, "most": 1})
        assert len(list(tmp_path.iterdir())) == min(left, 1), "what was there before counts"
        assert again.get(_kept(19).response["id"], "a") is not None or not left


def test_what_is_too_large_alone_takes_nothing_with_it(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, most_bytes=1000)
    store.put(_kept(1))
    store.put(_kept(2, "x" * 5000))
    assert store.get(_kept(1).response["id"], "a") is not None
    assert store.get(_kept(2).response["id"], "a") is None


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_what_is_old_goes_while_the_server_runs_and_nobody_asks(tmp_path: Path, kind: str) -> None:
    seconds = 0.2
    store: Any = MemoryStore(kept_seconds=seconds) if kind == "memory" else DirectoryStore(tmp_path, seconds)
    store.put(_kept(1))
    end = time.monotonic() + 30
    while time.monotonic() < end and (list(tmp_path.iterdir()) if kind == "directory" else store._documents):
        time.sleep(0.01)
    assert not (list(tmp_path.iterdir()) if kind == "directory" else store._documents)


def test_deleting_what_is_too_old_is_404_and_deletes_the_file(ask: Ask, service: Service, tmp_path: Path) -> None:
    service.responses = store = DirectoryStore(tmp_path)
    made = ask(PATH, {"model": "demo", "input": "x", "store": True}).json["id"]
    (file,) = tmp_path.iterdir()
    long_ago = time.time() - 40 * 24 * 3600
    os.utime(file, (long_ago, long_ago))
    assert ask(f"{PATH}/{made}", method="DELETE").status == 404
    assert not list(tmp_path.iterdir())
    assert store.get(made, "local") is None


def test_every_field_that_the_sdk_knows_is_served_or_refused_by_name() -> None:
    known = set(get_type_hints(ResponseCreateParamsBase))
    assert known - set(ResponsesRequest.__struct_fields__) == set(), "neither served nor refused"


def test_what_changes_nothing_is_a_field() -> None:
    assert {*requests.HARMLESS, *requests.NO_EFFECT, *requests.UNSUPPORTED} <= {*ResponsesRequest.__struct_fields__}

"""Anthropic's Messages API, by Anthropic's own SDK on a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, get_type_hints

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase

from stoker.launch.generation import EngineDiedError
from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.apis.anthropic import requests
from stoker.serve.apis.anthropic.requests import CountRequest, MessagesRequest
from stoker.serve.http.keys import Keys
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf, Says, WithClient
    from tests.unit.serve.scripted import ScriptedEngine


WEATHER: Any = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = 'On it.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
ASKED: Any = [{"role": "user", "content": "Weather?"}]
BODY: dict[str, Any] = {"model": "demo", "max_tokens": 200, "messages": ASKED}


@pytest.fixture
def with_sdk(with_client: WithClient) -> WithClient:
    def run(use: Callable[[AsyncAnthropic], Coroutine[object, object, None]], key: str = "none") -> None:
        with_client(lambda url: AsyncAnthropic(base_url=url, api_key=key, max_retries=0), use)

    return run


def test_it_answers_and_streams_the_same(with_sdk: WithClient, says: Says) -> None:
    says("The sun is warm.")

    async def use(client: AsyncAnthropic) -> None:
        whole = await client.messages.create(**BODY, system="Be brief.", extra_body={"temperature": 0.5, "top_k": 3})
        (said,) = whole.content
        assert said.type == "text"
        assert said.text == "The sun is warm."
        assert (whole.stop_reason, whole.role, whole.id[:4]) == ("end_turn", "assistant", "msg_")
        assert whole.usage.input_tokens > 0
        async with client.messages.stream(**BODY, system="Be brief.") as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert text == "The sun is warm."
        (streamed,) = final.content
        assert streamed.type == "text"
        assert streamed.text == said.text
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
        assert final.usage.input_tokens == whole.usage.input_tokens

    with_sdk(use)


def test_calls_are_blocks_of_their_own_whole_and_streamed(with_sdk: WithClient, says: Says) -> None:
    says(CALL)

    async def use(client: AsyncAnthropic) -> None:
        whole = await client.messages.create(**BODY, tools=[WEATHER])
        assert [block.type for block in whole.content] == ["text", "tool_use"]
        called = whole.content[1]
        assert called.type == "tool_use"
        assert (called.name, called.input) == ("weather", {"city": "Bonn"})
        assert whole.stop_reason == "tool_use"
        async with client.messages.stream(**BODY, tools=[WEATHER]) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_message()
        assert final.stop_reason == "tool_use"
        streamed = final.content[1]
        assert streamed.type == "tool_use"
        assert streamed.input == {"city": "Bonn"}
        assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
        assert kinds.count("input_json") > 3, "arguments come as they are written"

    with_sdk(use)


def test_results_of_tools_and_thoughts_reach_the_prompt(with_sdk: WithClient, says: Says, prompt_of: PromptOf) -> None:
    engine = says("Sunny.")
    conversation: Any = [
        *ASKED,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Ask the tool.", "signature": "s"},
                {"type": "text", "text": "One moment."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rom"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "28 degrees"}]},
                {"type": "text", "text": "And?"},
            ],
        },
    ]

    async def use(client: AsyncAnthropic) -> None:
        await client.messages.create(model="demo", max_tokens=9, tools=[WEATHER], messages=conversation)
        counted = await client.messages.count_tokens(model="demo", tools=[WEATHER], messages=conversation)
        assert counted.input_tokens == len(engine.asked[-1].input_ids)

    with_sdk(use)
    prompt = prompt_of(engine)
    places = [prompt.index(part) for part in ("Weather?", "One moment.", '"city": "Rom"', "28 degrees", "And?")]
    assert places == sorted(places)


def test_a_system_message_within_the_conversation_stays_in_its_place(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    note = [{"type": "text", "text": "The user is a baker.", "cache_control": {"type": "ephemeral"}}]
    turns = [*ASKED, {"role": "system", "content": note}, {"role": "assistant", "content": "Warm."}, *ASKED]
    answer = ask("/v1/messages", {**BODY, "messages": turns, "system": "Be brief."})
    assert answer.status == 200, answer.text
    prompt = prompt_of(engine)
    places = [prompt.index(part) for part in ("Be brief.", "Weather?", "The user is a baker.", "Warm.")]
    assert places == sorted(places)


def test_redacted_thoughts_of_another_model_are_passed_over(ask: Ask) -> None:
    said = [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Warm."}]
    assert (
        ask("/v1/messages", {**BODY, "messages": [*ASKED, {"role": "assistant", "content": said}, *ASKED]}).status
        == 200
    )


def test_max_tokens_is_a_limit_that_may_be_more_than_the_context_holds(ask: Ask, engine: ScriptedEngine) -> None:
    answer = ask("/v1/messages", {**BODY, "max_tokens": 32_000})
    assert answer.status == 200, answer.text
    asked = engine.asked[-1]
    assert (answer.json["stop_reason"], asked.max_tokens + len(asked.input_ids)) == ("end_turn", 512)


def test_an_answer_that_the_context_ends_says_so(ask: Ask, says: Says) -> None:
    engine = says("word " * 600)
    answer = ask("/v1/messages", {**BODY, "max_tokens": 32_000}).json
    assert answer["stop_reason"] == "model_context_window_exceeded"
    assert answer["usage"]["output_tokens"] == engine.asked[-1].max_tokens
    assert ask("/v1/messages", {**BODY, "max_tokens": 9}).json["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(("length", "words"), [(2000, r"\d+ tokens > 512 maximum"), (1_000_000, ".*512 tokens")])
def test_a_prompt_that_is_too_long_is_told_in_anthropics_words(ask: Ask, length: int, words: str) -> None:
    answer = ask("/v1/messages", {**BODY, "messages": [{"role": "user", "content": "ab " * length}]})
    assert answer.status == 400
    assert re.fullmatch(f"prompt is too long: {words}.*", answer.error["message"]), answer.text


def test_thinking_is_a_block_of_its_own(with_sdk: WithClient, says: Says) -> None:
    says("<think>\nHm, hm.\n</think>\n\nIt is four.", thinking=THINK)

    async def use(client: AsyncAnthropic) -> None:
        config: Any = {"type": "enabled", "budget_tokens": 1024}
        whole = await client.messages.create(**{**BODY, "max_tokens": 2000, "thinking": config} | {"max_tokens": 300})
        assert [block.type for block in whole.content] == ["thinking", "text"]
        assert (whole.content[0].thinking.strip(), whole.content[1].text.strip()) == ("Hm, hm.", "It is four.")
        async with client.messages.stream(**BODY, thinking=config) as stream:
            final = await stream.get_final_message()
        assert [block.type for block in final.content] == ["thinking", "text"]

    with_sdk(use)


@pytest.mark.parametrize(
    ("choice", "guided"),
    [({"type": "auto"}, False), ({"type": "any"}, True), ({"type": "tool", "name": "weather"}, True)],
)
def test_a_call_that_is_demanded_is_guided(ask: Ask, says: Says, choice: dict[str, str], guided: bool) -> None:
    engine = says('<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>')
    answer = ask("/v1/messages", {**BODY, "tools": [WEATHER], "tool_choice": choice})
    assert answer.json["stop_reason"] == "tool_use"
    assert (engine.asked[0].guide is not None) == guided


def test_why_it_stopped_is_told(ask: Ask, says: Says) -> None:
    says("one two three four")
    stopped = ask("/v1/messages", {**BODY, "stop_sequences": ["five", "three"]}).json
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "three")
    assert stopped["content"][0]["text"].strip() == "one two"
    cut = ask("/v1/messages", {**BODY, "max_tokens": 2}).json
    assert (cut["stop_reason"], cut["stop_sequence"]) == ("max_tokens", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "'image' is not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, "'document'"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "a",
                                "content": [{"type": "text", "text": "b"}, {"type": "image", "source": {}}],
                            }
                        ],
                    }
                ]
            },
            "'image' is not supported",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]},
            "user",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "name"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "think"),
    ],
)
def test_what_cannot_be_done_is_a_400_in_anthropics_form(
    with_sdk: WithClient, change: dict[str, Any], said: str
) -> None:
    async def use(client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.BadRequestError, match=said) as refused:
            await client.post("/v1/messages", body={**BODY, **change}, cast_to=object)
        assert refused.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]

    with_sdk(use)


def test_other_errors_are_in_anthropics_form_too(
    with_sdk: WithClient, ask: Ask, engine: ScriptedEngine, service: Service
) -> None:
    async def another_model(client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.NotFoundError, match="demo"):
            await client.messages.create(**{**BODY, "model": "claude"})

    with_sdk(another_model)

    async def die() -> None:
        raise EngineDiedError("the engine process exited")

    engine.before_step = lambda step: die() if step == 3 else None
    stream = ask("/v1/messages", {**BODY, "stream": True}).text
    last = stream.removesuffix("\n\n").split("\n\n")[-1]
    assert last.startswith("event: error\n")
    assert json.loads(last.split("data: ")[1])["error"]["type"] == "overloaded_error"
    service.exposure = Exposure(keys=Keys("sesame"))

    async def no_key(client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.AuthenticationError, match="not known"):
            await client.messages.create(**BODY)

    with_sdk(no_key)


def test_a_call_that_was_cut_short_is_told_as_it_is(ask: Ask, says: Says) -> None:
    says('<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>')
    answer = ask("/v1/messages", {**BODY, "tools": [WEATHER], "max_tokens": 40})
    assert answer.status == 200


def test_every_field_that_the_sdk_knows_is_served_or_refused_by_name() -> None:
    for sdk, ours in ((MessageCreateParamsBase, MessagesRequest), (MessageCountTokensParams, CountRequest)):
        assert set(get_type_hints(sdk)) - set(ours.__struct_fields__) == set(), "neither served nor refused"


def test_what_changes_nothing_is_a_field() -> None:
    assert {*requests.HARMLESS, *requests.UNSUPPORTED} <= {*MessagesRequest.__struct_fields__}

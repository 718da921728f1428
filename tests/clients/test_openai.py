"""OpenAI's SDK for Python; that for Node has tests/integration/chain/test_node_clients.py."""

from __future__ import annotations

import json

import pytest

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Who are you?"}], "temperature": 0, "max_tokens": 40}
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Bonn"]}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": CITY}}


@pytest.fixture
def client(url):
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as one:
        yield one


def test_a_conversation_whole_and_streamed_says_the_same(client) -> None:
    whole = client.chat.completions.create(**CHAT)
    said = whole.choices[0].message
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == said.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    more = [*CHAT["messages"], said.model_dump(), {"role": "user", "content": "And now?"}]
    again = client.chat.completions.create(**{**CHAT, "messages": more})
    assert again.usage.prompt_tokens > whole.usage.total_tokens


def test_a_tool_is_called_and_its_result_read(client) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    asked = {**CHAT, "tools": [TOOL], "max_tokens": 100}
    called = client.chat.completions.create(**asked, tool_choice=choice).choices[0].message
    assert json.loads(called.tool_calls[0].function.arguments)["city"] in ("Rome", "Bonn")
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "Sunny."}
    answer = client.chat.completions.create(**{**asked, "messages": [*CHAT["messages"], called, result]})
    assert answer.usage.completion_tokens > 0


def test_answers_have_the_form_that_is_asked_for(client) -> None:
    from typing import Literal

    from pydantic import BaseModel

    class Trip(BaseModel):
        city: Literal["Rome", "Bonn"]

    parsed = (
        client.chat.completions.parse(**{**CHAT, "max_tokens": 100}, response_format=Trip).choices[0].message.parsed
    )
    assert parsed.city in ("Rome", "Bonn")
    answer = client.responses.parse(model="demo", input="Where?", text_format=Trip, max_output_tokens=100)
    assert answer.output_parsed.city in ("Rome", "Bonn")


def test_responses_whole_and_streamed_say_the_same(client) -> None:
    asked = {"model": "demo", "input": "Who are you?", "temperature": 0, "max_output_tokens": 40}
    whole = client.responses.create(**asked, instructions="Be brief.", store=False)
    with client.responses.stream(**asked, instructions="Be brief.", store=False) as stream:
        assert stream.get_final_response().output_text == whole.output_text
    tool = {"type": "function", "strict": False, **TOOL["function"]}
    called = client.responses.create(**{**asked, "max_output_tokens": 100}, tools=[tool], tool_choice="required")
    call = called.output[-1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    more = [{"role": "user", "content": "Weather?"}, *called.output, result]
    assert client.responses.create(model="demo", input=more, tools=[tool], max_output_tokens=9).status


def test_completions_with_probabilities(client) -> None:
    one = client.completions.create(model="demo", prompt="Once upon", max_tokens=5, logprobs=1, temperature=0)
    assert len(one.choices[0].logprobs.token_logprobs) == one.usage.completion_tokens
    assert [each.id for each in client.models.list()] == ["demo"]

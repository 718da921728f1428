"""Anthropic's SDK."""

from __future__ import annotations

import pytest

ASKED = {"model": "demo", "max_tokens": 100, "messages": [{"role": "user", "content": "Who are you?"}]}
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Rome", "Bonn"]}}, "required": ["city"]},
}


@pytest.fixture
def client(url):
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as one:
        yield one


def test_a_message_whole_streamed_and_counted(client) -> None:
    asked = {**ASKED, "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}
    whole = client.messages.create(**asked, extra_body={"temperature": 0})
    with client.messages.stream(**asked, extra_body={"temperature": 0}) as stream:
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    counted = client.messages.count_tokens(**{name: asked[name] for name in ("model", "messages", "system")})
    assert counted.input_tokens == whole.usage.input_tokens


def test_a_tool_is_called_and_its_result_read(client) -> None:
    called = client.messages.create(**ASKED, tools=[TOOL], tool_choice={"type": "tool", "name": "weather"})
    block = called.content[-1]
    assert (block.type, called.stop_reason) == ("tool_use", "tool_use")
    assert block.input["city"] in ("Rome", "Bonn")
    result = {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "Sunny."}]}
    turns = [
        *ASKED["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**{**ASKED, "messages": turns}, tools=[TOOL]).usage.output_tokens > 0


def test_betas_are_taken(client) -> None:
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    answer = client.beta.messages.create(**ASKED, betas=["context-management-2025-06-27"], context_management=edits)
    assert answer.usage.output_tokens > 0

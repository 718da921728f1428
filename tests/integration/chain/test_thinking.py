"""Reasoning by a real engine, through each API: split off, counted, limited, and before a text of a given form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import openai
from tests.loading import load

other_tongues = load("other_tongues", Path(__file__).with_name("other_tongues.py"))

ASKED: list[Any] = [{"role": "user", "content": "Who are you?"}]
CHAT: dict[str, Any] = {"model": "thinking", "messages": ASKED, "max_tokens": 100, "temperature": 0}
MARK = "</think>"


def test_a_model_that_thinks_aloud_does_so_in_every_api(start, tmp_path: Path) -> None:
    server = start(str(other_tongues.write_thinking_model(tmp_path / "thinking")))
    server.wait_ready()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        thought, said = _chat(client)
        _switched_off(client)
        _limited(client, thought)
        _before_a_form(client, thought)
        _responses(client, thought, said)
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as claude:
        _messages(claude, thought, said)


def _chat(client: openai.OpenAI) -> tuple[str, str]:
    """What it thinks and says, which is the same whole and streamed."""
    whole = client.chat.completions.create(**CHAT)
    message = whole.choices[0].message
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == message.reasoning_content
    assert "".join(delta.content or "" for delta in deltas) == message.content
    assert chunks[-1].usage == whole.usage
    counted = whole.usage.completion_tokens_details.reasoning_tokens
    assert 1 < counted < whole.usage.completion_tokens
    assert MARK not in message.reasoning_content
    assert message.content
    return message.reasoning_content, message.content


def _switched_off(client: openai.OpenAI) -> None:
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    answer = client.chat.completions.create(**CHAT, extra_body=off)
    assert not hasattr(answer.choices[0].message, "reasoning_content")
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    none = client.chat.completions.create(**CHAT, reasoning_effort="none")
    assert none.choices[0].message.content == answer.choices[0].message.content


def _limited(client: openai.OpenAI, thought: str) -> None:
    """It would go on thinking, were the mark not put into its mouth."""
    answer = client.chat.completions.create(**CHAT, extra_body={"max_thinking_tokens": 2})
    assert thought.startswith(answer.choices[0].message.reasoning_content)
    assert len(answer.choices[0].message.reasoning_content) < len(thought)
    assert answer.choices[0].message.content
    ample = client.chat.completions.create(**CHAT, extra_body={"nvext": {"max_thinking_tokens": 50}})
    assert ample.choices[0].message.reasoning_content == thought


def _before_a_form(client: openai.OpenAI, thought: str) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "digit", "schema": {"enum": [1, 2]}}}
    message = client.chat.completions.create(**CHAT, response_format=form).choices[0].message
    assert message.content in ("1", "2")
    assert message.reasoning_content == thought


def _responses(client: openai.OpenAI, thought: str, said: str) -> None:
    answer = client.responses.create(model="thinking", input="Who are you?", temperature=0, max_output_tokens=100)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    reasoning = answer.output[0]
    assert reasoning.type == "reasoning"
    assert reasoning.content is not None
    assert (reasoning.content[0].text, answer.output_text) == (thought, said)
    assert answer.usage is not None
    assert 1 < answer.usage.output_tokens_details.reasoning_tokens < answer.usage.output_tokens


def _messages(claude: anthropic.Anthropic, thought: str, said: str) -> None:
    asked: dict[str, Any] = {**CHAT, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    del asked["temperature"]
    with claude.messages.stream(**asked, extra_body={"temperature": 0}) as stream:
        message = stream.get_final_message()
    assert [(block.type, getattr(block, block.type)) for block in message.content] == [
        ("thinking", thought),
        ("text", said),
    ]
    assert message.usage.output_tokens_details is not None
    assert 1 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens

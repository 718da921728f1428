"""Strict tools that a model may call or not, against real servers: what it calls by its own choice fits the schema."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anthropic
import jsonschema
import openai
import pytest
from tests.loading import load

other_tongues = load("other_tongues", Path(__file__).with_name("other_tongues.py"))

CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Bonn"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ASKED: list[Any] = [{"role": "user", "content": "Who are you?"}]
WHO: dict[str, Any] = {"model": "calling", "messages": ASKED, "max_tokens": 80}


def _tool(*, strict: bool) -> Any:
    return {"type": "function", "function": {"name": "weather", "parameters": CITY, "strict": strict}}


def _check(written: Iterable[str]) -> int:
    """How many arguments there are, all of which are valid."""
    arguments = [json.loads(each) for each in written]
    for each in arguments:
        jsonschema.validate(each, CITY)
    return len(arguments)


@pytest.mark.parametrize(("mark", "control"), [("<tool_call>", False), ("[TOOL_CALLS]", True)])
def test_a_model_that_may_choose_calls_strict_tools_as_their_schemas_say(start, tmp_path, mark, control) -> None:
    server = start(str(other_tongues.write_calling_model(tmp_path / "calling", mark=mark, control=control)))
    server.wait_ready()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        _free_and_strict(client, mark)
        _streamed(client)
        _beside_a_form(client)
        _responses(client)
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as claude:
        _messages(claude)


def _free_and_strict(client: openai.OpenAI, mark: str) -> None:
    called = 0
    for seed in range(3):
        free = client.chat.completions.create(**WHO, tools=[_tool(strict=False)], seed=seed).choices[0].message
        strict = (
            client.chat.completions.create(**WHO, tools=[_tool(strict=True)], seed=seed, parallel_tool_calls=False)
            .choices[0]
            .message
        )
        assert free.tool_calls is None
        assert mark in free.content
        begun, said = free.content.partition(mark)[0], strict.content or ""
        assert said.startswith(begun), "up to its first call the model says what it says anyway"
        assert mark not in said
        called += _check(call.function.arguments for call in strict.tool_calls or [])
    assert called == 3


def _streamed(client: openai.OpenAI) -> None:
    asked = {**WHO, "tools": [_tool(strict=True)], "temperature": 0, "parallel_tool_calls": False}
    whole = client.chat.completions.create(**asked).choices[0].message
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    pieces = [call.function.arguments for delta in deltas for call in delta.tool_calls or []]
    assert "".join(pieces) == whole.tool_calls[0].function.arguments
    assert "".join(delta.content or "" for delta in deltas) == (whole.content or "")
    assert len(pieces) > 3
    assert _check(call.function.arguments for call in whole.tool_calls) == 1


def _beside_a_form(client: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "yes", "strict": True, "schema": {"const": "yes"}}}
    for seed in range(2):
        asked = {**WHO, "tools": [_tool(strict=True)], "response_format": form, "seed": seed}
        message = client.chat.completions.create(**asked).choices[0].message
        assert message.content == '"yes"' or _check(call.function.arguments for call in message.tool_calls)


def _responses(client: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
    asked: dict[str, Any] = {"model": "calling", "input": "Who are you?", "tools": [tool], "parallel_tool_calls": False}
    answer = client.responses.create(**asked, max_output_tokens=120)
    assert _check(item.arguments for item in answer.output if item.type == "function_call") == 1


def _messages(claude: anthropic.Anthropic) -> None:
    tool: Any = {"name": "weather", "input_schema": CITY, "strict": True}
    choice: Any = {"type": "auto", "disable_parallel_tool_use": True}
    answer = claude.messages.create(**WHO, tools=[tool], tool_choice=choice)
    assert _check(json.dumps(block.input) for block in answer.content if block.type == "tool_use") == 1

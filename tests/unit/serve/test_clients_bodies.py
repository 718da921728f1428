"""Bodies as clients really send them: nulls, messages that an SDK gave, calls that were cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openai.types.chat import ChatCompletionMessage

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf
    from tests.unit.serve.scripted import ScriptedEngine


USER = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "demo", "messages": [USER], "max_tokens": 2}
TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "done"}


def _nulls(value: Any) -> Any:
    """The same with a null of every name in every object."""
    if isinstance(value, list):
        return [_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    names = ("annotations", "audio", "cache_control", "function_call", "name", "reasoning", "refusal", "strict", "zzz")
    return {**dict.fromkeys(names), **{name: _nulls(each) for name, each in value.items()}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
        ("/v1/chat/completions", {**CHAT, "messages": [USER, CALLING, RESULT], "tools": [TOOL]}),
        ("/v1/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": TOOL}),
        ("/v1/chat/completions", {**CHAT, "response_format": {"type": "text"}, "stream": True, "stream_options": {}}),
        ("/v1/completions", {"model": "demo", "prompt": "Hi", "max_tokens": 2, "nvext": {"top_k": 3}}),
        (
            "/v1/responses",
            {"model": "demo", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
        ),
        (
            "/v1/responses",
            {
                "model": "demo",
                "input": [
                    {"role": "user", "content": "a"},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "b"},
                ],
                "tools": [{"type": "function", "name": "f"}],
                "text": {"format": {"type": "text"}},
                "reasoning": {},
            },
        ),
        ("/v1/messages", {"model": "demo", "max_tokens": 2, "messages": [USER]}),
        (
            "/v1/messages",
            {
                "model": "demo",
                "max_tokens": 2,
                "system": [{"type": "text", "text": "Be kind."}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "b"}]},
                ],
                "tools": [{"name": "f", "input_schema": {}}],
                "tool_choice": {"type": "auto"},
            },
        ),
        ("/tokenize", {"messages": [USER]}),
        ("/detokenize", {"tokens": [5]}),
    ],
)
def test_a_null_is_as_if_absent_wherever_it_is(ask: Ask, path: str, body: dict[str, Any]) -> None:
    assert ask(path, body).status == 200
    answer = ask(path, _nulls(body))
    assert answer.status == 200, answer.text


@pytest.mark.parametrize("field", ["type", "n", "stop", "logit_bias", "seed", "tools", "tool_choice", "stream"])
def test_a_null_of_a_field_that_is_known_is_its_default(ask: Ask, field: str) -> None:
    assert ask("/v1/chat/completions", {**CHAT, field: None}).status == 200


def test_a_required_field_that_is_null_is_missing(ask: Ask) -> None:
    for path in ("messages", "model"):
        answer = ask("/v1/chat/completions", {**CHAT, path: None})
        assert (answer.status, answer.error["code"]) == (400, "missing_required_parameter")
        assert answer.error["param"] == path


def test_the_message_that_the_sdk_gave_can_be_sent_back(ask: Ask) -> None:
    said = ChatCompletionMessage.model_validate(ask("/v1/chat/completions", CHAT).json["choices"][0]["message"])
    history = [USER, said.model_dump(), USER]
    assert ask("/v1/chat/completions", {**CHAT, "messages": history}).status == 200
    assert (
        ask("/v1/chat/completions", {**CHAT, "messages": [USER, {**said.model_dump(), "annotations": []}]}).status
        == 200
    )


def test_a_refusal_part_is_text(ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf) -> None:
    parts = [{"type": "refusal", "refusal": "I cannot."}]
    for message in ({"content": parts}, {"content": None, "refusal": "I cannot."}):
        answer = ask("/v1/chat/completions", {**CHAT, "messages": [USER, {"role": "assistant", **message}, USER]})
        assert answer.status == 200, answer.text
        assert "I cannot." in prompt_of(engine)
    responses = {"model": "demo", "input": [{"role": "assistant", "content": parts}, {"role": "user", "content": "a"}]}
    assert ask("/v1/responses", responses).status == 200
    assert "I cannot." in prompt_of(engine)


@pytest.mark.parametrize("arguments", ['{"city": "Bo', "not JSON", "[1, 2]", "3", "", '{"a": NaN}', "{" * 5000, '"x"'])
def test_arguments_that_are_no_json_are_passed_on(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf, arguments: str
) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    body = {**CHAT, "messages": [USER, {**CALLING, "tool_calls": [call]}, RESULT], "tools": [TOOL]}
    answer = ask("/v1/chat/completions", body)
    assert answer.status == (200 if len(arguments) < 1000 else 400), answer.text  # the longest exceeds the context
    if answer.status == 400:
        assert answer.error["code"] == "context_length_exceeded"
    items = [
        {"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c", "output": "b"},
    ]
    answer = ask("/v1/responses", {"model": "demo", "input": items})
    assert answer.status == 200 or answer.error["code"] == "context_length_exceeded", answer.text
    if arguments == "not JSON":
        assert arguments in prompt_of(engine)


@pytest.mark.parametrize("arguments", [{"city": "Bonn"}, {}, {"a": None}])
def test_arguments_may_be_an_object(ask: Ask, arguments: Any) -> None:
    call = {**CALL, "index": 0, "function": {"name": "f", "arguments": arguments}}
    body = {**CHAT, "messages": [USER, {**CALLING, "tool_calls": [call]}, RESULT], "tools": [TOOL]}
    assert ask("/v1/chat/completions", body).status == 200

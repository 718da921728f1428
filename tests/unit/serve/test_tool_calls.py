"""Calls of tools and thinking, in OpenAI's form: whole, and in chunks that the SDK's own types accept."""

from __future__ import annotations

import dataclasses
import json
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from stoker.serve.answer.parsers.families import FAMILIES
from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Reply, Says


TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "add"}},
]
CALL = 'On it.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
BODY: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Weather?"}], "tools": TOOLS}


def _chunks(answer: Reply) -> list[ChatCompletionChunk]:
    """Checked by the SDK's types, which allow fields of ours."""
    return [ChatCompletionChunk.model_validate(event) for event in answer.events]


def test_a_call_is_a_message_with_calls(ask: Ask, says: Says) -> None:
    engine = says(CALL)
    answer = ChatCompletion.model_validate(ask("/v1/chat/completions", BODY).json)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "On it.")
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Bonn"})
    assert engine.asked[0].guide is None


def test_a_call_is_streamed_as_it_comes(ask: Ask, says: Says) -> None:
    says(CALL)
    chunks = _chunks(ask("/v1/chat/completions", {**BODY, "stream": True}))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    first, *rest = calls
    assert first.function is not None
    assert (first.index, first.type, first.function.name, first.function.arguments) == (0, "function", "weather", "")
    assert first.id
    assert all(call.id is None and call.function and call.function.name is None for call in rest)
    assert json.loads("".join(call.function.arguments or "" for call in rest if call.function)) == {"city": "Bonn"}
    assert len(rest) > 3
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "On it."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["tool_calls"]


def test_a_call_that_was_demanded_by_name_ends_with_stop_and_is_guided(ask: Ask, says: Says) -> None:
    engine = says('<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>')
    choice = {"type": "function", "function": {"name": "add"}}
    answer = ask("/v1/chat/completions", {**BODY, "tool_choice": choice}).json
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["message"]["content"] is None
    guide = engine.asked[0].guide
    assert guide is not None
    grammar = guide.text
    assert "add" in grammar
    assert "weather" not in grammar


def test_strict_tools_are_guided_where_the_model_may_choose(ask: Ask, says: Says) -> None:
    engine = says(CALL)
    function = {"name": "weather", "parameters": {"properties": {"city": {"enum": ["Bonn"]}}}, "strict": True}
    body = {**BODY, "tools": [{"type": "function", "function": function}, TOOLS[1]]}
    assert ask("/v1/chat/completions", body).json["choices"][0]["finish_reason"] == "tool_calls"
    guide = engine.asked[0].guide
    assert guide is not None
    grammar = guide.text
    assert all(part in grammar for part in ("<tool_call>", "Bonn", "add"))
    function["parameters"] = {"not": {}}
    answer = ask("/v1/chat/completions", body)
    assert (answer.status, answer.error["param"]) == (400, "tools[0].function.parameters")


@pytest.mark.parametrize(("family", "lacks"), [("gemma", ()), ("pythonic", ()), ("hermes", ("guide",))])
def test_strict_tools_are_refused_where_nothing_can_hold_the_model_to_them(
    ask: Ask, says: Says, frontend: Frontend, family: str, lacks: tuple[str, ...]
) -> None:
    context = dataclasses.replace(frontend.context, lacks=frozenset(lacks))
    engine = says("Yes.", tool_family=FAMILIES[family], context=context)
    tools = [TOOLS[1], {"type": "function", "function": {"name": "f", "strict": True}}]
    answer = ask("/v1/chat/completions", {**BODY, "tools": tools})
    assert (answer.status, answer.error["param"]) == (400, "tools[1].function.strict")
    assert ask("/v1/chat/completions", {**BODY, "tools": tools, "tool_choice": "none"}).status == 200
    assert ask("/v1/chat/completions", {**BODY, "tools": tools[:1]}).status == 200
    assert all(generation.guide is None for generation in engine.asked)


def test_without_tools_or_with_none_of_them_the_text_is_text(ask: Ask, says: Says) -> None:
    says(CALL)
    for body in ({**BODY, "tool_choice": "none"}, {key: value for key, value in BODY.items() if key != "tools"}):
        message = ask("/v1/chat/completions", body).json["choices"][0]["message"]
        assert message["content"] == CALL
        assert "tool_calls" not in message


def test_tools_reach_the_prompt_and_calls_in_messages_do_too(ask: Ask, says: Says, frontend: Frontend) -> None:
    engine = says("Yes.")
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rom"}'}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    assert ask("/v1/chat/completions", {**BODY, "messages": messages}).status == 200
    prompt = frontend.tokenizer.decode(engine.asked[0].input_ids)
    assert '"name": "weather"' in prompt.replace("\\", "")
    assert '{"name": "weather", "arguments": {"city": "Rom"}}' in prompt
    assert "sunny" in prompt


def test_a_model_without_a_place_for_tools_says_so(ask: Ask, says: Says) -> None:
    says("x", tool_family=None)
    answer = ask("/v1/chat/completions", BODY)
    assert (answer.status, answer.error["param"]) == (400, "tools")


def test_thinking_is_reasoning_content(ask: Ask, says: Says) -> None:
    says("<think>\nHm, hm.\n</think>\n\nIt is four.", thinking=THINK)
    body = {key: value for key, value in BODY.items() if key != "tools"}
    message = ask("/v1/chat/completions", body).json["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm, hm.", "It is four.")
    chunks = _chunks(ask("/v1/chat/completions", {**body, "stream": True, "logprobs": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Hm, hm."
    assert "".join(delta.content or "" for delta in deltas) == "It is four."
    tokens = [entry for chunk in chunks for entry in (chunk.choices[0].logprobs or _NONE).content or []]
    assert "".join(bytes(entry.bytes or []).decode() for entry in tokens).startswith("<think>")


def test_tokens_of_thinking_are_told_in_each_apis_usage(ask: Ask, says: Says, frontend: Frontend) -> None:
    """Those of its marks are thinking too; the end token is not."""
    thought, text = "<think>\nHm, hm.\n</think>", "\n\nIt is four."
    says(thought + text, thinking=THINK)
    count = len(frontend.tokenizer.encode_now(thought, add_special_tokens=False))
    chat = {"model": "demo", "messages": BODY["messages"]}
    usage = ask("/v1/chat/completions", {**chat, "n": 2}).json["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 2 * count}
    streamed = ask("/v1/chat/completions", {**chat, "stream": True, "stream_options": {"include_usage": True}})
    assert streamed.events[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": count}
    assert "prompt_tokens_details" not in usage
    responded = ask("/v1/responses", {"model": "demo", "input": "Two and two?"}).json["usage"]
    assert responded["output_tokens_details"] == {"reasoning_tokens": count}
    message = ask("/v1/messages", {**chat, "max_tokens": 100}).json["usage"]
    assert message["output_tokens_details"] == {"thinking_tokens": count}
    says(text)
    assert "completion_tokens_details" not in ask("/v1/chat/completions", chat).json["usage"]


class _NONE:
    content = None


def test_thinking_and_calls_go_together(ask: Ask, says: Says) -> None:
    engine = says("<think>I need it.</think>\n" + CALL, thinking=THINK)
    message = ask("/v1/chat/completions", {**BODY, "tool_choice": "required"}).json["choices"][0]["message"]
    assert message["reasoning_content"] == "I need it."
    assert message["tool_calls"][0]["function"]["name"] == "weather"
    guide = engine.asked[0].guide
    assert guide is not None
    assert "</think>" in guide.text


def test_control_tokens_that_mark_calls_are_seen(
    ask: Ask, says: Says, frontend: Frontend, scripted: ModuleType, service: Service
) -> None:
    """As Mistral's: the mark is a control token, which never shows as text."""
    mark = frontend.tokenizer.id_of("<|system|>")
    assert mark is not None
    family = dataclasses.replace(
        FAMILIES["hermes"],
        form=dataclasses.replace(FAMILIES["hermes"].form, marks=("<|system|>",), ends=()),
        held=dataclasses.replace(FAMILIES["hermes"].held, opening="<|system|>", before="", after=""),
    )
    ids = frontend.tokenizer.encode_now('{"name": "add", "arguments": {"a": 1}}', add_special_tokens=False)
    end = frontend.context.end_ids[0]
    engine = scripted.ScriptedEngine(lambda generation: scripted.one_by_one([mark, *ids, end]))
    service.attach(engine, dataclasses.replace(frontend, tool_family=family, shown={mark: "<|system|>"}))
    message = ask("/v1/chat/completions", BODY).json["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    ask("/v1/chat/completions", {**BODY, "tool_choice": "required"})
    assert engine.asked[-1].input_ids[-1] == mark
    assert "system" not in engine.asked[-1].guide.text


def test_thinking_that_goes_on_too_long_is_ended(
    ask: Ask, frontend: Frontend, scripted: ModuleType, service: Service
) -> None:
    encode = frontend.tokenizer.encode_now
    thinking = encode("<think>" + "I wonder. " * 30, add_special_tokens=False)
    answer = [*encode("Four.", add_special_tokens=False), frontend.context.end_ids[0]]

    def script(generation: Any) -> Any:
        prompt = frontend.tokenizer.decode_all(generation.input_ids)
        return scripted.one_by_one(answer if "</think>" in prompt else thinking)

    engine = scripted.ScriptedEngine(script)
    service.attach(engine, dataclasses.replace(frontend, thinking=THINK))
    body = {"model": "demo", "messages": BODY["messages"], "nvext": {"max_thinking_tokens": 20}, "max_tokens": 100}
    message = ask("/v1/chat/completions", body).json["choices"][0]["message"]
    deltas = [chunk.choices[0].delta for chunk in _chunks(ask("/v1/chat/completions", {**body, "stream": True}))]
    streamed = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert message["content"] == "".join(delta.content or "" for delta in deltas) == "Four."
    assert message["reasoning_content"] == streamed
    assert streamed.startswith("I wonder.")
    first, second = engine.asked[:2]
    assert first.max_tokens == 20
    assert second.max_tokens == 100 - 20 - len(encode("\n</think>\n\n", add_special_tokens=False))
    assert list(second.input_ids[: len(first.input_ids)]) == list(first.input_ids)


def test_thinking_that_ends_in_time_is_left_alone(ask: Ask, says: Says) -> None:
    says("<think>Hm.</think>Four.", thinking=THINK)
    body = {"model": "demo", "messages": BODY["messages"], "max_thinking_tokens": 200, "max_tokens": 300}
    message = ask("/v1/chat/completions", body).json["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Four.")

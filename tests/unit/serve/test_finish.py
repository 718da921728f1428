"""However many choices are streamed at once, each ends once, and nothing of it comes after its end."""

from __future__ import annotations

import json
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Says
    from tests.unit.serve.scripted import ScriptedEngine


TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
PLAIN: dict[str, Any] = {"model": "demo", "stream": True}
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = 'On it.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
THOUGHT = "<think>Let me see.</think>Yes, it is."


def choices_of(events: list[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for event in events:
        for choice in event["choices"]:
            found.setdefault(choice["index"], []).append(choice)
    return found


def check(events: list[Any], count: int, reason: str) -> None:
    choices = choices_of(events)
    assert sorted(choices) == list(range(count))
    for chunks in choices.values():
        assert [chunk["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + [reason]
        assert not chunks[-1].get("text")
        assert not chunks[-1].get("delta")


STEPS = [lambda ids: [[id_] for id_ in ids], lambda ids: [ids[at : at + 3] for at in range(0, len(ids), 3)]]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("extra", [{}, {"logprobs": True}, {"stop": ["nothing", "x y z"]}, {"ignore_eos": True}])
@pytest.mark.parametrize(("length", "reason"), [(1, "length"), (2, "length"), (3, "length"), (200, "stop")])
def test_chat_ends_each_choice_once(
    ask: Ask, engine: ScriptedEngine, answer_ids: Any, steps: Any, extra: dict[str, Any], length: int, reason: str
) -> None:
    engine.script = lambda generation: steps(answer_ids)
    ends_early = reason == "stop" and "ignore_eos" in extra
    events = ask("/v1/chat/completions", {**CHAT, **extra, "n": 5, "max_tokens": length}).events
    check(events, 5, "length" if ends_early else reason)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("extra", [{}, {"logprobs": 1}, {"echo": True}, {"stop": "boat"}])
@pytest.mark.parametrize(("length", "reason"), [(1, "length"), (3, "length"), (200, "stop")])
def test_completions_of_several_prompts_end_each_choice_once(
    ask: Ask, engine: ScriptedEngine, answer_ids: Any, steps: Any, extra: dict[str, Any], length: int, reason: str
) -> None:
    engine.script = lambda generation: steps(answer_ids)
    events = ask("/v1/completions", {**PLAIN, **extra, "prompt": ["a", "b"], "n": 2, "max_tokens": length}).events
    check(events, 4, reason)


@pytest.mark.parametrize("length", [1, 3, 9, 400])
@pytest.mark.parametrize(("text", "ways", "extra"), [(CALL, {}, {"tools": TOOLS}), (THOUGHT, {"thinking": THINK}, {})])
def test_what_is_parsed_ends_once(
    ask: Ask, says: Says, frontend: Frontend, text: str, ways: Any, extra: Any, length: int
) -> None:
    says(text, **ways)
    events = ask("/v1/chat/completions", {**CHAT, **extra, "n": 4, "max_tokens": length}).events
    check(events, 4, "length" if length < 400 else "tool_calls" if "tools" in extra else "stop")


def test_choices_that_end_at_different_times_have_their_own_reasons(
    ask: Ask, service: Service, frontend: Frontend, scripted: ModuleType, answer_ids: Any
) -> None:
    def script(generation: Any) -> Any:
        number = int(generation.request_id.rpartition("-")[2])
        return scripted.one_by_one(answer_ids if number % 2 else [*answer_ids[:number], answer_ids[-1]])

    service.attach(scripted.ScriptedEngine(script), frontend)
    choices = choices_of(ask("/v1/chat/completions", {**CHAT, "n": 8, "max_tokens": 5}).events)
    ends = {index: chunks[-1]["finish_reason"] for index, chunks in choices.items()}
    assert ends == {index: "length" if index % 2 or index >= 5 else "stop" for index in range(8)}
    for chunks in choices.values():
        assert sum(chunk["finish_reason"] is not None for chunk in chunks) == 1


def test_only_the_item_that_was_cut_is_incomplete(
    ask: Ask, says: Says, scripted: ModuleType, frontend: Frontend
) -> None:
    """The last step of the engine may hold the end of one item and the beginning of the next."""
    engine = says("", thinking=THINK)
    ids = frontend.tokenizer.encode_now(THOUGHT, add_special_tokens=False)
    engine.script = lambda generation: [ids]
    body = {"model": "demo", "input": "Hi", "max_output_tokens": len(ids) - 2}
    for answer in (
        ask("/v1/responses", body).json,
        _last(ask("/v1/responses", {**body, "stream": True}).text),
    ):
        assert answer["status"] == "incomplete"
        assert [(item["type"], item["status"]) for item in answer["output"]] == [
            ("reasoning", "completed"),
            ("message", "incomplete"),
        ]


def _last(stream: str) -> Any:
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return json.loads(data[-1])["response"]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("length", [1, 2, 40])
def test_other_apis_end_once(ask: Ask, path: str, length: int) -> None:
    asked = {"input": "Hi", "max_output_tokens": length}
    if path == "/v1/messages":
        asked = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": length}
    lines = ask(path, {"model": "demo", "stream": True, **asked}).text.splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    ends = ("response.completed", "response.incomplete", "message_stop")
    assert [kind in ends for kind in kinds] == [False] * (len(kinds) - 1) + [True]
    assert sum(kind in ("message_delta", "response.output_item.done") for kind in kinds) == 1


def test_log_probabilities_are_those_of_the_piece_they_come_with(
    ask: Ask, service: Service, frontend: Frontend
) -> None:
    whole = ask("/v1/chat/completions", {**CHAT, "stream": False, "n": 3, "logprobs": True}).json["choices"]
    choices = choices_of(ask("/v1/chat/completions", {**CHAT, "n": 3, "logprobs": True}).events)
    for index, chunks in choices.items():
        told = [entry for chunk in chunks for entry in (chunk["logprobs"] or {}).get("content", ())]
        assert told == whole[index]["logprobs"]["content"]
        for chunk in chunks:
            if chunk["delta"].get("content") and chunk["logprobs"]:
                texts = "".join(entry["token"] for entry in chunk["logprobs"]["content"])
                assert chunk["delta"]["content"] in texts

"""What the two inference endpoints answer."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."
CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time"}


def text_of(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


def test_chat_whole(ask: Ask, answer_ids: list[int]) -> None:
    answer = ask("/v1/chat/completions", CHAT)
    assert answer.status == 200
    body = answer.json
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == "demo"
    assert body["system_fingerprint"].startswith("fp_")
    [choice] = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": TEXT, "refusal": None}
    assert choice["finish_reason"] == "stop"
    prompt = body["usage"]["prompt_tokens"]
    tokens = len(answer_ids)
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
    }


def test_the_templates_bos_is_the_only_one(ask: Ask, engine: ScriptedEngine) -> None:
    ask("/v1/chat/completions", CHAT)
    [generation] = engine.asked
    assert generation.input_ids.count(1) == 1
    assert generation.input_ids[0] == 1


def test_completion_whole(ask: Ask) -> None:
    body = ask("/v1/completions", PLAIN).json
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "stop"}]


def test_chat_stream(ask: Ask) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *_, last = answer.events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert text_of(answer.events) == TEXT
    assert {event["object"] for event in answer.events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in answer.events}) == 1
    assert "usage" not in first


def test_completion_stream_with_usage(ask: Ask, answer_ids: list[int]) -> None:
    answer = ask("/v1/completions", {**PLAIN, "stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = answer.events
    assert text_of(chunks) == TEXT
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(answer_ids)


@pytest.mark.parametrize("stream", [False, True])
def test_length_ends_with_length(ask: Ask, stream: bool) -> None:
    answer = ask("/v1/completions", {**PLAIN, "max_tokens": 3, "stream": stream})
    choice = answer.events[-1]["choices"][0] if stream else answer.json["choices"][0]
    assert choice["finish_reason"] == "length"


def test_the_default_length_is_what_the_context_still_holds(ask: Ask, engine: ScriptedEngine) -> None:
    ask("/v1/completions", PLAIN)
    [generation] = engine.asked
    assert generation.max_tokens == 512 - len(generation.input_ids)


@pytest.mark.parametrize("stop", ["boat", ["nothing", "boat there"]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text_and_cancels_the_generation(
    ask: Ask, engine: ScriptedEngine, stop: Any, stream: bool
) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, "stop": stop, "stream": stream})
    text = text_of(answer.events) if stream else answer.json["choices"][0]["message"]["content"]
    assert text == "The old man went down to the sea. He saw a "
    assert len(engine.cancelled) == 1


def test_a_stop_string_within_min_tokens_does_not_stop(ask: Ask) -> None:
    body = ask("/v1/completions", {**PLAIN, "stop": " ", "min_tokens": 4}).json
    assert len(body["choices"][0]["text"]) > len("The")
    assert body["usage"]["completion_tokens"] >= 4


def test_choices_of_one_request_have_seeds_of_their_own(ask: Ask, engine: ScriptedEngine) -> None:
    body = ask("/v1/chat/completions", {**CHAT, "n": 3, "seed": 7}).json
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [generation.seed for generation in engine.asked] == [7, 8, 9]
    assert all(choice["message"]["content"] == TEXT for choice in body["choices"])


def test_streamed_choices_take_turns(ask: Ask) -> None:
    events = ask("/v1/chat/completions", {**CHAT, "n": 3, "stream": True}).events
    order = [event["choices"][0]["index"] for event in events]
    assert set(order[:9]) == {0, 1, 2}
    assert all(text_of(events, index) == TEXT for index in range(3))
    assert sum(event["choices"][0]["finish_reason"] == "stop" for event in events) == 3


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("text", 1), ([5, 6, 7], 1), (["a", "b"], 2), ([[5, 6], [7]], 2), (["a", [5, 6]], 2)],
)
def test_every_form_of_prompt(ask: Ask, engine: ScriptedEngine, prompt: Any, choices: int) -> None:
    body = ask("/v1/completions", {"model": "demo", "prompt": prompt, "n": 2}).json
    assert [choice["index"] for choice in body["choices"]] == list(range(choices * 2))
    assert engine.asked[0].input_ids == engine.asked[1].input_ids
    assert body["usage"]["prompt_tokens"] == sum(len(asked.input_ids) for asked in engine.asked) // 2


def test_parameters_reach_the_engine(ask: Ask, engine: ScriptedEngine) -> None:
    sampling = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 3,
        "presence_penalty": 0.2,
        "frequency_penalty": -0.3,
        "repetition_penalty": 1.1,
        "min_tokens": 2,
    }
    assert ask("/v1/completions", {**PLAIN, **sampling, "ignore_eos": True}).status == 200
    [generation] = engine.asked
    assert {name: getattr(generation, name) for name in sampling} == sampling
    assert generation.end_ids == ()


def test_defaults_are_the_models_and_else_openais(ask: Ask, engine: ScriptedEngine) -> None:
    ask("/v1/completions", {**PLAIN, "top_k": -1, "top_p": 1})
    [generation] = engine.asked
    assert generation.temperature == 0.7
    assert (generation.top_p, generation.top_k, generation.min_p) == (None, None, None)
    assert generation.seed is not None
    assert set(generation.end_ids) == {6, 2}


def test_ignored_end_tokens_are_no_text(
    ask: Ask, engine: ScriptedEngine, answer_ids: list[int], scripted: ModuleType
) -> None:
    engine.script = lambda generation: scripted.one_by_one(answer_ids * 2)
    body = ask("/v1/completions", {**PLAIN, "ignore_eos": True, "max_tokens": len(answer_ids) * 2}).json
    assert body["choices"][0]["text"] == TEXT * 2
    assert body["choices"][0]["finish_reason"] == "length"


def test_chat_log_probs(ask: Ask, answer_ids: list[int]) -> None:
    whole = ask("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 0}).json["choices"][0]
    content = whole["logprobs"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in content).decode() == TEXT
    assert len(content) == len(answer_ids) - 1
    assert content[0]["logprob"] == -0.5
    assert content[0]["top_logprobs"] == []
    events = ask("/v1/chat/completions", {**CHAT, "logprobs": True, "stream": True}).events
    streamed = [event["choices"][0]["logprobs"] for event in events]
    assert [entry for one in streamed if one for entry in one["content"]] == content


def test_completion_log_probs_end_before_the_stop_string(ask: Ask) -> None:
    body = ask("/v1/completions", {**PLAIN, "logprobs": 1, "stop": "boat there"}).json["choices"][0]
    log_probs = body["logprobs"]
    assert "".join(log_probs["tokens"]) == body["text"] + "boat"  # a token that begins before the stop string shows
    assert log_probs["text_offset"][0] == 0
    assert log_probs["text_offset"][-1] == len(body["text"]) - 1
    assert log_probs["token_logprobs"] == [-0.5] * len(log_probs["tokens"])
    assert log_probs["top_logprobs"][0] == {log_probs["tokens"][0]: -0.5}


def test_the_named_model_is_echoed_and_counted(ask: Ask, answer_ids: list[int]) -> None:
    ask("/v1/completions", {**PLAIN, "model": "demo"})
    metrics = ask("/metrics").text
    assert f'generation_tokens_total{{model_name="demo"}} {float(len(answer_ids))}' in metrics
    assert 'request_success_total{model_name="demo"} 1.0' in metrics
    assert 'time_to_first_token_seconds_count{model_name="demo"} 1.0' in metrics
    assert f'time_per_output_token_seconds_count{{model_name="demo"}} {float(len(answer_ids) - 1)}' in metrics
    assert 'request_finish_total{finished_reason="stop",model_name="demo"} 1.0' in metrics
    assert 'stoker_http_requests_total{endpoint="/v1/completions",status="200"} 1.0' in metrics
    assert 'kv_cache_usage_perc{model_name="demo"} 0.25' in metrics
    assert "stoker_build_seconds 1.5" in metrics
    assert 'stoker_phase{phase="ready"} 1.0' in metrics

"""Log probabilities of prompts: `echo` with `logprobs`, `prompt_logprobs`, `max_tokens` 0."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from stoker.launch.generation import Generation, Scores
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 2, "temperature": 0}
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


def scores(generation: Generation) -> Scores:
    """Each token's own is -(its place), and the likeliest are 7, 8, 9... with -0.25 each."""
    ids, count = generation.input_ids, generation.prompt_log_probs or 0
    likeliest = list(range(7, 7 + count))
    return Scores(
        width=1 + count,
        ids=[id_ for own in ids[1:] for id_ in (own, *likeliest)],
        log_probs=[value for place in range(1, len(ids)) for value in (-float(place), *[-0.25] * count)],
        ranks=[100 + place for place in range(1, len(ids))],
    )


@pytest.fixture
def told(service: Service, frontend: Frontend, engine: ScriptedEngine) -> ScriptedEngine:
    """An engine that lacks nothing."""
    engine.scores = scores
    service.attach(engine, replace(frontend, context=replace(frontend.context, lacks=frozenset())))
    return engine


def test_an_echoed_prompt_comes_with_its_log_probabilities(ask: Ask, told: ScriptedEngine, frontend: Frontend) -> None:
    choice = ask("/v1/completions", {**PLAIN, "echo": True, "logprobs": 2}).json["choices"][0]
    tokenizer = frontend.tokenizer
    prompt = tokenizer.encode_now(PLAIN["prompt"], add_special_tokens=True)
    log_probs = choice["logprobs"]
    assert choice["text"].startswith(PLAIN["prompt"])
    assert len(log_probs["tokens"]) == len(prompt) + 2
    assert log_probs["token_logprobs"] == [None, *(-float(place) for place in range(1, len(prompt))), -0.5, -0.5]
    assert log_probs["top_logprobs"][0] is None
    likeliest = {tokenizer.token_bytes(id_).decode(errors="replace"): -0.25 for id_ in (7, 8)}
    assert log_probs["top_logprobs"][1] == {**likeliest, log_probs["tokens"][1]: -1.0}
    for token, at in [*zip(log_probs["tokens"], log_probs["text_offset"], strict=True)][1:]:  # the first is no text
        assert choice["text"].startswith(token, at)
    assert (told.asked[-1].prompt_log_probs, told.asked[-1].top_log_probs) == (2, 2)


@pytest.mark.parametrize("extra", [{"logprobs": 1}, {"logprobs": 0}, {}, {"logprobs": 1, "n": 2}, {"best_of": 1}])
def test_streamed_or_whole_an_echo_is_the_same(ask: Ask, told: ScriptedEngine, extra: dict[str, Any]) -> None:
    body = {**PLAIN, "echo": True, "prompt": ["Once upon", "a"], **extra}
    whole = ask("/v1/completions", body).json["choices"]
    events = ask("/v1/completions", {**body, "stream": True}).events
    for choice in whole:
        chunks = [each["choices"][0] for each in events if each["choices"][0]["index"] == choice["index"]]
        assert "".join(each["text"] for each in chunks) == choice["text"]
        parts = [each["logprobs"] for each in chunks if each["logprobs"]]
        for name in ("tokens", "token_logprobs", "text_offset"):
            streamed = [value for part in parts for value in part[name]]
            assert streamed == (choice["logprobs"][name] if choice["logprobs"] else [])


@pytest.mark.parametrize("prompt", ["Once upon a time", [17, 300, 21]])
def test_no_tokens_are_generated_where_none_are_asked_for(
    ask: Ask, told: ScriptedEngine, frontend: Frontend, prompt: Any
) -> None:
    body = {**PLAIN, "prompt": prompt, "max_tokens": 0, "echo": True}
    choice = ask("/v1/completions", {**body, "logprobs": 1}).json["choices"][0]
    text = prompt if isinstance(prompt, str) else frontend.tokenizer.decode(prompt)
    assert (choice["text"], choice["finish_reason"]) == (text, "length")
    assert len(choice["logprobs"]["tokens"]) == told.asked[-1].input_ids.__len__()
    told.asked.clear()
    answer = ask("/v1/completions", body).json
    assert (answer["choices"][0]["text"], answer["usage"]["completion_tokens"]) == (text, 0)
    assert ask("/v1/completions", {**PLAIN, "max_tokens": 0}).json["choices"][0]["text"] == ""
    assert not told.asked  # nothing to ask the engine for


def test_a_prompt_of_one_token_has_no_score(ask: Ask, told: ScriptedEngine) -> None:
    told.scores = None
    choice = ask("/v1/completions", {**PLAIN, "prompt": [17], "echo": True, "logprobs": 1}).json["choices"][0]
    assert choice["logprobs"]["token_logprobs"] == [None, -0.5, -0.5]


def test_a_stop_string_is_not_looked_for_in_the_echo(ask: Ask, told: ScriptedEngine) -> None:
    choice = ask("/v1/completions", {**PLAIN, "echo": True, "logprobs": 1, "stop": "upon"}).json["choices"][0]
    assert choice["text"].startswith("Once upon a time")
    assert choice["finish_reason"] == "length"


def test_a_prompt_that_was_cut_is_echoed_as_it_was_read(ask: Ask, told: ScriptedEngine, frontend: Frontend) -> None:
    body = {**PLAIN, "echo": True, "logprobs": 0, "max_tokens": 0, "truncate_prompt_tokens": 2}
    choice = ask("/v1/completions", body).json["choices"][0]
    kept = frontend.tokenizer.encode_now(PLAIN["prompt"], add_special_tokens=True)[-2:]
    assert choice["text"] == frontend.tokenizer.decode(kept)
    assert len(choice["logprobs"]["tokens"]) == 2


def test_the_end_token_is_told_as_lm_eval_counts_on(
    ask: Ask, told: ScriptedEngine, frontend: Frontend, scripted: ModuleType
) -> None:
    """It takes the last token for the generated one, even where that ends the text."""
    told.script = lambda generation: scripted.one_by_one(frontend.context.end_ids[:1])
    body = {**PLAIN, "prompt": [17, 300], "max_tokens": 1, "echo": True, "logprobs": 1}
    choice = ask("/v1/completions", body).json["choices"][0]
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -0.5]
    assert (choice["finish_reason"], choice["text"]) == ("stop", frontend.tokenizer.decode([17, 300]))


def test_vllms_field_is_in_the_choices_and_in_chat_in_the_answer(ask: Ask, told: ScriptedEngine) -> None:
    choice = ask("/v1/completions", {**PLAIN, "prompt": [17, 300, 8], "prompt_logprobs": 2}).json["choices"][0]
    told_of = choice["prompt_logprobs"]
    assert told_of[0] is None
    assert list(told_of[1]) == ["300", "7", "8"]
    assert (told_of[1]["300"]["logprob"], told_of[1]["300"]["rank"]) == (-1.0, 101)
    assert (told_of[1]["7"]["logprob"], told_of[1]["7"]["rank"]) == (-0.25, 1)
    assert list(told_of[2]) == ["8", "7"]
    assert choice["logprobs"] is None
    answer = ask("/v1/chat/completions", {**CHAT, "prompt_logprobs": 0}).json
    assert len(answer["prompt_logprobs"]) == answer["usage"]["prompt_tokens"]
    assert "prompt_logprobs" not in answer["choices"][0]


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"prompt_logprobs": 21}, "prompt_logprobs"),
        ({"echo": True, "logprobs": 21}, "logprobs"),
        ({"echo": True, "logprobs": 1, "suffix": "x"}, "suffix"),
        ({"echo": True, "logprobs": 20, "prompt": [[5] * 100] * 128}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0, "min_tokens": 1}, "min_tokens"),
    ],
)
def test_what_cannot_be_scored_is_refused(ask: Ask, told: ScriptedEngine, extra: dict[str, Any], param: str) -> None:
    answer = ask("/v1/completions", {**PLAIN, **extra})
    assert (answer.status, answer.error["param"]) == (400, param)


def test_a_bias_of_null_is_none(ask: Ask, told: ScriptedEngine, engine: ScriptedEngine) -> None:
    for bias, given in (({"5": None}, None), ({"5": None, "6": 2.5}, 2.5)):
        assert ask("/v1/chat/completions", {**CHAT, "logit_bias": bias}).status == 200
        added = engine.asked[-1].embedding_bias
        if given is None:
            assert added is None
        else:
            assert added is not None
            assert (added[5], added[6]) == (0.0, given)


def test_the_models_card_says_what_its_engine_does_not_support(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine
) -> None:
    lacking = replace(frontend.context, lacks=frozenset({"prompt_logprobs", "guide"}))
    service.lifecycle.attach(engine, replace(frontend, context=lacking))
    assert ask("/v1/models/demo").json["unsupported_parameters"] == ["prompt_logprobs", "response_format"]

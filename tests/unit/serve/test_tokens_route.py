"""vLLM's token route: ids in, ids out, streamed or whole, with an engine that says what it is told to."""

from __future__ import annotations

from typing import Any

import pytest

PATH = "/inference/v1/generate"
BODY: dict[str, Any] = {"token_ids": [1, 2, 3], "sampling_params": {"max_tokens": 4, "temperature": 0}}


def test_ids_come_back_and_are_counted(ask, engine):
    answer = ask(PATH, {**BODY, "request_id": "mine", "return_token_ids": True}).json
    assert engine.asked[-1].input_ids == [1, 2, 3]
    (choice,) = answer["choices"]
    assert (answer["request_id"], answer["model"], answer["output_mode"]) == ("mine", "demo", "tokens")
    assert answer["prompt_token_ids"] == [1, 2, 3]
    assert choice["token_ids"]
    assert choice["finish_reason"] in ("stop", "length")
    assert answer["usage"]["completion_tokens"] == len(choice["token_ids"])


def test_a_stream_has_the_same_ids_and_ends_with_the_usage(ask):
    whole = ask(PATH, BODY).json["choices"][0]
    reply = ask(PATH, {**BODY, "stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = reply.events
    pieces = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [id_ for piece in pieces for id_ in piece["token_ids"]] == whole["token_ids"]
    assert pieces[-1]["finish_reason"] == whole["finish_reason"]
    assert last["usage"]["completion_tokens"] == len(whole["token_ids"])


def test_log_probabilities_have_the_ids_that_they_are_of(ask):
    choice = ask(PATH, {**BODY, "sampling_params": {"max_tokens": 4, "logprobs": 1}}).json["choices"][0]
    assert [entry["token_id"] for entry in choice["logprobs"]["content"]] == choice["token_ids"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"token_ids": []}, "token_ids"),
        ({"token_ids": [10**9]}, "token_ids[0]"),
        ({"sampling_params": {"temperature": 9}}, "sampling_params.temperature"),
        ({"sampling_params": {"stop": ["x"]}}, "sampling_params.stop"),
        ({"sampling_params": {"prompt_logprobs": 1}}, "sampling_params.prompt_logprobs"),
        ({"output_mode": "text"}, "output_mode"),
        ({"kv_transfer_params": {"a": 1}}, "kv_transfer_params"),
        ({"model": "another"}, "model"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(change, param, ask):
    reply = ask(PATH, {**BODY, **change})
    assert reply.status in (400, 404)
    assert reply.error["param"] == param

"""The openai SDK against the real server."""

from __future__ import annotations

import json
import urllib.request

import openai
import pytest


@pytest.fixture
def client(demo):
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


MESSAGES = [{"role": "user", "content": "Who are you?"}]


def test_chat_answers_in_words(client) -> None:
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0, max_tokens=60)
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert len(choice.message.content.split()) >= 3
    assert choice.finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(client) -> None:
    whole = client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0, max_tokens=60)
    stream = client.chat.completions.create(
        model="demo",
        messages=MESSAGES,
        temperature=0,
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_a_seed_gives_the_same_answer_again(client) -> None:
    def answer(seed: int) -> str:
        completion = client.completions.create(
            model="demo", prompt="Once upon a time", seed=seed, temperature=1.0, max_tokens=40
        )
        return completion.choices[0].text

    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_several_prompts_and_choices_keep_their_places(client) -> None:
    # Two tokens only: in bf16 the batch that a sequence happens to share a step with can tip a close choice later on.
    completion = client.completions.create(
        model="demo", prompt=["Once upon a time", "The sun"], n=2, temperature=0, max_tokens=2
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    texts = [choice.text for choice in completion.choices]
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]


def test_a_stop_string_ends_the_answer_and_is_not_in_it(client) -> None:
    whole = client.completions.create(model="demo", prompt="Once upon a time", temperature=0, max_tokens=60)
    stop = whole.choices[0].text[12:17]
    cut = client.completions.create(model="demo", prompt="Once upon a time", temperature=0, max_tokens=60, stop=stop)
    assert cut.choices[0].text == whole.choices[0].text.split(stop)[0]
    assert cut.choices[0].finish_reason == "stop"


def test_max_tokens_cuts_and_says_length(client) -> None:
    answer = client.completions.create(model="demo", prompt="Once", max_tokens=5, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_log_probs_of_the_chosen_tokens_come_with_them(client) -> None:
    answer = client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0, max_tokens=8, logprobs=True)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(each.logprob <= 0 for each in content)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("temperature", 9.0), ("logit_bias", {"5": 101}), ("top_p", 1.5), ("n", 0)],
)
def test_what_cannot_be_done_is_a_400_that_names_the_parameter(client, parameter: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="demo", messages=MESSAGES, **{parameter: value})
    assert refused.value.param == parameter or parameter in str(refused.value)


def test_more_than_the_context_holds_is_refused_as_openai_does(client) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 2048 tokens") as refused:
        client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=10_000_000)
    assert refused.value.code == "context_length_exceeded"


def test_another_models_name_is_a_404(client) -> None:
    with pytest.raises(openai.NotFoundError, match="demo"):
        client.chat.completions.create(model="gpt-4", messages=MESSAGES)


def test_the_model_is_listed(client) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]


def test_metrics_count_what_was_served(demo, client) -> None:
    client.completions.create(model="demo", prompt="One", max_tokens=3, extra_body={"ignore_eos": True})
    with urllib.request.urlopen(f"{demo.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "time_to_first_token_seconds_count" in text
    assert "kv" in text


def test_health_tells_every_phase_it_went_through(demo) -> None:
    with urllib.request.urlopen(f"{demo.url}/v1/health/startup", timeout=10) as answer:
        report = json.load(answer)
    phases = [phase["name"] for phase in report["phases"]]
    assert [
        phase for phase in ("probing", "resolving", "planning", "loading", "warming", "ready") if phase in phases
    ] == [
        "probing",
        "resolving",
        "planning",
        "loading",
        "warming",
        "ready",
    ]

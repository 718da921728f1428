"""LiteLLM, by the names that it has for servers like this one."""

from __future__ import annotations

import pytest

WORDS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
PROVIDERS = [("openai", "/v1"), ("hosted_vllm", "/v1"), ("nvidia_nim", "/v1"), ("anthropic", "")]


def asked(provider: str, url: str, path: str, **more):
    return {
        "model": f"{provider}/demo",
        "api_base": url + path,
        "api_key": "none",
        "max_tokens": 60,
        "num_retries": 0,
        **more,
    }


@pytest.mark.parametrize(("provider", "path"), PROVIDERS)
def test_answers_come_whole_and_in_pieces(url: str, provider: str, path: str) -> None:
    import litellm

    whole = litellm.completion(**asked(provider, url, path), messages=WORDS, temperature=0)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    pieces = litellm.completion(**asked(provider, url, path), messages=WORDS, temperature=0, stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in pieces) == whole.choices[0].message.content


@pytest.mark.parametrize(("provider", "path"), PROVIDERS[:3])
def test_a_call_that_was_cut_short_can_be_sent_back(url: str, provider: str, path: str) -> None:
    import litellm

    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bo'}}
    turns = [*WORDS, {"role": "assistant", "content": None, "tool_calls": [call]}]
    turns += [{"role": "tool", "tool_call_id": "c1", "content": "not JSON"}]
    answer = litellm.completion(**asked(provider, url, path), messages=turns, tools=tools)
    assert answer.usage.completion_tokens > 0


def test_plain_completions(url: str) -> None:
    import litellm

    answer = litellm.text_completion(**asked("text-completion-openai", url, "/v1"), prompt="Once upon a time")
    assert answer.choices[0].text

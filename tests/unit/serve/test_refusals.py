"""Whatever cannot be served is refused in OpenAI's form, by name."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.http.limits import Limits
from stoker.serve.operate.service import Service
from stoker.serve.request.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 2}
_TOOL = {"type": "function", "function": {"name": "f"}}

BAD_VALUES = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", -0.1),
    ("top_p", 1.01),
    ("top_k", -2),
    ("top_k", 1.5),
    ("min_p", 2),
    ("n", 0),
    ("n", 129),
    ("n", "1"),
    ("max_tokens", -1),
    ("max_tokens", 2.0),
    ("min_tokens", -1),
    ("seed", 2**63),
    ("seed", 1.5),
    ("presence_penalty", 2.5),
    ("frequency_penalty", -3),
    ("repetition_penalty", 0),
    ("stop", ["x"] * 17),
    ("stop", ""),
    ("stream", "yes"),
    ("ignore_eos", 1),
    ("user", 5),
    ("metadata", [1]),
    ("logit_bias", {"50256": -100}),
    ("service_tier", 5),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
def test_a_bad_value_names_its_parameter(ask: Ask, endpoint: str, name: str, value: Any) -> None:
    answer = ask(f"/v1/{endpoint}", {**(CHAT if "chat" in endpoint else PLAIN), name: value})
    assert answer.status == 400
    assert answer.error["param"] == name
    assert answer.error["type"] == "invalid_request_error"
    assert name in answer.error["message"]


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [_TOOL, _TOOL]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [_TOOL] * 129}, "tools"),
        ({"tools": [_TOOL], "tool_choice": "some"}, "tool_choice"),
        ({"tools": [_TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [_TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [_TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": [_TOOL], "tool_choice": "required", "guided_regex": "a"}, "guided_regex"),
        (
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}],
                "tool_choice": "required",
            },
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format.json_schema.schema",
        ),
        ({"guided_json": {"type": "strin"}}, "guided_json"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_regex": "(?=a)"}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_grammar": "start: x"}, "guided_grammar"),
        ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern"),
        ({"nvext": {"guided_regex": "("}}, "nvext.guided_regex"),
        ({"structured_outputs": {"json": {"type": 5}}}, "structured_outputs.json"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos"),
        ({"max_thinking_tokens": 5}, "max_thinking_tokens"),
        ({"nvext": {"max_thinking_tokens": 5}}, "max_thinking_tokens"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 0}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"moderation": {"model": "x"}}, "moderation"),
        ({"prompt_logprobs": 0, "stream": True}, "prompt_logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"length_penalty": 1.5}, "length_penalty"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"bad_words": ["x"]}, "bad_words"),
        ({"allowed_token_ids": [5]}, "allowed_token_ids"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"include_reasoning": False}, "include_reasoning"),
        ({"echo": True}, "echo"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"stop_token_ids": [5, 10**6]}, "stop_token_ids[1]"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"chat_template": "{{ messages }}"}, "chat_template"),
        ({"chat_template": "tool_use"}, "chat_template"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "chat_template_kwargs.add_generation_prompt"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_completion_tokens": 3}, "max_tokens"),
        ({"min_tokens": 3}, "min_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
    ],
)
def test_chat_refuses(ask: Ask, extra: dict[str, Any], param: str) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, **extra})
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"echo": True, "logprobs": 21}, "logprobs"),
        ({"suffix": "end"}, "suffix"),
        ({"suffix": "end", "prompt": [5]}, "prompt"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"nvext": {"max_thinking_tokens": 5}}, "nvext.max_thinking_tokens"),
        ({"nvext": {"top_k": 5}, "top_k": 5}, "nvext.top_k"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": ""}, None),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": [[5, 99999999]]}, "prompt[0][1]"),
        ({"prompt": [5] * 1000}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 300, "n": 2}, "prompt"),
    ],
)
def test_completions_refuse(ask: Ask, extra: dict[str, Any], param: str | None) -> None:
    answer = ask("/v1/completions", {**PLAIN, **extra})
    if param is None:  # an empty text still begins with this model's first token
        assert answer.status == 200
    else:
        assert (answer.status, answer.error["param"]) == (400, param)


def test_what_asks_for_nothing_is_accepted(ask: Ask) -> None:
    for name, values in NO_EFFECT.items():
        for value in (None, *values):
            path, body = ("chat/completions", CHAT) if hasattr(ChatRequest, name) else ("completions", PLAIN)
            assert ask(f"/v1/{path}", {**body, name: value}).status == 200, (name, value)
    harmless: dict[str, Any] = dict.fromkeys(HARMLESS, "x") | {"metadata": {"a": "b"}}
    plain = {name: value for name, value in harmless.items() if name in CompletionRequest.__struct_fields__}
    assert ask("/v1/chat/completions", {**CHAT, **harmless, "n": 1}).status == 200
    assert ask("/v1/completions", {**PLAIN, **plain, "best_of": 2, "n": 2}).status == 200
    assert hasattr(CompletionRequest, "best_of")


def test_a_context_that_is_exceeded_says_so_in_openais_words(ask: Ask) -> None:
    answer = ask("/v1/completions", {**PLAIN, "max_tokens": 600})
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert answer.error["message"].startswith(
        "This model's maximum context length is 512 tokens. However, you requested"
    )
    assert "600 in the completion" in answer.error["message"]
    long = {"role": "user", "content": "word " * 1000}
    error = ask("/v1/chat/completions", {**CHAT, "messages": [long]}).error
    assert error["code"] == "context_length_exceeded"
    assert "your messages resulted in" in error["message"]


def test_an_unknown_model_lists_those_served(ask: Ask) -> None:
    answer = ask("/v1/completions", {**PLAIN, "model": "gpt-4"})
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert "demo" in answer.error["message"]
    assert ask("/v1/models/gpt-4").error["code"] == "model_not_found"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000, b'"x"', b'{"a": "\\ud800"}']
)
def test_what_is_no_request_is_refused(ask: Ask, body: bytes) -> None:
    answer = ask("/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"


def test_paths_and_methods_that_do_not_exist_are_refused_in_the_same_form(ask: Ask) -> None:
    assert (ask("/v1/nothing").status, ask("/v1/nothing").error["code"]) == (404, "not_found")
    answer = ask("/v1/completions")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


def test_a_body_over_the_limit_is_413(ask: Ask, service: Service) -> None:
    service.limits = Limits(body_bytes=1000)
    answer = ask("/v1/completions", {**PLAIN, "prompt": "x" * 2000})
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    unannounced = ask("/v1/completions", {**PLAIN, "prompt": "x" * 2000}, headers={"content-length": "5"})
    assert unannounced.status == 413


def _hostile(random_: random.Random, depth: int = 0) -> Any:
    """A random JSON value."""
    scalars = [None, True, False, 0, -1, 1e308, 2**70, "", "demo", "\x00", "\N{PILE OF POO}", 0.5, "x" * 300]
    if depth > 2 or random_.random() < 0.5:
        return random_.choice(scalars)
    if random_.random() < 0.5:
        return [_hostile(random_, depth + 1) for _ in range(random_.randrange(4))]
    names = ["role", "content", "type", "text", "name", "function", "arguments", "include_usage", ""]
    return {random_.choice(names): _hostile(random_, depth + 1) for _ in range(random_.randrange(4))}


@pytest.mark.slow
def test_no_random_body_is_the_servers_fault(service: Service, ask_many: Any) -> None:
    random_ = random.Random(0)
    requests = []
    for _ in range(2000):
        kind, base = random_.choice([(ChatRequest, CHAT), (CompletionRequest, PLAIN)])
        names = random_.sample(kind.__struct_fields__, random_.randrange(1, 4))
        body = json.dumps({**base, **{name: _hostile(random_) for name in names}}).encode()
        if random_.random() < 0.2:
            cut = random_.randrange(len(body))
            body = body[:cut] + random_.randbytes(3) + body[cut + 3 :]
        requests.append(("/v1/chat/completions" if kind is ChatRequest else "/v1/completions", body))
    statuses = ask_many(requests)
    assert set(statuses) <= {200, 400, 404}
    assert statuses.count(400) > 1000
    assert service.lifecycle.in_flight == 0

"""Whatever the installed openai SDK can ask for is supported and documented, or refused by name."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import completion_create_params as plain
from openai.types import embedding_create_params as embeddings
from openai.types.chat import completion_create_params as chat

from stoker.kinds import text_kinds
from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.apis.pooled.requests import EmbeddingRequest
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.support import IDLE, NO, Column, document, parameters, support
from stoker.serve.request.chat_template import ChatTemplate
from stoker.serve.request.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Says


CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 2}
ASKED = {
    "chat": set(typing.get_type_hints(chat.CompletionCreateParamsStreaming)),
    "plain": set(typing.get_type_hints(plain.CompletionCreateParamsStreaming)),
}
# What asks for something, for parameters that are refused whatever they ask for.
ASKING: dict[str, Any] = {"logit_bias": {"5": 1}, "functions": [{"name": "f"}], "modalities": ["audio"]}


# What asks for something, for each parameter there is.
_TOOLS = [{"type": "function", "function": {"name": "f", "strict": True}}]
VALUES: dict[str, dict[str, Any]] = {
    "add_generation_prompt": {"add_generation_prompt": False},
    "add_special_tokens": {"add_special_tokens": True},
    "chat_template": {"chat_template": "default"},
    "continue_final_message": {
        "continue_final_message": True,
        "messages": [*CHAT["messages"], {"role": "assistant", "content": "It"}],
    },
    "documents": {"documents": [{"title": "a", "text": "b"}]},
    "include_stop_str_in_output": {"include_stop_str_in_output": True},
    "skip_special_tokens": {"skip_special_tokens": False},
    "stop_token_ids": {"stop_token_ids": [5]},
    "thinking_token_budget": {"thinking_token_budget": 5},
    "truncate_prompt_tokens": {"truncate_prompt_tokens": 3},
    "truncation_side": {"truncation_side": "left"},
    "best_of": {"best_of": 2},
    "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False}},
    "echo": {"echo": True},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "guided_choice": {"guided_choice": ["yes", "no"]},
    "guided_decoding_backend": {"guided_decoding_backend": "auto"},
    "guided_grammar": {"guided_grammar": 'root ::= "a"'},
    "guided_json": {"guided_json": {"type": "integer"}},
    "guided_regex": {"guided_regex": "a+"},
    "ignore_eos": {"ignore_eos": True},
    "logit_bias": {"logit_bias": {"5": 1}},
    "max_completion_tokens": {"max_completion_tokens": 2},
    "max_thinking_tokens": {"max_thinking_tokens": 5},
    "max_tokens": {"max_tokens": 2},
    "messages": {},
    "metadata": {"metadata": {"a": "b"}},
    "min_p": {"min_p": 0.5},
    "min_tokens": {"min_tokens": 1},
    "model": {},
    "n": {"n": 2},
    "nvext": {"nvext": {"top_k": 5}},
    "parallel_tool_calls": {"parallel_tool_calls": False},
    "presence_penalty": {"presence_penalty": 0.5},
    "prompt": {},
    "prompt_logprobs": {"prompt_logprobs": 1},
    "reasoning_effort": {"reasoning_effort": "low"},
    "repetition_penalty": {"repetition_penalty": 1.5},
    "response_format": {"response_format": {"type": "json_object"}},
    "seed": {"seed": 5},
    "service_tier": {"service_tier": "auto"},
    "stop": {"stop": "x"},
    "stream": {"stream": True},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "structured_outputs": {"structured_outputs": {"regex": "a+"}},
    "suffix": {"suffix": "the end"},
    "temperature": {"temperature": 0.5},
    "tool_choice": {"tool_choice": "none", "tools": _TOOLS},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "top_k": {"top_k": 5},
    "top_logprobs": {"logprobs": True, "top_logprobs": 0},
    "top_p": {"top_p": 0.5},
    **{name: {name: "x"} for name in HARMLESS if name != "metadata"},
    **{name: {name: value} for name, value in ASKING.items() if name != "logit_bias"},
}  # fmt: skip
ENDPOINTS = {"chat/completions": (ChatRequest, CHAT), "completions": (CompletionRequest, PLAIN)}
KINDS = list(text_kinds())
LACKS = {kind.name: kind.launch.capabilities("text").lacks for kind in KINDS}
COLUMNS = [Column(kind.name, LACKS[kind.name], kind.evidence) for kind in KINDS]
EFFORT = "{# reasoning_effort #}"


@pytest.mark.slow
@pytest.mark.parametrize("engine", LACKS)
def test_every_cell_of_the_table_is_what_a_request_meets(ask: Ask, says: Says, frontend: Frontend, engine: str) -> None:
    """Of a model that thinks and knows efforts, so that what depends on the model is there; without marks of a gap."""
    assert isinstance(frontend.chat_template, ChatTemplate)
    template = ChatTemplate(EFFORT + frontend.chat_template.source, {"bos_token": ""})
    context = dataclasses.replace(frontend.context, lacks=LACKS[engine])
    told = says("Yes.", context=context, thinking=THINK, chat_template=template)
    for path, (kind, body) in ENDPOINTS.items():
        for parameter in kind.__struct_fields__:
            asked = VALUES.get(parameter, {parameter: {"type": "anything"}})
            if parameter == "logprobs":
                asked = {"logprobs": True if kind is ChatRequest else 1}
            told.asked.clear()
            answer = ask(f"/v1/{path}", {**body, **asked})
            lacking = parameter == "suffix" or (parameter == "echo" and kind is ChatRequest)
            cell = NO if lacking else support(parameter, LACKS[engine])
            assert (answer.status, bool(told.asked)) == ((400, False) if cell == NO else (200, True)), (parameter, cell)
            if cell == NO:
                assert answer.error["param"].split(".")[0] == parameter


def test_the_page_is_made_from_the_code() -> None:
    page = Path(__file__).parents[3] / "docs" / "support.md"
    assert page.read_text() == document(COLUMNS), "run make docs"


@pytest.mark.parametrize(
    ("endpoint", "parameter"), [(endpoint, name) for endpoint, names in ASKED.items() for name in sorted(names)]
)
def test_every_parameter_of_the_sdk_is_supported_or_refused_by_name(ask: Ask, endpoint: str, parameter: str) -> None:
    declared = (ChatRequest if endpoint == "chat" else CompletionRequest).__struct_fields__
    body, path = (CHAT, "/v1/chat/completions") if endpoint == "chat" else (PLAIN, "/v1/completions")
    if parameter in declared and support(parameter, LACKS["openvino"]) not in (NO, IDLE):
        return
    if parameter in HARMLESS:
        assert ask(path, {**body, parameter: {"a": "b"} if parameter == "metadata" else "x"}).status == 200
        return
    answer = ask(path, {**body, parameter: ASKING.get(parameter, {"type": "anything"})})
    assert answer.status == 400, f"{parameter} of the SDK is passed over"
    assert str(answer.error["param"]).split(".")[0] == parameter


def test_every_parameter_of_the_sdk_for_embeddings_is_in_the_table() -> None:
    asked = set(typing.get_type_hints(embeddings.EmbeddingCreateParams))
    assert asked <= set(EmbeddingRequest.__struct_fields__), "what the SDK can ask for would be refused"
    table = document(COLUMNS).partition("## Vectors")[2]
    assert all(f"| `{name}` | {'no effect' if name == 'user' else 'yes'} |" in table for name in asked)


def cells(parameter: str, word: str) -> set[str]:
    """The kinds for which the table has this word."""
    return {name for name, lacks in LACKS.items() if support(parameter, lacks) == word}


def test_the_table_has_every_parameter_and_every_refusal() -> None:
    assert set(parameters()) == {*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__}
    assert {name for name in NO_EFFECT if support(name, LACKS["openvino"]) == NO} <= set(NO_EFFECT)
    assert cells("response_format", NO) == {"torch"}
    assert cells("min_p", NO) == {"tensorrt_llm"}
    assert cells("logit_bias", NO) == {"torch"}
    assert support("min_tokens", LACKS["torch"]) == NO


def test_a_bias_is_added_to_the_logits_of_an_engine_that_can(ask: Ask, says: Says, frontend: Frontend) -> None:
    engine = says("Yes.", context=dataclasses.replace(frontend.context, lacks=frozenset()))
    assert ask("/v1/chat/completions", {**CHAT, "logit_bias": {"5": -100, "2047": 0.5}}).status == 200
    bias = engine.asked[0].embedding_bias
    assert bias is not None
    assert {id_: value for id_, value in enumerate(bias) if value} == {5: -100, 2047: 0.5}
    assert len(bias) == 2048
    for refused in ({"2048": 1}, {"": 1}, {"-1": 1}, {"x": 1}, {"\u0665": 1}, {"5": 101}):
        answer = ask("/v1/chat/completions", {**CHAT, "logit_bias": refused})
        assert (answer.status, answer.error["param"].split("[")[0]) == (400, "logit_bias")

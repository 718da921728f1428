"""Whatever the installed openai SDK can ask for is supported and documented, or refused by name."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
from openai.types import completion_create_params as plain
from openai.types.chat import completion_create_params as chat

from stoker.serve.requests import HARMLESS, NO_EFFECT, ChatRequest, CompletionRequest
from stoker.serve.support import ENGINES, IDLE, NO, document, parameters, support

CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 2}
ASKED = {
    "chat": set(typing.get_type_hints(chat.CompletionCreateParamsStreaming)),
    "plain": set(typing.get_type_hints(plain.CompletionCreateParamsStreaming)),
}
# What asks for something, for parameters that are refused whatever they ask for.
ASKING: dict[str, Any] = {"logit_bias": {"5": 1}, "store": True, "functions": [{"name": "f"}], "modalities": ["audio"]}


def test_the_page_is_made_from_the_code() -> None:
    page = Path(__file__).parents[3] / "docs" / "support.md"
    assert page.read_text() == document(), "run make docs"


@pytest.mark.parametrize(
    ("endpoint", "parameter"), [(endpoint, name) for endpoint, names in ASKED.items() for name in sorted(names)]
)
def test_every_parameter_of_the_sdk_is_supported_or_refused_by_name(ask: Any, endpoint: str, parameter: str) -> None:
    declared = (ChatRequest if endpoint == "chat" else CompletionRequest).__struct_fields__
    body, path = (CHAT, "/v1/chat/completions") if endpoint == "chat" else (PLAIN, "/v1/completions")
    if parameter in declared and support(parameter, "openvino") not in (NO, IDLE):
        return
    if parameter in HARMLESS:
        assert ask(path, {**body, parameter: {"a": "b"} if parameter == "metadata" else "x"}).status == 200
        return
    answer = ask(path, {**body, parameter: ASKING.get(parameter, {"type": "anything"})})
    assert answer.status == 400, f"{parameter} of the SDK is passed over"
    assert str(answer.error["param"]).split(".")[0] == parameter


def test_the_table_has_every_parameter_and_every_refusal() -> None:
    assert set(parameters()) == {*ChatRequest.__struct_fields__, *CompletionRequest.__struct_fields__}
    assert {name for name in NO_EFFECT if support(name, "openvino") == NO} <= set(NO_EFFECT)
    assert [support("response_format", engine) for engine in ENGINES] == ["yes", "yes", "yes", NO]
    assert support("min_tokens", "torch") == NO
    assert [support("logit_bias", engine) for engine in ENGINES] == [NO, "yes", "yes", NO]


def test_a_bias_is_added_to_the_logits_of_an_engine_that_can(ask: Any, says: Any, frontend: Any) -> None:
    engine = says("Yes.", context=dataclasses.replace(frontend.context, lacks=frozenset()))
    assert ask("/v1/chat/completions", {**CHAT, "logit_bias": {"5": -100, "2047": 0.5}}).status == 200
    bias = engine.asked[0].embedding_bias
    assert {id_: value for id_, value in enumerate(bias) if value} == {5: -100, 2047: 0.5}
    assert len(bias) == 2048
    for refused in ({"2048": 1}, {"": 1}, {"-1": 1}, {"x": 1}, {"\u0665": 1}, {"5": 101}, {"5": None}):
        answer = ask("/v1/chat/completions", {**CHAT, "logit_bias": refused})
        assert (answer.status, answer.error["param"].split("[")[0]) == (400, "logit_bias")

"""Chat templates: where they are found, what they may do, and what they read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import DamagedModelError
from stoker.serve.operate.frontend import Frontend, end_ids
from stoker.serve.operate.service import Service
from stoker.serve.request.chat_template import (
    ChatTemplate,
    TemplateMissingError,
    TemplateRefusedError,
    load_chat_template,
)
from stoker.serve.request.decoding import decoded
from stoker.serve.request.messages import template_messages
from stoker.serve.request.requests import ChatRequest
from stoker.serve.request.tokenizing import load_tokenizer

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


HELLO = [{"role": "user", "content": "Hello <b> é"}]


def render(source: str, messages: Any = HELLO, **arguments: Any) -> str:
    return ChatTemplate(source, {"bos_token": "<s>"}).render(messages, arguments)


def messages_of(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return template_messages(decoded(body, ChatRequest).messages)


def test_the_template_sees_what_transformers_shows_it() -> None:
    source = """
{%- for m in messages %}
    {%- if m.role == 'user' %}
{{ bos_token }}{{ m | tojson }}
    {% endif %}
    {%- break %}
{%- endfor %}
{%- generation %}A{% endgeneration %}{{ add_generation_prompt }}{{ tools is none }}{{ extra }}"""
    assert render(source, extra=5) == '<s>{"role": "user", "content": "Hello <b> é"}\nATrueTrue5'


def test_dates_are_there() -> None:
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{% for i in range(10000000) %}{% endfor %}",
    ],
)
def test_a_template_that_fails_or_breaks_out_refuses(source: str) -> None:
    with pytest.raises(TemplateRefusedError):
        render(source)


def test_a_refusal_reaches_the_client_with_the_templates_words(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine
) -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    service.lifecycle.attach(engine, replace(frontend, chat_template=template))
    answer = ask("/v1/chat/completions", {"model": "demo", "messages": HELLO})
    assert answer.status == 400
    assert "roles must alternate" in answer.error["message"]
    missing = TemplateMissingError("The model has no chat template; use /v1/completions.")
    service.lifecycle.attach(engine, replace(frontend, chat_template=missing))
    answer = ask("/v1/chat/completions", {"model": "demo", "messages": HELLO})
    assert (answer.status, answer.error["code"]) == (400, "chat_template_missing")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config.json": {"chat_template": "one {{ eos_token }}", "eos_token": "</s>"}}, "one </s>"),
        (
            {"tokenizer_config.json": {"chat_template": "{{ bos_token }}", "bos_token": {"content": "<s>"}}},
            "<s>",
        ),
        (
            {"tokenizer_config.json": {"chat_template": [{"name": "tool_use", "template": "t"},
                                                         {"name": "default", "template": "d"}]}},
            "d",
        ),
        ({"chat_template.json": {"chat_template": "json"}, "tokenizer_config.json": {"chat_template": "no"}}, "json"),
        ({"chat_template.jinja": "file", "chat_template.json": {"chat_template": "no"}}, "file"),
    ],
)  # fmt: skip
def test_where_templates_are_found(tmp_path: Path, files: dict[str, Any], expected: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert load_chat_template(tmp_path).render(HELLO) == expected


@pytest.mark.parametrize("template", [None, "{% if %}", [{"name": "tool_use", "template": "t"}]])
def test_no_template_or_a_broken_one(tmp_path: Path, template: Any) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    with pytest.raises(TemplateMissingError):
        load_chat_template(tmp_path)


def test_messages_become_plain_data() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    assert messages_of(
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a\nb", "name": "Ann"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [6, 2]}, {"eos_token_id": 3}, (6, 2)),
        ({"eos_token_id": 2}, {}, (2, 6)),
        ({}, {"eos_token_id": 3}, (3, 6)),
        ({}, {}, (6,)),
    ],
)
def test_end_ids(tmp_path: Path, frontend: Frontend, generation: Any, config: Any, expected: tuple[int, ...]) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    assert end_ids(tmp_path, frontend.tokenizer) == expected


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_tokenizer_that_is_missing_or_damaged_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DamagedModelError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)

"""Conversations for templates that take fewer orders of roles than clients send."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.chat_template import ChatTemplate

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf
    from tests.unit.serve.scripted import ScriptedEngine


BODY = "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}"
HEAD_ONLY = (
    "{% for m in messages[1:] %}{% if m.role == 'system' %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}{% endfor %}" + BODY
)
ALTERNATING = (
    "{% set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + BODY
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + ALTERNATING
)
TURNS = [
    {"role": "developer", "content": "A"},
    {"role": "system", "content": "B"},
    {"role": "user", "content": "C"},
    {"role": "system", "content": "D"},
    {"role": "assistant", "content": "E"},
    {"role": "user", "content": "F"},
]


@pytest.fixture
def prompted(ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, prompt_of: PromptOf) -> Any:
    def of(source: str, messages: list[dict[str, Any]] = TURNS) -> str:
        service.lifecycle.attach(engine, replace(frontend, chat_template=ChatTemplate(source, {})))
        answer = ask("/v1/chat/completions", {"model": "demo", "messages": messages})
        return str(prompt_of(engine) if answer.status == 200 else answer.error["message"])

    return of


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (BODY, "[system: A][system: B][user: C][system: D][assistant: E][user: F]"),
        (HEAD_ONLY, "[system: A\n\nB][user: C\n\nD][assistant: E][user: F]"),
        (ALTERNATING, "[system: A\n\nB][user: C\n\nD][assistant: E][user: F]"),
        (NO_SYSTEM, "[user: A\n\nB\n\nC\n\nD][assistant: E][user: F]"),
    ],
)
def test_a_template_gets_the_nearest_order_that_it_takes(prompted: Any, source: str, prompt: str) -> None:
    assert prompted(source) == prompt


def test_users_that_follow_each_other_are_joined_where_that_is_refused(prompted: Any) -> None:
    turns = [{"role": "user", "content": "A"}, {"role": "user", "content": "B"}]
    assert prompted(ALTERNATING, turns) == "[user: A\n\nB]"


def test_what_no_order_helps_is_refused_with_the_first_reason(prompted: Any) -> None:
    source = "{{ raise_exception(messages | length) }}"
    assert prompted(source, TURNS).endswith(": 6")

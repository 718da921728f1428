"""A chat template may do what it likes with a process that nobody needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stoker.serve.request.chat_template import ChatTemplate
from stoker.serve.request.template_process import RenderingEndedError, TemplateProcess

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
GREETING = "{% if messages[0].content == 'go' %}HERE{% else %}{{ messages[0].content }}{% endif %}"
GO: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
DOUBLING = "{% set n = namespace(s='xy') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"


@pytest.fixture
def running() -> Iterator[Callable[[str], TemplateProcess]]:
    """A template that does HERE when it is told to go, and else what it should."""
    made: list[TemplateProcess] = []

    def run(here: str) -> TemplateProcess:
        made.append(TemplateProcess(GREETING.replace("HERE", here), {}, seconds=4.0))
        return made[-1]

    yield run
    made.clear()


def rendered(process: TemplateProcess, messages: list[dict[str, Any]]) -> dict[str, str]:
    return process.render(messages, None, None)


def test_one_that_does_not_end_is_ended_and_the_next_request_served(running: Any) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    process = running(endless)
    assert rendered(process, HELLO) == {"text": "Hello"}
    with pytest.raises(RenderingEndedError, match="longer than 4 s"):
        rendered(process, GO)
    assert rendered(process, HELLO) == {"text": "Hello"}


@pytest.mark.parametrize(
    "here",
    [
        "{{ 'x' * 100000000000 }}",
        DOUBLING,
        "{{ 'x'.ljust(100000000000) }}",
        "{{ '%99999999999d' | format(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ ''.__class__.__mro__ }}",
    ],
)
def test_one_that_wants_too_much_is_refused_and_the_next_request_served(running: Any, here: str) -> None:
    process = running(here)
    with contextlib.suppress(RenderingEndedError):  # its process may not even be able to say so
        assert "refused" in rendered(process, GO)
    assert rendered(process, HELLO) == {"text": "Hello"}


def test_it_renders_what_rendering_here_would() -> None:
    source = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}{{ kind }}"
    template = ChatTemplate(source, {})
    given: Any = [{"role": "user", "content": "ä\u2028\U0001f525\"'\n"}], {"kind": 3}, [{"a": None}]
    assert template.render_apart(*given) == template.render(*given)


def test_what_the_template_refuses_is_told_in_its_words(running: Any) -> None:
    process = running("{{ raise_exception('Roles must alternate') }}")
    assert rendered(process, GO) == {"refused": "Roles must alternate"}

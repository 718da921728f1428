"""A chat template may do what it likes with a process that nobody needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.serve.request import template_process
from stoker.serve.request.chat_template import (
    ChatTemplate,
    TemplateMissingError,
    load_chat_template,
    rendering_of,
    template_fault,
)
from stoker.serve.request.template_process import (
    RenderingEndedError,
    TemplateBrokenError,
    TemplateProcess,
    TemplateUnavailableError,
)

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask

pytestmark = pytest.mark.slow

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
GREETING = "{% if messages[0].content == 'go' %}HERE{% else %}{{ messages[0].content }}{% endif %}"
GO: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
DOUBLING = "{% set n = namespace(s='xy') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"


@pytest.fixture
def running() -> Iterator[Callable[[str], TemplateProcess]]:
    """A template that does HERE when it is told to go, and else what it should."""
    made: list[TemplateProcess] = []

    def run(here: str) -> TemplateProcess:
        made.append(TemplateProcess(GREETING.replace("HERE", here), {}, seconds=1.0))
        return made[-1]

    yield run
    made.clear()


def rendered(process: TemplateProcess, messages: list[dict[str, Any]]) -> dict[str, str]:
    return process.render(rendering_of(messages))


def test_one_that_does_not_end_is_ended_and_the_next_request_served(running: Any) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    process = running(endless)
    assert rendered(process, HELLO) == {"text": "Hello"}
    with pytest.raises(RenderingEndedError, match="longer than 1 s"):
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


def test_text_of_any_kind_comes_through() -> None:
    source = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}{{ kind }}"
    said = "ä\u2028\U0001f525\"'\n"
    template = ChatTemplate(source, {})
    assert (
        template.render([{"role": "user", "content": said}], {"kind": 3}, [{"a": None}]) == '[{"a": null}]' + said + "3"
    )


@pytest.mark.parametrize("here", ["{{ '\\ud800' }}", "{{ raise_exception('\\udfff') }}"])
def test_a_lone_surrogate_is_refused(running: Any, here: str) -> None:
    process = running(here)
    assert "refused" in rendered(process, GO)
    assert rendered(process, HELLO) == {"text": "Hello"}


def test_what_the_template_refuses_is_told_in_its_words(running: Any) -> None:
    process = running("{{ raise_exception('Roles must alternate') }}")
    assert rendered(process, GO) == {"refused": "Roles must alternate"}


BROKEN = [
    "{% if false %}{{ 9**(9**(9**9)) }}{% endif %}",
    "{% if false %}{{ '%1000000000d' % 1 }}{{ '%1000000000d' % 1 }}{% endif %}",
    "{% for a in x %}" * 30 + "{% endfor %}" * 30,
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{% if %}",
    "{{ " + "-" * 100_000 + "1 }}",
    "{{ 'x' | nofilter }}",
]


@pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
def test_what_cannot_be_compiled_is_no_template(source: str) -> None:
    with pytest.raises(TemplateBrokenError, match=".+"):
        TemplateProcess(source, {}, seconds=1.0).check()


@pytest.mark.parametrize("source", ["{% if %}", "a" * ((1 << 20) + 1)], ids=["broken", "large"])
def test_a_model_whose_template_is_none_has_none_and_says_why(tmp_path: Path, source: str) -> None:
    (tmp_path / "chat_template.jinja").write_text(source)
    with pytest.raises(TemplateMissingError, match="cannot be used: .+"):
        load_chat_template(tmp_path)
    assert "cannot be used" in template_fault(tmp_path)


def test_one_that_somebody_killed_is_started_again(running: Any) -> None:
    process = running("went")
    assert rendered(process, GO) == {"text": "went"}
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert rendered(process, GO) == {"text": "went"}


def test_one_that_is_killed_again_and_again_is_nobodys_fault(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    process = running("went")

    def exchanged(child: Any, line: bytes) -> bytes:
        child.kill()
        return b'{"text": "half'

    monkeypatch.setattr(template_process, "_exchanged", exchanged)
    with pytest.raises(TemplateUnavailableError):
        rendered(process, GO)


def test_one_that_cannot_be_started_is_nobodys_fault(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(template_process.subprocess, "Popen", popen)
    with pytest.raises(TemplateUnavailableError, match="Too many open files"):
        rendered(running("went"), GO)


def test_a_killed_process_is_a_clean_error_of_the_api(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def exchanged(child: Any, line: bytes) -> bytes:
        child.kill()
        return b""

    monkeypatch.setattr(template_process, "_exchanged", exchanged)
    answer = ask("/v1/chat/completions", {"model": "demo", "messages": HELLO})
    assert (answer.status, answer.error["code"]) == (503, "overloaded")


def test_the_template_sees_no_secrets(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    process = running("went")
    rendered(process, GO)
    assert process._process is not None
    assert b"secret" not in Path(f"/proc/{process._process.pid}/environ").read_bytes()

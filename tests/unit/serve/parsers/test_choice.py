"""The family is chosen from the chat template, and the template is the test."""

from __future__ import annotations

from pathlib import Path

import pytest

import stoker.resolve
from stoker.errors import UsageError
from stoker.serve.answer.parsers.choice import choose_family, choose_thinking
from stoker.serve.answer.parsers.families import FAMILIES
from stoker.serve.answer.parsers.reasoning import FAMILIES as THINKING
from stoker.serve.request.chat_template import ChatTemplate, load_chat_template
from stoker.settings.spec import REASONING_PARSERS, TOOL_PARSERS

_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
_TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}CALLS{% endfor %}<assistant>"


def _template(calls: str, *, tools: str = _TOOLS, extra: str = "") -> ChatTemplate:
    """In the way of the family's real templates, as far as calls go."""
    loop = "{% for c in m.tool_calls or [] %}" + calls + "{% endfor %}"
    return ChatTemplate(extra + tools + _TURNS.replace("CALLS", loop), {})


TEMPLATES = {
    "hermes": "<tool_call>\n{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>",
    "llama": '{{ \'{"name": "\' + c.function.name + \'", "parameters": \' }}'
    "{{ c.function.arguments | tojson }}}<|eot_id|>",
    "mistral": "[TOOL_CALLS] [{{ c.function | tojson }}]</s>",
    "granite": "<|tool_call|>[{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}]",
    "phi4": "functools[{{ c.function | tojson }}]",
    "pythonic": "<|python_start|>[{{ c.function.name }}({% for k, v in c.function.arguments.items() %}"
    "{{ k }}={{ v | tojson }}{{ ', ' if not loop.last }}{% endfor %})]<|python_end|>",
    "gemma": "```tool_code\n{{ c.function.name }}({% for k, v in c.function.arguments.items() %}"
    "{{ k }}={{ v | tojson }}{{ ', ' if not loop.last }}{% endfor %})\n```",
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_family_that_reads_the_templates_call_is_taken(family: str) -> None:
    template = _template(TEMPLATES[family])
    chosen = choose_family(template)
    assert chosen is not None
    assert chosen.name == family
    assert choose_family(template, family) is chosen


def test_a_parser_that_does_not_read_the_templates_call_is_refused_at_start() -> None:
    with pytest.raises(UsageError, match="--tool-parser mistral does not fit"):
        choose_family(_template(TEMPLATES["hermes"]), "mistral")


def test_a_template_without_tools_has_no_family_and_one_without_calls_goes_by_its_signs() -> None:
    assert choose_family(_template("", tools="")) is None
    assert choose_family(_template(TEMPLATES["hermes"]), "none") is None
    signed = choose_family(_template("", extra="{# <|tool|> #}"))
    assert signed is not None
    assert signed.name == "phi4"


def test_thinking_is_known_by_its_marks() -> None:
    assert choose_thinking(_template("", extra="<think></think>")) is THINKING["think"]
    assert choose_thinking(_template("")) is None
    assert choose_thinking(_template("<think></think>"), "none") is None
    assert choose_thinking(_template(""), "granite") is THINKING["granite"]


def test_the_demo_models_template_is_hermes() -> None:
    chosen = choose_family(load_chat_template(Path(stoker.resolve.__file__).parent / "demo"))
    assert chosen is FAMILIES["hermes"]


def test_the_settings_offer_what_there_is() -> None:
    assert set(TOOL_PARSERS) == {"auto", "none", *FAMILIES}
    assert set(REASONING_PARSERS) == {"auto", "none", *THINKING}

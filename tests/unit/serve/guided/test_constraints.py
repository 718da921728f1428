"""Which parameter asks for a form, what grammar it becomes, and what is said of one that cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stoker.serve.http.errors import ApiError
from stoker.serve.request.guided.constraints import constraint_of, guided
from stoker.serve.request.guided.json_schema import any_object, schema_grammar
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.requests import ChatRequest

CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": False}
OF_SCHEMA = guide(schema_grammar(SCHEMA)).text
ANYTHING = guide(schema_grammar({})).text


def asked(**given: Any) -> ChatRequest:
    return msgspec.convert({**CHAT, **given}, ChatRequest)


def json_schema(**given: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", **given}}}


@pytest.mark.parametrize(
    ("given", "param", "text"),
    [
        ({"guided_choice": ["a", "b"]}, "guided_choice", 'root ::= ("a" | "b")\n'),
        ({"guided_choice": ["a"]}, "guided_choice", 'root ::= "a"\n'),
        ({"guided_regex": "a+"}, "guided_regex", 'root ::= ("a")+\n'),
        ({"guided_json": SCHEMA}, "guided_json", OF_SCHEMA),
        ({"guided_json": msgspec.json.encode(SCHEMA).decode()}, "guided_json", OF_SCHEMA),
        ({"guided_grammar": 'root ::= "a"'}, "guided_grammar", 'root ::= own-root\nown-root ::= "a"\n'),
        ({"nvext": {"guided_regex": "a"}}, "nvext.guided_regex", 'root ::= "a"\n'),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs.regex", 'root ::= "a"\n'),
        ({"response_format": {"type": "json_object"}}, "response_format", guide(any_object()).text),
        (json_schema(schema=SCHEMA), "response_format.json_schema.schema", OF_SCHEMA),
        (json_schema(), "response_format.json_schema.schema", ANYTHING),
    ],
)
def test_a_form_is_made_of_the_parameter_that_asks_for_it(given: dict[str, Any], param: str, text: str) -> None:
    constraint = constraint_of(asked(**given))
    assert constraint is not None
    assert constraint[0] == param
    assert guided(*constraint).text == text


@pytest.mark.parametrize("given", [{}, {"response_format": {"type": "text"}}, {"structured_outputs": {}}])
def test_no_form_is_asked_for(given: dict[str, Any]) -> None:
    assert constraint_of(asked(**given)) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"guided_choice": []}, "Invalid 'guided_choice': it has no choices."),
        ({"guided_json": "{"}, "Invalid 'guided_json': it is not JSON."),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "both say what the text must look like"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "both say what the text must look like"),
        ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos contradicts it"),
        ({"response_format": {"type": "json_schema"}}, "Missing required parameter: 'response_format.json_schema'."),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError) as caught:
        constraint = constraint_of(asked(**given))
        assert constraint is not None
        guided(*constraint)
    assert says in str(caught.value)

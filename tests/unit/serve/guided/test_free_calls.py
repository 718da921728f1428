"""Strict tools where the model may choose: whatever the grammar allows is text, or calls that their schemas allow."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.loading import load

from stoker.serve.answer.events import CallArguments, CallStart, Text, joined
from stoker.serve.answer.parsers.families import FAMILIES
from stoker.serve.answer.parsers.reasoning import FAMILIES as THINKING
from stoker.serve.answer.parsers.tools import ToolParser
from stoker.serve.request.guided.calls import free_grammar
from stoker.serve.request.guided.free_text import text_not_begun_with, text_without
from stoker.serve.request.guided.grammar import Characters, Choice, Node, Repeat, Sequence
from stoker.serve.request.guided.grammar import Text as Literal
from stoker.serve.request.guided.json_schema import schema_grammar
from stoker.serve.request.guided.notation import guide
from stoker.serve.request.requests import FunctionDefinition, FunctionTool
from stoker.serve.request.tool_use import ToolUse
from stoker.vocabulary import MARKS as CONTROL_MARKS

derivation = load("derivation", Path(__file__).with_name("derivation.py"))

STRICT = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Bonn"]}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
GUIDED = {name: family for name, family in FAMILIES.items() if family.own}
MARKS = [tuple(own.mark for own in family.own if own.mark) for family in GUIDED.values()]
MARKS += [(marks.closing,) for marks in THINKING.values()]


def _tools(*, several: bool = True) -> ToolUse:
    weather = FunctionDefinition(name="weather", parameters=STRICT, strict=True)
    other = FunctionDefinition(name="other", parameters={"properties": {"a": {"type": "string"}}})
    offered = tuple(FunctionTool(type="function", function=each) for each in (weather, other))
    return ToolUse(offered, (0, 1), must=False, named=False, several=several)


def _pattern(node: Node) -> str:
    """A regular expression for a node without rules."""
    if isinstance(node, Literal):
        return re.escape(node.value)
    if isinstance(node, Characters):
        return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in node.ranges) + "]"
    if isinstance(node, Sequence):
        return "".join(map(_pattern, node.parts))
    if isinstance(node, Choice):
        return "(?:" + "|".join(map(_pattern, node.options)) + ")"
    assert isinstance(node, Repeat)
    return f"(?:{_pattern(node.body)}){{{node.least},{'' if node.most is None else node.most}}}"


@pytest.mark.parametrize("marks", MARKS, ids=str)
def test_free_text_is_all_text_without_a_mark(marks: tuple[str, ...]) -> None:
    pattern, begun = re.compile(_pattern(text_without(marks))), re.compile(_pattern(text_not_begun_with(("{",), marks)))
    random_ = random.Random(0)
    pieces = [mark[:end] for mark in marks for end in range(1, len(mark) + 1)] + ["a", "{", " ", "\n", "é"]
    for _ in range(500):
        text = "".join(random_.choices(pieces, k=random_.randint(0, 4)))
        free = not any(mark in text for mark in marks)
        assert bool(pattern.fullmatch(text)) == free, text
        assert bool(begun.fullmatch(text)) == (free and not text.lstrip().startswith("{")), text


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDED)
@pytest.mark.parametrize("several", [True, False])
def test_what_a_model_may_write_is_text_and_valid_calls(name: str, several: bool) -> None:
    family, use = GUIDED[name], _tools(several=several)
    grammar = free_grammar(use, family, None)
    guide(grammar)
    random_ = random.Random(1)
    counts, said = set(), 0
    for _ in range(150):
        text = derivation.derive(grammar, random_)
        calls, rest = _read(ToolParser(family.form, use.names), text)
        counts.add(len(calls))
        said += bool(rest)
        for called, arguments in calls:
            jsonschema.validate(arguments, STRICT if called == "weather" else {"type": "object"})
        assert not any(own.mark and own.mark in rest for own in family.own), text
    assert said > 20
    assert {0, 1} <= counts
    assert (max(counts) > 1) == several


def _read(parser: ToolParser, text: str) -> tuple[list[tuple[str, Any]], str]:
    events = joined([*parser.feed(text), *parser.end()])
    names = [event.name for event in events if isinstance(event, CallStart)]
    arguments = ["" for _ in names]
    for event in events:
        if isinstance(event, CallArguments):
            arguments[event.index] += event.text
    rest = "".join(event.text for event in events if isinstance(event, Text))
    return list(zip(names, map(json.loads, arguments), strict=True)), rest


def test_beside_a_form_a_model_keeps_to_it_or_calls() -> None:
    grammar = free_grammar(_tools(), FAMILIES["hermes"], schema_grammar({"type": "array", "items": {"const": 1}}))
    guide(grammar)
    random_ = random.Random(2)
    for _ in range(100):
        calls, rest = _read(
            ToolParser(GUIDED["hermes"].form, ("weather", "other")), derivation.derive(grammar, random_)
        )
        assert calls or set(json.loads(rest)) <= {1}


def test_marks_that_are_control_tokens_are_in_the_engines_vocabulary() -> None:
    marks = {mark for family in GUIDED.values() for own in family.own for mark in (own.mark, own.named, own.closing)}
    marks |= {mark for each in THINKING.values() for mark in (each.opening, each.closing)}
    marked = {mark for mark in marks if re.fullmatch(r"<.+>|\[[A-Z/].+\]", mark)}
    assert len(marked) > 8
    assert marked <= set(CONTROL_MARKS)

"""Calls in a grammar of the family's own form: those that must be made, and those that a model makes of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoker.serve.answer.parsers.families import Family, Held, Own
from stoker.serve.http.errors import ApiError
from stoker.serve.request.guided.checks import Parts
from stoker.serve.request.guided.constraints import refused
from stoker.serve.request.guided.free_text import text_not_begun_with, text_without
from stoker.serve.request.guided.grammar import (
    Grammar,
    GuideError,
    Node,
    Repeat,
    Rule,
    characters,
    choice,
    optional,
    sequence,
)
from stoker.serve.request.guided.json_schema import schema_grammar
from stoker.serve.request.guided.json_values import literal
from stoker.serve.request.tool_use import ToolUse

MAX_CALLS = 16
_BLANKS = Repeat(characters(" ", "\n"), 0, 2)


def calls_grammar(use: ToolUse, held: Held, *, opening: bool) -> Grammar:
    """`opening`: whether the text has the form's opening still to write. ApiError naming the tool whose schema cannot
    be kept to."""
    rules: dict[str, Node] = {}
    spent = Parts()
    arguments = {index: _arguments(use, index, rules, spent) for index in use.callable}
    call = _objects(use, arguments, held.arguments)
    rules["call"] = sequence(held.before, call, held.after)
    more = Repeat(sequence(held.between, Rule("call")), 0, MAX_CALLS - 1 if use.several else 0)
    parts: Sequence[Node | str] = (held.opening if opening else "", Rule("call"), more, held.closing)
    return Grammar(sequence(*parts), rules)


def free_grammar(use: ToolUse, family: Family, form: Grammar | None) -> Grammar:
    """Text, or a text of the given form, and calls wherever the family makes them; of tools that are strict, with
    arguments as their schemas say. Its rules are apart from the form's. ApiError as above."""
    rules: dict[str, Node] = {}
    parts = Parts()
    arguments = {index: _arguments(use, index, rules, parts, loose=not use.strict(index)) for index in use.callable}
    ways = [(own, _way(own, use, arguments)) for own in family.own]
    marks = [own.mark for own in family.own if own.mark]
    bare = [node for own, node in ways if not own.mark]
    more = [node for own, node in ways if own.mark and own.goes_on]
    last = [node for own, node in ways if own.mark and not own.goes_on]
    if form is not None:
        return Grammar(choice([form.root, *bare, *more, *last]), {**form.rules, **rules})
    rules["text"] = text_without(marks)
    text = text_not_begun_with(family.form.bare, marks) if bare else Rule("text")
    return Grammar(choice([*bare, _with_calls(text, more, last, several=use.several)]), rules)


def _with_calls(text: Node, more: Sequence[Node], last: Sequence[Node], *, several: bool) -> Node:
    """`more`: calls after which text may come again; after `last`, nothing does."""
    on = [sequence(choice(more), Rule("text"))] if more else []
    if not several:
        return sequence(text, optional(choice([*on, *last])))
    ends = [optional(choice(last))] if last else []
    return sequence(text, *(Repeat(each, 0, MAX_CALLS) for each in on), *ends)


def _way(own: Own, use: ToolUse, arguments: Mapping[int, Node]) -> Node:
    call = _named(use, arguments, own.named) if own.named else _objects(use, arguments, own.arguments)
    more = Repeat(sequence(own.between, call), 0, MAX_CALLS - 1 if use.several and own.between else 0)
    blanks = _BLANKS if own.mark else ""
    return sequence(own.mark, blanks, own.opening, call, more, blanks, own.closing)


def _objects(use: ToolUse, arguments: Mapping[int, Node], key: str) -> Node:
    """`{"name": ..., "arguments": {...}}`"""
    return choice(
        sequence('{"name": ', literal(use.offered[index].function.name), f', "{key}": ', node, "}")
        for index, node in arguments.items()
    )


def _named(use: ToolUse, arguments: Mapping[int, Node], sign: str) -> Node:
    """`name[ARGS]{...}`"""
    return choice(sequence(use.offered[index].function.name, sign, node) for index, node in arguments.items())


def _arguments(use: ToolUse, index: int, rules: dict[str, Node], parts: Parts, *, loose: bool = False) -> Node:
    """As the tool's schema says; without one, or where that is not asked for, any object."""
    schema = {} if loose else use.offered[index].function.parameters or {}
    try:
        grammar = schema_grammar({"type": "object", **schema}, prefix=f"tool{index}-", parts=parts)
    except (GuideError, RecursionError) as error:
        raise _fault(index, str(error)) from error
    rules.update(grammar.rules)
    return grammar.root


def _fault(index: int, why: str) -> ApiError:
    return refused(f"tools[{index}].function.parameters", why)

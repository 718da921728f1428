"""Calls that must be made: a grammar of the family's own form, with each tool's schema for its arguments."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.serve.errors import ApiError
from stoker.serve.guided.grammar import Grammar, GuideError, Node, Repeat, Rule, choice, sequence
from stoker.serve.guided.json_schema import schema_grammar
from stoker.serve.guided.json_values import literal
from stoker.serve.guided.wishes import refused
from stoker.serve.parsers.families import Held
from stoker.serve.tool_use import ToolUse

MOST_CALLS = 16


def calls_grammar(use: ToolUse, held: Held, *, opening: bool) -> Grammar:
    """`opening`: whether the text has the form's opening still to write. ApiError naming the tool whose schema cannot
    be kept to."""
    rules: dict[str, Node] = {}
    calls = [_call(use, index, held, rules) for index in use.callable]
    rules["call"] = sequence(held.before, choice(calls), held.after)
    more = Repeat(sequence(held.between, Rule("call")), 0, MOST_CALLS - 1 if use.several else 0)
    parts: Sequence[Node | str] = (held.opening if opening else "", Rule("call"), more, held.closing)
    return Grammar(sequence(*parts), rules)


def _call(use: ToolUse, index: int, held: Held, rules: dict[str, Node]) -> Node:
    """`{"name": ..., "arguments": {...}}`; without a schema, any object."""
    function = use.offered[index].function
    try:
        grammar = schema_grammar({"type": "object", **(function.parameters or {})}, prefix=f"tool{index}-")
    except (GuideError, RecursionError) as error:
        raise _fault(index, str(error)) from error
    rules.update(grammar.rules)
    return sequence('{"name": ', literal(function.name), f', "{held.arguments}": ', grammar.root, "}")


def _fault(index: int, why: str) -> ApiError:
    return refused(f"tools[{index}].function.parameters", why)

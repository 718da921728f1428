"""Thinking before a text of a given form: free, but for the mark that ends it."""

from __future__ import annotations

from stoker.serve.guided.grammar import Grammar, Node, Repeat, Text, characters, choice, complement, optional, sequence
from stoker.serve.parsers.reasoning import Thinking

_BLANKS = Repeat(Text("\n"), 0, 4)


def after_thinking(grammar: Grammar, marks: Thinking, begun: bool | None) -> Grammar:
    """`begun`: as Thinking.begun_in has it. What begins like the closing mark ends the thinking."""
    if begun is False:
        return grammar
    thought = sequence(_until(marks.closing), marks.closing, _BLANKS)
    before = thought if begun else optional(sequence(marks.opening, thought))
    return Grammar(sequence(before, grammar.root), grammar.rules)


def _until(mark: str) -> Node:
    """Any text without the mark's first two characters in a row."""
    first, second = mark[0], mark[1]
    other, another = complement(characters(first)), complement(characters(second))
    return Repeat(choice([other, sequence(first, another)]))

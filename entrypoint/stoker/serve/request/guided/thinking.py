"""Thinking before a text of a given form: free, except for the mark that ends it."""

from __future__ import annotations

from stoker.serve.answer.parsers.reasoning import Thinking
from stoker.serve.request.guided.free_text import text_without
from stoker.serve.request.guided.grammar import Grammar, Repeat, Text, optional, sequence

_BLANKS = Repeat(Text("\n"), 0, 4)


def after_thinking(grammar: Grammar, marks: Thinking, begun: bool | None) -> Grammar:
    """`begun`: as Thinking.begun_in has it."""
    if begun is False:
        return grammar
    thought = sequence(text_without((marks.closing,)), marks.closing, _BLANKS)
    before = thought if begun else optional(sequence(marks.opening, thought))
    return Grammar(sequence(before, grammar.root), grammar.rules)

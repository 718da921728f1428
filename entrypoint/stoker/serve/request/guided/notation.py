"""A grammar in the engines' notation (xgrammar's EBNF), once it is sure that an engine can follow it."""

from __future__ import annotations

from stoker.launch.generation import EBNF_GRAMMAR, Guide
from stoker.serve.request.guided.checks import check, used_rules
from stoker.serve.request.guided.grammar import Characters, Choice, Grammar, Node, Repeat, Rule, Sequence, Text
from stoker.serve.request.guided.repetition import in_blocks

_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_IN_CLASS = "\\]-^[\"'"


def guide(grammar: Grammar) -> Guide:
    """Raises GuideError for a grammar that no text fits, that never ends, or that is too large."""
    grammar = in_blocks(grammar)
    rules = {"root": grammar.root, **used_rules(grammar)}
    check(rules)
    return Guide(EBNF_GRAMMAR, "\n".join(f"{name} ::= {_written(node)}" for name, node in rules.items()) + "\n")


def _written(node: Node) -> str:
    if isinstance(node, Text):
        return '"' + "".join(_character(character) for character in node.value) + '"'
    if isinstance(node, Characters):
        return "[" + "".join(_range(*pair) for pair in node.ranges) + "]"
    if isinstance(node, Sequence):
        return "(" + " ".join(_written(part) for part in node.parts) + ")" if node.parts else '""'
    if isinstance(node, Choice):
        return "(" + " | ".join(_written(option) for option in node.options) + ")"
    if isinstance(node, Repeat):
        if node.most == 0:
            return '""'
        return f"({_written(node.body)}){_times(node)}"
    assert isinstance(node, Rule)
    return node.name


def _times(repeat: Repeat) -> str:
    plain = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((repeat.least, repeat.most))
    if plain or repeat.least == repeat.most:
        return plain or f"{{{repeat.least}}}"
    return f"{{{repeat.least},{'' if repeat.most is None else repeat.most}}}"


def _character(character: str) -> str:
    return _ESCAPED.get(character) or (character if " " <= character <= "~" else _numbered(ord(character)))


def _range(low: int, high: int) -> str:
    return _class_character(low) if low == high else f"{_class_character(low)}-{_class_character(high)}"


def _class_character(code: int) -> str:
    character = chr(code)
    plain = " " <= character <= "~" and character not in _IN_CLASS
    return character if plain else _numbered(code)


def _numbered(code: int) -> str:
    """Not as \\xHH, which takes in every hexadecimal digit that follows."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""JSON's own forms: strings, numbers, and values of any kind.

Written as Python's json.dumps does: one space after each comma and colon and no other, so that a weak model cannot
lose itself in blanks; numbers have at most 18 digits before and after the point for the same reason.
"""

from __future__ import annotations

import json

from stoker.serve.request.guided.grammar import (
    ANY_CHARACTER,
    Characters,
    Choice,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
    characters,
    choice,
    optional,
    sequence,
    without,
)

COMMA, COLON = Text(", "), Text(": ")
DIGIT = characters("09")
_DIGITS = 17
_HEX = characters("09", "af", "AF")

# Of the characters that a string must escape, those with a short form.
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NEVER_PLAIN = ((0, 0x1F), (ord('"'), ord('"')), (ord("\\"), ord("\\")))

PLAIN_CHARACTER = without(ANY_CHARACTER, *_NEVER_PLAIN)
_ESCAPE = sequence(
    "\\",
    choice(
        [
            characters('"', "\\", "/", "b", "f", "n", "r", "t"),
            # not the surrogates, of which only pairs are text
            sequence("u", choice([sequence(characters("09", "ac", "AC", "e", "E", "f", "F"), Repeat(_HEX, 3, 3)),
                                  sequence(characters("d", "D"), characters("07"), Repeat(_HEX, 2, 2))])),
        ]
    ),
)  # fmt: skip

INTEGER: Node = sequence(
    optional(Text("-")), choice([Text("0"), sequence(characters("19"), Repeat(DIGIT, 0, _DIGITS))])
)
NUMBER: Node = sequence(
    INTEGER,
    optional(sequence(".", Repeat(DIGIT, 1, _DIGITS))),
    optional(sequence(characters("e", "E"), optional(characters("+", "-")), Repeat(DIGIT, 1, 2))),
)
BOOLEAN = choice([Text("true"), Text("false")])
NULL = Text("null")

VALUE, OBJECT, ARRAY, STRING = map(Rule, ("value", "object", "array", "string"))
CHARACTER, PLAIN = Rule("character"), Rule("plain")
_MEMBER = sequence(STRING, COLON, VALUE)


def literal(value: object) -> Text:
    """Exactly this value, as it is written."""
    return Text(json.dumps(value, ensure_ascii=False))


def string(least: int = 0, most: int | None = None) -> Node:
    """A string of so many characters."""
    return sequence('"', Repeat(CHARACTER, least, most), '"')


def listed(item: Node, least: int, most: int | None) -> Node:
    """Items with commas between them; nothing for none."""
    if most == 0:
        return Text("")
    rest = Repeat(sequence(COMMA, item), max(least - 1, 0), None if most is None else most - 1)
    some = sequence(item, rest)
    return some if least > 0 else optional(some)


# What any value may use, under the names of the rules above.
RULES: dict[str, Node] = {
    "value": choice([STRING, OBJECT, ARRAY, NUMBER, BOOLEAN, NULL]),
    "object": sequence("{", listed(_MEMBER, 0, None), "}"),
    "array": sequence("[", listed(VALUE, 0, None), "]"),
    "string": string(),
    "character": choice([PLAIN_CHARACTER, _ESCAPE]),
    "plain": Repeat(PLAIN_CHARACTER),
}


def in_string(node: Node) -> Node:
    """What stands inside a JSON string for a text that `node` describes: special characters in their escaped form."""
    if isinstance(node, Text):
        return Text(json.dumps(node.value, ensure_ascii=False)[1:-1])
    if isinstance(node, Characters):
        return _escaped_class(node)
    if isinstance(node, Sequence):
        return Sequence(tuple(in_string(part) for part in node.parts))
    if isinstance(node, Choice):
        return Choice(tuple(in_string(option) for option in node.options))
    if isinstance(node, Repeat):
        return Repeat(in_string(node.body), node.least, node.most)
    return node


def _escaped_class(those: Characters) -> Node:
    plain = without(those, *_NEVER_PLAIN)
    special = [Text(form) for character, form in _SHORT.items() if _has(those, ord(character))]
    return choice([*([plain] if plain.ranges else []), *special])


def _has(those: Characters, code: int) -> bool:
    return any(low <= code <= high for low, high in those.ranges)

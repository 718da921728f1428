"""Regular expressions, as far as they are regular and stand for themselves.

Taken: literals, `.`, classes and ranges, \\d \\w \\s and their opposites, \\n \\t \\r \\f \\v \\xHH \\uHHHH, groups,
named or not, alternation, and the quantifiers * + ? {n} {n,} {n,m}, lazy or not. The whole text must match, so that ^
may stand only at the beginning and $ only at the end.
Refused: look-around, back-references, word boundaries, flags, \\p.
"""

from __future__ import annotations

from stoker.serve.request.guided.ambiguity import check_ways
from stoker.serve.request.guided.grammar import (
    Characters,
    GuideError,
    Node,
    Repeat,
    Sequence,
    Text,
    characters,
    choice,
    complement,
    without,
)
from stoker.serve.request.guided.simplify import simplified

MAX_NESTING = 60
MAX_LENGTH = 20_000
_ANY = without(complement(Characters(())), (10, 10))
_SHORTHAND = {
    "d": characters("09"),
    "w": characters("az", "AZ", "09", "_"),
    "s": characters(" ", (9, 13)),
}
_ASCII = characters((1, 0x7F))
_OPPOSITE_OF = {
    "d": characters((1, 0x65F)),
    "w": _ASCII,
    "s": characters("!~", (0xA1, 0x167F), (0x3001, 0xD7FF), (0x10000, 0x10FFFF)),
}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_HEX_DIGITS = {"x": 2, "u": 4}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_MOST_DIGITS = 5


def followable_regex(pattern: str) -> Node:
    """One that a client wrote, in its simplest form. GuideError where an engine cannot follow it cheaply."""
    node = simplified(parse_regex(pattern))
    check_ways(node)
    return node


def parse_regex(pattern: str) -> Node:
    """Raises GuideError that says where."""
    if len(pattern) > MAX_LENGTH:
        raise GuideError(f"a regular expression of {len(pattern)} characters is too long: {MAX_LENGTH} are allowed")
    body = pattern.removeprefix("^")
    if body.endswith("$") and _unescaped_end(body[:-1]):
        body = body[:-1]
    parser = _Parser(body)
    node = parser.alternatives(0)
    if not parser.at_end:
        raise parser.error("an unopened ')'")
    return node


def _unescaped_end(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 0


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def error(self, what: str) -> GuideError:
        return GuideError(f"{what} at character {self._at} of the regular expression is not supported")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise self.error("an unfinished part")
        self._at += 1
        return character

    def _skip(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def alternatives(self, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise self.error(f"nesting more than {MAX_NESTING} deep")
        options = [self._parts(depth)]
        while self._skip("|"):
            options.append(self._parts(depth))
        return choice(options)

    def _parts(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self, depth: int) -> Node:
        character = self._take()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return self._class()
        if character == ".":
            return _ANY
        if character == "\\":
            return self._escape()
        if character in "*+?^$":
            self._at -= 1
            raise self.error(repr(character))
        return Text(character)

    def _group(self, depth: int) -> Node:
        if self._skip("?P<") or (self._peek() == "?" and self._text[self._at + 1 : self._at + 2] == "<"):
            name_end = self._text.find(">", self._at)
            if self._text[self._at : self._at + 3] in ("?<=", "?<!") or name_end < 0:
                raise self.error("look-behind")
            self._at = name_end + 1
        elif not self._skip("?:") and self._peek() == "?":
            raise self.error("a group with '?'")
        node = self.alternatives(depth + 1)
        if not self._skip(")"):
            raise self.error("an unclosed group")
        return node

    def _quantified(self, node: Node) -> Node:
        quantifier = self._quantifier()
        if quantifier is None:
            return node
        self._skip("?")  # lazy: the same texts match
        if self._peek() in ("*", "+", "{"):
            raise self.error("a second quantifier")
        return Repeat(node, *quantifier)

    def _quantifier(self) -> tuple[int, int | None] | None:
        if self._peek() in _QUANTIFIERS:
            return _QUANTIFIERS[self._take()]
        if not self._skip("{"):
            return None
        least = self._number()
        most: int | None = least
        if self._skip(","):
            most = None if self._peek() == "}" else self._number()
        if not self._skip("}") or (most is not None and most < least):
            raise self.error("a quantifier")
        return least, most

    def _number(self) -> int:
        start = self._at
        while self._peek() in tuple("0123456789"):
            self._at += 1
        if not 0 < self._at - start <= _MOST_DIGITS:
            raise self.error("a quantifier")
        return int(self._text[start : self._at])

    def _escape(self) -> Node:
        character = self._take()
        if character.lower() in _SHORTHAND:
            return _shorthand(character)
        return Text(self._escaped_character(character))

    def _escaped_character(self, character: str) -> str:
        if character in _CONTROL:
            return _CONTROL[character]
        if character in _HEX_DIGITS:
            return self._code_point(_HEX_DIGITS[character])
        if character.isalnum():
            raise self.error(f"'\\{character}'")
        return character

    def _code_point(self, digits: int) -> str:
        written = self._text[self._at : self._at + digits]
        self._at += digits
        try:
            character = chr(int(written, 16))
        except ValueError:
            raise self.error("an escape") from None
        if len(written) < digits or 0xD800 <= ord(character) <= 0xDFFF:
            raise self.error("an escape")
        return character

    def _class(self) -> Node:
        negated = self._skip("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self._peek() != "]":
            ranges += self._class_item()
            first = False
        self._take()
        those = characters(*ranges)
        result = complement(those) if negated else without(those, (0xD800, 0xDFFF))
        if not result.ranges:
            raise self.error("an empty class")
        return result

    def _class_item(self) -> list[tuple[int, int]]:
        low = self._class_character()
        if isinstance(low, Characters):
            return list(low.ranges)
        following = self._text[self._at : self._at + 2]
        if not following.startswith("-") or following == "-]":
            return [(ord(low), ord(low))]
        self._at += 1
        high = self._class_character()
        if isinstance(high, Characters) or high < low:
            raise self.error("a range")
        return [(ord(low), ord(high))]

    def _class_character(self) -> str | Characters:
        character = self._take()
        if character != "\\":
            return character
        escaped = self._take()
        if escaped.lower() in _SHORTHAND:
            return _shorthand(escaped)
        return "\b" if escaped == "b" else self._escaped_character(escaped)


def _shorthand(letter: str) -> Characters:
    """The opposites leave out what some engines count among them: digits, letters and blanks beyond ASCII."""
    if letter.islower():
        return _SHORTHAND[letter]
    return without(_OPPOSITE_OF[letter.lower()], *_SHORTHAND[letter.lower()].ranges)

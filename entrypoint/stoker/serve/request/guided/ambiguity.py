"""In how many ways at once an engine must follow a text, as far as a grammar's form tells: an upper bound.

What comes after a part is plain where the part cannot go on with the same character. Where it can, both ways are
followed; and where a repetition may begin anew at any character of itself, as many as it has places in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, replace

from stoker.serve.request.guided.grammar import (
    Characters,
    Choice,
    GuideError,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
    characters,
)

MAX_WAYS = 64  # each may cost a millisecond a token
MAX_WRITTEN = 20_000
_RECURSIVE_WAYS = 40  # where a rule that leads to itself ends anywhere, there are more of them with every character
_ROUNDS = 3  # until what rules that lead to themselves begin with is known, as far as it matters
_Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Shape:
    """`chars`: those that a text may have; `first`: those that begin one; `goes_on`: those with which a whole text may
    go on to a longer one.

    `places`: in how many places of it one may be at once where it may begin at any time, every repetition and rule
    written out; `ways`: the same where it begins once, less one. `written`: characters and sets, a rule as one.
    """

    empty: bool
    chars: _Ranges
    first: _Ranges
    goes_on: _Ranges = ()
    places: int = 1
    written: int = 1
    ways: int = 0
    recursive: bool = False


_EMPTY = _Shape(empty=True, chars=(), first=(), places=0, written=0)


def check_ways(node: Node, rules: Mapping[str, Node] | None = None) -> int:
    """The number of ways. GuideError where it is too many to follow, or the grammar too large to write out."""
    shapes = _Shapes(rules or {})
    for _ in range(_ROUNDS if rules else 1):
        shape = shapes.again(node)
    if shapes.written > MAX_WRITTEN:
        number = _shown(shapes.written)
        raise GuideError(
            f"it is too large: written out, its repetitions have {number} parts, and {MAX_WRITTEN} are allowed"
        )
    if shape.ways >= MAX_WAYS:
        raise GuideError(
            f"it is ambiguous: one text can match it in {_shown(shape.ways + 1)} ways at once, and {MAX_WAYS} are "
            "allowed; let repetitions end with a character that they do not contain"
        )
    return shape.ways + 1


def _shown(number: int) -> str:
    return str(number) if number < 10**9 else "over a billion"


class _Shapes:
    """`written`: of the largest part. A rule that leads to itself has there the shape of the last round."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        self._rules = rules
        self._known: dict[str, _Shape] = {}
        self._before: dict[str, _Shape] = {}
        self._open: set[str] = set()
        self.written = 0

    def again(self, node: Node) -> _Shape:
        self._before, self._known = self._known, {}
        return self._of(node)

    def _of(self, node: Node) -> _Shape:
        if isinstance(node, Text):
            return _text(node.value)
        if isinstance(node, Characters):
            return _Shape(empty=False, chars=node.ranges, first=node.ranges)
        if isinstance(node, Rule):
            return self._rule(node.name)
        if isinstance(node, Sequence):
            shape = _in_order(self._of(part) for part in node.parts)
        elif isinstance(node, Choice):
            shape = _either(node.options, [self._of(option) for option in node.options])
        else:
            shape = _repeated(self._of(node.body), node)
        self.written = max(self.written, shape.written)
        return shape

    def _rule(self, name: str) -> _Shape:
        if name in self._open or name not in self._rules:
            before = self._before.get(name, _Shape(empty=False, chars=(), first=()))
            return replace(before, places=1, written=1, ways=0, recursive=True)
        if name not in self._known:
            self._open.add(name)
            self._known[name] = self._of(self._rules[name])
            self._open.discard(name)
        return replace(self._known[name], written=1)


def _text(value: str) -> _Shape:
    if not value:
        return _EMPTY
    first = ((ord(value[0]), ord(value[0])),)
    most = max(map(value.count, set(value)))  # all those that one is in have the same character
    return _Shape(False, characters(*value).ranges, first, places=most, written=len(value))


def _in_order(parts: Iterable[_Shape]) -> _Shape:
    whole = _EMPTY
    for part in parts:
        whole = _joined(whole, part) if whole.places else part
    return whole


def _joined(one: _Shape, other: _Shape) -> _Shape:
    both = _overlap(one.goes_on, other.first)
    ways = one.ways + other.places if both else max(one.ways, other.ways)
    chars = _union(one.chars, other.chars)
    goes_on = _union(other.goes_on, _union(other.first, one.goes_on)) if other.empty else other.goes_on
    return _Shape(
        empty=one.empty and other.empty,
        chars=chars,
        first=_union(one.first, other.first) if one.empty else one.first,
        goes_on=chars if both else goes_on,
        places=one.places + other.places,
        written=one.written + other.written,
        ways=ways + (_RECURSIVE_WAYS if both and one.recursive else 0),
        recursive=one.recursive or other.recursive,
    )


def _either(options: Ordered[Node], shapes: list[_Shape]) -> _Shape:
    """Options that begin alike are followed together, until one of them is ruled out; texts, as one."""
    texts = [option.value for option in options if isinstance(option, Text)]
    chars: _Ranges = ()
    first: _Ranges = ()
    goes_on = _prefixes(texts)
    ways = alike = 0
    for option, shape in zip(options, shapes, strict=True):
        if not isinstance(option, Text) and _overlap(first, shape.first):
            alike += shape.ways + 1
            goes_on = _union(goes_on, _union(chars, shape.chars))
        ways = max(ways, shape.ways)
        chars, first = _union(chars, shape.chars), _union(first, shape.first)
        goes_on = _union(goes_on, shape.goes_on)
    empty = any(shape.empty for shape in shapes)
    return _Shape(
        empty=empty,
        chars=chars,
        first=first,
        goes_on=_union(goes_on, first) if empty else goes_on,
        places=sum(shape.places for shape in shapes),
        written=1 + sum(shape.written for shape in shapes),
        ways=ways + alike,
        recursive=any(shape.recursive for shape in shapes),
    )


def _prefixes(texts: list[str]) -> _Ranges:
    """The characters with which a text goes on to another one."""
    known, found = set(texts), set()
    for text in texts:
        found |= {text[length] for length in range(1, len(text)) if text[:length] in known}
    return characters(*found).ranges


def _repeated(body: _Shape, repeat: Repeat) -> _Shape:
    times = max(repeat.least, repeat.most or 1, 1)
    several = repeat.most is None or repeat.most > 1
    ways, goes_on = body.ways, body.goes_on
    if several and _overlap(_union(body.goes_on, body.first if body.empty else ()), body.first):
        ways = max(ways, body.places * times - 1, MAX_WAYS if body.recursive else 0)
        goes_on = body.chars
    elif repeat.least != repeat.most or body.empty:
        goes_on = _union(goes_on, body.first)
    return _Shape(
        empty=body.empty or repeat.least == 0,
        chars=body.chars,
        first=body.first,
        goes_on=goes_on,
        places=body.places * times,
        written=1 + body.written * times,
        ways=ways,
        recursive=body.recursive,
    )


def _union(one: _Ranges, other: _Ranges) -> _Ranges:
    if not one or not other or one == other:
        return one or other
    merged: list[tuple[int, int]] = []
    for low, high in sorted((*one, *other)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _overlap(one: _Ranges, other: _Ranges) -> bool:
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i][1] < other[j][0]:
            i += 1
        elif other[j][1] < one[i][0]:
            j += 1
        else:
            return True
    return False

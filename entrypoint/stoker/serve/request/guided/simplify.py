"""The same texts with less to follow: repetitions within repetitions become one wherever that says the same.

An engine follows every way in which a text may have come about. `(.*)*` has as many as the text has characters, and
`.*`, which matches the same texts, has one.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoker.serve.request.guided.grammar import (
    NOTHING,
    Characters,
    Choice,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
    characters,
    choice,
)


def simplified(node: Node) -> Node:
    """Of the same language. Rules are left as they are."""
    if isinstance(node, Sequence):
        return _sequence(simplified(part) for part in node.parts)
    if isinstance(node, Choice):
        return _choice(simplified(option) for option in node.options)
    if isinstance(node, Repeat):
        return _repeat(simplified(node.body), node.least, node.most)
    return node


def may_be_empty(node: Node) -> bool:
    """A rule counts as one that may not."""
    if isinstance(node, Text):
        return not node.value
    if isinstance(node, Characters | Rule):
        return False
    if isinstance(node, Choice):
        return any(map(may_be_empty, node.options))
    if isinstance(node, Repeat):
        return node.least == 0 or may_be_empty(node.body)
    return all(map(may_be_empty, node.parts))


def _sequence(parts: Iterable[Node]) -> Node:
    """X{a,b}X{c,d} is X{a+c,b+d}, and texts in a row are one."""
    kept: list[Node] = []
    for part in parts:
        for each in part.parts if isinstance(part, Sequence) else (part,):
            before = kept[-1] if kept else NOTHING
            if isinstance(before, Repeat) and isinstance(each, Repeat) and before.body == each.body:
                most = None if before.most is None or each.most is None else before.most + each.most
                kept[-1] = Repeat(each.body, before.least + each.least, most)
            elif isinstance(before, Text) and isinstance(each, Text) and kept:
                kept[-1] = Text(before.value + each.value)
            elif each != NOTHING:
                kept.append(each)
    return kept[0] if len(kept) == 1 else Sequence(tuple(kept)) if kept else NOTHING


def _choice(options: Iterable[Node]) -> Node:
    """Each option once, and single characters as one set."""
    singles: list[tuple[int, int]] = []
    others: dict[Node, None] = {}
    for option in options:
        for each in option.options if isinstance(option, Choice) else (option,):
            if isinstance(each, Characters):
                singles += each.ranges
            elif isinstance(each, Text) and len(each.value) == 1:
                singles.append((ord(each.value), ord(each.value)))
            else:
                others[each] = None
    merged = [_set_of(singles)] if singles else []
    return choice([*merged, *others])


def _set_of(ranges: list[tuple[int, int]]) -> Node:
    found = characters(*ranges)
    (low, high), more = found.ranges[0], len(found.ranges) > 1
    return found if more or low != high else Text(chr(low))


def _repeat(body: Node, least: int, most: int | None) -> Node:
    if body == NOTHING or most == 0:
        return NOTHING
    if may_be_empty(body):
        least = 0
    if most is None:
        body = _unstarred(body)
    if isinstance(body, Repeat) and _joins(body, least, most):
        most = None if most is None or body.most is None else most * body.most
        least = least * body.least
        body = body.body
    return body if (least, most) == (1, 1) else Repeat(body, least, most)


def _joins(inner: Repeat, least: int, most: int | None) -> bool:
    """Whether k times `inner`, for k from least to most, leaves out no number of its body in between."""
    if least == most:
        return True
    low, high = inner.least, inner.most
    after = max(least, 1)
    first = least > 0 or low <= 1
    return first and (high is None or most == after or (after + 1) * low <= after * high + 1)


def _unstarred(node: Node) -> Node:
    """What can be repeated without an end in its place: (X*Y*)* matches what (X|Y)* does."""
    if isinstance(node, Repeat) and node.least <= 1 and (node.most is None or node.most >= 1):
        return _unstarred(node.body)
    if isinstance(node, Choice):
        return _choice(_unstarred(option) for option in node.options if option != NOTHING)
    if isinstance(node, Sequence) and all(map(may_be_empty, node.parts)):
        return _choice(_unstarred(part) for part in node.parts)
    return node

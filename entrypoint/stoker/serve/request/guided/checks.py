"""Whether an engine can follow a grammar: it has a text that ends, and it is not so large that preparing it would hold
everybody up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from stoker.serve.request.guided.grammar import (
    NOTHING,
    Characters,
    Choice,
    Grammar,
    GuideError,
    Node,
    Repeat,
    Rule,
    Sequence,
    Text,
)

MAX_SIZE = 20_000  # characters and nodes, repetitions counted as often as they may be written out
MAX_RULES = 2_000
MAX_DEPTH = 200


class Parts:
    """Counts what is written, so that work on what would be too large in the end stops early; for all schemas of a
    request together."""

    def __init__(self) -> None:
        self._count = 0

    def counted(self, node: Node, where: str) -> Node:
        """Raises GuideError."""
        self._count += part_count(node)
        if self._count > MAX_SIZE:
            raise GuideError(f"{where[:200]}: the schema is too large: more than {MAX_SIZE} parts of a grammar")
        return node


def check_texts(texts: Collection[str], what: str) -> None:
    """Raises GuideError before any work where so many texts are too large a grammar anyway."""
    size = len(texts) + sum(map(len, texts))
    if size > MAX_SIZE:
        raise GuideError(f"{what} is too large: its texts have {size} characters and ends, and {MAX_SIZE} are allowed")


def check(rules: Mapping[str, Node]) -> None:
    """Raises GuideError."""
    _check_size(rules)
    _check_ends(rules)
    _check_left_recursion(rules)


def check_count(rules: Mapping[str, Node]) -> None:
    """Raises GuideError."""
    if len(rules) > MAX_RULES:
        raise GuideError(f"it is too large: its grammar has {len(rules)} rules, and {MAX_RULES} are allowed")


def _check_size(rules: Mapping[str, Node]) -> None:
    check_count(rules)
    size = sum(part_count(node) for node in rules.values())
    if size > MAX_SIZE:
        raise GuideError(f"it is too large: its grammar has {size} parts, and {MAX_SIZE} are allowed")


def part_count(node: Node, depth: int = 0) -> int:
    """What the engine makes of it: bounded repetitions are written out."""
    if depth > MAX_DEPTH:
        raise GuideError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(node, Text):
        return 1 + len(node.value)
    if isinstance(node, Characters):
        if not node.ranges:
            raise GuideError("a set of characters is empty")
        return 1 + len(node.ranges)
    if isinstance(node, Repeat):
        return 1 + part_count(node.body, depth + 1) * max(node.least + 1, node.most or 1)
    return 1 + sum(part_count(child, depth + 1) for child in _children(node))


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sequence):
        return node.parts
    if isinstance(node, Choice):
        return node.options
    return (node.body,) if isinstance(node, Repeat) else ()


def used_rules(grammar: Grammar) -> dict[str, Node]:
    """The rules that the root needs; GuideError if one is not there."""
    used: dict[str, Node] = {}
    ahead = _names(grammar.root, 0)
    while ahead:
        name = ahead.pop()
        if name not in grammar.rules:
            raise GuideError(f"the rule {name!r} is used and not defined")
        if name not in used:
            used[name] = grammar.rules[name]
            ahead |= _names(used[name], 0)
    return used


def _names(node: Node, depth: int) -> set[str]:
    if depth > MAX_DEPTH:
        raise GuideError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(node, Rule):
        return {node.name}
    return {name for child in _children(node) for name in _names(child, depth + 1)}


def _check_ends(rules: Mapping[str, Node]) -> None:
    """Every rule must have a text of finite length, or the engine could be led into one that never ends."""
    ending = _closure(rules, _ends)
    endless = sorted(set(rules) - ending)
    if endless:
        raise GuideError(f"no text of finite length fits it{f' (rule {endless[0]!r})' if endless[0] else ''}")


def _ends(node: Node, known: set[str]) -> bool:
    return _follows(node, known, lambda _: True)


def _follows(node: Node, known: set[str], of_leaf: Callable[[Text | Characters], bool]) -> bool:
    """What a node may do if one of its options may, or all of its parts may, or it need not be there."""
    if isinstance(node, Text | Characters):
        return of_leaf(node)
    if isinstance(node, Rule):
        return node.name in known
    if isinstance(node, Choice):
        return any(_follows(option, known, of_leaf) for option in node.options)
    if isinstance(node, Repeat):
        return node.least == 0 or _follows(node.body, known, of_leaf)
    return all(_follows(part, known, of_leaf) for part in node.parts)


def _closure(rules: Mapping[str, Node], holds: Callable[[Node, set[str]], bool]) -> set[str]:
    """The rules for which `holds` follows from those for which it holds already."""
    users: dict[str, set[str]] = {name: set() for name in rules}
    for name, node in rules.items():
        for used in _names(node, 0):
            users[used].add(name)
    known: set[str] = set()
    open_rules = list(rules)
    while open_rules:
        name = open_rules.pop()
        if name not in known and holds(rules[name], known):
            known.add(name)
            open_rules += users[name]
    return known


def _check_left_recursion(rules: Mapping[str, Node]) -> None:
    """A rule that may begin with itself."""
    empty = _closure(rules, _may_be_empty)
    done: set[str] = set()
    for start in rules:
        path: dict[str, Iterator[str]] = {} if start in done else {start: _leading(rules[start], empty)}
        while path:
            name, ahead = next(reversed(path.items()))
            following = next(ahead, None)
            if following is None:
                done.add(name)
                del path[name]
            elif following in path:
                raise GuideError(f"it refers to itself without an end (rule {following!r})")
            elif following not in done:
                path[following] = _leading(rules[following], empty)


def _may_be_empty(node: Node, known: set[str]) -> bool:
    return _follows(node, known, lambda leaf: leaf == NOTHING)


def _leading(node: Node, empty: set[str]) -> Iterator[str]:
    """The rules that may come first."""
    if isinstance(node, Rule):
        yield node.name
    elif isinstance(node, Sequence):
        for part in node.parts:
            yield from _leading(part, empty)
            if not _may_be_empty(part, empty):
                return
    else:
        for child in _children(node):
            yield from _leading(child, empty)

"""Random texts of a grammar."""

from __future__ import annotations

import random

from stoker.serve.request.guided.grammar import Characters, Choice, Grammar, Node, Repeat, Rule, Sequence, Text

ENOUGH = 30


def derive(grammar: Grammar, random_: random.Random, depth: int = 0) -> str:
    return _text(grammar.root, grammar, random_, depth)


def _text(node: Node, grammar: Grammar, random_: random.Random, depth: int) -> str:
    """Deep down, the shortest way out."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Characters):
        return chr(random_.randint(*random_.choice(node.ranges)))
    if isinstance(node, Rule):
        return _text(grammar.rules[node.name], grammar, random_, depth + 1)
    if isinstance(node, Sequence):
        return "".join(_text(part, grammar, random_, depth) for part in node.parts)
    if isinstance(node, Choice):
        options = [random_.choice(node.options)] if depth < ENOUGH else sorted(node.options, key=_weight)[:1]
        return _text(options[0], grammar, random_, depth)
    assert isinstance(node, Repeat)
    most = node.least + 3 if node.most is None else node.most
    times = node.least if depth > ENOUGH else random_.randint(node.least, most)
    return "".join(_text(node.body, grammar, random_, depth) for _ in range(times))


def _weight(node: Node) -> int:
    """Rules cost most, so that a recursion is left."""
    if isinstance(node, Rule):
        return 1000
    if isinstance(node, Sequence):
        return sum(map(_weight, node.parts))
    if isinstance(node, Choice):
        return min(map(_weight, node.options))
    return _weight(node.body) * node.least if isinstance(node, Repeat) else 1

"""Repetitions of hundreds or thousands, in a form that an engine follows as cheaply as an endless one.

The engine keeps a state for each repetition that is still open, so that {0,2000} costs it half a second a token, and
compiling {0,60} takes it 60 times 60 steps. In blocks, one after the other, there are never more than a few states; and
with about as many blocks as each is long, far fewer steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stoker.serve.request.guided.grammar import Choice, Grammar, Node, Repeat, Rule, Sequence, choice, sequence

PLAIN = 18  # repetitions that are left unchanged, the digits of numbers among them
SHORTEST, LONGEST = 8, 64


def in_blocks(grammar: Grammar) -> Grammar:
    """The same language."""
    rules: dict[Node, Rule] = {}
    root = _rewritten(grammar.root, rules)
    rewritten = {name: _rewritten(node, rules) for name, node in grammar.rules.items()}
    return Grammar(root, {**rewritten, **{rule.name: node for node, rule in rules.items()}})


def _rewritten(node: Node, rules: dict[Node, Rule]) -> Node:
    if isinstance(node, Sequence):
        return Sequence(tuple(_rewritten(part, rules) for part in node.parts))
    if isinstance(node, Choice):
        return Choice(tuple(_rewritten(option, rules) for option in node.options))
    if not isinstance(node, Repeat):
        return node
    node = replace(node, body=_rewritten(node.body, rules))
    times = max(node.least, node.most or 0)
    if times <= PLAIN:
        return node
    size = min(LONGEST, max(SHORTEST, math.isqrt(times)))
    body = _rule(node.body, rules)
    blocks = _Blocks(body, _rule(Repeat(body, size, size), rules), size)
    least = blocks.exactly(node.least)
    if node.most is None:
        return sequence(least, Repeat(body))
    return sequence(least, blocks.at_most(node.most - node.least))


def _rule(node: Node, rules: dict[Node, Rule]) -> Rule:
    """One for equal nodes."""
    return node if isinstance(node, Rule) else rules.setdefault(node, Rule(f"block{len(rules)}"))


@dataclass(frozen=True)
class _Blocks:
    """`block` is `size` times `body`."""

    body: Rule
    block: Rule
    size: int

    def exactly(self, count: int) -> Node:
        blocks, rest = divmod(count, self.size)
        return sequence(Repeat(self.block, blocks, blocks), Repeat(self.body, rest, rest))

    def at_most(self, count: int) -> Node:
        """Full blocks and then fewer than a block's; of the greatest number of blocks, only what is left."""
        blocks, rest = divmod(count, self.size)
        full = sequence(Repeat(self.block, blocks, blocks), Repeat(self.body, 0, rest))
        if not blocks:
            return full
        return choice([sequence(Repeat(self.block, 0, blocks - 1), Repeat(self.body, 0, self.size - 1)), full])

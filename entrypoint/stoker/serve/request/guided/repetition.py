"""Repetitions of hundreds or thousands, in a form that an engine follows as cheaply as an endless one.

The engine keeps a state for each repetition that is still open, so that {0,2000} costs it half a second a token. In
blocks of 64, one after the other, there are never more than a few.
"""

from __future__ import annotations

from dataclasses import replace

from stoker.serve.request.guided.grammar import Choice, Grammar, Node, Repeat, Rule, Sequence, choice, sequence

BLOCK = 64


def in_blocks(grammar: Grammar) -> Grammar:
    """The same language."""
    rules: dict[str, Node] = {}
    root = _rewritten(grammar.root, rules)
    rewritten = {name: _rewritten(node, rules) for name, node in grammar.rules.items()}
    return Grammar(root, {**rewritten, **rules})


def _rewritten(node: Node, rules: dict[str, Node]) -> Node:
    if isinstance(node, Sequence):
        return Sequence(tuple(_rewritten(part, rules) for part in node.parts))
    if isinstance(node, Choice):
        return Choice(tuple(_rewritten(option, rules) for option in node.options))
    if not isinstance(node, Repeat):
        return node
    node = replace(node, body=_rewritten(node.body, rules))
    if max(node.least, node.most or 0) <= BLOCK:
        return node
    body = _rule(node.body, rules)
    block = _rule(Repeat(body, BLOCK, BLOCK), rules)
    least = _exactly(node.least, body, block)
    if node.most is None:
        return sequence(least, Repeat(body))
    return sequence(least, _at_most(node.most - node.least, body, block))


def _rule(node: Node, rules: dict[str, Node]) -> Rule:
    rule = Rule(f"block{len(rules)}")
    rules[rule.name] = node
    return rule


def _exactly(count: int, body: Node, block: Node) -> Node:
    blocks, rest = divmod(count, BLOCK)
    return sequence(Repeat(block, blocks, blocks), Repeat(body, rest, rest))


def _at_most(count: int, body: Node, block: Node) -> Node:
    """Full blocks and then fewer than a block's; of the greatest number of blocks, only what is left."""
    blocks, rest = divmod(count, BLOCK)
    full = sequence(Repeat(block, blocks, blocks), Repeat(body, 0, rest))
    return choice([sequence(Repeat(block, 0, blocks - 1), Repeat(body, 0, BLOCK - 1)), full]) if blocks else full

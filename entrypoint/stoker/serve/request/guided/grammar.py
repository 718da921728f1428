"""A context-free grammar as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


class GuideError(ValueError):
    """What was asked for cannot be made into a grammar; the text says what and where."""


@dataclass(frozen=True)
class Text:
    """Exactly this."""

    value: str


@dataclass(frozen=True)
class Characters:
    """One character of these code point ranges, which are sorted, apart, and include both ends."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`most` is None for any number."""

    body: Node
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Rule:
    name: str


Node: TypeAlias = Text | Characters | Sequence | Choice | Repeat | Rule

NOTHING = Text("")


@dataclass(frozen=True)
class Grammar:
    root: Node
    rules: Mapping[str, Node]


def sequence(*parts: Node | str) -> Node:
    return Sequence(tuple(Text(part) if isinstance(part, str) else part for part in parts))


def choice(options: Iterable[Node]) -> Node:
    options = tuple(options)
    return options[0] if len(options) == 1 else Choice(options)


def optional(node: Node) -> Node:
    return Repeat(node, 0, 1)


def characters(*ranges: tuple[int, int] | str) -> Characters:
    """Of single characters, strings of two as "az", or pairs of code points."""
    pairs = [(ord(item[0]), ord(item[-1])) if isinstance(item, str) else item for item in ranges]
    return Characters(_merged(pairs))


def without(those: Characters, *others: tuple[int, int]) -> Characters:
    ranges = list(those.ranges)
    for low, high in others:
        ranges = [part for pair in ranges for part in _cut(pair, low, high)]
    return Characters(tuple(ranges))


def complement(those: Characters) -> Characters:
    """All other characters; of the control characters, NUL is never one."""
    return without(Characters(((1, LAST_CHARACTER),)), *those.ranges, _SURROGATES)


def _merged(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _cut(pair: tuple[int, int], low: int, high: int) -> list[tuple[int, int]]:
    """The pair without low..high."""
    below, above = (pair[0], min(pair[1], low - 1)), (max(pair[0], high + 1), pair[1])
    return [part for part in (below, above) if part[0] <= part[1]]


ANY_CHARACTER = complement(Characters(()))

"""Free text without certain marks: those that begin a call, or end thinking.

Written with repetitions only. A rule that refers to itself for each character would leave the engine with as many open
rules as the text has characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from stoker.serve.request.guided.grammar import (
    Characters,
    Node,
    Repeat,
    Text,
    characters,
    choice,
    complement,
    optional,
    sequence,
)

# What str.strip takes for blanks, without the control characters that no text has.
BLANK = characters((9, 13), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
                   (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))  # fmt: skip

_Trie: TypeAlias = "dict[str, _Trie]"


def text_without(marks: Sequence[str]) -> Node:
    """No mark begins with a character that is anywhere else in one: what goes another way than a mark after its
    beginning is then back at the start, or at the beginning of another."""
    trie, firsts = _trie(marks), _firsts(marks)
    return sequence(Repeat(_piece(trie, firsts, complement(firsts))), Repeat(_beginning(trie)))


def text_not_begun_with(starts: Sequence[str], marks: Sequence[str]) -> Node:
    """The same, and its first characters past blanks are none of `starts`, which are single characters."""
    trie, firsts = _trie(marks), _firsts(marks)
    first = complement(characters(*firsts.ranges, *BLANK.ranges, *starts))
    begun = sequence(_piece(trie, firsts, first), Repeat(_piece(trie, firsts, complement(firsts))))
    return sequence(Repeat(BLANK), optional(begun), Repeat(_beginning(trie)))


def _piece(trie: _Trie, firsts: Characters, other: Characters) -> Node:
    """One character that begins no mark, or beginnings of marks that go another way."""
    return choice([other, sequence(Repeat(_beginning(trie)), _astray(trie, firsts))])


def _beginning(trie: _Trie) -> Node:
    """What a mark begins with, short of all of it."""
    return choice([_followed(first, below) for first, below in trie.items() if below])


def _followed(first: str, below: _Trie) -> Node:
    return sequence(first, optional(_beginning(below))) if any(below.values()) else Text(first)


def _astray(trie: _Trie, firsts: Characters) -> Node:
    """A beginning, and a character with which no mark goes on or begins."""
    return choice([sequence(first, _turned(below, firsts)) for first, below in trie.items() if below])


def _turned(below: _Trie, firsts: Characters) -> Node:
    other = complement(characters(*firsts.ranges, *below))
    return choice([other, _astray(below, firsts)]) if any(below.values()) else other


def _trie(marks: Sequence[str]) -> _Trie:
    trie: _Trie = {}
    for mark in marks:
        below = trie
        for character in mark:
            below = below.setdefault(character, {})
    return trie


def _firsts(marks: Sequence[str]) -> Characters:
    return characters(*(mark[0] for mark in marks))

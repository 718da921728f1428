"""Which replica takes a request: the one that has the fewest tokens to read before the request's own first token.

Those tokens are the prompts that wait there, and what the replica's cache does not hold of the request's own prompt. So
a replica that holds the beginning of a conversation takes its next turn, but not where others would begin it sooner.
Replicas that run more sequences than the least busy one, by more than a few, are passed over: their steps take longer.
Pure, except for what it remembers.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HASHED_BLOCKS = 256
"""Of a prompt's beginning; what is behind it makes no difference to the choice."""


SLACK = 0.25
"""Sequences come and go: with less, replicas that hold a conversation are passed over for a difference that ends a
moment later. docs/performance.md has what it is worth."""


@dataclass(frozen=True)
class Load:
    """`sequences` of requests that the replica has, and the tokens of those prompts that it has not begun to answer."""

    sequences: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Route:
    """`tokens`: of the prompt, those that the replica has to read."""

    replica: int
    tokens: int


class Prefixes:
    """Beginnings of prompts that one replica has read of late, by their hashes: no more than its cache has blocks."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._seen: OrderedDict[int, None] = OrderedDict()

    def held(self, hashes: Sequence[int]) -> int:
        """Leading blocks of the prompt."""
        return next((index for index, each in enumerate(hashes) if each not in self._seen), len(hashes))

    def add(self, hashes: Sequence[int]) -> None:
        """The end of a prompt is forgotten before its beginning, without which it would be of no use."""
        for each in reversed(hashes):
            self._seen[each] = None
            self._seen.move_to_end(each)
        while len(self._seen) > self._blocks:
            self._seen.popitem(last=False)

    def clear(self) -> None:
        self._seen.clear()


def block_hashes(prompt: Sequence[int], block_tokens: int, adapter: int = 0) -> list[int]:
    """Of each whole block together with all before it, by the adapter that reads them. The last token is never in the
    cache: it gives the answer."""
    if block_tokens < 1:
        return []
    count = min((len(prompt) - 1) // block_tokens, HASHED_BLOCKS)
    ids, size = array("q", prompt[: max(count, 0) * block_tokens]).tobytes(), block_tokens * array("q").itemsize
    found, last = [], adapter
    for start in range(0, len(ids), size):
        last = hash((last, ids[start : start + size]))
        found.append(last)
    return found


class Router:
    """`blocks` of `block_tokens` tokens in each replica's cache; 0 without prefix caching. `slack`: the part of the
    least busy replica's sequences, one at least, that another may have more and still be chosen."""

    def __init__(self, replicas: int, blocks: int = 0, block_tokens: int = 0, slack: float = SLACK) -> None:
        self._prefixes = [Prefixes(blocks) for _ in range(replicas)]
        self._block_tokens = block_tokens if blocks else 0
        self._slack = slack
        self._turn = 0

    @property
    def block_tokens(self) -> int:
        """0 where prefixes make no difference."""
        return self._block_tokens

    def choose(self, prompt: Sequence[int], loads: Mapping[int, Load], adapter: int = 0) -> Route:
        """`loads`: of the replicas that take requests, at least one; the chosen one is taken to read the prompt.
        `adapter`: the number of the one that is to answer, 0 for the model as it is."""
        return self.place(len(prompt), block_hashes(prompt, self._block_tokens, adapter), loads)

    def place(self, length: int, hashes: Sequence[int], loads: Mapping[int, Load]) -> Route:
        """`choose`, of a prompt whose `block_hashes` are known."""
        least = min(load.sequences for load in loads.values())
        most = least + max(1, int(least * self._slack))
        near = {each: load for each, load in loads.items() if load.sequences <= most}
        own = {each: length - self._prefixes[each].held(hashes) * self._block_tokens for each in near}
        chosen = min(near, key=lambda each: (near[each].waiting + own[each], near[each].sequences, self._order(each)))
        self._prefixes[chosen].add(hashes)
        self._turn = chosen + 1
        return Route(chosen, own[chosen])

    def _order(self, replica: int) -> int:
        """Equal ones take turns."""
        return (replica - self._turn) % len(self._prefixes)

    def forget(self, replica: int) -> None:
        """Its cache is lost."""
        self._prefixes[replica].clear()

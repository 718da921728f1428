"""What an engine's KV cache holds, by what it was given to compute: for routers that send a prompt where its prefix is.

No engine of ours is asked. An engine with a prefix cache keeps the full blocks of every sequence that it computed, and
gives up those used least recently when it needs room. So does this account. It may be wrong where an engine evicts in
another order, or earlier because running sequences take the room; a wrong guess costs a router's advantage, never a
right answer.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from stoker.launch.generation import Delta, EngineClient, EngineState, Generation

_HASH_BYTES = 8


@dataclass(frozen=True)
class Stored:
    """Blocks that follow one another: all their ids, a hash for each block, and that of the block before them."""

    ids: Sequence[int]
    hashes: Sequence[int]
    parent: int | None


@dataclass(frozen=True)
class Removed:
    hashes: Sequence[int]


class PrefixAccount:
    """`tell` hears of each change. `blocks`: how many of `block_tokens` tokens the cache has."""

    def __init__(self, blocks: int, block_tokens: int, tell: Callable[[Stored | Removed], None]) -> None:
        self._blocks = blocks
        self._block_tokens = block_tokens
        self._tell = tell
        self._held: OrderedDict[int, None] = OrderedDict()  # used least recently first
        self._found = self._asked = 0

    @property
    def hit_rate(self) -> float | None:
        """Of the prompts' full blocks so far, the share that was held already; None before there were any."""
        return self._found / self._asked if self._asked else None

    def began(self, prompt: Sequence[int]) -> None:
        """A prompt was computed, or found."""
        hashes = self._hashes(prompt)
        self._asked += len(hashes)
        self._found += next((at for at, each in enumerate(hashes) if each not in self._held), len(hashes))
        self._computed(prompt, hashes)

    def went_on(self, ids: Sequence[int]) -> None:
        """A sequence came to these ids, its prompt among them."""
        self._computed(ids, self._hashes(ids))

    def _computed(self, ids: Sequence[int], hashes: Sequence[int]) -> None:
        hashes = hashes[: self._blocks]
        new = next((at for at, each in enumerate(hashes) if each not in self._held), len(hashes))
        for each in reversed(hashes):  # a block is given up before the one that it follows
            self._held[each] = None
            self._held.move_to_end(each)
        if new < len(hashes):
            size = self._block_tokens
            parent = hashes[new - 1] if new else None
            self._tell(Stored(ids[new * size : len(hashes) * size], hashes[new:], parent))
        self._make_room()

    def _make_room(self) -> None:
        surplus = len(self._held) - self._blocks
        if surplus > 0:
            self._tell(Removed([self._held.popitem(last=False)[0] for _ in range(surplus)]))

    def clear(self) -> None:
        """The engine was started anew."""
        if self._held:
            self._tell(Removed(list(self._held)))
        self._held.clear()

    def _hashes(self, ids: Sequence[int]) -> list[int]:
        """For each full block, of it and all before it; 64 bits with a sign."""
        size, found, above = self._block_tokens, [], b""
        for end in range(size, len(ids) + 1, size):
            above = hashlib.blake2b(
                above + array("i", ids[end - size : end]).tobytes(), digest_size=_HASH_BYTES
            ).digest()
            found.append(int.from_bytes(above, "little", signed=True))
        return found


class Accounted:
    """An engine whose sequences are accounted for."""

    def __init__(self, engine: EngineClient, account: PrefixAccount) -> None:
        self._engine = engine
        self._account = account

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        ids = list(generation.input_ids)
        prompt = len(ids)
        try:
            async with aclosing(self._engine.generate(generation)) as deltas:
                async for delta in deltas:
                    if len(ids) == prompt and delta.ids:
                        self._account.began(ids)
                    ids += delta.ids
                    yield delta
        finally:
            if len(ids) > prompt:
                self._account.went_on(ids[:-1])  # nothing was computed of the last one

    async def state(self) -> EngineState:
        return await self._engine.state()

"""The engine as an API process has it: its own connections to each replica, and routes by the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from stoker.launch.client import TritonClient
from stoker.launch.generation import Delta, EngineState, Generation
from stoker.launch.replicas import Address
from stoker.launch.routing import block_hashes
from stoker.launch.suspects import grammar_of
from stoker.workers.link import Link

_ALIVE_EVERY = 1.0


class WorkerEngine:
    """An EngineClient. `block_tokens`: what prompts are hashed by to be routed. Tokens come from a replica to this one
    alone; the server hears of them once a second, as its supervisors take silence for death."""

    def __init__(self, link: Link, addresses: Mapping[int, Address], block_tokens: int) -> None:
        self._link = link
        self._block_tokens = block_tokens
        self._clients = [TritonClient() for _ in addresses]
        self._told = [0.0 for _ in addresses]
        self._changes: asyncio.Queue[tuple[int, Address]] = asyncio.Queue()
        for number, address in addresses.items():
            self.follow(number, address)
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._tell_alive())]

    def follow(self, number: int, address: Address) -> None:
        """A replica's server was started or has ended."""
        self._changes.put_nowait((number, address))

    async def _keep_up(self) -> None:
        where: dict[int, str] = {}
        while True:
            number, address = await self._changes.get()
            if where.get(number) == address.grpc:
                continue
            where[number] = address.grpc
            await self._clients[number].detach(address.reason or "it was replaced")
            if address.grpc:
                self._clients[number].attach(address.grpc, address.metrics)

    async def _tell_alive(self) -> None:
        while True:
            await asyncio.sleep(_ALIVE_EVERY)
            for number, client in enumerate(self._clients):
                if client.last_token > self._told[number]:
                    self._told[number] = client.last_token
                    self._link.tell("alive", number)

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        """Closing it early cancels the request. The server knows of it only where it has something to decide."""
        grammar = grammar_of(generation)
        if len(self._clients) == 1 and not grammar:
            async with aclosing(self._clients[0].generate(generation)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        adapter = generation.adapter.number if generation.adapter else 0
        hashes = block_hashes(generation.input_ids, self._block_tokens, adapter)
        async with self._link.holding("route", len(generation.input_ids), hashes, grammar) as route:
            replica, ticket = route.value
            begun = False
            async with aclosing(self._clients[replica].generate(generation)) as deltas:
                async for delta in deltas:
                    if not begun:
                        begun = True
                        self._link.tell("begun", ticket)
                    yield delta

    async def state(self) -> EngineState:
        raise NotImplementedError("the server's own process asks the engine how it is")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            await client.detach("another engine takes its place")

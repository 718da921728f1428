"""Dynamo's process: `python -m stoker.fleet.dynamo.worker FD`, in an environment that has ai-dynamo.

It registers the engine that Stoker serves, and hands every request on to Stoker over the socket FD (wire.py). It needs
of Stoker only what process.py names in SOURCE. Dynamo's own Worker handles discovery, signals and transport.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import uvloop
from dynamo.common.backend import EngineConfig, LLMEngine, LlmRegistration, Worker, WorkerConfig
from dynamo.common.backend.publisher import ComponentSnapshot, PushSource
from dynamo.common.utils.token_ids import normalize_request_token_ids
from dynamo.llm.exceptions import Disconnected, DynamoException, EngineShutdown, InvalidArgument, WorkerUnavailable

from stoker.fleet.dynamo import wire
from stoker.fleet.dynamo.wire import Wire

_ERRORS: dict[str, type[DynamoException]] = {
    wire.INVALID: InvalidArgument,
    wire.BUSY: WorkerUnavailable,
    wire.GONE: EngineShutdown,  # another worker may take the request over
}
_LOOK_EVERY = 0.05

logger = logging.getLogger("stoker.dynamo")


class StokerEngine(LLMEngine):  # type: ignore[misc]
    """Stoker's engine, as Dynamo's Worker drives one. `facts` are those of wire.START."""

    def __init__(self, connection: Wire, facts: dict[str, Any]) -> None:
        self._wire = connection
        self._facts = facts
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[list[Any]]] = {}
        self._kv: Any = None
        self._load: Any = None
        self._endpoint: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: asyncio.Queue[int] = asyncio.Queue()
        self._ending = False

    @classmethod
    async def from_args(cls, argv: list[str] | None = None) -> tuple[StokerEngine, WorkerConfig]:
        raise NotImplementedError("it is given its facts over the wire")

    async def start(self, worker_id: int) -> EngineConfig:  # noqa: ARG002 (Dynamo calls it with that name)
        facts = self._facts
        return EngineConfig(
            model=facts["directory"],
            served_model_name=facts["name"],
            llm=LlmRegistration(
                context_length=facts["context"],
                kv_cache_block_size=facts["block_tokens"],
                total_kv_blocks=facts["blocks"],
                max_num_seqs=facts["sequences"],
                max_num_batched_tokens=facts["step_tokens"],
            ),
        )

    async def generate(self, request: Any, context: Any) -> AsyncGenerator[dict[str, Any], None]:
        normalize_request_token_ids(request)
        number = next(self._numbers)
        answers = self._answers[number] = asyncio.Queue()
        self._wire.send(wire.GENERATE, number, dict(request))
        stopped = asyncio.ensure_future(context.async_killed_or_stopped())
        ended = False
        try:
            async for chunk in _chunks(answers, stopped):
                yield chunk
            ended = not stopped.done()
        finally:
            stopped.cancel()
            del self._answers[number]
            if not ended:
                self._wire.send(wire.CANCEL, number)
            self._tell_end()

    def _tell_end(self) -> None:
        if self._ending and not self._answers:
            self._wire.send(wire.ENDED)

    async def kv_event_sources(self) -> list[PushSource]:
        return [PushSource(on_ready=self._take_publisher)] if self._facts["reuses"] else []

    def _take_publisher(self, publisher: Any) -> None:
        self._kv = publisher

    def component_metrics_dp_ranks(self) -> list[int]:
        return [0]

    def attach_snapshot_publisher(self, publisher: Any) -> None:
        self._load = publisher

    async def on_endpoint_ready(self, endpoint: Any) -> None:
        self._endpoint = endpoint
        self._tasks = {_task(self._join()), _task(self._follow_orders())}

    async def _join(self) -> None:
        """Tells Stoker once others can see this instance."""
        client = await self._endpoint.client()
        while self._endpoint.connection_id() not in client.instance_ids():
            await asyncio.sleep(_LOOK_EVERY)
        self._wire.send(wire.JOINED, self._endpoint.connection_id())

    async def _follow_orders(self) -> None:
        """One after another, so that a LEAVE and a JOIN do not overtake each other."""
        while True:
            if await self._orders.get() == wire.JOIN:
                await self._endpoint.register_endpoint_instance()
                await self._join()
            else:
                await self._endpoint.unregister_endpoint_instance()
                self._wire.send(wire.LEFT)

    async def listen(self) -> None:
        """Until Stoker exits, and this process with it."""
        while (message := await self._wire.receive()) is not None:
            self._hear(message)
        for answers in self._answers.values():
            answers.put_nowait([wire.FAILED, 0, wire.GONE, "Stoker ended"])
        _end()

    def _hear(self, message: list[Any]) -> None:
        kind = message[0]
        if kind in (wire.CHUNK, wire.FAILED):
            answers = self._answers.get(message[1])
            if answers is not None:
                answers.put_nowait(message)
        elif kind in (wire.STORED, wire.REMOVED):
            self._publish(message)
        elif kind == wire.LOAD and self._load is not None:
            used, blocks, hits = message[1:4]
            self._load.publish(0, ComponentSnapshot(used, blocks, used / blocks if blocks else 0.0, 0, hits))
        elif kind in (wire.LEAVE, wire.JOIN):
            self._orders.put_nowait(kind)
        elif kind == wire.END:
            self._ending = True
            self._tell_end()

    def _publish(self, message: list[Any]) -> None:
        if self._kv is None:
            return
        if message[0] == wire.REMOVED:
            self._kv.publish_removed(message[1])
            return
        size = self._facts["block_tokens"]
        for ids, hashes, parent in message[1]:
            self._kv.publish_stored(ids, [size] * len(hashes), hashes, parent)

    async def cleanup(self) -> None:
        for task in self._tasks:
            task.cancel()


def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """This process ends where the work fails, since it would be in no routes, or never leave them. Stoker starts
    another."""
    task = asyncio.create_task(work)
    task.add_done_callback(_end_where_failed)
    return task


def _end_where_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("Stoker's worker of Dynamo failed", exc_info=error)
        _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _chunks(
    answers: asyncio.Queue[list[Any]], stopped: asyncio.Future[Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """As Dynamo wants them, until the answer has ended or the request was cancelled."""
    while True:
        waiting = asyncio.ensure_future(answers.get())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            return
        message = waiting.result()
        if message[0] == wire.FAILED:
            raise _ERRORS.get(message[2], Disconnected)(message[3])
        chunk = chunk_of(message)
        yield chunk
        if "finish_reason" in chunk:
            return


def chunk_of(message: list[Any]) -> dict[str, Any]:
    """Dynamo's form of wire.CHUNK."""
    _, _, index, ids, log_probs, top, reason, prompt, tokens = message
    chunk: dict[str, Any] = {"index": index, "token_ids": ids}
    if log_probs is not None:
        chunk["log_probs"] = log_probs
    if top is not None:
        chunk["top_logprobs"] = [
            [
                {"rank": rank, "token_id": id_, "token": f"token_id:{id_}", "logprob": value}
                for rank, (id_, value) in enumerate(place, 1)
            ]
            for place in top
        ]
    if reason is not None:
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        chunk |= {"finish_reason": reason, "completion_usage": usage}
    return chunk


async def serve(descriptor: int) -> None:
    """Until SIGTERM, or until Stoker exits."""
    connection = socket.socket(fileno=descriptor)
    link = Wire(*await asyncio.open_connection(sock=connection))
    first = await link.receive()
    if first is None:
        return
    facts: dict[str, Any] = first[1]
    engine = StokerEngine(link, facts)
    config = WorkerConfig(
        namespace=facts["namespace"],
        component=facts["component"],
        model_name=facts["directory"],
        served_model_name=facts["name"],
        endpoint_types=facts["endpoints"],
        tool_call_parser=facts["tool_parser"],
        reasoning_parser=facts["reasoning_parser"],
        **facts["planes"],
    )
    listening = _task(engine.listen())
    try:
        await Worker(engine, config).run()
    finally:
        listening.cancel()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

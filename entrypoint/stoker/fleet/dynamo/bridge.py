"""Stoker's side of Dynamo: keeps its process running, answers what it hands on, and tells it of cache and load."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from stoker.backoff import backoff
from stoker.errors import StokerError
from stoker.fleet.dynamo import wire
from stoker.fleet.dynamo.facts import Facts
from stoker.fleet.dynamo.process import DynamoProcess, start_process
from stoker.fleet.dynamo.requests import completion_of
from stoker.fleet.prefixes import Accounted, PrefixAccount, Removed, Stored
from stoker.launch.generation import EngineClient
from stoker.serve.generate.tokens import TokenPiece, token_answer
from stoker.serve.http.errors import ApiError, from_stoker
from stoker.serve.http.ignored import begin
from stoker.serve.http.limits import Call
from stoker.serve.operate.observation import engine_state
from stoker.serve.operate.service import Service
from stoker.serve.request.lanes import CLIENT
from stoker.serve.request.preparation import prepare_completion

_LOG = logging.getLogger("stoker.dynamo")
_CLIENT = "dynamo"
_LOOK_EVERY, _TELL_EVERY = 0.1, 0.5
_LEAVE_SECONDS = 5.0
_END_SECONDS = 2.0
_ON_THE_WAY_SECONDS = 0.5  # a router that has not heard of it yet may still send a request
_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0


class DynamoBridge:
    """One engine's. All of it belongs to the server's event loop."""

    def __init__(self, service: Service, facts: Facts, model: Path) -> None:
        self._service = service
        self._model = model
        self._facts = facts
        self._account = PrefixAccount(facts.blocks, facts.block_tokens, self._changed) if facts.reuses else None
        self._process: DynamoProcess | None = None
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._work: asyncio.Task[None] | None = None
        self._leaving = False
        self._left = asyncio.Event()
        self._ended = asyncio.Event()
        self._joined = False

    def observe(self, engine: EngineClient) -> EngineClient:
        """The engine, with what its cache holds accounted for."""
        return engine if self._account is None else Accounted(engine, self._account)

    def start(self) -> None:
        self._work = asyncio.create_task(self._keep())

    async def leave(self) -> None:
        """Out of the routes: returns when no more requests are on their way here, or after some seconds."""
        self._leaving = True
        if self._process is None or not self._joined:
            return
        self._send(wire.LEAVE)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._left.wait(), _LEAVE_SECONDS)
            _LOG.info("left Dynamo's namespace %s", self._facts.namespace)
            await asyncio.sleep(_ON_THE_WAY_SECONDS)

    async def stop(self) -> None:
        """Ends its requests and its process. What has been answered is handed on first."""
        self._leaving = True
        if self._process is not None and not self._answers:
            self._send(wire.END)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _END_SECONDS)
        tasks = [*self._answers.values(), *([self._work] if self._work else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._process is not None:
            await self._process.stop()

    async def _keep(self) -> None:
        """Starts the process, and again when it ends."""
        failures = 0
        while not self._leaving:
            began = time.monotonic()
            try:
                await self._run()
            except StokerError as error:
                _LOG.error("not a worker of Dynamo: %s", error)
            except Exception:  # whatever it is, the next process may do better
                _LOG.exception("not a worker of Dynamo")
            failures = 0 if time.monotonic() - began > _LONGEST_BACKOFF else failures + 1
            await asyncio.sleep(backoff(failures, _BACKOFF, _LONGEST_BACKOFF))

    async def _run(self) -> None:
        """One process, from its start to its end."""
        process = self._process = await start_process(self._model)
        process.wire.send(wire.START, self._facts.document())
        if self._account is not None:
            self._account.clear()
        telling = asyncio.create_task(self._tell())
        try:
            while (message := await process.wire.receive()) is not None:
                self._hear(message)
        except Exception:
            _LOG.exception("what Dynamo's process said makes no sense")
        finally:
            telling.cancel()
        self._process, self._joined = None, False
        for task in tuple(self._answers.values()):
            task.cancel()
        await process.stop()
        _LOG.error("Dynamo's process ended with code %d; its requests ended with it", await process.wait())

    def _send(self, *message: object) -> None:
        if self._process is not None:
            self._process.wire.send(*message)

    def _changed(self, change: Stored | Removed) -> None:
        if isinstance(change, Removed):
            self._send(wire.REMOVED, list(change.hashes))
        else:
            self._send(wire.STORED, [[list(change.ids), list(change.hashes), change.parent]])

    def _hear(self, message: list[Any]) -> None:
        kind, number = message[0], message[1] if len(message) > 1 else 0
        if kind == wire.GENERATE:
            task = self._answers[number] = asyncio.create_task(self._answer(number, message[2]))
            task.add_done_callback(lambda _: self._answers.pop(number, None))
        elif kind == wire.CANCEL and number in self._answers:
            self._answers[number].cancel()
        elif kind == wire.JOINED:
            self._joined = True
            _LOG.info("joined Dynamo's namespace %s as instance %x", self._facts.namespace, number)
        elif kind == wire.LEFT:
            self._joined = False
            self._left.set()
        elif kind == wire.ENDED:
            self._ended.set()

    async def _tell(self) -> None:
        """How full the engine is, and whether it takes requests: one that is being restarted is out of the routes."""
        told, lifecycle, ready = -math.inf, self._service.lifecycle, True
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if lifecycle.ready != ready and not self._leaving:
                ready = lifecycle.ready
                self._send(wire.JOIN if ready else wire.LEAVE)
                if self._account is not None and not ready:
                    self._account.clear()
            if time.monotonic() - told >= _TELL_EVERY:
                told = time.monotonic()
                await self._tell_load()

    async def _tell_load(self) -> None:
        state = await engine_state(self._service)
        if state is not None:
            rate = self._account.hit_rate if self._account else None
            self._send(wire.LOAD, state.kv_blocks_used, state.kv_blocks_total, rate)

    async def _answer(self, number: int, request: dict[str, object]) -> None:
        CLIENT.set(_CLIENT)
        begin(reject=False)
        try:
            with self._service.lifecycle.admit() as serving:
                call = Call(_CLIENT, self._service.limits.seconds or math.inf, time.perf_counter())
                wanted = completion_of(request, serving.frontend.names[0])
                job = await prepare_completion(wanted, serving.frontend, call)
                async with aclosing(token_answer(self._service, serving, job, call)) as events:
                    async for index, piece in events:
                        self._send(*_chunk(number, index, piece, job.prompt_tokens))
        except (ApiError, StokerError) as error:
            kind, text = _told(error)
            self._send(wire.FAILED, number, kind, text)
        except Exception as error:
            _LOG.error("a request of Dynamo's failed", exc_info=error)
            self._send(wire.FAILED, number, wire.BROKEN, "the server failed on this request; its log has the details")


def _chunk(number: int, index: int, piece: TokenPiece, prompt: int) -> tuple[object, ...]:
    log_probs = None if piece.log_probs is None else list(piece.log_probs)
    top = None if not piece.top else [list(place) for place in piece.top]
    return (wire.CHUNK, number, index, list(piece.ids), log_probs, top, piece.finish_reason, prompt, piece.tokens)


def _told(error: ApiError | StokerError) -> tuple[str, str]:
    """What kind of failure it is to Dynamo, and its text."""
    known = error if isinstance(error, ApiError) else from_stoker(error)
    if known.status < 500 and known.status != 429:
        return wire.INVALID, known.message
    if known.code in ("engine_died", "draining", "not_ready"):
        return wire.GONE, known.message
    return wire.BUSY if known.status in (429, 503) else wire.BROKEN, known.message

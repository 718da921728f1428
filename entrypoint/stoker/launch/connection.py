"""A connection to one Triton, for as long as that lives.

Where the model has it, everything goes through the multiplexed stream (channel.py); else each request has a call of its
own, one ModelStreamInfer stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

# The server is started by fork and exec, for which gRPC's handlers are of no use; they only complain.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from stoker.errors import StokerError
from stoker.launch import contract
from stoker.launch.adapter_tensors import read_tensors
from stoker.launch.channel import Call, Channel
from stoker.launch.generation import Adapter, Delta, EngineDiedError, Generation, RequestRefusedError, died
from stoker.launch.messages import append_adapter, encode_request, encode_stop, error_of, perf_metrics

if TYPE_CHECKING:
    from grpc.aio import EOFType

Message: TypeAlias = "service_pb2.ModelStreamInferResponse | EOFType"

# A server listens once its model is loaded. gRPC would try more and more seldom meanwhile, at last every two minutes.
_RETRY_MS = 100
_CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", _RETRY_MS),
    ("grpc.max_reconnect_backoff_ms", _RETRY_MS),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_STOP_SECONDS = 10.0
_TOLD_ONCE = frozenset({contract.REUSED_BLOCKS, *contract.TIMES})
_ENDS = (grpc.aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError, EngineDiedError)


class _Messages:
    """Those of a call, which are read to its end by a task of their own, whoever waits for them meanwhile.

    A stream is left to end by itself: Triton 2.51 never frees what it keeps of one, some kilobytes, when that is
    cancelled between its last response and its end; and grpc.aio, which cancels a call with the task that waits for its
    next message, never frees that message.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._read: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self.ended = asyncio.get_running_loop().create_future()

    async def next(self) -> Message:
        """grpc.aio.EOF at the end. Raises what reading raised."""
        if not self._read:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        message = self._read[0]
        if message is not grpc.aio.EOF:
            self._read.popleft()
        elif self._failure is not None:
            raise self._failure
        return message

    async def read(self) -> None:
        """Until the end, which comes when the request is over, was stopped, or its call is cancelled."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self._put(message)
            await self._call.code()
        except (Exception, asyncio.CancelledError) as error:
            self._failure = error
        self._put(grpc.aio.EOF)
        self.ended.set_result(None)

    def _put(self, message: Message) -> None:
        self._read.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection:
    """`over` is done when the server's lifetime is, and `failure` then says why. `inputs`: the model's tensors with
    their types; empty while it cannot be asked. `adapters`: those whose weights it was sent. `heard` is called when
    tokens have come. All of it belongs to one event loop."""

    def __init__(self, address: str, heard: Callable[[], None]) -> None:
        self.to_server = grpc.aio.insecure_channel(address, options=_CHANNEL)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.to_server)
        self.calls: set[Call] = set()
        self.failure = ""
        self.channel: Channel | None = None
        self.inputs: asyncio.Task[Mapping[str, str]] | None = None
        self.adapters: set[int] = set()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = heard
        self._serial = itertools.count()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self.calls) + (self.channel.in_flight if self.channel else 0)

    async def close(self, reason: str) -> None:
        """Every request in flight ends with EngineDiedError at once, and so does every new one."""
        self.failure = reason
        self.over.set_result(None)
        if self.channel is not None:
            self.channel.fail(died(reason))
        for call in tuple(self.calls):
            call.cancel()
        await self.to_server.close()

    async def model_ready(self) -> bool:
        """Whether the server has loaded the model; False while it does not answer, as until then."""
        try:
            model = service_pb2.ModelReadyRequest(name=contract.MODEL_NAME)
            return bool((await self.stub.ModelReady(model, timeout=5)).ready)
        except grpc.aio.AioRpcError:
            return False

    async def deltas_of(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        """What TritonClient.generate gives: by the multiplexed stream, opened with the first request, where the model
        has one."""
        inputs = await self._takes()
        if contract.CHANNEL in inputs:
            if self.channel is None:
                self.channel = Channel(self.stub, self._heard)
            return self.channel.generate(generation)
        if generation.adapter is not None and contract.ADAPTER_WEIGHTS in inputs:
            return self._adapted(generation, inputs[contract.ADAPTER_WEIGHTS])
        return self._alone(generation)

    async def _takes(self) -> Mapping[str, str]:
        """What the model takes; asked once. EngineDiedError if the server goes meanwhile."""
        if self.inputs is None:
            self.inputs = asyncio.create_task(self.ask_inputs())
        asking = self.inputs
        ends: set[asyncio.Future[Mapping[str, str]] | asyncio.Future[None]] = {asking, self.over}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self.over.done():
            raise died(self.failure)
        return asking.result()

    async def ask_inputs(self) -> Mapping[str, str]:
        """Empty while it cannot be asked: the request then finds out."""
        try:
            metadata = await self.stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=contract.MODEL_NAME))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            self.inputs = None
            return {}
        return {tensor.name: tensor.datatype for tensor in metadata.inputs}

    async def _adapted(self, generation: Generation, wire_type: str) -> AsyncGenerator[Delta, None]:
        """The engine keeps as many adapters as it has room for: one that was sent before may have to be sent again."""
        assert generation.adapter is not None
        number, directory = generation.adapter.number, Path(generation.adapter.directory)
        alone, produced = replace(generation, adapter=Adapter(number, "")), False
        if number in self.adapters:
            try:
                async with contextlib.aclosing(self._alone(alone)) as deltas:
                    async for delta in deltas:
                        produced = True
                        yield delta
                return
            except (RequestRefusedError, EngineDiedError):
                if produced or self.over.done():
                    raise
                self.adapters.discard(number)  # if it was not for lack of weights, it fails again
        tensors = await asyncio.to_thread(read_tensors, directory, wire_type)
        append = partial(append_adapter, tensors=tensors, wire_type=wire_type)
        async with contextlib.aclosing(self._alone(alone, append)) as deltas:
            async for delta in deltas:
                self.adapters.add(number)
                yield delta

    async def _alone(
        self,
        generation: Generation,
        append: Callable[[service_pb2.ModelInferRequest], None] = lambda _: None,
    ) -> AsyncGenerator[Delta, None]:
        """By a call of its own. `append`: what its message has besides."""
        call = self.stub.ModelStreamInfer()
        messages = _Messages(call)
        self.calls.add(call)
        wire_id = f"{generation.request_id}/{next(self._serial)}"
        over = False
        try:
            request = encode_request(generation, wire_id)
            append(request)
            await self._write(call, request)
            self._beside(messages.read())
            async for delta in self._deltas(messages):
                yield delta
            over = True
        except (asyncio.CancelledError, asyncio.InvalidStateError):
            if self.failure:
                raise died(self.failure) from None
            raise
        except grpc.aio.AioRpcError as error:
            raise died(self.failure or error.details() or error.code().name) from None
        except StokerError:
            over = True
            raise
        finally:
            self.calls.discard(call)
            if self.failure:
                call.cancel()
            elif not over:
                self._beside(self._stop(call, messages, wire_id))

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        """Lets it go on when nobody waits for the request any more."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _write(self, call: Call, request: service_pb2.ModelInferRequest) -> None:
        """EngineDiedError if the server goes meanwhile.

        grpc.aio never returns from writing to a call that is cancelled before its connection stands.
        """
        task = asyncio.ensure_future(_write_all(call, request))
        try:
            await asyncio.wait({task, self.over}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise died(self.failure)
            task.result()
        finally:
            task.cancel()

    async def _stop(self, call: Call, messages: _Messages, wire_id: str) -> None:
        """Ends a request before the engine's next step.

        A cancelled call would tell Triton the same, but to hear of it the model would have to ask about each of its
        requests in each step.
        """
        await self._send_stop(wire_id)
        await asyncio.wait({messages.ended}, timeout=_STOP_SECONDS)
        call.cancel()

    async def _send_stop(self, wire_id: str) -> None:
        """Whatever goes wrong here, the engine is going, or the call that is to be stopped is cancelled in the end."""
        if self.over.done():
            return
        call = self.stub.ModelStreamInfer(timeout=_STOP_SECONDS)
        self.calls.add(call)
        with contextlib.suppress(*_ENDS):
            await self._write(call, encode_stop(wire_id))
            await _Messages(call).read()
        call.cancel()
        self.calls.discard(call)

    async def _deltas(self, messages: _Messages) -> AsyncGenerator[Delta, None]:
        produced = False
        while True:
            message = await messages.next()
            if message is grpc.aio.EOF:
                raise died("its stream ended early")
            if message.error_message:
                raise error_of(message.error_message)
            outputs = _outputs(message.infer_response)
            given = outputs.ids or outputs.embedding is not None
            if given:
                produced = True
                self._heard()
            if given or outputs.told:
                told = perf_metrics(outputs.told) if outputs.told else None
                yield Delta(outputs.ids, outputs.log_probs, told, outputs.embedding)
            if outputs.exhausted and not produced:
                raise RequestRefusedError("the prompt does not fit", why="no KV cache is free for it")
            if message.infer_response.parameters["triton_final_response"].bool_param:
                return


@dataclass(slots=True)
class _Outputs:
    """Token ids, their log probabilities if given, whether the KV cache ran out, what is told at the end, or instead of
    ids the embedding."""

    ids: Sequence[int] = ()
    log_probs: list[float] | None = None
    exhausted: bool = False
    told: dict[str, int] | None = None
    embedding: Sequence[float] | None = None


def _outputs(response: service_pb2.ModelInferResponse) -> _Outputs:
    found = _Outputs()
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        name = output.name
        if name == "output_ids":
            found.ids = list(memoryview(raw).cast("i"))
        elif name == "output_log_probs":
            found.log_probs = list(memoryview(raw).cast("f"))
        elif name == "out_of_memory":
            found.exhausted = any(raw)
        elif name == "embedding":
            found.embedding = array("f", raw)
        elif name in _TOLD_ONCE:
            found.told = {**(found.told or {}), name: int.from_bytes(raw, "little", signed=True)}
    return found


async def _write_all(call: Call, request: service_pb2.ModelInferRequest) -> None:
    await call.write(request)
    await call.done_writing()

"""The API process's end of the multiplexed stream, against calls that answer when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
from tests.waiting import SECONDS
from tritonclient.grpc import service_pb2

from stoker.launch.channel import Channel
from stoker.launch.frames import LENGTH, Extras, FrameWriter
from stoker.launch.generation import EngineDiedError, Generation


class Call:
    """One gRPC call: what was written to it, and what it gives."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.given: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, message: Any) -> None:
        self.written.append(message)

    async def read(self) -> Any:
        return await self.given.get()

    def cancel(self) -> None:
        pass


class Stub:
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def ModelStreamInfer(self) -> Call:
        self.calls.append(Call())
        return self.calls[-1]


def frame(fill: Callable[[FrameWriter], None]) -> Any:
    writer = FrameWriter()
    fill(writer)
    response = service_pb2.ModelInferResponse(id="channel/0", raw_output_contents=[writer.pack()])
    return service_pb2.ModelStreamInferResponse(infer_response=response)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_no_request_is_sent_before_the_engine_has_the_channel() -> None:
    """They go into another call, and would be dropped if they came first."""

    async def run() -> list[int]:
        stub = Stub()
        channel = Channel(stub, lambda: None)
        tokens: list[int] = []

        async def ask() -> None:
            async with aclosing(channel.generate(Generation("one", (1,), max_tokens=1))) as stream:
                tokens.extend([token async for delta in stream for token in delta.ids])

        asking = asyncio.create_task(ask())
        await settled()
        assert [len(call.written) for call in stub.calls] == [1]
        stub.calls[0].given.put_nowait(frame(lambda empty: None))
        await settled()
        assert [len(call.written) for call in stub.calls] == [1, 1]
        stub.calls[0].given.put_nowait(frame(lambda last: last.add(0, [7], reason=LENGTH)))
        await asking
        return tokens

    assert asyncio.run(run()) == [7]


SENSELESS: dict[str, Extras] = {
    "half a number": {"embedding": b"123"},
    "as many as none": {"top": (1, b"1234", b"")},
    "a text where numbers belong": cast(Extras, {"told": {"first_token_time_ns": "soon"}}),
}


@pytest.mark.parametrize("case", SENSELESS)
def test_a_frame_that_makes_no_sense_ends_every_request_instead_of_the_reading_alone(case: str) -> None:
    async def run() -> None:
        stub = Stub()
        channel = Channel(stub, lambda: None)

        async def ask() -> None:
            async with aclosing(channel.generate(Generation("one", (1,), max_tokens=1))) as stream:
                async for _ in stream:
                    pass

        asking = [asyncio.create_task(ask()) for _ in range(2)]
        await settled()
        stub.calls[0].given.put_nowait(frame(lambda empty: None))
        stub.calls[0].given.put_nowait(frame(lambda bad: bad.add(0, [7], extras=SENSELESS[case])))
        for each in asking:
            with pytest.raises(EngineDiedError):
                await asyncio.wait_for(each, SECONDS)
        with pytest.raises(EngineDiedError):
            await ask()

    asyncio.run(run())

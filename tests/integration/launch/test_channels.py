"""The multiplexed stream, through a real Triton: who shares it, who does not, and what ends with whom."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.supervisor import Patience, Supervisor


@pytest.fixture(scope="module")
def slow(loop, settings_of, tiny_engine):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        settings = settings_of(tiny_engine, runtime="slow_runtime:SlowRuntime", max_batch_size=4)
        supervisor = Supervisor(python_engine(settings), Patience(heartbeat=3600))
        try:
            loop.run(supervisor.start())
            yield supervisor
        finally:
            loop.run(supervisor.stop())


def test_all_sequences_of_a_process_share_one_call(loop, slow, harness):
    async def run():
        asked = [
            harness.tokens(slow.client, Generation(f"r{number}", (number + 3,), max_tokens=5)) for number in range(4)
        ]
        together = await asyncio.gather(*asked)
        return together, slow.client._connection.calls

    together, calls = loop.run(run())
    assert [len(each) for each in together] == [5] * 4
    assert calls == set()


def test_a_client_without_it_gets_the_same(loop, slow, harness):
    async def run():
        other = harness.alone(slow)
        generation = Generation("same", (5, 6, 7), max_tokens=6, log_probs=True, perf_metrics=True)
        got = [await harness.collect(client, generation) for client in (slow.client, other)]
        connections = (slow.client._connection, other._connection)
        assert [each.channel is None for each in connections if each] == [False, True]
        await other.detach("done")
        return got

    ours, theirs = loop.run(run())
    assert [token for delta in ours for token in delta.ids] == [token for delta in theirs for token in delta.ids]
    assert all(len(delta.log_probs) == len(delta.ids) for delta in ours if delta.ids)
    assert (ours[-1].perf_metrics is None) == (theirs[-1].perf_metrics is None)


def test_what_triton_refuses_harms_no_other_sequence(loop, slow, harness):
    """The model declares no token_type_ids."""

    async def run():
        async with aclosing(slow.client.generate(Generation("good", (1, 2), max_tokens=50))) as stream:
            await stream.__anext__()
            with pytest.raises(RequestRefusedError):
                await harness.tokens(slow.client, Generation("bad", (1,), 5, token_types=(0,)))
            return [token async for delta in stream for token in delta.ids]

    assert len(loop.run(run())) == 49


def test_what_the_stub_refuses_harms_no_other_sequence(loop, slow, harness):
    async def run():
        async with aclosing(slow.client.generate(Generation("good", (1, 2), max_tokens=20))) as stream:
            await stream.__anext__()
            with pytest.raises(RequestRefusedError):
                await harness.tokens(slow.client, Generation("bad", (), max_tokens=5))
            return [token async for delta in stream for token in delta.ids]

    assert len(loop.run(run())) == 19


def test_a_process_that_goes_takes_its_own_sequences_along(loop, slow, harness):
    async def run():
        other = harness.another(slow)
        left = [aiter(other.generate(Generation(f"left{number}", (1, 2), max_tokens=2000))) for number in range(2)]
        for stream in left:
            await anext(stream)
        async with aclosing(slow.client.generate(Generation("stays", (1, 2), max_tokens=2000))) as stays:
            await anext(stays)
            await harness.until(lambda: running(slow, 3))
            assert other._connection is not None
            await other._connection.to_server.close()  # as the kernel closes a killed process's connections
            await harness.until(lambda: running(slow, 1))
            await anext(stays)

    loop.run(run())


def test_requests_of_two_processes_that_are_alike_end_one_by_one(loop, slow, harness):
    """Both begin to number theirs at the same number."""

    async def run():
        clients = [harness.another(slow), harness.another(slow)]
        streams = [client.generate(Generation("same", (1, 2, 3), max_tokens=2000)) for client in clients]
        for stream in streams:
            await anext(stream)
        await streams[1].aclose()
        await harness.until(lambda: running(slow, 1))
        await clients[1].detach("done")
        await anext(streams[0])
        await streams[0].aclose()
        await clients[0].detach("done")
        await harness.until(lambda: running(slow, 0))

    loop.run(run())


def test_a_channel_goes_on_when_it_is_opened_anew(loop, slow, harness, monkeypatch):
    monkeypatch.setattr("stoker.launch.channel.RENEW_AFTER", 1)

    async def run():
        asked = [harness.tokens(slow.client, Generation(f"r{number}", (number + 3,), 30)) for number in range(3)]
        return await asyncio.gather(*asked), slow.client._connection.channel._opened

    before = slow.client._connection.channel._opened
    together, after = loop.run(run())
    assert [len(each) for each in together] == [30] * 3
    assert after > before + 5


async def running(supervisor: Supervisor, count: int) -> bool:
    return (await supervisor.client.state()).running == count

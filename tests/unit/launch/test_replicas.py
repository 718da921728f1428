"""Several supervisors as one engine, without a process: who gets a request, and what a death changes for the others."""

import asyncio
import contextlib

import pytest
from tests.waiting import SECONDS, until

from stoker.errors import EngineError
from stoker.launch.generation import Delta, EngineDiedError, EngineState, Generation, died
from stoker.launch.replicas import Replicas, joint
from stoker.launch.routing import Router
from stoker.launch.supervisor import Patience
from stoker.launch.suspects import Suspects
from stoker.progress import Silent

GAUGES = EngineState(1, 0, 2, 8, 16)


class Client:
    """Gives `tokens`, one for each event; raises while `dead`."""

    def __init__(self):
        self.asked, self.dead, self.go = [], False, asyncio.Event()
        self.suspects = Suspects()

    async def generate(self, generation):
        self.asked.append(generation.request_id)
        while not self.dead and not self.go.is_set():
            await asyncio.sleep(0)
        if self.dead:
            raise died("it was killed")
        yield Delta((1,))
        yield Delta((2,))

    async def state(self):
        return GAUGES


class StandIn:
    """What of a Supervisor is asked."""

    def __init__(self, on_state, fails=False):
        self.client, self.state, self.restarts, self.deaths = Client(), "starting", 0, ()
        self.on_state, self.fails, self.failed, self.revived = on_state, fails, None, 0

    @property
    def ready(self):
        return self.state == "ready"

    def become(self, state):
        self.state = state
        self.on_state(state)

    async def start(self, _):
        self.failed = asyncio.get_running_loop().create_future()
        if self.fails:
            raise EngineError("it does not start")
        self.become("ready")

    async def revive(self):
        self.revived += 1
        await self.start(None)

    async def wait_failed(self):
        assert self.failed is not None
        return await asyncio.shield(self.failed)

    async def stop(self):
        self.state = "stopped"


class Engine:
    def __init__(self, count=2, fails=(), window=600.0):
        self.members: list[StandIn] = []
        self.heard: list[tuple[object, ...]] = []

        def make(number, on_state):
            self.members.append(StandIn(on_state, number in fails))
            return self.members[-1]

        patience = Patience(window=window)
        self.replicas = Replicas(count, make, Router(count, 64, 4), patience, lambda *told: self.heard.append(told))

    @contextlib.asynccontextmanager
    async def started(self):
        await self.replicas.start(Silent())
        try:
            yield self
        finally:
            await self.replicas.stop()

    async def ask(self, name):
        return [id_ async for delta in self.replicas.generate(Generation(name, [1] * 9, 2)) for id_ in delta.ids]


def run(test, **options):
    async def whole():
        async with Engine(**options).started() as engine:
            await test(engine)

    asyncio.run(asyncio.wait_for(whole(), SECONDS))


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (("ready", "restarting"), "ready"),
        (("loading", "failed"), "loading"),
        (("restarting", "warming"), "warming"),
        (("failed", "failed"), "failed"),
    ],
)
def test_all_together_are_what_the_furthest_is(states, whole):
    assert joint(states) == whole


def test_requests_are_spread_and_counted():
    async def test(engine):
        asking = [asyncio.create_task(engine.ask(str(number))) for number in range(4)]
        await until(lambda: sum(len(each.client.asked) for each in engine.members) == 4)
        during = await engine.replicas.members()
        assert [one.sequences for one in during] == [2, 2]
        assert all(one.tokens_waiting > 0 for one in during)
        for each in engine.members:
            each.client.go.set()
        assert await asyncio.gather(*asking) == [[1, 2]] * 4
        after = await engine.replicas.members()
        assert [(one.sequences, one.tokens_waiting, one.requests) for one in after] == [(0, 0, 2)] * 2
        assert sum(one.tokens_read + one.tokens_held for one in after) == 4 * 9
        assert (await engine.replicas.state()).kv_blocks_total == 16

    run(test)


def test_a_death_takes_its_own_requests_alone():
    async def test(engine):
        asking = [asyncio.create_task(engine.ask(str(number))) for number in range(4)]
        await until(lambda: sum(len(each.client.asked) for each in engine.members) == 4)
        first, second = engine.members
        first.client.dead = True
        second.client.go.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [outcome for outcome in outcomes if not isinstance(outcome, EngineDiedError)] == [[1, 2]] * 2
        assert len(outcomes) == 4
        # Its supervisor has not noticed yet: it fails nobody else meanwhile.
        assert [await engine.ask(str(number)) for number in range(4, 10)] == [[1, 2]] * 6
        assert len(first.client.asked) == 2
        first.become("restarting")
        assert engine.replicas.condition == "ready"
        assert engine.heard[-1] == (0, "restarting", "ready")
        assert [one.state for one in await engine.replicas.members()] == ["restarting", "ready"]

    run(test)


def test_who_leaves_early_is_no_longer_counted():
    async def test(engine):
        engine.members[0].client.go.set()
        engine.members[1].client.go.set()
        answer = engine.replicas.generate(Generation("left", [1] * 9, 2))
        await anext(answer)
        await answer.aclose()
        assert [one.sequences for one in await engine.replicas.members()] == [0, 0]

    run(test)


def test_without_a_ready_replica_the_engine_has_died():
    async def test(engine):
        for each in engine.members:
            each.become("restarting")
        with pytest.raises(EngineDiedError, match="no replica"):
            await engine.ask("late")
        with pytest.raises(EngineDiedError):
            await engine.replicas.state()

    run(test)


def test_one_that_does_not_start_ends_all():
    async def whole():
        engine = Engine(fails=(1,))
        with pytest.raises(EngineError, match="does not start"):
            await engine.replicas.start(Silent())
        assert engine.replicas.states == ("stopped", "stopped")

    asyncio.run(asyncio.wait_for(whole(), SECONDS))


def test_one_that_was_given_up_is_tried_again_while_others_serve():
    async def test(engine):
        first = engine.members[0]
        first.state = "failed"
        first.failed.set_result(EngineError("it died too often"))
        await until(lambda: first.revived)
        await until(lambda: first.ready)

    run(test, window=0.0)


def test_all_given_up_are_the_end_of_the_engine():
    async def test(engine):
        ended = asyncio.create_task(engine.replicas.wait_failed())
        for each in engine.members:
            assert not ended.done()
            each.state = "failed"
            each.failed.set_result(EngineError("it died too often"))
            await asyncio.sleep(0)
        assert (await ended).what == "it died too often"

    run(test)

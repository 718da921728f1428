"""A machine that follows: it holds its part of the engine and serves no API. It ends when that or the leader does."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import Any

from stoker.chain import make_plan_for, obtain_planned
from stoker.errors import EngineError, UsageError
from stoker.event_loop import call_in_loop
from stoker.kinds import kind_named
from stoker.launch.kind import Follower
from stoker.life.machines import Place, attend
from stoker.progress import Progress
from stoker.settings.layers import Settings

_LOG = logging.getLogger("stoker")


def run_follower(settings: Settings, place: Place, told: Progress) -> int:
    """Until SIGTERM or Ctrl-C, which gives 0. EngineError when the leader or this machine's part of the engine ends, so
    that whoever keeps the group starts all of it again."""
    plan = make_plan_for(settings, told)
    if plan.chosen.nodes < place.nodes:
        what = f"{plan.model.served_name} is not served over {place.nodes} machines"
        raise UsageError(what, remedy="stoker plan says how it is")
    plan, engine = obtain_planned(plan, settings, told)
    launch = kind_named(plan.chosen.engine).launch
    follower = launch.open_follower(engine, place.of(plan.chosen), plan.memory.kv, plan.device_uuids)
    told.phase("loading", f"machine {place.rank} of {place.nodes}, led by {place.leader}")
    return asyncio.run(follow(follower, place))


async def follow(follower: Follower, place: Place) -> int:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    engine = _in_a_thread(follower, loop)
    leader, told = asyncio.ensure_future(attend(place)), asyncio.ensure_future(stopped.wait())
    ends: set[asyncio.Future[Any]] = {engine, leader, told}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    failure = engine.result() if engine.done() else None
    await asyncio.to_thread(follower.stop)
    for each in (leader, told):
        each.cancel()
    if stopped.is_set():
        _LOG.info("machine %d of %d was told to stop", place.rank, place.nodes)
        return 0
    if failure is not None:
        raise failure
    why = f"its connection to {place.leader} ended"
    raise EngineError("the leader exited", why=why, remedy="all machines of the group start again together")


def _in_a_thread(follower: Follower, loop: asyncio.AbstractEventLoop) -> asyncio.Future[BaseException]:
    """Done with what ended it."""
    done: asyncio.Future[BaseException] = loop.create_future()

    def end(error: BaseException) -> None:
        if not done.done():
            done.set_result(error)

    def body() -> None:
        try:
            follower.run()
        except BaseException as error:
            call_in_loop(loop, end, error)

    threading.Thread(target=body, name="follower", daemon=True).start()
    return done

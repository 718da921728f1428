"""The serving process: one event loop that answers health from the first second, while the steps run beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from stoker.chain import following_plan, make_plan_for, obtain_planned, timing
from stoker.errors import (
    DamagedEngineError,
    EngineError,
    EngineMemoryError,
    StokerError,
    StoppedError,
    UnstableEngineError,
)
from stoker.launch.runtime import supervisor_for
from stoker.launch.supervisor import Patience, Supervisor
from stoker.life.listeners import Listeners
from stoker.life.service import capacity_of, service_of
from stoker.plan.render import plan_document
from stoker.plan.step_down import stepped_down
from stoker.plan.types import Plan
from stoker.progress import Progress, Tee
from stoker.serve.http.watched import WatchedFiles
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.chat_template import template_fault
from stoker.settings.layers import Settings
from stoker.store.engine import Engine
from stoker.store.integrity import damage_of
from stoker.store.obtain import put_aside
from stoker.store.policy import policy_of
from stoker.store.store import Store
from stoker.store.timings import Timings

_LOG = logging.getLogger("stoker")
_T = TypeVar("_T")
_BUILD_ENDS_SECONDS = 10.0  # its processes are killed and what it wrote is deleted
_PREPARATION_ENDS_SECONDS = 1.0  # what takes longer, as a download under way, is left to the process's end


def run_server(settings: Settings, told: Progress, reload: Callable[[], None]) -> int:
    """`told` hears of progress beside /v1/health/startup; `reload` is called on SIGHUP.

    Serves until SIGTERM, Ctrl-C or a failure; returns the exit code. The port is bound before any work is done."""
    import uvloop

    service = service_of(settings)
    with Listeners(settings, service) as listeners:
        code, at_rest = uvloop.run(_serve(settings, service, listeners, told, reload))
    if not at_rest:
        _leave(code)
    return int(code)


async def _serve(
    settings: Settings, service: Service, listeners: Listeners, told: Progress, reload: Callable[[], None]
) -> tuple[int, bool]:
    """The exit code, and whether no thread is left at work."""
    serving = _Serving(settings, service, listeners, told, reload)
    return await serving.run(), serving.prepared.is_set()


def _leave(code: int) -> None:
    """Ends the process at once: at a regular end Python waits for the threads of a download under way."""
    logging.shutdown()
    os._exit(code)


class _Serving:
    """One run of the server. `stopping` is set by the first signal; a second one ends the process at once."""

    def __init__(
        self, settings: Settings, service: Service, listeners: Listeners, told: Progress, reload: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.reload = reload
        self.steps_down: list[str] = []
        self.given_up: dict[str, str] = {}
        self.service = service
        self.lifecycle = service.lifecycle
        self.server = listeners
        self.told = told
        self.progress = Tee(self.lifecycle, self.told)
        self.stopping = asyncio.Event()
        self.cancel = threading.Event()
        self.prepared = threading.Event()
        self.prepared.set()
        self.signal = 0
        self.supervisor: Supervisor | None = None

    async def run(self) -> int:
        self._watch_signals()
        listening = asyncio.ensure_future(self.server.serve())
        try:
            failure = await self._until_told(self._serve())
            return await self._drain() if failure is None else failure
        finally:
            if self.supervisor is not None:
                await self.supervisor.stop()
            await self.server.stop()
            await listening
            if self.service.tracer is not None:
                await asyncio.to_thread(self.service.tracer.close)

    async def _serve(self) -> int:
        """Until the engine is given up, which is raised. One that turns out to be damaged is replaced."""
        while True:
            plan, engine = await _in_thread(self._preparation)
            try:
                fault = await self._serve_engine(plan, engine)
            except (UnstableEngineError, EngineMemoryError) as error:
                await self._step_down(plan, error)
            else:
                await self._replace(engine, fault)

    async def _step_down(self, plan: Plan, error: EngineError) -> None:
        """Lets the next round drive the engine less hard, or take the plan's next profile where that is not possible
        any more; raises the error where there is none."""
        if smaller := stepped_down(plan, error.what):
            _LOG.error("%s; trying again with smaller limits: %s", error, smaller.reasons[-1])
            self.lifecycle.forget(smaller.reasons[-1].text)
            self.steps_down.append(error.what)
        else:
            await self._give_up_profile(plan, error)
        assert self.supervisor is not None
        await self.supervisor.stop()

    async def _give_up_profile(self, plan: Plan, error: EngineError) -> None:
        given_up = {**self.given_up, plan.chosen.profile: f"{plan.chosen.profile} was given up: {error}"}
        following = await _in_thread(lambda: following_plan(plan, self.settings, given_up))
        if following is None:
            raise error
        _LOG.error("%s; nothing is left to halve, so the next profile is taken: %s", error, following.chosen.profile)
        self.lifecycle.forget(f"{plan.chosen.profile} was given up, {following.chosen.profile} takes its place")
        self.given_up, self.steps_down = given_up, []

    async def _serve_engine(self, plan: Plan, engine: Engine) -> str:
        """Returns what is damaged in the engine; raises why it was given up."""
        self.supervisor = supervisor_for(
            engine,
            plan.chosen,
            plan.memory.kv.blocks,
            gpus=plan.device_uuids,
            patience=Patience(
                wedged=self.settings.engine_timeout,
                fresh=min(60.0, self.settings.engine_timeout / 2),
                heartbeat=min(5.0, self.settings.engine_timeout / 4),
                deaths=self.settings.restart_limit,
            ),
            on_state=self._follow,
        )
        damage = asyncio.ensure_future(self._damage(engine))
        try:
            return await self._until_given_up(self.supervisor, plan, engine, damage)
        except EngineError:
            if fault := await damage:  # it may be the cause
                return fault
            raise
        finally:
            damage.cancel()

    async def _until_given_up(
        self, supervisor: Supervisor, plan: Plan, engine: Engine, damage: asyncio.Future[str]
    ) -> str:
        before = self.lifecycle.phase_seconds()
        await supervisor.start(self.progress)
        frontend = await asyncio.to_thread(self._frontend, engine, plan)
        self.service.attach(supervisor.client, frontend)
        self.progress.phase("ready")
        self._record(plan, before)
        self._announce(plan)
        failed = asyncio.ensure_future(supervisor.wait_failed())
        try:
            await asyncio.wait([damage, failed], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if damage.done() and (fault := damage.result()):
                return fault
            raise await failed
        finally:
            failed.cancel()

    def _follow(self, state: str) -> None:
        """The engine's states, once it serves: those of a restart are told like those of a start."""
        before = self.lifecycle.current
        self.lifecycle.engine_state(state)
        if self.lifecycle.current != before:
            self.told.phase(self.lifecycle.current, self.lifecycle.detail)

    def _record(self, plan: Plan, before: Mapping[str, float]) -> None:
        """What its phases took, for the estimates of later starts; `before`: what they had taken in earlier rounds."""
        took = self.lifecycle.phase_seconds()
        Timings(self.settings.cache).record(
            timing(plan, phase, took[phase] - before.get(phase, 0.0)) for phase in ("loading", "warming")
        )

    async def _damage(self, engine: Engine) -> str:
        """Hashes the engine beside serving, where that is wished; empty when all is right."""
        if policy_of(self.settings).check != "background":
            return ""
        return await _in_thread(lambda: damage_of(engine))

    async def _replace(self, engine: Engine, fault: str) -> None:
        """Ends the damaged engine at once, so that it answers nobody any more, and puts it aside."""
        assert self.supervisor is not None
        self.lifecycle.forget(f"the engine is damaged ({fault}) and is being replaced")
        await self.supervisor.stop()
        store = Store(self.settings.cache)
        if engine.directory.parent != store.engines:
            raise DamagedEngineError(f"the engine {engine.directory} is damaged", why=fault, remedy="export it again")
        put_aside(store, engine.manifest.key, fault, self.progress)

    def _preparation(self) -> tuple[Plan, Engine]:
        self.prepared.clear()
        try:
            return self._prepare()
        finally:
            self.prepared.set()

    def _prepare(self) -> tuple[Plan, Engine]:
        first = make_plan_for(self.settings, self.progress, given_up=self.given_up)
        self.service.plan = plan_document(first)
        for reason in first.reasons:
            self.progress.note(reason.text)
        self._check_template(first)
        self._expect(first)
        plan, engine = obtain_planned(first, self.settings, self.progress, self.cancel)
        if plan is not first:
            self.given_up[first.chosen.profile] = plan.reasons[0].text
            self._expect(plan)
        for why in self.steps_down:  # only now: the key is of the plan that the engine was built for
            plan = stepped_down(plan, why) or plan
        self.service.plan = plan_document(plan)
        return plan, engine

    def _check_template(self, plan: Plan) -> None:
        """Warns of a chat template that cannot be used before the build, and not after it."""
        if plan.model.directory is not None and (fault := template_fault(plan.model.directory)):
            _LOG.warning("%s; chat requests will be refused", fault.rstrip("."))

    def _expect(self, plan: Plan) -> None:
        """Tells how long phases will take, as far as this cache remembers engines like this one."""
        timings = Timings(self.settings.cache)
        known = {phase: timings.expected(timing(plan, phase)) for phase in ("building", "loading", "warming")}
        seconds = {phase: expected for phase, expected in known.items() if expected is not None}
        self.lifecycle.expect(seconds)
        if seconds:
            told = ", ".join(f"{phase} {expected:.1f} s" for phase, expected in seconds.items())
            self.progress.note(f"engines like this one took, for {told}")

    def _frontend(self, engine: Engine, plan: Plan) -> Frontend:
        return load_frontend(
            engine,
            names=(plan.model.served_name,),
            max_seq_len=plan.chosen.max_seq_len,
            capacity=capacity_of(plan),
            limits=self.service.limits,
            tool_parser=str(self.settings["tool-parser"].value),
            reasoning_parser=str(self.settings["reasoning-parser"].value),
        )

    def _announce(self, plan: Plan) -> None:
        gc.collect()
        gc.freeze()  # what start-up made is never garbage: leave it out of every later collection
        chosen = plan.chosen
        _LOG.info("serving %s (%s, %s) at %s", plan.model.served_name, chosen.engine, chosen.precision, self.server.url)

    async def _until_told(self, work: Coroutine[Any, Any, int]) -> int | None:
        """Runs `work` until it ends or a signal comes; None for a signal once ready, else an exit code."""
        task = asyncio.ensure_future(work)
        told = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if task.done():
            return self._failed(task)
        was_ready, phase = self.lifecycle.serving is not None, self.lifecycle.current
        self.progress.phase("draining", f"{self.lifecycle.in_flight} requests in flight" if was_ready else "")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StoppedError):
            await task
        await asyncio.to_thread(
            self.prepared.wait, _BUILD_ENDS_SECONDS if phase == "building" else _PREPARATION_ENDS_SECONDS
        )
        return None if was_ready else 128 + self.signal

    def _failed(self, task: asyncio.Future[int]) -> int:
        error = task.exception()
        if isinstance(error, StoppedError):
            return 128 + self.signal
        self.progress.phase("failed")
        if isinstance(error, StokerError):
            self.lifecycle.fail(error)
        return task.result()

    async def _drain(self) -> int:
        """0 when every request in flight could finish in time, else as the signal says."""
        began = time.monotonic()
        if await self.lifecycle.drained(self.settings.drain_timeout):
            _LOG.info("drained in %.1f s", time.monotonic() - began)
            return 0
        _LOG.warning("%d requests did not finish in %g s", self.lifecycle.in_flight, self.settings.drain_timeout)
        self.lifecycle.abort()
        await self.lifecycle.drained(2)
        return 128 + self.signal

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        """SIGHUP: API keys and certificates are read again, and what `reload` reads. A bad file changes nothing."""
        WatchedFiles.look_again()
        try:
            self.reload()
        except StokerError as error:
            _LOG.error("the settings were not reloaded: %s", error)

    def _told_to_stop(self, number: int) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        self.signal = int(number)
        self.cancel.set()
        self.stopping.set()


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Like asyncio.to_thread, but in a daemon thread: a download under way does not hold up the process's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def finish(result: _T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        outcome: tuple[_T | None, BaseException | None]
        try:
            outcome = work(), None
        except BaseException as error:
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(finish, *outcome)

    threading.Thread(target=body, name="preparation", daemon=True).start()
    return await done

"""The engines that a server serves, one after another, until one is given up."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, TypeVar

from stoker.chain import following_plan, obtain_planned, plan_beside_base, timing
from stoker.errors import DamagedEngineError, DamagedModelError, EngineError, EngineMemoryError, StokerError
from stoker.event_loop import call_in_loop
from stoker.kinds import kind_named
from stoker.launch.replicas import Replicas
from stoker.launch.routing import Router
from stoker.launch.supervisor import Patience, Supervisor
from stoker.launch.suspects import Verdicts
from stoker.life.adapters import AdapterLoader
from stoker.life.announcement import announcement
from stoker.life.attempts import Again, Decision, GiveUp, History, NextProfile, Replace, Smaller, next_attempt
from stoker.life.fleet import Fleet
from stoker.life.machines import Attendance, place_of, unless
from stoker.life.service import capacity_of
from stoker.pinning import Pinning
from stoker.plan.api_workers import api_workers
from stoker.plan.render import plan_document
from stoker.plan.step_down import stepped_down
from stoker.plan.types import Chosen, Plan
from stoker.progress import Progress, Tee
from stoker.serve.generate.admission import Capacity
from stoker.serve.operate.frontend import Frontend, Recipe
from stoker.serve.operate.service import Service
from stoker.serve.request.chat_template import TemplateMissingError, template_fault
from stoker.settings.layers import Settings
from stoker.store.engine import Engine
from stoker.store.integrity import damage_of
from stoker.store.obtain import put_aside
from stoker.store.policy import policy_of
from stoker.store.store import Store
from stoker.store.timings import Timings
from stoker.store.warmed import Warmed, warmed_key
from stoker.tune.run import tune_first

if TYPE_CHECKING:
    from stoker.workers.crew import Crew

_LOG = logging.getLogger("stoker")
_T = TypeVar("_T")
_LEAST_IDLE_SECONDS = 60.0  # nobody waits for a token yet


class Engines:
    """`told` hears of progress like /v1/health/startup, `cancel` ends a build. `prepared` is set while no thread is at
    work on a plan or an engine. `url`: where the API is. `crew`: its processes, where this one is not the only one."""

    def __init__(
        self,
        settings: Settings,
        service: Service,
        told: Progress,
        cancel: threading.Event,
        url: str,
        crew: Crew | None = None,
    ) -> None:
        self._settings = settings
        self._crew = crew
        self._service = service
        self._lifecycle = service.lifecycle
        self._told = told
        self._progress = Tee(service.lifecycle, told)
        self._cancel = cancel
        self._url = url
        self._store = Store(settings.cache)
        self._warmed = Warmed(settings.cache)
        self._hashes_beside = policy_of(settings).check == "background"
        self._fleet = Fleet(settings, service)
        self._adapters = AdapterLoader(settings, service, self._progress)
        self._machine = place_of(settings)
        self._attendance = Attendance(self._machine)
        self._history = History()
        self._replicas: Replicas | None = None
        self._capacities: list[Capacity] = []
        self._restarting = asyncio.Event()
        self.prepared = threading.Event()
        self.prepared.set()

    async def serve(self) -> NoReturn:
        """Until an engine is given up, which raises why; one that can be replaced or driven less hard is."""
        while True:
            plan, engine = await _in_thread(self._preparation)
            own = engine.directory.parent == self._store.engines
            self._history = replace(self._history, deaths=(), own_engine=own)
            error = await self._serve_engine(plan, engine)
            await self._follow(next_attempt(plan, error, self._history), plan, engine, error)

    async def leave(self) -> None:
        """Out of the routes of the fleet that this server is a worker of; requests on their way still come."""
        await self._fleet.leave()

    async def stop(self) -> None:
        """Ends the engine that is served, if one is."""
        await self._adapters.stop()
        await self._fleet.stop()
        if self._replicas is not None:
            await self._replicas.stop()

    async def _follow(self, decision: Decision, plan: Plan, engine: Engine, error: StokerError) -> None:
        """Does what was decided, so that the next round starts from it; raises the error that ends the server."""
        if isinstance(decision, GiveUp):
            raise decision.error
        if isinstance(decision, NextProfile):
            told = await self._next_profile(decision, plan, error)
        else:
            told = self._same_profile(decision, error)
        self._lifecycle.forget(told)
        await self.stop()
        if isinstance(decision, Replace):
            await _in_thread(lambda: self._put_aside(engine, decision.fault))

    def _same_profile(self, decision: Again | Smaller | Replace, error: StokerError) -> str:
        """Remembers the decision and returns it for people."""
        history = self._history
        if isinstance(decision, Replace):
            self._history = replace(history, replaced=history.replaced + 1)
            return f"the engine is damaged ({decision.fault}) and is being replaced"
        if isinstance(decision, Again):
            _LOG.error("%s; starting it again: %s", error, decision.why)
            return decision.why
        self._history = replace(history, steps_down=(*history.steps_down, error.what))
        reason = decision.plan.reasons[-1].text
        _LOG.error("%s; trying again with smaller limits: %s", error, reason)
        return reason

    async def _next_profile(self, decision: NextProfile, plan: Plan, error: StokerError) -> str:
        following = await _in_thread(lambda: following_plan(plan, self._settings, decision.given_up))
        if following is None:
            raise error
        name = following.chosen.profile
        _LOG.error("%s; the batch cannot shrink further; trying the next profile: %s", error, name)
        self._history = replace(self._history, given_up=decision.given_up, steps_down=())
        return f"{plan.chosen.profile} was given up, {name} takes its place"

    def _put_aside(self, engine: Engine, fault: str) -> None:
        try:
            put_aside(self._store, engine.manifest.key, fault, self._progress)
        except OSError as error:
            why = f"{fault}; it could not be moved aside: {error}"
            raise _damaged(engine, why, remedy=f"delete {engine.directory}") from error

    async def _serve_engine(self, plan: Plan, engine: Engine) -> StokerError:
        """Returns why it ended; damage counts before whatever followed from it."""
        self._replicas = self._replicas_for(plan, engine)
        try:
            async with self._attendance.kept() as gone:
                return await unless(gone, self._until_failed(self._replicas, plan, engine))
        except EngineMemoryError as error:  # the kernel has told the cause, and reading everything takes a while
            return error
        except (EngineError, DamagedModelError) as error:
            fault = await _in_thread(lambda: damage_of(engine))
            return _damaged(engine, fault) if fault else error
        finally:
            self._history = replace(self._history, deaths=self._replicas.deaths)

    def _replicas_for(self, plan: Plan, engine: Engine) -> Replicas:
        silence = self._settings.engine_timeout
        patience = Patience(
            wedged=silence,
            fresh=min(60.0, silence / 2),
            heartbeat=min(5.0, silence / 4),
            idle=_idle_patience(plan.chosen, silence),
            deaths=self._settings.restart_limit,
        )
        kv, count, fits = plan.memory.kv, len(plan.replicas), self._known_to_fit(plan, engine)
        launch, verdicts = kind_named(plan.chosen.engine).launch, Verdicts()

        def supervisor(number: int, on_state: Callable[[str], None]) -> Supervisor:
            place = plan.replicas[number]
            chosen = self._machine.of(replace(plan.chosen, devices=place.devices))
            servable = launch.open(engine, chosen, kv, plan.uuids(place.devices))
            pinning = Pinning(place.cpus, place.nodes[0] if len(place.nodes) == 1 else None)
            return Supervisor(servable, patience, on_state, verdicts=verdicts, pinning=pinning, fits=fits)

        self._capacities = [capacity_of(plan, ready) for ready in range(count + 1)]
        return Replicas(count, supervisor, Router(count, kv.blocks, kv.block_tokens), patience, self._heard)

    def _known_to_fit(self, plan: Plan, engine: Engine) -> bool:
        """By an earlier start that was driven as this one is to be. GPUs read a full chunk in milliseconds."""
        return not plan.chosen.devices and warmed_key(plan, engine.manifest) in self._warmed

    async def _until_failed(self, replicas: Replicas, plan: Plan, engine: Engine) -> StokerError:
        """Returns the damage that is found; raises why the engine did not start, or ended for good."""
        before = self._lifecycle.phase_seconds()
        damage = asyncio.ensure_future(self._damage(engine))
        try:
            await replicas.start(self._progress)
            recipe = self._recipe(engine, plan)
            frontend = await asyncio.to_thread(recipe.load, self._service.adapters)
            await self._adapters.begin(replicas, plan, self._settings)
            if self._crew is not None:
                await self._crew.resize(api_workers(plan, self._settings["api-workers"].value))
                await self._crew.equip(recipe, replicas)
            self._service.attach(self._fleet.join(replicas, frontend, plan, engine), frontend, replicas.members)
            self._progress.phase("ready")
            self._record(plan, engine, before)
            self._announce(plan, frontend)
            if not self._hashes_beside:  # that it serves is all there will be to go by
                self._found_whole()
            failed = asyncio.ensure_future(replicas.wait_failed())
            await asyncio.wait([damage, failed], return_when=asyncio.FIRST_COMPLETED)
            if damage.done():
                failed.cancel()
                return _damaged(engine, damage.result())
            raise await failed
        finally:
            damage.cancel()

    async def _damage(self, engine: Engine) -> str:
        """Returns what is damaged, once anything is. The engine is hashed beside serving, where the policy says so, and
        again after each death, which damage may have caused."""
        while True:
            self._restarting.clear()
            if self._hashes_beside:
                if fault := await _in_thread(lambda: damage_of(engine)):
                    return fault
                self._found_whole()
            await self._restarting.wait()

    def _found_whole(self) -> None:
        self._history = replace(self._history, replaced=0)

    def _heard(self, number: int, state: str, joint: str) -> None:
        """A replica's states, once the engine serves, and what all are together: a restart of the last one that served
        is told like a start."""
        assert self._replicas is not None
        if self._crew is not None:
            self._crew.follow(self._replicas, number)
        before, restarts = self._lifecycle.current, self._lifecycle.restarts
        self._lifecycle.replicas = self._replicas.states
        self._lifecycle.engine_state(joint)
        if self._lifecycle.current != before:
            self._told.phase(self._lifecycle.current, self._lifecycle.detail)
        if state == "restarting":
            self._restarting.set()
            if self._lifecycle.restarts == restarts:  # others serve on
                self._lifecycle.restarts += 1
        if len(self._lifecycle.replicas) > 1 and state != "stopped" and self._lifecycle.serving is not None:
            self._follow_capacity(number, state)

    def _follow_capacity(self, number: int, state: str) -> None:
        """As many concurrent requests as the remaining replicas have room for."""
        ready = self._lifecycle.replicas.count("ready")
        if ready:
            self._service.admission.resize(self._capacities[ready])
        _LOG.info("replica %d is %s; %d of %d serve", number, state, ready, len(self._capacities) - 1)

    def _record(self, plan: Plan, engine: Engine, before: Mapping[str, float]) -> None:
        """What its phases took, for the estimates of later starts; `before`: what they had taken in earlier rounds. And
        that it has come up, which shortens the next warm-up."""
        took = self._lifecycle.phase_seconds()
        Timings(self._settings.cache).record(
            timing(plan, phase, took[phase] - before.get(phase, 0.0)) for phase in ("loading", "warming")
        )
        if not plan.chosen.devices:
            self._warmed.add(warmed_key(plan, engine.manifest))

    def _preparation(self) -> tuple[Plan, Engine]:
        self.prepared.clear()
        try:
            return self._prepare()
        finally:
            self.prepared.set()

    def _prepare(self) -> tuple[Plan, Engine]:
        history = self._history
        first, self._settings = plan_beside_base(self._settings, self._progress, given_up=history.given_up)
        if self._settings["tune"].value and tune_first(self._settings, self._progress, self._cancel):
            first, self._settings = plan_beside_base(self._settings, self._progress, given_up=history.given_up)
        self._service.plan = plan_document(first)
        for reason in first.reasons:
            self._progress.note(reason.text)
        self._check_template(first)
        self._adapters.check(first, self._settings)
        self._expect(first)
        plan, engine = obtain_planned(first, self._settings, self._progress, self._cancel)
        if plan is not first:
            self._history = replace(history, given_up={**history.given_up, first.chosen.profile: plan.reasons[0].text})
            self._expect(plan)
        for why in history.steps_down:  # only now: the key is of the plan that the engine was built for
            plan = stepped_down(plan, why) or plan
        self._service.plan = plan_document(plan)
        return plan, engine

    def _check_template(self, plan: Plan) -> None:
        """Warns of a chat template that cannot be used before the build, and not after it."""
        if plan.model.directory is not None and (fault := template_fault(plan.model.directory)):
            _LOG.warning("%s; chat requests will be refused", fault.rstrip("."))

    def _expect(self, plan: Plan) -> None:
        """Tells how long phases will take, as far as engines of this kind were measured on this machine."""
        timings = Timings(self._settings.cache)
        known = {phase: timings.expected(timing(plan, phase)) for phase in ("building", "loading", "warming")}
        seconds = {phase: expected for phase, expected in known.items() if expected is not None}
        self._progress.expect(seconds)
        if seconds:
            told = ", ".join(f"{phase} {expected:.1f} s" for phase, expected in seconds.items())
            self._progress.note(f"expected, as measured on this machine: {told}")

    def _recipe(self, engine: Engine, plan: Plan) -> Recipe:
        return Recipe(
            engine,
            kind_named(plan.chosen.engine).launch.capabilities(plan.chosen.purpose),
            names=tuple(self._settings.served_model_names) or (plan.model.served_name,),
            max_seq_len=plan.chosen.max_seq_len,
            capacity=capacity_of(plan),
            limits=self._service.limits,
            tool_parser=str(self._settings["tool-parser"].value),
            reasoning_parser=str(self._settings["reasoning-parser"].value),
            model_defaults=self._settings["sampling-defaults"].value == "model",
        )

    def _announce(self, plan: Plan, frontend: Frontend) -> None:
        gc.collect()
        gc.freeze()  # what start-up made is never garbage: leave it out of every later collection
        chat = not isinstance(frontend.chat_template, TemplateMissingError)
        keyed = bool(self._service.exposure.keys)
        for line in announcement(plan.chosen, frontend.names, self._url, chat=chat, keyed=keyed):
            _LOG.info("%s", line)


def _idle_patience(chosen: Chosen, silence: float) -> float:
    """How long an engine that is coming up may do nothing. The first of several machines may wait for what others
    read."""
    return max(silence, _LEAST_IDLE_SECONDS) if chosen.nodes == 1 else math.inf


def _damaged(engine: Engine, fault: str, remedy: str = "export it again") -> DamagedEngineError:
    return DamagedEngineError(f"the engine {engine.directory} is damaged", why=fault, remedy=remedy)


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
        call_in_loop(loop, finish, *outcome)

    threading.Thread(target=body, name="preparation", daemon=True).start()
    return await done

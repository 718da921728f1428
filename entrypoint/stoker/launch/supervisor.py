"""Keeps one engine served: starts Triton, warms it up, watches it, and starts it again when it or its stub dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.backoff import backoff
from stoker.errors import EngineError, StokerError, StuckEngineError, UnstableEngineError
from stoker.launch import shared_memory
from stoker.launch.client import TritonClient
from stoker.launch.death import Death, cause_of_death, out_of_memory_kills
from stoker.launch.generation import EngineDiedError, Generation
from stoker.launch.life_signs import LifeSigns, stopped_working
from stoker.launch.run_directory import RunDirectory, make_run_directory, remove_stale_run_directories
from stoker.launch.servable import Servable
from stoker.launch.server import TritonServer, start_server
from stoker.launch.suspects import Verdicts
from stoker.launch.warm_up import unlikely_prompt, warm_up, warm_up_rounds
from stoker.pinning import ANYWHERE, Pinning
from stoker.processes import process_lives
from stoker.progress import Progress, Silent

logger = logging.getLogger(__name__)

STATES = ("starting", "loading", "warming", "ready", "stalled", "restarting", "stopped", "failed")


@dataclass(frozen=True)
class Patience:
    """In seconds, except `attempts`: how often in a row the engine may fail to come back before it is given up,
    `starts` and `deaths`.

    `heartbeat`: silence after which an idle engine is given a token to make; `fresh`: silence after which it no longer
    counts as ready but as stalled; `wedged`: silence after which it is taken for dead. `idle`: how long one that is
    coming up may do nothing at all before it is started again, `starts` times in all. `deaths` within `window` are the
    circuit breaker: an engine that comes back only to die again is given up too.
    """

    load: float = 3600.0
    stop: float = 2.0
    heartbeat: float = 5.0
    fresh: float = 60.0
    wedged: float = 120.0
    idle: float = 120.0
    starts: int = 3
    watch: float = 0.1
    backoff: float = 0.5
    longest_backoff: float = 30.0
    attempts: int = 5
    deaths: int = 5
    window: float = 600.0


class Supervisor:
    """`on_state` hears every change of `state` (one of STATES). `blame` is asked at each death of a ready engine
    which request ended it, in a few words; empty where none is known to have. `verdicts`: what replicas know of
    requests that end engines. `pinning`: where the server and what it starts run. `fits`: whether this engine is known
    to have the memory for a full chunk, which its warm-up then leaves out."""

    def __init__(
        self,
        engine: Servable,
        patience: Patience | None = None,
        on_state: Callable[[str], None] | None = None,
        blame: Callable[[], str] | None = None,
        verdicts: Verdicts | None = None,
        pinning: Pinning | None = None,
        fits: bool = False,
    ) -> None:
        self.client = TritonClient(verdicts)
        self.state = "starting"
        self.restarts = 0
        self._engine = engine
        self._patience = patience or Patience()
        self._on_state = on_state
        self._blame = blame or self.client.suspects.blame
        self._pinning = pinning or ANYWHERE
        self._fits = fits
        self._server: TritonServer | None = None
        self._run: RunDirectory | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[StokerError] | None = None
        self._signs = LifeSigns(self._steps, lambda: self.client.last_token)
        self._kills = 0
        self.deaths: tuple[Death, ...] = ()

    @property
    def ready(self) -> bool:
        """A real token has come out of the engine in the last while, or its steps have gone on while it is busy."""
        return self.state == "ready"

    @property
    def address(self) -> str:
        """Target of Triton's gRPC, for clients of this user; empty while there is none. Each restart changes it."""
        return self._server.address if self._server else ""

    @property
    def metrics_socket(self) -> str:
        """Of Triton's metrics page, beside `address`."""
        return self._server.metrics_socket if self._server else ""

    @property
    def server_pid(self) -> int | None:
        return self._server.process.pid if self._server else None

    @property
    def stub_pid(self) -> int | None:
        return self._server.stub_pid() if self._server else None

    @property
    def run_directory(self) -> Path | None:
        return self._run.path if self._run else None

    async def start(self, progress: Progress | None = None) -> None:
        """Returns when ready. EngineError with the real cause if the engine does not come up."""
        self._failed = asyncio.get_running_loop().create_future()
        shared_memory.remove_stale_regions()
        remove_stale_run_directories()
        try:
            await self._bring_up_first(progress or Silent())
        except BaseException:
            await self._bring_down("it did not come up", gently=False)
            raise
        self._watcher = asyncio.create_task(self._supervise())

    async def revive(self) -> None:
        """`start`, once more, after it was given up."""
        self.deaths = ()
        try:
            await self.start()
        except BaseException:
            self._set_state("failed")
            raise
        self.restarts += 1

    async def wait_failed(self) -> StokerError:
        """Returns why, once the engine has been given up."""
        assert self._failed is not None, "start() comes first"
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Ends requests in flight, the server, and everything it left behind."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._bring_down("it was stopped", gently=True)
        self._set_state("stopped")

    def _steps(self) -> int:
        return self._run.pulse() if self._run else 0

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    async def _bring_up_first(self, progress: Progress) -> None:
        for _ in range(self._patience.starts - 1):
            try:
                await self._bring_up(progress)
            except StuckEngineError as error:
                logger.error("%s; starting it again", error)
                await self._bring_down(error.what, gently=False)
            else:
                return
        await self._bring_up(progress)

    async def _bring_up(self, progress: Progress) -> None:
        self._set_state("loading")
        progress.phase("loading")
        await self._launch(progress)
        self._set_state("warming")
        progress.phase("warming")
        limits = self._engine.limits
        sizes = limits.max_num_tokens, limits.longest_sequence, limits.max_batch_size
        rounds = warm_up_rounds(*sizes, fits=self._fits)
        await self._unless_dead(warm_up(self.client, rounds, progress, limits.vocabulary_size))
        self._set_state("ready")

    async def _launch(self, progress: Progress) -> None:
        """A started server with its model loaded."""
        self._kills = out_of_memory_kills()
        self._run = make_run_directory()
        self._server = await start_server(replace(self._engine.command(self._run), pinning=self._pinning))
        self.client.attach(self._server.address, self._server.metrics_socket)
        await self._unless_dead(self._loaded(progress))

    async def _loaded(self, progress: Progress) -> None:
        deadline = time.monotonic() + self._patience.load
        total = self._engine.total_bytes
        while not await self.client.model_ready():
            if self._server is not None and (loaded := self._engine.loaded_bytes(self._server)):
                progress.advance(min(total, loaded), total)
            if time.monotonic() > deadline:
                raise EngineError("the engine did not load", why=f"{self._patience.load:g} s passed")
            await asyncio.sleep(self._patience.watch / 2)

    async def _unless_dead(self, work: Coroutine[object, object, None]) -> None:
        """Awaits `work`, at most as long as the server and its stub live and do something: EngineError with the cause
        of death."""
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self._death())
        stuck = asyncio.ensure_future(self._stuck())
        try:
            await asyncio.wait({task, death, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and isinstance(task.exception(), EngineDiedError):
                await asyncio.wait({death}, timeout=self._patience.watch * 10)  # it knows the cause
            for end in (death, stuck):
                if end.done():
                    raise end.result()
            await task
        finally:
            for each in (task, death, stuck):
                each.cancel()
            await asyncio.gather(task, death, stuck, return_exceptions=True)

    async def _stuck(self) -> StuckEngineError:
        """Returns when nothing is done any more, though the engine is not ready yet."""
        assert self._server is not None
        idle = await stopped_working(self._server.process.pid, self._patience.idle)
        return StuckEngineError("the engine is stuck", why=f"{self.state}, it has done nothing for {idle:.0f} s")

    async def _death(self) -> EngineError:
        """Returns the cause when the server or its stub exits."""
        server = self._server
        assert server is not None
        while True:
            if server.process.returncode is not None or _stub_has_ended(server):
                await asyncio.sleep(self._patience.watch / 2)  # the last words are still in the pipe
                return cause_of_death(server, self._kills)
            await asyncio.sleep(self._patience.watch)

    async def _supervise(self) -> None:
        """Gives the engine up too where restarting it fails in a way that was not foreseen: nobody would watch it."""
        assert self._failed is not None
        try:
            failure = await self._until_given_up()
        except Exception as error:
            logger.exception("the engine cannot be watched any more")
            failure = EngineError("the engine cannot be watched any more", why=str(error) or type(error).__name__)
        self._failed.set_result(failure)
        self._set_state("failed")

    async def _until_given_up(self) -> StokerError:
        """Restarts for as long as the engine comes back; returns why it does not."""
        while True:
            cause = await self._first_trouble()
            if failure := self._breaker(cause):
                await self._bring_down(str(cause.what), gently=False)
                return failure
            logger.error("%s; restarting it", cause)
            self.client.reason = str(cause.what)  # before the state's listeners ask
            self._set_state("restarting")
            await self._bring_down(str(cause.what), gently=False)
            if failure := await self._bring_back():
                return failure

    def _breaker(self, cause: EngineError) -> StokerError | None:
        """Why it is given up, where it has died too often of late."""
        now, patience = time.monotonic(), self._patience
        recent = tuple(death for death in self.deaths if now - death.moment < patience.window)
        self.deaths = (*recent, Death(now, str(cause), self._blame()))
        if len(self.deaths) < patience.deaths:
            return None
        return UnstableEngineError(
            f"the engine died {len(self.deaths)} times within {patience.window / 60:g} minutes",
            why=str(cause),
            remedy="choose a smaller --max-batch-size or --max-seq-len, or give it more memory",
        )

    async def _first_trouble(self) -> EngineError:
        tasks = [asyncio.create_task(self._death()), asyncio.create_task(self._wedged())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring_back(self) -> StokerError | None:
        """None when it is ready again, else why the last attempt failed."""
        failure: StokerError | None = None
        for attempt in range(self._patience.attempts):
            await asyncio.sleep(backoff(attempt, self._patience.backoff, self._patience.longest_backoff))
            try:
                await self._bring_up(Silent())
            except (StokerError, OSError) as error:
                failure = (
                    error if isinstance(error, StokerError) else EngineError("Triton did not start", why=str(error))
                )
                logger.error("the engine did not come back (attempt %d): %s", attempt + 1, failure)
                await self._bring_down(failure.what, gently=False)
                self._set_state("restarting")
            else:
                self.restarts += 1
                return None
        return failure

    async def _bring_down(self, reason: str, gently: bool) -> None:
        server, self._server = self._server, None
        await self.client.detach(reason)
        if server is not None:
            await (server.stop(self._patience.stop) if gently else server.kill())
        run, self._run = self._run, None
        if run is not None:
            run.remove()

    async def _wedged(self) -> EngineError:
        """Returns when there was work and neither a step nor a token for too long.

        An idle engine is given a token to make, so that "ready" always rests on a real one.
        """
        patience = self._patience
        heartbeat: asyncio.Task[None] | None = None
        try:
            while (silence := self._signs.silence()) < patience.wedged:
                self._set_state("stalled" if silence > patience.fresh else "ready")
                if silence > patience.heartbeat and self.client.in_flight == 0:
                    heartbeat = asyncio.create_task(self._heartbeat())
                await asyncio.sleep(patience.watch * 5)
            return EngineError("the engine is stuck", why=f"no step in {silence:.0f} s with work waiting")
        finally:
            if heartbeat is not None:
                heartbeat.cancel()
                await asyncio.gather(heartbeat, return_exceptions=True)

    async def _heartbeat(self) -> None:
        with contextlib.suppress(StokerError):
            prompt = unlikely_prompt(self._engine.limits.vocabulary_size)
            async for _ in self.client.generate(Generation("heartbeat", prompt, max_tokens=1)):
                pass


def _stub_has_ended(server: TritonServer) -> bool:
    """False where that cannot be seen now, as without a file descriptor left."""
    with contextlib.suppress(OSError):
        stub = server.stub_pid()
        return stub is not None and not process_lives(stub)
    return False

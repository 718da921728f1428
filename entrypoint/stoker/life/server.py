"""The serving process: one event loop that answers health within the first seconds, while the steps run beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from stoker.errors import StokerError, StoppedError
from stoker.life.engines import Engines
from stoker.life.listeners import Listeners
from stoker.life.service import service_of
from stoker.progress import Progress, Tee
from stoker.serve.http.watched import WatchedFiles
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings

_LOG = logging.getLogger("stoker")
_BUILD_ENDS_SECONDS = 10.0  # its processes are killed and what it wrote is deleted
_PREPARATION_ENDS_SECONDS = 1.0  # what takes longer, as a download under way, is left to the process's end


def run_server(settings: Settings, told: Progress, reload: Callable[[], None]) -> int:
    """Serves until SIGTERM, Ctrl-C or a failure; returns the exit code. The port is bound before any work is done.

    `told` hears of progress, as /v1/health/startup does; `reload` is called on SIGHUP, and may raise a StokerError.
    """
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
    return await serving.run(), serving.engines.prepared.is_set()


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
        self.service = service
        self.lifecycle = service.lifecycle
        self.listeners = listeners
        self.progress = Tee(self.lifecycle, told)
        self.stopping = asyncio.Event()
        self.cancel = threading.Event()
        self.engines = Engines(settings, service, told, self.cancel, listeners.url, listeners.crew)
        self.signal = 0

    async def run(self) -> int:
        self._watch_signals()
        listening = asyncio.ensure_future(self.listeners.serve())
        try:
            failure = await self._until_told(self.engines.serve(), listening)
            return await self._drain() if failure is None else failure
        finally:
            await self.engines.stop()
            await self.listeners.stop()
            await listening
            if self.service.tracer is not None:
                await asyncio.to_thread(self.service.tracer.close)

    async def _until_told(
        self, work: Coroutine[object, object, NoReturn], listening: asyncio.Future[None]
    ) -> int | None:
        """Runs `work` until it ends or a signal comes; None for a signal once ready, else an exit code. Raises what
        ends `listening` before."""
        task = asyncio.ensure_future(work)
        told = asyncio.ensure_future(self.stopping.wait())
        ends: set[asyncio.Future[Any]] = {task, told, listening}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if listening.done():
            task.cancel()
            listening.result()
        if task.done():
            return self._failed(task)
        await self.engines.leave()
        if self.listeners.crew is not None:
            self.service.metrics.workers = tuple(await self.listeners.crew.states())
        was_ready, phase = self.lifecycle.serving is not None, self.lifecycle.current
        requests = f"{self._in_flight} requests in flight; " if was_ready else ""
        self.progress.phase("draining", f"{requests}a second Ctrl-C or SIGTERM stops at once")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StoppedError):
            await task
        await asyncio.to_thread(
            self.engines.prepared.wait, _BUILD_ENDS_SECONDS if phase == "building" else _PREPARATION_ENDS_SECONDS
        )
        return None if was_ready else 128 + self.signal

    @property
    def _in_flight(self) -> int:
        return self.lifecycle.in_flight + self.service.metrics.requests_elsewhere

    def _failed(self, task: asyncio.Future[NoReturn]) -> int:
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
        left = await self._left_after(self.settings.drain_timeout)
        if not left:
            _LOG.info("drained in %.1f s", time.monotonic() - began)
            return 0
        _LOG.warning("%d requests did not finish in %g s", left, self.settings.drain_timeout)
        self.lifecycle.abort()
        if self.listeners.crew is not None:
            self.listeners.crew.abort()
        await self._left_after(2)
        return 128 + self.signal

    async def _left_after(self, seconds: float) -> int:
        """Requests in flight after so many seconds, in all processes."""
        crew = self.listeners.crew
        others = asyncio.ensure_future(crew.drained(seconds)) if crew is not None else None
        await self.lifecycle.drained(seconds)
        return self.lifecycle.in_flight + (await others if others is not None else 0)

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
        if self.listeners.crew is not None:
            self.listeners.crew.look_again()

    def _told_to_stop(self, number: int) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        self.signal = int(number)
        self.cancel.set()
        self.stopping.set()

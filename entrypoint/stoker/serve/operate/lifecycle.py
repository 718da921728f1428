"""Where the server stands between its first second and its last: phases, readiness, requests in flight."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from stoker.errors import StokerError
from stoker.launch.generation import EngineClient
from stoker.progress import PHASES
from stoker.redaction import redacted
from stoker.serve.http.errors import unavailable
from stoker.serve.operate.frontend import Frontend


@dataclass(frozen=True)
class Serving:
    """What a request is served with."""

    engine: EngineClient
    frontend: Frontend


class Lifecycle:
    """A `stoker.progress.Progress` that /v1/health/* reports from.

    Phases and `attach`, `detach`, `resume`, `fail` may be called from any thread; everything about requests in flight
    belongs to the event loop. Once `drain` has been called no phase but `failed` opens any more.

    `replicas`: the state of each copy of the engine, as its supervisor calls it. `workers`: that of each API process,
    where there are others than this one. `on_change` hears of each change of phase, detail or engine, in the thread
    that makes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = PHASES[0]
        self._detail = ""
        self._done = self._total = 0
        self._unit = "bytes"
        self._began = self._created = time.monotonic()
        self._elapsed: dict[str, float] = {}
        self._expected: Mapping[str, float] = {}
        self._error: StokerError | None = None
        self._serving: Serving | None = None
        self._in_flight = 0
        self._idle: asyncio.Event | None = None
        self._aborted: asyncio.Future[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self.restarts = 0
        self.replicas: tuple[str, ...] = ()
        self.workers: tuple[str, ...] = ()
        self.on_change: Callable[[], None] = lambda: None

    # Progress

    def phase(self, name: str, detail: str = "") -> None:
        if name not in PHASES:
            raise ValueError(f"no such phase: {name}")
        with self._lock:
            if self._phase == "failed" or (self._phase == "draining" and name != "failed"):
                return
            now = time.monotonic()
            self._elapsed[self._phase] = self._elapsed.get(self._phase, 0.0) + now - self._began
            self._phase, self._detail, self._began = name, redacted(detail), now
            self._done = self._total = 0
        self.on_change()

    def advance(self, done: int, total: int, unit: str = "bytes") -> None:
        with self._lock:
            self._done, self._total, self._unit = done, total, unit

    def note(self, text: str) -> None:
        with self._lock:
            self._detail = redacted(text)
        self.on_change()

    def expect(self, seconds: Mapping[str, float]) -> None:
        """How long phases are likely to take, by what they took before."""
        self._expected = seconds

    # Readiness

    def attach(self, engine: EngineClient, frontend: Frontend) -> None:
        """The engine is warm: from here on requests are taken."""
        self.equip(Serving(engine, frontend))
        self.phase("ready")

    def equip(self, serving: Serving | None) -> None:
        """What requests are served with while the phase is `ready`."""
        self._serving = serving

    def detach(self, detail: str = "the engine is being restarted") -> None:
        """The engine process exited: requests are refused until `resume`."""
        self.restarts += 1
        self.phase("loading", detail)

    def forget(self, detail: str) -> None:
        """Another engine takes the place of the attached one: its states count only once it is attached too."""
        self.detach(detail)
        self._serving = None
        self.on_change()

    def resume(self) -> None:
        """The engine that was attached is back."""
        if self._serving is not None:
            self.phase("ready")

    def engine_state(self, state: str) -> None:
        """Follows a launch Supervisor's states, once an engine has been attached; hand it over as its `on_state`."""
        if self._serving is None:
            return
        if state == "restarting":
            self.detach()
        elif state in ("loading", "warming"):
            self.phase(state, "the engine is being restarted")
        elif state == "stalled":
            self.phase("loading", "the engine has stopped answering")
        elif state == "ready":
            self.resume()

    def fail(self, error: StokerError) -> None:
        self.phase("failed", error.what)
        self._error = error

    @property
    def current(self) -> str:
        return self._phase

    @property
    def detail(self) -> str:
        return self._detail

    @property
    def ready(self) -> bool:
        return self._phase == "ready" and self._serving is not None

    @property
    def serving(self) -> Serving | None:
        """What was attached, even while it is not ready."""
        return self._serving

    # Requests in flight

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextmanager
    def admit(self) -> Iterator[Serving]:
        """Counts a request in flight. ApiError, 503, unless ready."""
        self.check()
        serving = self._serving
        assert serving is not None
        self._in_flight += 1
        try:
            yield serving
        finally:
            self._in_flight -= 1
            if self._in_flight == 0 and self._idle is not None:
                self._idle.set()

    def check(self) -> None:
        """ApiError, 503, unless ready."""
        if not self.ready:
            raise self._refusal()

    def _refusal(self) -> Exception:
        if self._phase == "draining":
            return unavailable("The server is going down and takes no new requests.", "draining")
        detail = f": {self._detail}" if self._detail else ""
        text = f"The model is not ready yet ({self._phase}{detail}); see /v1/health/startup."
        return unavailable(text, "not_ready")

    def drain(self, detail: str = "") -> None:
        """No new requests; those in flight go on."""
        self.phase("draining", detail)

    async def drained(self, timeout: float) -> bool:
        """Waits until no request is in flight; False if some still are after `timeout` seconds. Bodies that are still
        arriving are not waited for."""
        if not self.closing.done():
            self.closing.set_result(None)
        if self._in_flight:
            self._idle = asyncio.Event()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout)
        return self._in_flight == 0

    def abort(self) -> None:
        """Ends every request in flight with a clean error."""
        if not self.aborted.done():
            self.aborted.set_result(None)

    @property
    def aborted(self) -> asyncio.Future[None]:
        """Done once requests in flight are to end. Belongs to the running loop."""
        self._aborted = _of_this_loop(self._aborted)
        return self._aborted

    @property
    def closing(self) -> asyncio.Future[None]:
        """Done once no more bodies are awaited. Belongs to the running loop."""
        self._closing = _of_this_loop(self._closing)
        return self._closing

    # Telling

    def phase_seconds(self) -> dict[str, float]:
        with self._lock:
            now = time.monotonic()
            return {**self._elapsed, self._phase: self._elapsed.get(self._phase, 0.0) + now - self._began}

    def report(self) -> dict[str, object]:
        """What /v1/health/startup shows. `percent` and `eta_seconds` are of the open phase, null when unknown."""
        seconds = self.phase_seconds()
        with self._lock:
            done, total = self._done, self._total
            spent = time.monotonic() - self._began
            known = total > 0
            return {
                "phase": self._phase,
                "detail": self._detail,
                "ready": self.ready,
                "replicas": list(self.replicas),
                "adapters": len(self.serving.frontend.adapters) if self.serving else 0,
                "api_workers": list(self.workers),
                "percent": round(min(100.0, 100.0 * done / total), 1) if known else None,
                "progress": {"done": done, "total": total, "unit": self._unit} if known else None,
                "eta_seconds": _seconds_left(self._phase, spent, done, total, self._expected.get(self._phase)),
                "elapsed_seconds": round(time.monotonic() - self._created, 3),
                "phases": [{"name": name, "seconds": round(value, 3)} for name, value in seconds.items()],
                "error": _told(self._error),
            }


def _seconds_left(phase: str, spent: float, done: int, total: int, expected: float | None) -> float | None:
    """By what the phase took on this machine before, for as long as it has not taken longer, and by the throughput so
    far, which counts the more the further it has come. Without the first only a download's throughput tells: other
    phases do not go on at the pace of their beginning. None where nothing is known."""
    measured = spent * (total - done) / done if 0 < done <= total else None
    if phase == "downloading":
        return None if measured is None else round(measured, 1)
    if expected is None or expected <= spent:
        return None
    share = done / total if measured is not None else 0.0
    return round(share * (measured or 0.0) + (1 - share) * (expected - spent), 1)


def _told(error: StokerError | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"code": error.code, "what": error.what, "why": error.why, "remedy": error.remedy, "message": str(error)}


def _of_this_loop(future: asyncio.Future[None] | None) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    return loop.create_future() if future is None or future.get_loop() is not loop else future

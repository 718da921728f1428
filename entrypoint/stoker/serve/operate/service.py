"""What the application serves from: steps report to its lifecycle, and the engine is attached to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker.launch.generation import EngineClient, ReplicaState
from stoker.serve.apis.openai_responses.store import ResponseStore
from stoker.serve.generate.admission import Admission, Doorkeeper
from stoker.serve.http.keys import Keys
from stoker.serve.http.limits import Limits
from stoker.serve.http.peers import Network
from stoker.serve.http.uploads import ROOM_BYTES, Room, Uploads
from stoker.serve.operate.adapters import Adapters
from stoker.serve.operate.crew import Crew
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.lifecycle import Lifecycle
from stoker.serve.operate.metrics import Metrics
from stoker.serve.operate.tracing import Tracer


@dataclass(frozen=True)
class Exposure:
    """Who may use the server, and what it shows. No `keys`: everybody. No `cors_origins`: no other site's pages.

    `allowed_hosts`: names of the server beyond those that no stranger can have. `trusted_proxies`: whose
    `X-Forwarded-For` is believed.

    `management_apart`: metrics are on a port of their own. `log_prompts`: the log shows what was asked.
    """

    keys: Keys = field(default_factory=Keys)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    management_apart: bool = False
    log_prompts: bool = False


Members = Callable[[], Awaitable[Sequence[ReplicaState]]]


@dataclass
class Service:
    """`plan` is the document that `stoker plan --json` prints, once there is a plan. `responses`: where those of
    /v1/responses are kept. `reject_unknown`: fields that nobody knows are refused, and not passed over.
    `members`: asks each replica of the engine how it is. `adapters`: those that are served beside the model.
    `uploads` is this process's own, unless another's takes its place, as `remote` does that of `admission`. `crew`: the
    API's processes, where they are others than this one."""

    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    limits: Limits = field(default_factory=Limits)
    exposure: Exposure = field(default_factory=Exposure)
    plan: dict[str, Any] | None = None
    responses: ResponseStore | None = None
    tracer: Tracer | None = None
    reject_unknown: bool = False
    members: Members | None = None
    adapters: Adapters = field(default_factory=Adapters)
    crew: Crew | None = None
    remote: Doorkeeper | None = None
    uploads: Room = field(init=False)
    metrics: Metrics = field(init=False)
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.uploads = Uploads(max(ROOM_BYTES, 2 * self.limits.body_bytes))
        self.admission = Admission(self.limits.queue, lambda: len(self.exposure.keys) > 1)
        self.metrics = Metrics(self.lifecycle, self.admission)

    @property
    def doorkeeper(self) -> Doorkeeper:
        """Who decides which requests may start."""
        return self.remote or self.admission

    def attach(self, engine: EngineClient, frontend: Frontend, members: Members | None = None) -> None:
        """The engine is warm: from here on requests are taken, as many at once as it has room for."""
        self.members = members
        self.admission.resize(frontend.capacity)
        self.lifecycle.attach(engine, frontend)

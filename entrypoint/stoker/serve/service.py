"""What the application serves from: steps report to its lifecycle, and the engine is attached to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoker.launch.generation import EngineClient
from stoker.serve.admission import Admission
from stoker.serve.frontend import Frontend
from stoker.serve.lifecycle import Lifecycle
from stoker.serve.limits import Limits
from stoker.serve.metrics import Metrics


@dataclass
class Service:
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(init=False)
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits.queue)
        self.metrics = Metrics(self.lifecycle, self.admission)

    def attach(self, engine: EngineClient, frontend: Frontend) -> None:
        """The engine is warm: from here on requests are taken, as many at once as it has room for."""
        self.admission.resize(frontend.capacity)
        self.lifecycle.attach(engine, frontend)

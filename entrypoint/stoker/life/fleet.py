"""What routes requests to this server beside its own API: NVIDIA Dynamo, where the settings name a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.kinds import kind_named
from stoker.launch.generation import EngineClient
from stoker.plan.types import Plan
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.settings.layers import Settings
from stoker.store.engine import Engine

if TYPE_CHECKING:
    from stoker.fleet.dynamo.bridge import DynamoBridge


class Fleet:
    """Nothing where no fleet is named. UsageError for a fleet that this installation cannot join."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._namespace = str(settings["dynamo"].value or "")
        self._service = service
        self._bridge: DynamoBridge | None = None
        if self._namespace:
            from stoker.fleet.dynamo.process import interpreter

            interpreter()  # before anything is downloaded or built

    def join(self, engine: EngineClient, frontend: Frontend, plan: Plan, made: Engine) -> EngineClient:
        """Offers the engine, which is warm, to the fleet, and returns it as it is to be used."""
        if not self._namespace:
            return engine
        from stoker.fleet.dynamo.bridge import DynamoBridge
        from stoker.fleet.dynamo.facts import facts_of

        chosen = plan.chosen
        reuses = kind_named(chosen.engine).launch.keeps_prefixes
        facts = facts_of(self._namespace, frontend, chosen.max_num_tokens, reuses=reuses)
        self._bridge = DynamoBridge(self._service, facts, made.directory)
        self._bridge.start()
        return self._bridge.observe(engine)

    async def leave(self) -> None:
        """Takes no more requests from the fleet. Those that it has sent go on."""
        if self._bridge is not None:
            await self._bridge.leave()

    async def stop(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            await bridge.stop()

"""A checkpoint behind our Python-backend model, as the supervisor and the direct API start it. Imports no PyTorch."""

from __future__ import annotations

from stoker.kinds.torch import TENSORS
from stoker.launch.kind import Child
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import settings_for
from stoker.plan.types import Chosen, KvPool
from stoker.probe.visible_devices import visible_to_pytorch
from stoker.store.engine import Engine

RUNTIME = "stoker.kinds.torch.runtime.opening:open_runtime"


def servable(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> PythonEngine:
    """`gpus`: UUIDs of the plan's devices, empty for a CPU. PyTorch counts those that it sees from 0."""
    settings = settings_for(RUNTIME, engine, chosen, kv)
    return PythonEngine(settings, "*.safetensors", TENSORS[chosen.purpose], environment=visible_to_pytorch(gpus))


def child(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> Child:
    settings = settings_for(RUNTIME, engine, chosen, kv)
    return Child(settings, environment=visible_to_pytorch(gpus))

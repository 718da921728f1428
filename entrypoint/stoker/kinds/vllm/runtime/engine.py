"""A checkpoint served by vLLM, as the supervisor and the direct API start it. Imports no vLLM."""

from __future__ import annotations

import os

from stoker.kinds.vllm.kind import TENSORS
from stoker.kinds.vllm.runtime.process import LIBRARY_PATH
from stoker.launch.kind import Child
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import settings_for
from stoker.plan.types import Chosen, KvPool
from stoker.store.engine import Engine

RELAY = "stoker.kinds.vllm.runtime.relay:Relay"
RUNTIME = "stoker.kinds.vllm.runtime.alone:HostRuntime"


def servable(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> PythonEngine:
    """`gpus`: UUIDs of the plan's devices, empty for a CPU."""
    return PythonEngine(
        settings_for(RELAY, engine, chosen, kv),
        "",  # they go to the GPU, in a process of vLLM's
        TENSORS[chosen.purpose],
        environment=_environment(gpus),
    )


def child(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> Child:
    return Child(settings_for(RUNTIME, engine, chosen, kv), environment=_environment(gpus))


def _environment(gpus: tuple[str, ...]) -> dict[str, str]:
    devices = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    return {LIBRARY_PATH: os.environ.get("LD_LIBRARY_PATH", ""), **devices}

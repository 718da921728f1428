"""Engines as the supervisor and the direct API start them. Imports no OpenVINO."""

from __future__ import annotations

from stoker.kinds.openvino import TENSORS
from stoker.kinds.openvino.files import WEIGHTS
from stoker.launch.kind import Child
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings, settings_for
from stoker.plan.types import Chosen, KvPool
from stoker.store.engine import Engine

GENERATOR = "stoker.kinds.openvino.runtime.choice:open_runtime"
ENCODER = "stoker.kinds.openvino.runtime.encoder:EncoderRuntime"


def servable(engine: Engine, chosen: Chosen, kv: KvPool, _: tuple[str, ...]) -> PythonEngine:
    return python_engine(_settings(engine, chosen, kv))


def python_engine(settings: EngineSettings) -> PythonEngine:
    return PythonEngine(settings, WEIGHTS, TENSORS[settings.chosen.purpose])


def child(engine: Engine, chosen: Chosen, kv: KvPool, _: tuple[str, ...]) -> Child:
    return Child(_settings(engine, chosen, kv))


def _settings(engine: Engine, chosen: Chosen, kv: KvPool) -> EngineSettings:
    runtime = GENERATOR if chosen.purpose == "text" else ENCODER
    return settings_for(runtime, engine, chosen, kv)

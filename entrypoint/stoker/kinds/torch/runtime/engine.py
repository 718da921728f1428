"""A checkpoint behind our Python-backend model, as the supervisor drives it. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import replace

from stoker.launch import contract
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings, planned_settings
from stoker.plan.types import Chosen
from stoker.probe.visible_devices import visible_to_pytorch
from stoker.store.engine import Engine

RUNTIME = "stoker.kinds.torch.runtime.opening:open_runtime"
CPU_PAGE_TOKENS = 32
GPU_PAGE_TOKENS = 256  # flash attention reads its cache in pages of a multiple of it


def torch_engine(engine: Engine, chosen: Chosen, kv_blocks: int, gpus: tuple[str, ...]) -> PythonEngine:
    """`gpus`: UUIDs of the plan's devices, empty for a CPU. PyTorch counts those that it sees from 0."""
    return PythonEngine(
        torch_settings(engine, chosen, kv_blocks),
        weights="*.safetensors",
        inputs=contract.TORCH_INPUTS,
        environment=visible_to_pytorch(gpus),
    )


def torch_settings(engine: Engine, chosen: Chosen, kv_blocks: int) -> EngineSettings:
    return replace(
        planned_settings(engine, chosen, kv_blocks, RUNTIME),
        kv_block_tokens=GPU_PAGE_TOKENS if chosen.devices else CPU_PAGE_TOKENS,
        precision=chosen.precision,
        group_size=chosen.group_size,
        device="cuda" if chosen.devices else "cpu",
        ranks=chosen.tensor_parallel,
    )

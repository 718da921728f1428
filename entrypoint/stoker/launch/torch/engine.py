"""A checkpoint behind our Python-backend model, as the supervisor drives it. Imports no PyTorch."""

from __future__ import annotations

from stoker.launch import contract
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings
from stoker.plan.types import Chosen
from stoker.store.engine import Engine

RUNTIME = "stoker.launch.torch.choice:open_runtime"
CPU_PAGE_TOKENS = 32
GPU_PAGE_TOKENS = 256  # flash attention reads its cache in pages of a multiple of it


def torch_engine(engine: Engine, chosen: Chosen, kv_blocks: int, gpus: tuple[str, ...]) -> PythonEngine:
    """`gpus`: UUIDs of the plan's devices, empty for a CPU. PyTorch counts those that it sees from 0."""
    return PythonEngine(
        torch_settings(engine, chosen, kv_blocks),
        weights="*.safetensors",
        inputs=contract.TORCH_INPUTS,
        environment=visible(gpus) if chosen.devices else {},
    )


def torch_settings(engine: Engine, chosen: Chosen, kv_blocks: int) -> EngineSettings:
    return EngineSettings(
        engine_directory=str(engine.directory),
        max_batch_size=chosen.max_batch_size,
        max_num_tokens=chosen.max_num_tokens,
        max_seq_len=chosen.max_seq_len,
        kv_blocks=kv_blocks,
        threads=chosen.threads,
        kv_precision=chosen.kv_precision,
        activation_precision=chosen.activation_precision,
        kv_block_tokens=GPU_PAGE_TOKENS if chosen.devices else CPU_PAGE_TOKENS,
        runtime=RUNTIME,
        precision=chosen.precision,
        group_size=chosen.group_size,
        device="cuda" if chosen.devices else "cpu",
        ranks=chosen.tensor_parallel,
    )


def visible(gpus: tuple[str, ...]) -> dict[str, str]:
    """The same for NVIDIA's and AMD's runtimes; each ignores the other's."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}

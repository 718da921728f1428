"""TensorRT-LLM's PyTorch backend behind our Python-backend model, as the supervisor and the direct API start it."""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.runtime.packages import gpu_environment, theirs_first
from stoker.kinds.tensorrt_llm_pytorch import TENSORS
from stoker.kinds.tensorrt_llm_pytorch.files import CHECKPOINT
from stoker.launch.installation import Installation, find_image
from stoker.launch.kind import Child
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import settings_for
from stoker.plan.types import Chosen, KvPool
from stoker.store.engine import Engine

RUNTIME = "stoker.kinds.tensorrt_llm_pytorch.runtime.runtime:LlmRuntime"


def servable(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> PythonEngine:
    """`gpus`: what CUDA_VISIBLE_DEVICES is to name, rank by rank; empty to leave it."""
    return PythonEngine(
        settings_for(RUNTIME, engine, chosen, kv),
        f"{CHECKPOINT}/*.safetensors",
        TENSORS[chosen.purpose],
        find_whole_triton,
        gpu_environment(gpus),
        theirs_first,
    )


def child(engine: Engine, chosen: Chosen, kv: KvPool, gpus: tuple[str, ...]) -> Child:
    return Child(settings_for(RUNTIME, engine, chosen, kv), environment=gpu_environment(gpus))


def find_whole_triton() -> Installation:
    """The image's, whose Python is that which TensorRT-LLM is installed for."""
    return find_image("python")

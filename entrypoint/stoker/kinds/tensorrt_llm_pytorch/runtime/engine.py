"""TensorRT-LLM's PyTorch backend behind our Python-backend model, as the supervisor drives it."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.kinds.tensorrt_llm_pytorch.build.arguments import CHECKPOINT
from stoker.kinds.tensorrt_llm_pytorch.runtime.packages import their_environment
from stoker.launch import contract
from stoker.launch.installation import Installation, find_image
from stoker.launch.python_engine import PythonEngine
from stoker.launch.settings import EngineSettings
from stoker.probe.visible_devices import visible_to_cuda

# Open MPI, by which the LLM starts a process for each GPU, refuses to do so as root unless told twice.
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def pytorch_engine(settings: EngineSettings, gpus: Sequence[str]) -> PythonEngine:
    """`gpus`: what CUDA_VISIBLE_DEVICES is to name, rank by rank; empty to leave it."""
    return PythonEngine(
        settings, f"{CHECKPOINT}/*.safetensors", find_whole_triton, gpu_environment(gpus), contract.PYTORCH_INPUTS
    )


def gpu_environment(gpus: Sequence[str]) -> dict[str, str]:
    return {**visible_to_cuda(gpus), **_AS_ROOT, **their_environment()}


def find_whole_triton() -> Installation:
    """The image's, whose Python is that which TensorRT-LLM is installed for."""
    return find_image("python")

"""What planning asks of TensorRT-LLM's PyTorch backend: what it asks of compiled engines, by a table of its own."""

from __future__ import annotations

from functools import cache

from stoker.kinds.tensorrt_llm.plan.catalogue import PYTORCH, load_nvidia
from stoker.kinds.tensorrt_llm.plan.kind import tensorrt_llm
from stoker.plan.kind import PlanKind


@cache
def planning() -> PlanKind:
    """With the profiles of this installation."""
    return tensorrt_llm(load_nvidia(), PYTORCH)

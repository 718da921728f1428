"""Over how many GPUs TensorRT-LLM can spread a model, and how many are worth it."""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.plan.catalogue import Converter, GpuProfile
from stoker.kinds.tensorrt_llm.plan.memory import layer_bytes
from stoker.plan.devices import Split
from stoker.resolve.model import Architecture, Model


def why_not(architecture: Architecture, profile: GpuProfile, split: Split) -> str:
    """What of the model these sizes do not divide; empty when they are possible."""
    heads, kv_heads, tensor = architecture.heads, architecture.kv_heads, split.tensor
    if heads % tensor:
        return f"{tensor} does not divide {heads} attention heads"
    if kv_heads % tensor and tensor % kv_heads:
        return f"{kv_heads} KV heads can be neither divided nor repeated over {tensor} GPUs"
    width = architecture.expert_intermediate_size if architecture.experts else architecture.intermediate_size
    if width % tensor or (profile.group_size and (width // tensor) % profile.group_size and tensor > 1):
        groups = f" in groups of {profile.group_size}" if profile.group_size else ""
        return f"{tensor} does not divide the feed-forward width {width}{groups}"
    if split.pipeline > architecture.layers:
        return f"there are only {architecture.layers} layers for {split.pipeline} pipeline groups"
    return ""


def no_stages(profile: GpuProfile, converter: Converter | None, split: Split) -> str:
    """Why the engine cannot be cut into pipeline stages; empty where it can, or is not to be."""
    if split.pipeline == 1 or not profile.kind.compiled or converter is None or converter.pipeline:
        return ""
    return f"TensorRT-LLM's converter {converter.folder} makes no pipeline stages"


def worth_it(model: Model, profile: GpuProfile, split: Split) -> bool:
    """Whether each GPU keeps enough to read for its part to shorten a step."""
    return layer_bytes(model, profile, split) >= profile.goal_limits.min_weight_bytes_per_gpu

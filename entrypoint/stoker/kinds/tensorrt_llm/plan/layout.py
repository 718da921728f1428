"""Tensor and pipeline parallel sizes: which are possible for a model in a pool of GPUs, and which to try first."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.kinds.tensorrt_llm.plan.catalogue import Converter, GpuProfile
from stoker.kinds.tensorrt_llm.plan.devices import Pool
from stoker.kinds.tensorrt_llm.plan.memory import Split, layer_bytes
from stoker.plan.types import Overrides
from stoker.resolve.model import Architecture, Model

_SIZES = (1, 2, 4, 8, 16)


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
    if split.pipeline == 1 or profile.kind.name != "tensorrt_llm" or converter is None or converter.pipeline:
        return ""
    return f"TensorRT-LLM's converter {converter.folder} makes no pipeline stages"


def layouts(
    model: Model, profile: GpuProfile, pool: Pool, overrides: Overrides, converter: Converter | None = None
) -> tuple[Split, ...]:
    """In the order to try: fewest GPUs first, tensor before pipeline; for latency the most that are worth it first."""
    possible = [
        split
        for split in _asked(pool, overrides)
        if not why_not(model.architecture, profile, split) and not no_stages(profile, converter, split)
    ]
    ordered = sorted(_widest_of_each(possible), key=lambda split: split.gpus)
    if profile.goal != "latency" or not pool.nvlink:
        return tuple(ordered)
    return _for_latency(ordered, model, profile)


def _asked(pool: Pool, overrides: Overrides) -> list[Split]:
    tensor = (overrides.tensor_parallel.value,) if overrides.tensor_parallel else _SIZES
    pipeline = (overrides.pipeline_parallel.value,) if overrides.pipeline_parallel else _SIZES
    splits = (Split(one, other) for one in tensor for other in pipeline)
    return [split for split in splits if split.gpus <= len(pool.gpus) and split.tensor <= pool.widest]


def _widest_of_each(possible: Sequence[Split]) -> list[Split]:
    """Of the same number of GPUs the widest tensor parallelism: it takes the least memory and time."""
    best: dict[int, Split] = {}
    for split in possible:
        held = best.get(split.gpus)
        if held is None or split.tensor > held.tensor:
            best[split.gpus] = split
    return list(best.values())


def _for_latency(ordered: Sequence[Split], model: Model, profile: GpuProfile) -> tuple[Split, ...]:
    """Pipelines do not shorten a step, so only tensor parallelism grows, while each GPU keeps enough to read."""
    least = profile.limits.min_weight_bytes_per_gpu
    worth = [
        split
        for split in ordered
        if split.gpus == 1 or (split.pipeline == 1 and layer_bytes(model, profile, split) >= least)
    ]
    rest = [split for split in ordered if split not in worth]
    return (*reversed(worth), *rest)

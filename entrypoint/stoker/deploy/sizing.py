"""What one server is given, computed from the plan. Each number keeps its reason, which the manifests show."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.deploy.startup import startup
from stoker.deploy.types import Sized, Sizing
from stoker.kinds.tensorrt_llm.plan.catalogue import Catalogue, Host
from stoker.kinds.tensorrt_llm.plan.host import available, is_invented, source_weights
from stoker.plan.profile import Profile
from stoker.plan.types import Plan
from stoker.plan.units import size_text

MIB, GIB = 1 << 20, 1 << 30
PRE_STOP_SECONDS = 5
_STOP_SECONDS = 20
_AT_PROBE = 256 * MIB  # what the process itself holds of its limit when it probes what is left
_BUILD_COPIES, _BUILD_LEAST = 1.3, 1536 * MIB  # the bound that tests/integration/build/test_memory.py holds builds to
_TRITON_SHARED = 512 * MIB
_NCCL_SHARED = GIB
_TOKEN_BYTES = 4
_SPARE_DISK = 1.1
_KV_FRACTION = 0.75  # where a profile says nothing else: the cache's part of what the rest leaves
_NOTHING_BUILT = Host(1.0, 1.2, 4 * GIB, 1.0, "our estimate: the checkpoint passes through the host's memory once")
_CORES = 2


def size(plan: Plan, profiles: Sequence[Profile], nvidia: Catalogue, drain_seconds: float) -> Sizing:
    """`profiles` and `nvidia` are the catalogues that the plan was made with."""
    shared = _shared_memory(plan)
    grace = PRE_STOP_SECONDS + int(drain_seconds) + _STOP_SECONDS
    why_grace = f"{PRE_STOP_SECONDS} s to leave the routes, {drain_seconds:g} s to drain, {_STOP_SECONDS} s to end"
    gpus = Sized(len(plan.chosen.devices), f"tensor x pipeline parallel of the plan's {plan.chosen.profile}")
    if not gpus.value:
        fractions = (one.memory.kv_fraction for one in profiles if one.name == plan.chosen.profile)
        memory, cache = _cpu_memory(plan, next(fractions, _KV_FRACTION)), _cpu_cache(plan)
        cores = Sized(plan.chosen.threads, "one for each thread of the engine: more threads than cores would wait")
    else:
        kind = nvidia.kinds.get(plan.chosen.engine)
        host = kind.host if kind else _NOTHING_BUILT
        memory, cache = _gpu_host_memory(plan, host, shared.value), _gpu_cache(plan, host)
        cores = Sized(_CORES + _CORES * gpus.value, "the API, Triton, and a feeding thread and its helper for each GPU")
    return Sizing(gpus, cores, memory, shared, cache, startup(plan), Sized(grace, why_grace), not gpus.value)


def _cpu_memory(plan: Plan, kv_fraction: float) -> Sized:
    """So much that planning within this limit gives this very plan again, with no smaller KV cache."""
    budget = plan.memory
    planned_fraction = budget.limit / available(plan.machine)  # the planner leaves the rest free
    comfortable = int((budget.total - budget.kv.bytes + budget.kv.bytes / kv_fraction) / planned_fraction)
    serving = min(comfortable, available(plan.machine)) + _AT_PROBE
    needed = max(serving, int(_BUILD_COPIES * budget.weights) + _BUILD_LEAST)
    why = (
        f"the plan's {size_text(budget.total)} (weights {size_text(budget.weights)}, KV cache "
        f"{size_text(budget.kv.bytes)}) and the reserve that the planner leaves free within a limit"
    )
    if needed > serving:
        why = f"building this small model takes more than serving it ({size_text(budget.total)})"
    return Sized(_up(needed, MIB), why)


def _gpu_host_memory(plan: Plan, host: Host, shared: int) -> Sized:
    """Making the engine is the peak. On a unified machine the GPU's memory is the host's."""
    making = max(int(host.memory_enough * source_weights(plan.model)), host.memory_least)
    unified = [gpu for gpu in plan.machine.gpus if gpu.index in plan.chosen.devices and gpu.unified_memory]
    needed = max(making, plan.memory.total if unified else 0)
    why = f"making the engine peaks at {host.memory_enough:g} times the 16-bit weights ({size_text(making)})"
    if needed > making:
        why = f"the GPU's memory is the host's: the plan's {size_text(needed)}"
    return Sized(_up(needed + shared, MIB), f"{why}, and shared memory")


def _shared_memory(plan: Plan) -> Sized:
    chosen = plan.chosen
    tensors = 2 * _TOKEN_BYTES * chosen.max_batch_size * chosen.max_seq_len
    gpus = len(chosen.devices)
    nccl = _NCCL_SHARED * gpus if gpus > 1 else 0
    why = f"Triton's tensors for {chosen.max_batch_size} sequences of {chosen.max_seq_len} tokens"
    why += f", and NCCL's buffers between {gpus} GPUs" if nccl else ""
    return Sized(_up(_TRITON_SHARED + tensors + nccl, 64 * MIB), f"{why}; Docker's default of 64 MB is too little")


def _cpu_cache(plan: Plan) -> Sized:
    source, engine = plan.model.weights.total_bytes, plan.memory.weights
    return _cache(source + 2 * engine, f"checkpoint {size_text(source)}, engine {size_text(engine)}")


def _gpu_cache(plan: Plan, host: Host) -> Sized:
    building = int(host.disk * source_weights(plan.model))
    engine = plan.memory.weights * len(plan.chosen.devices)
    return _cache(building + engine, f"building takes {size_text(building)}, an engine {size_text(engine)}")


def _cache(needed: int, of: str) -> Sized:
    return Sized(_up(int(needed * _SPARE_DISK), GIB), f"{of}, and an engine more: after an update both are there")


def knows_host(plan: Plan) -> bool:
    """Whether the machine's processor is known, rather than made up for a description of GPUs alone."""
    return not is_invented(plan.machine)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step

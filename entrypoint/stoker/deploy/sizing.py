"""What one server is given, computed from the plan. Each number keeps its reason, which the manifests show."""

from __future__ import annotations

from stoker.deploy.kind import DeployPart, HostNeeds
from stoker.deploy.startup import startup
from stoker.deploy.types import Sized, Sizing
from stoker.plan.types import Plan
from stoker.plan.units import size_text

MIB, GIB = 1 << 20, 1 << 30
PRE_STOP_SECONDS = 5
_STOP_SECONDS = 20
_AT_PROBE = 256 * MIB  # what the process itself holds of its limit when it probes what is left
_TRITON_SHARED = 512 * MIB
_NCCL_SHARED = GIB
_TOKEN_BYTES = 4
_SPARE_DISK = 1.1
_CORES = 2
_API_PROCESS = 128 * MIB


def size(plan: Plan, part: DeployPart, drain_seconds: float, api_workers: int = 1) -> Sizing:
    """`part` is that of the plan's engine kind. `api_workers`: processes that answer the API; 1 is the server's own."""
    shared, needs = _shared_memory(plan), part.host_needs(plan)
    grace = PRE_STOP_SECONDS + int(drain_seconds) + _STOP_SECONDS
    why_grace = f"{PRE_STOP_SECONDS} s to leave the routes, {drain_seconds:g} s to drain, {_STOP_SECONDS} s to end"
    gpus = _gpus(plan)
    if not gpus.value:
        memory = _cpu_memory(plan, needs)
        threads = min(len(plan.replicas) * plan.chosen.threads, plan.machine.cpu.cores)
        cores = Sized(threads, "one for each thread of the engine: more threads than cores would wait")
    else:
        memory = _gpu_host_memory(plan, needs, shared.value)
        cores = Sized(_CORES + _CORES * gpus.value, "the API, Triton, and a feeding thread and its helper for each GPU")
    if api_workers > 1:
        memory, cores = _with_workers(memory, cores, api_workers, gpus=bool(gpus.value))
    cache = _cache(plan, needs)
    starting = startup(plan, part.build_rate)
    return Sizing(gpus, cores, memory, shared, cache, starting, Sized(grace, why_grace), not gpus.value)


def _with_workers(memory: Sized, cores: Sized, count: int, *, gpus: bool) -> tuple[Sized, Sized]:
    """Beside a GPU each is to have a core; on a CPU they share the engine's."""
    own, why = count * _API_PROCESS, f"{count} API processes"
    more = Sized(memory.value + own, f"{memory.why}, and {size_text(own)} for {why}")
    return more, Sized(cores.value + count, f"{cores.why}, and one for each of {why}") if gpus else cores


def _gpus(plan: Plan) -> Sized:
    count = len(plan.replicas)
    times = f"{count} replicas of " if count > 1 else ""
    return Sized(len(plan.all_devices), f"{times}tensor x pipeline parallel of the plan's {plan.chosen.profile}")


def _cpu_memory(plan: Plan, needs: HostNeeds) -> Sized:
    """So much that planning within this limit gives this very plan again, with no smaller KV cache."""
    budget, cache, count = plan.memory, plan.memory.kv.bytes, len(plan.replicas)
    planned_fraction = count * budget.limit / plan.machine.host_memory  # the planner leaves the rest free
    each = budget.total - cache + (cache / needs.cache_fraction if cache else 0)
    comfortable = int(count * each / planned_fraction)
    serving = min(comfortable, plan.machine.host_memory) + _AT_PROBE
    needed = max(serving, needs.memory)
    of = f" {count} replicas of" if count > 1 else ""
    why = (
        f"the plan's{of} {size_text(budget.total)} (weights {size_text(budget.weights)}, KV cache "
        f"{size_text(cache)}) and the reserve that the planner leaves free within a limit"
    )
    return Sized(_up(needed, MIB), needs.why_memory if needed > serving else why)


def _gpu_host_memory(plan: Plan, needs: HostNeeds, shared: int) -> Sized:
    """Making the engine is the peak. On a unified machine the GPU's memory is the host's."""
    unified = [gpu for gpu in plan.machine.gpus if gpu.index in plan.chosen.devices and gpu.unified_memory]
    needed, why = max(needs.memory, plan.memory.total if unified else 0), needs.why_memory
    if needed > needs.memory:
        why = f"the GPU's memory is the host's: the plan's {size_text(needed)}"
    return Sized(_up(needed + shared, MIB), f"{why}, and shared memory")


def _shared_memory(plan: Plan) -> Sized:
    chosen, count = plan.chosen, len(plan.replicas)
    tensors = 2 * _TOKEN_BYTES * chosen.max_batch_size * chosen.max_seq_len
    gpus = len(chosen.devices)
    nccl = _NCCL_SHARED * gpus if gpus > 1 else 0
    why = f"Triton's tensors for {chosen.max_batch_size} sequences of {chosen.max_seq_len} tokens"
    why += f", and NCCL's buffers between {gpus} GPUs" if nccl else ""
    why += f", for each of {count} replicas" if count > 1 else ""
    needed = _up(count * (_TRITON_SHARED + tensors + nccl), 64 * MIB)
    return Sized(needed, f"{why}; Docker's default of 64 MB is too little")


def _cache(plan: Plan, needs: HostNeeds) -> Sized:
    engine = plan.memory.weights * max(1, len(plan.chosen.devices))
    why = f"{needs.why_disk}, and an engine more: after an update both are there"
    return Sized(_up(int((needs.disk + engine) * _SPARE_DISK), GIB), why)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step

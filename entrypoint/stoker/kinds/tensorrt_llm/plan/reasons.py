"""The reasons of a plan for TensorRT-LLM, one line each."""

from __future__ import annotations

from stoker.kinds.tensorrt_llm.plan.catalogue import COMPILED, GpuProfile
from stoker.kinds.tensorrt_llm.plan.checkpoint import checkpoint_kind
from stoker.kinds.tensorrt_llm.plan.host import driver_line, host_line
from stoker.kinds.tensorrt_llm.plan.memory import kv_bytes_per_token
from stoker.plan.devices import Pool, Split, busy
from stoker.plan.kind import Case
from stoker.plan.reasons import batch_line, context_line, estimate_line, precision_asked, reasons
from stoker.plan.types import Overrides, Reason
from stoker.plan.units import count_text, size_text

_CALIBRATED = ("fp8", "nvfp4", "int8_sq", "int4_awq", "w4a8_awq")


def reasons_for(profile: GpuProfile, paged: bool, case: Case) -> tuple[Reason, ...]:
    pool, machine, model = case.candidate.place.pool, case.question.machine, case.question.model
    assert pool is not None
    following = f"should that fail to build: {case.next_profile}" if case.next_profile else ""
    return reasons(
        ("precision", precision_asked(case) or _precision(profile, case)),
        ("calibration", _calibration(case)),
        ("next", following),
        ("unproven", _unproven(profile, case)),
        ("kind", _kind(profile, case)),
        ("devices", _devices(case, pool)),
        *(("busy", f"GPU {gpu.index} ({gpu.name}) is left out: it {why}") for gpu, why in busy(machine)),
        ("cache_type", _cache(case)),
        ("unpaged", "" if paged else _unpaged(case)),
        ("context", context_line(case)),
        ("batch", batch_line(case, "profile default")),
        ("pool", _pool(profile, case)),
        ("adapters", _adapters(profile, case)),
        ("host", host_line(profile.kind, machine, model)),
        ("driver", driver_line(profile.kind, machine)),
        ("estimate", estimate_line(case)),
    )


def _precision(profile: GpuProfile, case: Case) -> str:
    precision, kind = profile.precision, checkpoint_kind(case.question.model.quantization)
    if kind != "plain":
        return f"precision {precision}: the checkpoint is {kind.upper()} already; its numbers are kept"
    if profile.bits == 16:
        return f"precision {precision}: the checkpoint's own, and it fits"
    why = f"; {case.before[0].profile} {case.before[0].reason}" if case.before else ""
    return f"precision {precision}: the plan quantises the checkpoint to make it fit{why}"


def _calibration(case: Case) -> str:
    if checkpoint_kind(case.question.model.quantization) == "plain" and case.chosen.precision in _CALIBRATED:
        return f"{case.chosen.precision} is calibrated on a small text before it is built"
    return ""


def _unproven(profile: GpuProfile, case: Case) -> str:
    where = case.candidate.unproven
    table = f"is in no table of {profile.kind.image.release}: it may fail to build"
    return f"{profile.precision} on {where} {table}" if where else ""


def _kind(profile: GpuProfile, case: Case) -> str:
    if profile.kind.compiled or case.question.overrides.profile or case.question.overrides.engine:
        return ""
    reasons = {one.profile: one.reason for one in case.rejected}
    compiled = f"{COMPILED}-{profile.precision}-{profile.goal}"
    why = reasons.get(compiled, "compiled engines are not made from this checkpoint")
    return f"TensorRT-LLM's PyTorch backend: {why}"


def _devices(case: Case, pool: Pool) -> str:
    split, latency = case.candidate.split, case.candidate.profile.goal == "latency"
    which = ", ".join(map(str, case.chosen.devices))
    given = _sizes_given(case.question.overrides)
    if split.gpus == 1:
        more = "; more would each have too little to read, or have no NVLink"
        return f"1 GPU ({which}) holds it" + (more if latency and len(pool.gpus) > 1 and not given else "")
    link = "NVLink" if pool.nvlink else "no NVLink between them"
    why = "asked for" if given else "the goal is latency" if latency else "fewer do not hold it comfortably"
    sizes = f"tensor parallel {split.tensor}, pipeline parallel {split.pipeline}"
    return f"{sizes} on GPUs {which}, {link}: {why}"


def _sizes_given(overrides: Overrides) -> bool:
    return bool(overrides.tensor_parallel or overrides.pipeline_parallel)


def _cache(case: Case) -> str:
    architecture, split = case.question.model.architecture, case.candidate.split
    whole = kv_bytes_per_token(architecture, case.chosen.kv_precision, Split(1, 1))
    line = f"KV cache in {case.chosen.kv_precision}: {count_text(whole)} bytes per token"
    if split.gpus > 1:
        line += f", {count_text(case.memory.kv.bytes_per_token)} on each GPU"
    if split.tensor > architecture.kv_heads:
        line += f" ({architecture.kv_heads} KV heads, repeated for {split.tensor} GPUs)"
    return line


def _unpaged(case: Case) -> str:
    return (
        f"with {case.chosen.precision} weights the {case.chosen.kv_precision} cache turns paged context attention off: "
        "no part of the cache is used again, and a prompt goes through in one step"
    )


def _pool(profile: GpuProfile, case: Case) -> str:
    pool, fraction = case.memory.kv, profile.kind.memory.kv_fraction
    tokens = count_text(pool.tokens)
    return f"KV cache of {tokens} tokens: {fraction:.0%} of what the rest leaves ({size_text(pool.bytes)} a GPU)"


def _adapters(profile: GpuProfile, case: Case) -> str:
    if not case.chosen.max_loras:
        return ""
    built = "built for" if profile.kind.compiled else "with room for"
    return (
        f"{built} {case.chosen.max_loras} LoRA adapters of rank {case.chosen.max_lora_rank} "
        f"({size_text(case.memory.adapters)} per GPU, twice that of host memory), any mix in one batch; not run "
        "on real hardware yet"
    )

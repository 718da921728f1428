"""The reasons of a torch plan, one line each."""

from __future__ import annotations

from stoker.plan.kind import Case
from stoker.plan.reasons import batch_line, context_line, estimate_line, precision_asked, reasons
from stoker.plan.sources import source_text
from stoker.plan.types import Reason
from stoker.plan.units import count_text, size_text


def reasons_for(not_own: str, case: Case) -> tuple[Reason, ...]:
    """`not_own`: why what is computed in is not the checkpoint's own type, empty where it is."""
    return reasons(
        ("kind", _kind(case)),
        ("devices", _devices(case)),
        ("precision", _precision(case, not_own)),
        ("context", context_line(case)),
        ("batch", batch_line(case, "profile default")),
        ("pool", _pool(case)),
        ("adapters", _adapters(case)),
        ("estimate", estimate_line(case)),
    )


def _kind(case: Case) -> str:
    if profile := case.question.overrides.profile:
        return f"engine torch: asked for by {source_text(profile)}; nothing is compiled"
    if case.question.overrides.engine:
        return "nothing is compiled"
    return f"engine torch, the last choice: {case.why}; nothing is compiled, so it is slower than an engine that is"


def _devices(case: Case) -> str:
    chosen, name = case.chosen, case.candidate.place.name
    if case.candidate.split.gpus == 1:
        return f"it runs on GPU {chosen.devices[0]} ({name})" if chosen.devices else "it runs on the CPU"
    why = "one of them cannot hold the model"
    if override := case.question.overrides.tensor_parallel:
        why = f"asked for by {source_text(override)}"
    where = f"GPUs {', '.join(map(str, chosen.devices))} ({name})"
    if not chosen.devices:
        where = f"the CPU, whose cores and memory {chosen.tensor_parallel} processes share"
    return f"tensor parallel {chosen.tensor_parallel}, by transformers' own plan, on {where}: {why}"


def _precision(case: Case, not_own: str) -> str:
    precision, computed = case.chosen.precision, case.chosen.activation_precision
    line = precision_asked(case) or f"precision {precision}: the checkpoint's own"
    if not_own and not precision_asked(case):
        line = f"precision {precision}, not the checkpoint's own: {not_own}"
    return f"{line}; quantised while it is loaded, computed in {computed}" if precision != computed else line


def _pool(case: Case) -> str:
    pool = case.memory.kv
    return (
        f"KV cache of {count_text(pool.tokens)} tokens in {case.chosen.kv_precision} ({size_text(pool.bytes)}, with "
        "the copies that attention without flash kernels makes of it)"
    )


def _adapters(case: Case) -> str:
    if not case.chosen.max_loras:
        return ""
    return (
        f"up to {case.chosen.max_loras} LoRA adapters of rank {case.chosen.max_lora_rank} "
        f"({size_text(case.memory.adapters)}) take turns with each other and with the base: a request waits until "
        "those that run with another adapter have ended, and prompts share no prefixes in the cache"
    )

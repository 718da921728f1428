"""The reasons of a plan for vLLM, one line each."""

from __future__ import annotations

from stoker.plan.kind import Case
from stoker.plan.reasons import batch_line, context_line, estimate_line, precision_asked, reasons
from stoker.plan.types import Reason
from stoker.plan.units import count_text, size_text


def reasons_for(case: Case) -> tuple[Reason, ...]:
    return reasons(
        ("precision", precision_asked(case) or _precision(case)),
        ("devices", _devices(case)),
        ("cache_type", _cache(case)),
        ("context", context_line(case)),
        ("batch", batch_line(case, "the profile's")),
        ("pool", f"KV cache of {count_text(case.memory.kv.tokens)} tokens ({size_text(case.memory.kv.bytes)} a GPU)"),
        ("estimate", estimate_line(case)),
    )


def _precision(case: Case) -> str:
    precision, quantization = case.chosen.precision, case.question.model.quantization
    if quantization is not None:
        return f"precision {precision}: the checkpoint is {quantization.method.upper()} already; its numbers are kept"
    if precision == case.chosen.activation_precision:
        return f"precision {precision}: the checkpoint's own, and it fits"
    why = f"; {case.before[0].profile} {case.before[0].reason}" if case.before else ""
    return f"precision {precision}: quantised while it is loaded, to make it fit{why}"


def _devices(case: Case) -> str:
    split, which = case.candidate.split, ", ".join(map(str, case.chosen.devices))
    if split.gpus == 1:
        return f"1 GPU ({which}) holds it"
    return f"tensor parallel {split.tensor}, pipeline parallel {split.pipeline} on GPUs {which}"


def _cache(case: Case) -> str:
    return f"{case.chosen.kv_precision} KV cache: {count_text(case.memory.kv.bytes_per_token)} bytes per token and GPU"

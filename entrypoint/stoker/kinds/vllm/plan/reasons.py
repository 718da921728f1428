"""The reasons of a plan for vLLM, one line each."""

from __future__ import annotations

from stoker.kinds.vllm.graphs import decode_sizes, largest
from stoker.kinds.vllm.plan.catalogue import Catalogue, VllmProfile
from stoker.kinds.vllm.plan.checkpoint import checkpoint_of
from stoker.kinds.vllm.plan.memory import kv_bytes_per_token
from stoker.kinds.vllm.speculation import FEW_STREAMS, GUESSES
from stoker.plan.devices import Pool, Split, busy
from stoker.plan.kind import Case
from stoker.plan.reasons import batch_line, context_line, estimate_line, no_speculation_line, precision_asked, reasons
from stoker.plan.speculation import OFF
from stoker.plan.types import Reason
from stoker.plan.units import count_text, size_text


def reasons_for(catalogue: Catalogue, profile: VllmProfile, case: Case) -> tuple[Reason, ...]:
    pool = case.candidate.place.pool
    assert pool is not None
    return reasons(
        ("kind", _kind(case)),
        ("precision", precision_asked(case) or _precision(profile, case)),
        ("faster", _faster(catalogue, profile, case, pool)),
        ("next", f"if that fails to build: {case.next_profile}" if case.next_profile else ""),
        ("devices", _devices(case, pool)),
        *(("busy", f"GPU {gpu.index} ({gpu.name}) not used: {why}") for gpu, why in busy(case.question.machine)),
        ("cache_type", _cache_type(case)),
        ("context", context_line(case)),
        ("batch", batch_line(case, "profile default")),
        ("graphs", _graphs(case)),
        ("speculative", _speculative(case)),
        ("pool", _pool(case)),
        ("estimate", estimate_line(case)),
    )


def _kind(case: Case) -> str:
    return f"engine vllm: {case.why}" if case.why else ""


def _precision(profile: VllmProfile, case: Case) -> str:
    checkpoint = checkpoint_of(case.question.model)
    if checkpoint != "plain":
        return f"precision {profile.precision}: the checkpoint is quantised already ({checkpoint})"
    if profile.bits == 16:
        return f"precision {profile.precision}: the checkpoint's own, and it fits"
    why = f"; {case.before[0].profile} {case.before[0].reason}" if case.before else ""
    return f"precision {profile.precision}: quantised while loading, so that the model fits{why}"


def _faster(catalogue: Catalogue, profile: VllmProfile, case: Case, pool: Pool) -> str:
    """What a precision that the user may ask for would bring."""
    if precision_asked(case) or checkpoint_of(case.question.model) != "plain":
        return ""
    for name, faster in catalogue.faster.items():
        if faster.over == profile.precision and pool.capability >= faster.capability:
            return f"{name} would be about {faster.ratio:g} times as fast (--precision {name}; {faster.source})"
    return ""


def _devices(case: Case, pool: Pool) -> str:
    split, overrides = case.candidate.split, case.question.overrides
    which = ", ".join(map(str, case.chosen.devices))
    if split.gpus == 1:
        return f"1 GPU ({which}) holds the model"
    given = overrides.tensor_parallel or overrides.pipeline_parallel
    latency = case.candidate.profile.goal == "latency"
    why = "requested" if given else "the goal is latency" if latency else "fewer do not hold the model comfortably"
    link = "NVLink" if pool.nvlink else "no NVLink"
    return f"tensor parallel {split.tensor}, pipeline parallel {split.pipeline} on GPUs {which} ({link}): {why}"


def _cache_type(case: Case) -> str:
    precision, split = case.chosen.kv_precision, case.candidate.split
    if precision == "none":
        return "no KV cache: each text is encoded whole"
    whole = kv_bytes_per_token(case.question.model, precision, Split(1, 1))
    line = f"KV cache in {precision}: {count_text(whole)} bytes per token"
    return line if split.gpus == 1 else f"{line}, {count_text(case.memory.kv.bytes_per_token)} on each GPU"


def _graphs(case: Case) -> str:
    sizes = decode_sizes(case.chosen.max_batch_size)
    prompts = count_text(largest(case.chosen.max_num_tokens))
    return f"CUDA graphs: {len(sizes)} batch sizes up to {sizes[-1]} for decoding, prompts up to {prompts} tokens"


def _speculative(case: Case) -> str:
    """When it pays."""
    question, method = case.question, case.chosen.speculative
    if method == OFF:
        return no_speculation_line(case)
    who = f"{question.draft.served_name} guesses" if question.draft else "guesses of"
    return (
        f"speculative decoding ({method}): {who} {GUESSES[method]} tokens per step for up to {FEW_STREAMS} sequences "
        "at a time, none where more run, since they stop paying"
    )


def _pool(case: Case) -> str:
    kv = case.memory.kv
    if not kv.blocks:
        return ""
    return f"KV cache: {count_text(kv.tokens)} tokens, all that the rest leaves ({size_text(kv.bytes)} on each GPU)"

"""The reasons of a plan for OpenVINO, one line each."""

from __future__ import annotations

from stoker.kinds.openvino.plan.compute import Compute
from stoker.kinds.openvino.plan.memory import kv_bytes_per_token
from stoker.kinds.openvino.plan.profile import CALIBRATED, OpenvinoProfile
from stoker.kinds.openvino.speculation import FEW_STREAMS, FEWEST_GUESSES, GUESSES
from stoker.plan.kind import Case
from stoker.plan.reasons import batch_line, context_line, estimate_line, no_speculation_line, precision_asked, reasons
from stoker.plan.speculation import OFF
from stoker.plan.types import TEXT, Reason
from stoker.plan.units import count_text, size_text


def reasons_for(compute: Compute, case: Case) -> tuple[Reason, ...]:
    return reasons(
        ("pooling", _pooling(case)),
        ("precision", precision_asked(case) or _precision(case)),
        ("calibration", _calibration(case)),
        ("goal", _goal(case)),
        ("activation", compute.reason),
        ("cache_type", _cache_type(case, compute)),
        ("context", context_line(case)),
        ("batch", batch_line(case, f"profile default for {_cores(case)}")),
        ("speculative", _speculative(case)),
        ("pool", _pool(case)),
        ("limit", _limit(case)),
        ("window", "" if compute.dense else _window(case)),
        ("experts", _experts(case)),
        ("estimate", estimate_line(case)),
    )


def _precision(case: Case) -> str:
    precision, quantization = case.chosen.precision, case.question.model.quantization
    if quantization is not None:
        return f"precision {precision}: the checkpoint is {quantization.method.upper()} already"
    if case.before:
        better = case.before[0]
        return f"precision {precision}: memory forces it; {better.profile} {better.reason}"
    if not case.found.comfortable:
        return f"precision {precision}: the first by order that fits at all; no profile leaves a comfortable context"
    return f"precision {precision}: the default on a CPU, negligible quality loss at a quarter of f32's memory"


def _calibration(case: Case) -> str:
    if case.question.model.quantization is not None:
        return "its integers and scales are kept as they are: nothing is calibrated or quantised again"
    if case.chosen.precision in CALIBRATED:
        return f"{case.chosen.precision} is calibrated on a small text while it is built"
    return ""


def _goal(case: Case) -> str:
    if case.candidate.profile.goal != "latency":
        return ""
    line = "goal latency: few sequences, short steps"
    if case.chosen.precision == "int8" and not case.question.overrides.precision:
        line += (
            "; int4 would be the quickest for one stream, but costs quality, so it must be asked for (--precision int4)"
        )
    return line


def _pooling(case: Case) -> str:
    pooling = case.question.model.pooling
    if pooling is None:
        return ""
    if pooling.method == "score":
        return "one score for two texts, from the head that the checkpoint has: POST /v1/rerank"
    lengths = "of length 1" if pooling.normalized else "as long as they come"
    named = f"; prompts for {', '.join(pooling.prompts)}" if pooling.prompts else ""
    return f"vectors pooled by {pooling.method}, {lengths}{named} ({pooling.source}): POST /v1/embeddings"


def _cache_type(case: Case, compute: Compute) -> str:
    if case.chosen.purpose != TEXT:
        return "no KV cache: each text is encoded whole, several at once"
    if compute.dense:
        return (
            "soft-capped attention scores cannot be paged in OpenVINO: each sequence keeps its own "
            f"{case.chosen.kv_precision} cache at full length, so fewer run at once"
        )
    architecture = case.question.model.architecture
    own = case.memory.kv.bytes_per_token
    line = f"KV cache in {case.chosen.kv_precision}: {count_text(own)} bytes per token"
    if case.chosen.kv_precision == "u8":
        line += f" ({count_text(kv_bytes_per_token(architecture, 'f16'))} in 16 bits)"
    return line


def _speculative(case: Case) -> str:
    """What it costs, and when it pays."""
    question, method = case.question, case.chosen.speculative
    if method == OFF:
        return no_speculation_line(case)
    who = f"{question.draft.served_name} guesses" if question.draft else "guesses are looked up in the text:"
    few = f"up to {FEW_STREAMS} sequences" if FEW_STREAMS > 1 else "1 sequence"
    return (
        f"speculative decoding ({method}): {who} {GUESSES} tokens per step for {few} at a time and {FEWEST_GUESSES}, "
        "the fewest possible, for each beyond them, where guesses stop paying; "
        "no prefix cache, which would keep wrong guesses"
    )


def _cores(case: Case) -> str:
    cores = case.candidate.place.cpu.cores
    return "1 core" if cores == 1 else f"{cores} cores"


def _pool(case: Case) -> str:
    pool = case.memory.kv
    if not pool.blocks:
        return ""
    return (
        f"KV cache of {count_text(pool.tokens)} tokens ({size_text(pool.bytes)}): "
        "at least one sequence of full length, "
        f"{count_text(pool.tokens // case.chosen.max_batch_size)} for each sequence when all run"
    )


def _limit(case: Case) -> str:
    profile = case.candidate.profile
    assert isinstance(profile, OpenvinoProfile)
    whose = "this process" if len(case.replicas) == 1 else "each replica"
    return (
        f"memory limit {size_text(case.memory.limit)}: {profile.memory.available_fraction:.0%} "
        f"of the {size_text(case.candidate.place.cpu_memory)} available to {whose}"
    )


def _window(case: Case) -> str:
    architecture = case.question.model.architecture
    if not architecture.sliding_window:
        return ""
    return (
        f"the window of {count_text(architecture.sliding_window)} tokens in {architecture.sliding_layers} layers saves "
        "no cache: OpenVINO's paged attention keeps every token"
    )


def _experts(case: Case) -> str:
    architecture = case.question.model.architecture
    if not architecture.experts:
        return ""
    return f"all {architecture.experts} experts stay in memory, though a token uses {architecture.experts_per_token}"

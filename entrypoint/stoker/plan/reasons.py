"""The reasons of a plan, one line each: what was chosen, why, and what would change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stoker.plan.budget import kv_bytes_per_token
from stoker.plan.outcome import Outcome
from stoker.plan.selection import checkpoint_kind
from stoker.plan.sources import source_text
from stoker.plan.types import TEXT, Chosen, Reason
from stoker.plan.units import count_text, size_text
from stoker.probe.machine import Machine

_CALIBRATED = ("int4_awq", "int4_gptq", "int8_sq")


@dataclass(frozen=True)
class _Case:
    machine: Machine
    chosen: Chosen
    outcome: Outcome

    @property
    def checkpoint(self) -> str:
        return checkpoint_kind(self.outcome.setting.model.quantization)


def reasons_for(machine: Machine, chosen: Chosen, outcome: Outcome) -> tuple[Reason, ...]:
    case = _Case(machine, chosen, outcome)
    return tuple(Reason(code, text) for code, say in _LINES if (text := say(case)))


def _precision(case: _Case) -> str:
    precision = case.chosen.precision
    if override := case.outcome.overrides.precision or case.outcome.overrides.profile:
        return f"precision {precision}: asked for by {source_text(override)}"
    if case.checkpoint != "plain":
        return f"precision {precision}: the checkpoint is {case.checkpoint.upper()} already"
    if case.outcome.passed_over:
        better = case.outcome.passed_over[0]
        return f"precision {precision}: memory forces it; {better.profile} {better.reason}"
    if not case.outcome.found.comfortable:
        return f"precision {precision}: the first by order that fits at all; no profile leaves a comfortable context"
    return f"precision {precision}: the default on a CPU, next to no loss of quality at a quarter of f32's memory"


def _calibration(case: _Case) -> str:
    if case.checkpoint != "plain":
        return "its integers and scales are kept as they are: nothing is calibrated or quantised again"
    if case.chosen.precision in _CALIBRATED:
        return f"{case.chosen.precision} is calibrated on a small text while it is built"
    return ""


def _goal(case: _Case) -> str:
    profile = case.outcome.setting.profile
    if profile.goal != "latency":
        return ""
    line = "goal latency: few sequences, short steps"
    if profile.precision == "int8" and not case.outcome.overrides.precision:
        line += (
            "; int4 would be the quickest for one stream, but costs quality, so it must be asked for (--precision int4)"
        )
    return line


def _activation(case: _Case) -> str:
    return case.outcome.setting.compute.reason


def _pooling(case: _Case) -> str:
    pooling = case.outcome.setting.model.pooling
    if pooling is None:
        return ""
    if pooling.method == "score":
        return "one score for two texts, from the head that the checkpoint has: POST /v1/rerank"
    lengths = "of length 1" if pooling.normalized else "as long as they come"
    named = f"; prompts for {', '.join(pooling.prompts)}" if pooling.prompts else ""
    return f"vectors pooled by {pooling.method}, {lengths}{named} ({pooling.source}): POST /v1/embeddings"


def _cache_type(case: _Case) -> str:
    outcome = case.outcome
    if case.chosen.purpose != TEXT:
        return "no KV cache: each text is encoded whole, several at once"
    if outcome.setting.compute.dense:
        return (
            "soft-capped attention scores cannot be paged in OpenVINO: each sequence keeps its own "
            f"{case.chosen.kv_precision} cache at full length, so fewer run at once"
        )
    architecture = outcome.setting.model.architecture
    own = kv_bytes_per_token(architecture, case.chosen.kv_precision)
    line = f"{case.chosen.kv_precision} KV cache: {count_text(own)} bytes a token"
    if case.chosen.kv_precision == "u8":
        line += f", against {count_text(kv_bytes_per_token(architecture, 'f16'))} in 16 bits"
    return line


def _context(case: _Case) -> str:
    outcome, value = case.outcome, case.chosen.max_seq_len
    if override := outcome.overrides.max_seq_len:
        return f"context {count_text(value)} tokens: asked for by {source_text(override)}"
    if value == outcome.longest:
        return f"context {count_text(value)} tokens: all that the model allows"
    if value == outcome.span.context.start:
        return (
            f"context {count_text(value)} tokens: the profile's default; "
            f"the model allows {count_text(outcome.longest)} (--max-seq-len)"
        )
    return (
        f"context shrunk from {count_text(outcome.span.context.start)} to {count_text(value)} tokens to fit in memory"
    )


def _batch(case: _Case) -> str:
    outcome, value = case.outcome, case.chosen.max_batch_size
    if override := outcome.overrides.max_batch_size:
        return f"{value} sequences at once: asked for by {source_text(override)}"
    if value < outcome.span.batch.start:
        return f"batch shrunk from {outcome.span.batch.start} to {value} sequences at once to fit in memory"
    return (
        f"{value} sequences at once and {case.chosen.max_num_tokens} tokens a step: the profile's, for {_cores(case)}"
    )


def _cores(case: _Case) -> str:
    cores = case.machine.cpu.cores
    return "1 core" if cores == 1 else f"{cores} cores"


def _pool(case: _Case) -> str:
    budget = case.outcome.found.budget
    if not budget.kv.blocks:
        return ""
    tokens = budget.kv.tokens
    return (
        f"KV cache of {count_text(tokens)} tokens ({size_text(budget.kv.bytes)}): "
        "at least one sequence of full length, "
        f"{count_text(tokens // case.chosen.max_batch_size)} for each sequence when all run"
    )


def _limit(case: _Case) -> str:
    cpu, fraction = case.machine.cpu, case.outcome.setting.profile.memory.available_fraction
    usable = min(cpu.memory_available, cpu.memory_limit)
    return (
        f"memory limit {size_text(case.outcome.found.budget.limit)}: "
        f"{fraction:.0%} of the {size_text(usable)} available to this process"
    )


def _gpus(case: _Case) -> str:
    count = len(case.machine.gpus)
    if not count:
        return ""
    found = "1 GPU" if count == 1 else f"{count} GPUs"
    return f"{found} found; this version has no engine for them; serving from the CPU"


def _window(case: _Case) -> str:
    architecture = case.outcome.setting.model.architecture
    if not architecture.sliding_window or case.outcome.setting.compute.dense:
        return ""
    return (
        f"the window of {count_text(architecture.sliding_window)} tokens in {architecture.sliding_layers} layers saves "
        "no cache: OpenVINO's paged attention keeps every token"
    )


def _experts(case: _Case) -> str:
    architecture = case.outcome.setting.model.architecture
    if not architecture.experts:
        return ""
    return f"all {architecture.experts} experts stay in memory, though a token uses {architecture.experts_per_token}"


def _estimate(case: _Case) -> str:
    measured = case.outcome.setting.model.weights.measured
    return "" if measured else "weights computed from the architecture: no file headers were at hand"


_LINES: tuple[tuple[str, Callable[[_Case], str]], ...] = (
    ("pooling", _pooling),
    ("precision", _precision),
    ("calibration", _calibration),
    ("goal", _goal),
    ("activation", _activation),
    ("cache_type", _cache_type),
    ("context", _context),
    ("batch", _batch),
    ("pool", _pool),
    ("limit", _limit),
    ("gpus", _gpus),
    ("window", _window),
    ("experts", _experts),
    ("estimate", _estimate),
)

"""The reasons of a GPU plan, one line each, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from stoker.kinds.tensorrt_llm.plan.checkpoint import checkpoint_kind
from stoker.kinds.tensorrt_llm.plan.devices import busy
from stoker.kinds.tensorrt_llm.plan.fit import GpuFit, GpuSetting
from stoker.kinds.tensorrt_llm.plan.host import driver_line, host_lines
from stoker.kinds.tensorrt_llm.plan.memory import Split, kv_bytes_per_token
from stoker.kinds.tensorrt_llm.plan.outcome import GpuOutcome
from stoker.plan.sources import MACHINE, MODEL, PLANNER, source_text
from stoker.plan.types import Chosen, Overrides, Reason
from stoker.plan.units import count_text, size_text

_CALIBRATED = ("fp8", "nvfp4", "int8_sq", "int4_awq", "w4a8_awq")


@dataclass(frozen=True)
class _Case:
    chosen: Chosen
    outcome: GpuOutcome
    found: GpuFit

    @property
    def setting(self) -> GpuSetting:
        return self.outcome.taken.setting

    @property
    def overrides(self) -> Overrides:
        return self.outcome.question.overrides


def reasons_for(chosen: Chosen, outcome: GpuOutcome) -> tuple[Reason, ...]:
    found = outcome.taken.found
    assert found is not None
    case = _Case(chosen, outcome, found)
    return tuple(Reason(code, line) for code, say in _LINES for line in say(case) if line)


def _precision(case: _Case) -> tuple[str, ...]:
    precision, kind = case.chosen.precision, checkpoint_kind(case.setting.model.quantization)
    if override := case.overrides.precision or case.overrides.profile:
        return (f"precision {precision}: asked for by {source_text(override)}",)
    if kind != "plain":
        return (f"precision {precision}: the checkpoint is {kind.upper()} already; its numbers are kept",)
    if case.setting.profile.bits == 16:
        return (f"precision {precision}: the checkpoint's own, and it fits",)
    first = case.outcome.before[0] if case.outcome.before else None
    why = f"; {first.profile} {first.reason}" if first else ""
    return (f"precision {precision}: the plan quantises the checkpoint to make it fit{why}",)


def _calibration(case: _Case) -> tuple[str, ...]:
    if checkpoint_kind(case.setting.model.quantization) == "plain" and case.chosen.precision in _CALIBRATED:
        return (f"{case.chosen.precision} is calibrated on a small text before it is built",)
    return ()


def _next(case: _Case) -> tuple[str, ...]:
    following = case.outcome.next_profile
    return (f"should that fail to build: {following}",) if following else ()


def _unproven(case: _Case) -> tuple[str, ...]:
    if not case.setting.unproven:
        return ()
    release = case.setting.profile.kind.image.release
    return (f"{case.chosen.precision} on {case.setting.unproven} is in no table of {release}: it may fail to build",)


def _kind(case: _Case) -> tuple[str, ...]:
    if case.chosen.engine != "tensorrt_llm_pytorch" or case.overrides.profile:
        return ()
    compiled = f"tensorrt_llm-{case.chosen.precision}-{case.setting.profile.goal}"
    reasons = {one.profile: one.reason for one in case.outcome.rejected}
    why = reasons.get(compiled, "compiled engines are not made from this checkpoint")
    return (f"TensorRT-LLM's PyTorch backend: {why}",)


def _devices(case: _Case) -> tuple[str, ...]:
    split, pool = case.setting.split, case.outcome.question.pool
    which = ", ".join(map(str, case.chosen.devices))
    if split.gpus == 1:
        line = f"1 GPU ({which}) holds it"
        if case.setting.profile.goal == "latency" and len(pool.gpus) > 1:
            line += "; more would each have too little to read, or have no NVLink" if not _sizes_given(case) else ""
    else:
        link = "NVLink" if pool.nvlink else "no NVLink between them"
        line = f"tensor parallel {split.tensor}, pipeline parallel {split.pipeline} on GPUs {which}, {link}: "
        line += _why_so_many(case)
    idle = len(pool.gpus) - split.gpus
    more = f"{idle} free GPUs stay idle: another Stoker can serve from them" if idle else ""
    return (
        line,
        more,
        *(f"GPU {gpu.index} ({gpu.name}) is left out: it {why}" for gpu, why in busy(case.outcome.machine)),
    )


def _sizes_given(case: _Case) -> bool:
    return bool(case.overrides.tensor_parallel or case.overrides.pipeline_parallel)


def _why_so_many(case: _Case) -> str:
    if _sizes_given(case):
        return "asked for"
    return "the goal is latency" if case.setting.profile.goal == "latency" else "fewer do not hold it comfortably"


def _cache(case: _Case) -> tuple[str, ...]:
    setting, architecture = case.setting, case.setting.model.architecture
    whole = kv_bytes_per_token(architecture, case.chosen.kv_precision, Split(1, 1))
    line = f"{case.chosen.kv_precision} KV cache: {count_text(whole)} bytes a token"
    if setting.split.gpus > 1:
        line += f", {count_text(case.found.budget.kv.bytes_per_token)} of it on each GPU"
    if setting.split.tensor > architecture.kv_heads:
        line += f" ({architecture.kv_heads} KV heads, repeated for {setting.split.tensor} GPUs)"
    if setting.paged:
        return (line,)
    off = (
        f"with {case.chosen.precision} weights the {case.chosen.kv_precision} cache turns paged context attention off: "
        "no part of the cache is used again, and a prompt goes through in one step"
    )
    return line, off


def _context(case: _Case) -> tuple[str, ...]:
    value, start = case.chosen.max_seq_len, case.outcome.taken.span.context.start
    if override := case.overrides.max_seq_len:
        return (f"context {count_text(value)} tokens: asked for by {source_text(override)}",)
    if value == case.outcome.longest:
        return (f"context {count_text(value)} tokens: all that the model allows",)
    if value == start:
        longest = count_text(case.outcome.longest)
        return (
            f"context {count_text(value)} tokens: the profile's default; the model allows {longest} (--max-seq-len)",
        )
    return (f"context shrunk from {count_text(start)} to {count_text(value)} tokens to fit in memory",)


def _batch(case: _Case) -> tuple[str, ...]:
    value, start = case.chosen.max_batch_size, case.outcome.taken.span.batch.start
    if override := case.overrides.max_batch_size:
        return (f"{value} sequences at once: asked for by {source_text(override)}",)
    if value < start:
        return (f"batch shrunk from {start} to {value} sequences at once to fit in memory",)
    return (f"{value} sequences at once and {count_text(case.chosen.max_num_tokens)} tokens a step: the profile's",)


def _pool(case: _Case) -> tuple[str, ...]:
    found = case.found.budget
    tokens = count_text(found.kv.tokens)
    fraction = case.setting.profile.kind.memory.kv_fraction
    return (f"KV cache of {tokens} tokens: {fraction:.0%} of what the rest leaves ({size_text(found.kv.bytes)} a GPU)",)


def _host(case: _Case) -> tuple[str, ...]:
    kind, machine = case.setting.profile.kind, case.outcome.machine
    return (*host_lines(kind, machine, case.setting.model), driver_line(kind, machine))


def _estimate(case: _Case) -> tuple[str, ...]:
    if case.setting.model.weights.measured:
        return ()
    return ("weights computed from the architecture: no file headers were at hand",)


_LINES: tuple[tuple[str, Callable[[_Case], tuple[str, ...]]], ...] = (
    ("precision", _precision),
    ("calibration", _calibration),
    ("next", _next),
    ("unproven", _unproven),
    ("kind", _kind),
    ("devices", _devices),
    ("cache", _cache),
    ("context", _context),
    ("batch", _batch),
    ("pool", _pool),
    ("host", _host),
    ("estimate", _estimate),
)


def sources_for(chosen: Chosen, outcome: GpuOutcome) -> tuple[tuple[str, str], ...]:
    """One entry a field of `chosen`, in their order."""
    profile, setting, overrides = f"profile {chosen.profile}", outcome.taken.setting, outcome.question.overrides
    limits, quantization = setting.profile.limits, setting.model.quantization
    own = {
        "profile": PLANNER,
        "engine": profile,
        "purpose": MODEL,
        "precision": MODEL if quantization else profile,
        "kv_precision": f"profile {chosen.profile}, {MODEL}",
        "activation_precision": MODEL,
        "tensor_parallel": PLANNER,
        "pipeline_parallel": PLANNER,
        "devices": PLANNER,
        "max_batch_size": profile if chosen.max_batch_size == limits.max_batch_size else PLANNER,
        "max_num_tokens": profile if chosen.max_num_tokens == limits.max_num_tokens else PLANNER,
        "max_seq_len": _context_source(chosen, outcome, profile),
        "threads": MACHINE,
        "group_size": MODEL if quantization and quantization.group_size and chosen.group_size else profile,
    }
    return tuple((field.name, _override(overrides, field.name) or own[field.name]) for field in fields(chosen))


def _context_source(chosen: Chosen, outcome: GpuOutcome, profile: str) -> str:
    if chosen.max_seq_len == outcome.longest:
        return MODEL
    return profile if chosen.max_seq_len == outcome.taken.setting.profile.limits.max_seq_len else PLANNER


def _override(overrides: Overrides, name: str) -> str:
    override = getattr(overrides, name, None)
    return source_text(override) if override else ""

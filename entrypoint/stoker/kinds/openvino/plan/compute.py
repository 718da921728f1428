"""What the kernels compute in, and which cache types go with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.openvino.plan.measurements import LONG_PROMPT, Measured, measured_for, measurements
from stoker.kinds.openvino.plan.profile import Activation, OpenvinoProfile
from stoker.plan.kind import Obstacle
from stoker.plan.selection import CACHE, COMPUTE
from stoker.plan.sources import MACHINE, PLANNER, given_text, source_text
from stoker.plan.types import TEXT, Overrides
from stoker.probe.machine import Cpu
from stoker.resolve.model import Model

# Measured with OpenVINO 2026.4.1: other pairs either fail when the first request runs (bf16 cache under f32 compute and
# the reverse), or silently store the cache in the compute type (f16 under bf16).
CACHE_TYPES: Mapping[str, tuple[str, ...]] = {
    "bf16": ("u8", "bf16"),
    "f16": ("u8", "f16"),
    "f32": ("u8", "f16", "f32"),
}

_NOISE = 1.05  # by less than this, measurements differ from one run to the next


@dataclass(frozen=True)
class Compute:
    """`reason` says why the activations are what they are, `source` in a word or two what decided it."""

    activation_precision: str
    kv_precision: str
    dense: bool
    reason: str
    source: str


@dataclass(frozen=True)
class _Decision:
    precision: str
    reason: str
    source: str


def attention_cannot_be_paged(model: Model) -> bool:
    """Soft-capped attention scores (Gemma 2): OpenVINO's paged attention has no such input."""
    text = model.config.get("text_config")
    config = text if isinstance(text, Mapping) else model.config
    return bool(config.get("attn_logit_softcapping"))


def compute_for(profile: OpenvinoProfile, cpu: Cpu, model: Model, overrides: Overrides) -> Compute | Obstacle:
    """The obstacle is a type of the cache or the kernels that the user set and that is not available."""
    dense = attention_cannot_be_paged(model)
    if refused := _wrong_kernels(profile, cpu, overrides):
        return refused
    possible = [each.precision for each in profile.activation if _there(each, cpu)]
    kernels, cache = overrides.activation_precision, overrides.kv_precision
    wanted = [kernels.value] if kernels else possible
    types = _types(profile, dense)
    fitting = [one for one in wanted if cache is None or _offered(profile, cache.value, types[one])]
    if not fitting:
        assert cache is not None
        return _refused(profile, cache.value, wanted[0], dense, by_user=kernels is not None)
    decision = _decided(profile, cpu, dense, overrides, wanted, fitting)
    default = decision.precision if dense else profile.kv_precision
    kept = cache.value if cache else default
    return Compute(decision.precision, kept, dense, decision.reason, decision.source)


def kernels(profile: OpenvinoProfile, cpu: Cpu, cache: str) -> tuple[str, ...]:
    """What they can compute in on this processor with such a cache."""
    types = _types(profile, dense=False)
    return tuple(one.precision for one in profile.activation if _there(one, cpu) and cache in types[one.precision])


def _offered(profile: OpenvinoProfile, cache: str, types: Sequence[str]) -> bool:
    return cache in types and cache in profile.kv_precisions


def _types(profile: OpenvinoProfile, dense: bool) -> Mapping[str, tuple[str, ...]]:
    if TEXT not in profile.purposes:
        return dict.fromkeys(CACHE_TYPES, profile.kv_precisions)
    return {name: (name,) for name in CACHE_TYPES} if dense else CACHE_TYPES


def _there(entry: Activation, cpu: Cpu) -> bool:
    return not entry.isa_any or any(isa in cpu.isa for isa in entry.isa_any)


def _decided(
    profile: OpenvinoProfile, cpu: Cpu, dense: bool, overrides: Overrides, wanted: list[str], fitting: list[str]
) -> _Decision:
    """What the user set, else what the cache's type leaves, else the quickest that was measured, else the first. Dense
    caches have the kernels' type, so that wider kernels would double them."""
    if override := overrides.activation_precision:
        where = source_text(override)
        return _Decision(override.value, f"computes in {override.value}: {given_text(override)}", where)
    row = None if dense else measured_for(cpu.isa, profile.precision, measurements())
    first = _quickest(profile, wanted, row) or _by_processor(profile, cpu, wanted[0])
    if first.precision in fitting:
        return first
    assert overrides.kv_precision is not None
    only, cache = fitting[0], overrides.kv_precision.value
    reason = f"computes in {only}: a {cache} cache cannot go with {first.precision} kernels"
    return _Decision(only, reason, PLANNER)


def _by_processor(profile: OpenvinoProfile, cpu: Cpu, precision: str) -> _Decision:
    source = f"profile {profile.name}, {MACHINE}"
    there = [isa for each in profile.activation if each.precision == precision for isa in each.isa_any]
    if has := [isa for isa in there if isa in cpu.isa]:
        return _Decision(precision, f"computes in {precision}: the processor has {', '.join(has)}", source)
    before = takewhile(lambda each: each.precision != precision, profile.activation)
    others = [isa for each in before for isa in each.isa_any]
    why = f": the processor has none of {', '.join(others)}" if others else ", as the profile says"
    return _Decision(precision, f"computes in {precision}{why}", source)


def _quickest(profile: OpenvinoProfile, precisions: Sequence[str], row: Measured | None) -> _Decision | None:
    """None where fewer than two of them were measured on such a processor. The profile's first unless another is
    clearly quicker."""
    measured = [one for one in precisions if row and one in row.speeds]
    if row is None or len(measured) < 2:
        return None
    source = f"measurements, {row.isa}"
    if TEXT not in profile.purposes:
        best, other = sorted(measured, key=lambda one: min(row.speeds[one].prompts.items())[1])[:2]
        return _Decision(best, _prompts_reason(best, other, row), source)
    streams = row.streams_of(measured)
    count = streams[0] if profile.goal == "latency" else streams[-1]
    other, best = sorted(measured, key=lambda one: row.speeds[one].streams[count])[-2:]
    if best != measured[0] and row.speeds[best].streams[count] < _NOISE * row.speeds[measured[0]].streams[count]:
        best, other = measured[0], best
    return _Decision(best, _streams_reason(best, other, count, row), source)


def _prompts_reason(best: str, other: str, row: Measured) -> str:
    tokens = min(row.speeds[best].prompts)
    ours, theirs = (row.speeds[one].prompts[tokens] for one in (best, other))
    return f"computes in {best}: texts of {tokens} tokens take {ours:g} s, {theirs:g} in {other} ({_measured_on(row)})"


def _streams_reason(best: str, other: str, count: int, row: Measured) -> str:
    ours, theirs = row.speeds[best], row.speeds[other]
    streams = "1 stream" if count == 1 else f"{count} streams"
    line = f"computes in {best}: {ours.streams[count]:g} tokens/s at {streams}, {theirs.streams[count]:g} in {other}"
    if LONG_PROMPT in ours.prompts and LONG_PROMPT in theirs.prompts:
        line += (
            f"; prompts of {LONG_PROMPT:,} tokens read in {ours.prompts[LONG_PROMPT]:g} s, "
            f"{theirs.prompts[LONG_PROMPT]:g} in {other}"
        )
    return f"{line} ({_measured_on(row)})"


def _measured_on(row: Measured) -> str:
    return f"measured with {row.model} on {row.machine}"


def _wrong_kernels(profile: OpenvinoProfile, cpu: Cpu, overrides: Overrides) -> Obstacle | None:
    """What no profile of the kind offers is for the planner to refuse."""
    override = overrides.activation_precision
    entry = next((each for each in profile.activation if override and each.precision == override.value), None)
    if override is None or entry is None or _there(entry, cpu):
        return None
    others = ", ".join(each.precision for each in profile.activation if _there(each, cpu))
    why = f"the processor has none of {', '.join(entry.isa_any)}"
    return Obstacle(COMPUTE, why, DoesNotFitError, by_override=True, remedy=f"possible here: {others}")


def _refused(profile: OpenvinoProfile, cache: str, activation: str, dense: bool, *, by_user: bool) -> Obstacle:
    if dense:
        why = "this model's soft-capped attention cannot be paged, and its cache is kept in the type of the kernels"
        return _obstacle(UsageError, why, f"leave it out, or ask for {activation}")
    if cache not in profile.kv_precisions:
        return _obstacle(UsageError, f"{profile.name} offers {', '.join(profile.kv_precisions)}", "")
    others = ", ".join(CACHE_TYPES[activation])
    why = f"a {cache} cache needs {cache} kernels, and {profile.precision} here computes in {activation}"
    if not by_user and any(entry.precision == cache for entry in profile.activation):
        return _obstacle(DoesNotFitError, f"{why}: the processor lacks {cache}", f"possible here: {others}")
    return _obstacle(UsageError, why, f"possible: {others}")


def _obstacle(error: type[StokerError], why: str, remedy: str) -> Obstacle:
    return Obstacle(CACHE, why, error, by_override=True, remedy=remedy)

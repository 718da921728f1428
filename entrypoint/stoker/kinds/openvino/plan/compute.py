"""What the kernels compute in, and which cache types go with that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.errors import DoesNotFitError, StokerError, UsageError
from stoker.kinds.openvino.plan.profile import OpenvinoProfile
from stoker.plan.kind import Obstacle
from stoker.plan.selection import CACHE
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


@dataclass(frozen=True)
class Compute:
    """`reason` says why the activations are what they are; `forced` that the cache's type decided it."""

    activation_precision: str
    kv_precision: str
    dense: bool
    reason: str
    forced: bool = False


def attention_cannot_be_paged(model: Model) -> bool:
    """Soft-capped attention scores (Gemma 2): OpenVINO's paged attention has no such input."""
    text = model.config.get("text_config")
    config = text if isinstance(text, Mapping) else model.config
    return bool(config.get("attn_logit_softcapping"))


def compute_for(profile: OpenvinoProfile, cpu: Cpu, model: Model, overrides: Overrides) -> Compute | Obstacle:
    """The obstacle is a cache type that the user set and that is not available."""
    activation, reason = _activation(profile, cpu)
    dense = attention_cannot_be_paged(model)
    types = _types(profile, dense)
    override = overrides.kv_precision
    if override is None:
        default = activation if dense else profile.kv_precision
        return Compute(activation, default, dense, reason)
    if override.value in types[activation]:
        return Compute(activation, override.value, dense, reason)
    if override.value in profile.kv_precisions and override.value in types["f32"]:
        slower = f"computes in f32: a {override.value} cache cannot go with {activation} kernels"
        return Compute("f32", override.value, dense, f"{slower}; slower than {activation}", forced=True)
    return _refused(profile, override.value, activation, dense)


def _types(profile: OpenvinoProfile, dense: bool) -> Mapping[str, tuple[str, ...]]:
    if TEXT not in profile.purposes:
        return dict.fromkeys(CACHE_TYPES, profile.kv_precisions)
    return {name: (name,) for name in CACHE_TYPES} if dense else CACHE_TYPES


def _activation(profile: OpenvinoProfile, cpu: Cpu) -> tuple[str, str]:
    for entry in profile.activation:
        there = [isa for isa in entry.isa_any if isa in cpu.isa]
        if there:
            return entry.precision, f"computes in {entry.precision}: the processor has {', '.join(there)}"
        if not entry.isa_any:
            return entry.precision, _fallback_reason(profile, entry.precision)
    raise AssertionError(profile.name)  # the catalogue's rules demand a last entry without isa_any


def _fallback_reason(profile: OpenvinoProfile, precision: str) -> str:
    wanted = [isa for entry in profile.activation for isa in entry.isa_any]
    if not wanted:
        return f"computes in {precision}, as the profile says"
    return f"computes in {precision}: the processor has none of {', '.join(wanted)}"


def _refused(profile: OpenvinoProfile, cache: str, activation: str, dense: bool) -> Obstacle:
    if dense:
        why = "this model's soft-capped attention cannot be paged, and its cache is kept in the type of the kernels"
        return _obstacle(UsageError, why, f"leave it out, or ask for {activation}")
    if cache not in profile.kv_precisions:
        return _obstacle(UsageError, f"{profile.name} offers {', '.join(profile.kv_precisions)}", "")
    others = ", ".join(CACHE_TYPES[activation])
    why = f"a {cache} cache needs {cache} kernels, and {profile.precision} here computes in {activation}"
    if any(entry.precision == cache for entry in profile.activation):
        return _obstacle(DoesNotFitError, f"{why}: the processor lacks {cache}", f"possible here: {others}")
    return _obstacle(UsageError, why, f"possible: {others}")


def _obstacle(error: type[StokerError], why: str, remedy: str) -> Obstacle:
    return Obstacle(CACHE, why, error, by_override=True, remedy=remedy)

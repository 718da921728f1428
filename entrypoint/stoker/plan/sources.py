"""Where each value of a plan came from."""

from __future__ import annotations

from dataclasses import fields

from stoker.origin import Sourced
from stoker.plan.outcome import Outcome
from stoker.plan.types import Chosen, Overrides

PLANNER, MACHINE, MODEL = "planner", "machine", "model"


def sources_for(chosen: Chosen, outcome: Outcome) -> tuple[tuple[str, str], ...]:
    """One entry a field of `chosen`, in their order."""
    profile = f"profile {chosen.profile}"
    found = {
        "profile": _override(outcome.overrides, "profile") or PLANNER,
        "engine": profile,
        "purpose": MODEL,
        "precision": _override(outcome.overrides, "precision") or profile,
        "kv_precision": _override(outcome.overrides, "kv_precision")
        or (PLANNER if outcome.setting.compute.dense else profile),
        "activation_precision": PLANNER if outcome.setting.compute.forced else f"{profile}, {MACHINE}",
        "tensor_parallel": _override(outcome.overrides, "tensor_parallel") or PLANNER,
        "pipeline_parallel": _override(outcome.overrides, "pipeline_parallel") or PLANNER,
        "devices": PLANNER,
        "max_batch_size": _override(outcome.overrides, "max_batch_size") or _batch(chosen, outcome, profile),
        "max_num_tokens": _override(outcome.overrides, "max_num_tokens") or _step(chosen, outcome, profile),
        "max_seq_len": _override(outcome.overrides, "max_seq_len") or _context(chosen, outcome, profile),
        "threads": MACHINE,
        "group_size": _group_size(chosen, outcome, profile),
    }
    return tuple((field.name, found[field.name]) for field in fields(chosen))


def source_text(override: Sourced[str] | Sourced[int]) -> str:
    return f"{override.origin.name.lower()} {override.detail}".strip()


def _override(overrides: Overrides, name: str) -> str:
    override = getattr(overrides, name)
    return source_text(override) if override else ""


def _batch(chosen: Chosen, outcome: Outcome, profile: str) -> str:
    return profile if chosen.max_batch_size == _profile_batch(outcome) else PLANNER


def _profile_batch(outcome: Outcome) -> int:
    limits = outcome.setting.profile.limits
    steps = limits.dense_max_batch_size if outcome.setting.compute.dense else limits.max_batch_size
    return steps.at(outcome.setting.cpu.cores)


def _step(chosen: Chosen, outcome: Outcome, profile: str) -> str:
    own = outcome.setting.profile.limits.max_num_tokens.at(outcome.setting.cpu.cores)
    return profile if chosen.max_num_tokens == own else PLANNER


def _context(chosen: Chosen, outcome: Outcome, profile: str) -> str:
    if chosen.max_seq_len == outcome.longest:
        return MODEL
    own = outcome.setting.profile.limits.max_seq_len.at(outcome.setting.cpu.cores)
    return profile if chosen.max_seq_len == own else PLANNER


def _group_size(chosen: Chosen, outcome: Outcome, profile: str) -> str:
    quantization = outcome.setting.model.quantization
    return MODEL if quantization and quantization.group_size and chosen.group_size else profile

"""Where each value of a plan came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from stoker.origin import Origin, Sourced
from stoker.plan.fit import Fit
from stoker.plan.kind import Candidate, Question
from stoker.plan.types import Chosen, Overrides

PLANNER, MACHINE, MODEL = "planner", "machine", "model"


def sources_for(chosen: Chosen, candidate: Candidate, found: Fit, question: Question) -> tuple[tuple[str, str], ...]:
    """One entry a field of `chosen`, in their order."""
    profile, limits = f"profile {chosen.profile}", candidate.limits
    own: Mapping[str, str] = {
        **dict.fromkeys(("profile", "tensor_parallel", "pipeline_parallel", "devices"), PLANNER),
        "engine": profile,
        "purpose": MODEL,
        **dict.fromkeys(("speculative", "draft"), _speculative(question)),
        "max_batch_size": profile if found.batch == limits.max_batch_size else PLANNER,
        "max_num_tokens": profile if chosen.max_num_tokens == limits.max_num_tokens else PLANNER,
        "max_seq_len": _context(found.context, candidate, question, profile),
        "threads": MACHINE,
        **dict.fromkeys(("max_loras", "max_lora_rank"), PLANNER),
        "nodes": PLANNER,
        **dict.fromkeys(("node_rank", "leader"), MACHINE),
        **candidate.sources,
    }
    return tuple((field.name, _override(question.overrides, field.name) or own[field.name]) for field in fields(chosen))


def _speculative(question: Question) -> str:
    override = question.overrides.speculative
    return source_text(override) if override else PLANNER


def _context(context: int, candidate: Candidate, question: Question, profile: str) -> str:
    if context == question.longest:
        return MODEL
    return profile if context == candidate.limits.max_seq_len else PLANNER


def source_text(override: Sourced[str] | Sourced[int]) -> str:
    return f"{override.origin.name.lower()} {override.detail}".strip()


def given_text(override: Sourced[str] | Sourced[int]) -> str:
    """For a reason: who set the value."""
    return "measured by `stoker tune`" if override.origin is Origin.TUNED else f"asked for by {source_text(override)}"


def _override(overrides: Overrides, name: str) -> str:
    override = getattr(overrides, name, None)
    return source_text(override) if override else ""

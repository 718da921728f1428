"""The reasons of a plan that every kind can give, one line each: what was chosen, why, and what would change it."""

from __future__ import annotations

from stoker.plan.kind import Case
from stoker.plan.sources import given_text
from stoker.plan.speculation import AUTO
from stoker.plan.types import Reason
from stoker.plan.units import count_text


def precision_asked(case: Case) -> str:
    """Empty where the planner chose it."""
    overrides = case.question.overrides
    override = overrides.precision or overrides.profile
    return f"precision {case.chosen.precision}: {given_text(override)}" if override else ""


def context_line(case: Case) -> str:
    value, start, longest = case.chosen.max_seq_len, case.span.context.start, case.question.longest
    if override := case.question.overrides.max_seq_len:
        return f"context: {count_text(value)} tokens, {given_text(override)}"
    if value == longest:
        return f"context: {count_text(value)} tokens, the model's maximum"
    if value == start:
        most = f"the model's maximum is {count_text(longest)} (--max-seq-len)"
        return f"context: {count_text(value)} tokens, profile default; {most}"
    return f"context shrunk from {count_text(start)} to {count_text(value)} tokens to fit in memory"


def batch_line(case: Case, whose: str) -> str:
    value, start = case.chosen.max_batch_size, case.span.batch.start
    batch = f"batch: up to {count_text(value)} sequence{'s' if value > 1 else ''}"
    if (tokens := case.question.overrides.max_num_tokens) and not case.question.overrides.max_batch_size:
        return f"{batch} ({whose}), {count_text(tokens.value)} tokens per step: {given_text(tokens)}"
    if override := case.question.overrides.max_batch_size:
        return f"{batch}: {given_text(override)}"
    if value < start:
        return f"batch shrunk from {start} to {value} sequences to fit in memory"
    return f"{batch}, {count_text(case.chosen.max_num_tokens)} tokens per step ({whose})"


def no_speculation_line(case: Case) -> str:
    """Empty where nobody asked for any."""
    asked = case.question.speculation.method == AUTO
    return "speculative decoding off: no measurement shows a gain for this engine and goal" if asked else ""


def estimate_line(case: Case) -> str:
    measured = case.question.model.weights.measured
    return "" if measured else "weight size estimated from config.json (no safetensors headers available)"


def reasons(*lines: tuple[str, str]) -> tuple[Reason, ...]:
    """Of (code, text), those that say something."""
    return tuple(Reason(code, text) for code, text in lines if text)

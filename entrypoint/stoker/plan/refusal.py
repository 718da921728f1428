"""What to say when nothing fits: how much is missing, and the largest value of each override that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stoker.errors import DoesNotFitError
from stoker.plan.fit import (
    Range,
    Setting,
    Span,
    largest_batch,
    largest_context,
    largest_step,
    least_budget,
)
from stoker.plan.overrides import asked
from stoker.plan.types import MemoryBudget, Overrides
from stoker.plan.units import count_text, size_text

Tried = tuple[Setting, Range]


def refusal(tried: Sequence[Tried], possible: Sequence[Tried], overrides: Overrides) -> DoesNotFitError:
    """`tried` are the profiles that the overrides allow, by order; `possible` those that facts alone allow."""
    return (
        _limits_refused(tried, overrides)
        or _precision_refused(tried[0], possible, overrides)
        or _model_refused(tried, tried[0][0].model.served_name)
    )


def short_by(budget: MemoryBudget) -> str:
    missing = size_text(budget.total - budget.limit)
    return f"needs {size_text(budget.total)}, {missing} more than the limit of {size_text(budget.limit)}"


_Largest = Callable[[Setting, Range], int]
_MEASURES: tuple[tuple[str, _Largest], ...] = (
    ("max-seq-len", largest_context),
    ("max-batch-size", largest_batch),
    ("max-num-tokens", largest_step),
)


def _limits_refused(tried: Sequence[Tried], overrides: Overrides) -> DoesNotFitError | None:
    """Names, for each explicit limit, the largest value that fits with the other overrides as they are."""
    asked_for = [(name, measure, getattr(overrides, name.replace("-", "_"))) for name, measure in _MEASURES]
    explicit = [(name, measure, override) for name, measure, override in asked_for if override]
    largest = [(name, max(measure(*one) for one in tried)) for name, measure, _ in explicit]
    ways = [f"--{name} {value}" for name, value in largest if value]
    if not ways:
        return None
    what = " with ".join(f"{asked(override, name)} {override.value}" for name, _, override in explicit)
    setting, span = min(tried, key=lambda one: least_budget(*one).total)
    remedy = f"the largest that fits: {' or '.join(ways)}"
    return DoesNotFitError(f"{what} does not fit", why=_why(setting, span), remedy=remedy)


def _why(setting: Setting, span: Range) -> str:
    budget = least_budget(setting, span)
    if not budget.kv.blocks:
        return f"{setting.profile.name} {short_by(budget)}"
    cache = f"{size_text(budget.kv.bytes)} of it for {count_text(budget.kv.tokens)} tokens"
    return f"{setting.profile.name} {short_by(budget)}, {cache} of KV cache"


def _precision_refused(tried: Tried, possible: Sequence[Tried], overrides: Overrides) -> DoesNotFitError | None:
    asked_for = overrides.precision or overrides.profile
    if asked_for is None:
        return None
    setting, span = tried
    fitting = [one for one in possible if _smallest(one).total <= _smallest(one).limit]
    best = max(fitting, key=lambda one: _smallest(one).weights, default=None)
    remedy = f"the largest precision that fits: {best[0].profile.precision}" if best else "no precision fits"
    name = "precision" if overrides.precision else "profile"
    what = f"{asked(asked_for, name)} {asked_for.value} does not fit"
    return DoesNotFitError(what, why=_needs(setting, _smallest((setting, span))), remedy=remedy)


def _model_refused(tried: Sequence[Tried], name: str) -> DoesNotFitError:
    setting, span = min(tried, key=lambda one: _smallest(one).total)
    budget = _smallest((setting, span))
    whole = size_text(int(budget.total / setting.profile.memory.available_fraction))
    remedy = f"take a machine with {whole} of memory available, or a smaller model"
    return DoesNotFitError(f"{name} does not fit this machine", why=_needs(setting, budget), remedy=remedy)


def _needs(setting: Setting, budget: MemoryBudget) -> str:
    weights = f"{size_text(budget.weights)} of it for weights"
    return f"even with the smallest batch and context, {setting.profile.precision} {short_by(budget)}, {weights}"


def _smallest(one: Tried) -> MemoryBudget:
    """With limits at the profile's own minimum, whatever was given."""
    setting, span = one
    context = min(span.context.lowest, setting.profile.limits.min_seq_len.at(setting.cpu.cores))
    smallest = Range(Span(1, 1), Span(context, context), min(span.tokens, 1))
    return least_budget(setting, smallest)

"""The plan: a pure function of machine, model, profiles and overrides. It reads nothing else, not even a clock."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import UsageError
from stoker.plan.compute import compute_for
from stoker.plan.fit import Fit, Range, Setting, fit, least_budget, range_of
from stoker.plan.outcome import Outcome
from stoker.plan.overrides import asked, check_overrides
from stoker.plan.profile import Profile
from stoker.plan.purpose import purpose_of, suitable
from stoker.plan.reasons import reasons_for
from stoker.plan.refusal import Tried, refusal, short_by
from stoker.plan.selection import Selection, select
from stoker.plan.sources import sources_for
from stoker.plan.types import Chosen, Overrides, Plan, Rejection
from stoker.plan.units import count_text
from stoker.probe.machine import Machine
from stoker.resolve import rope
from stoker.resolve.model import Model

_Attempt = tuple[Setting, Range, "Fit | None"]


def make_plan(machine: Machine, model: Model, profiles: Sequence[Profile], overrides: Overrides) -> Plan:
    """The first profile, by order, that fits comfortably; failing that the first that fits at all.

    Raises UsageError for overrides that make no sense or contradict each other, and DoesNotFitError, naming the largest
    value that would do, for overrides or a model that this machine cannot hold.
    """
    profiles = suitable(profiles, model, overrides)
    check_overrides(overrides, profiles, machine)
    longest = longest_context(model)
    check_context(overrides, longest, model)
    selection = select(machine, model, profiles, overrides)
    attempts = [_attempt(profile, machine, model, overrides, longest) for profile in selection.candidates]
    taken = _take(attempts)
    if taken is None:
        raise refusal(_tried(attempts), _possible(selection, machine, model, overrides, longest), overrides)
    setting, span, found = attempts[taken]
    assert found is not None
    outcome = Outcome(setting, span, found, _passed_over(attempts, taken), overrides, longest)
    return _plan(machine, outcome, (*_left_over(attempts, taken), *selection.rejected))


def longest_context(model: Model) -> int:
    """What the configuration allows: `max_position_embeddings`, or with yarn the original context times the factor.

    Other rope variants' `max_position_embeddings` is the scaled context already. A model that pools says it itself.
    """
    if model.pooling is not None:
        return model.pooling.max_length
    return rope.longest_context(model.config, model.architecture.max_position_embeddings)


def check_context(overrides: Overrides, longest: int, model: Model) -> None:
    """Raises UsageError for a longer context than the model was made for."""
    override = overrides.max_seq_len
    if override is not None and override.value > longest:
        raise UsageError(
            f"{asked(override, 'max-seq-len')} {override.value} is more than {model.served_name} was made for",
            why=f"its configuration allows {count_text(longest)} tokens",
            remedy=f"ask for {longest} or less",
        )


def _attempt(profile: Profile, machine: Machine, model: Model, overrides: Overrides, longest: int) -> _Attempt:
    setting = Setting(profile, model, machine.cpu, compute_for(profile, machine.cpu, model, overrides))
    span = range_of(setting, overrides, longest)
    return setting, span, fit(setting, span)


def _take(attempts: Sequence[_Attempt]) -> int | None:
    """The place of the first comfortable fit, else of the first fit, else None."""
    fits = [(place, found) for place, (_, _, found) in enumerate(attempts) if found]
    comfortable = [place for place, found in fits if found.comfortable]
    return next(iter([*comfortable, *(place for place, _ in fits)]), None)


def _tried(attempts: Sequence[_Attempt]) -> list[Tried]:
    return [(setting, span) for setting, span, _ in attempts]


def _possible(selection: Selection, machine: Machine, model: Model, overrides: Overrides, longest: int) -> list[Tried]:
    """Whatever the cache's given type: it is the precision that is weighed here."""
    without = Overrides(max_seq_len=overrides.max_seq_len, max_batch_size=overrides.max_batch_size)
    return _tried([_attempt(profile, machine, model, without, longest) for profile in selection.possible])


def _passed_over(attempts: Sequence[_Attempt], taken: int) -> tuple[Rejection, ...]:
    """Those that would have come first, had there been more memory."""
    return tuple(Rejection(attempt[0].profile.name, _too_small(attempt)) for attempt in attempts[:taken])


def _left_over(attempts: Sequence[_Attempt], taken: int) -> tuple[Rejection, ...]:
    first = attempts[taken][0].profile
    after = [
        Rejection(setting.profile.name, f"{first.name} comes before it (order {first.order})" if found else _short(one))
        for one in attempts[taken + 1 :]
        for setting, _, found in [one]
    ]
    return (*_passed_over(attempts, taken), *after)


def _too_small(attempt: _Attempt) -> str:
    found = attempt[2]
    if found is None:
        return _short(attempt)
    return f"would leave a context of only {count_text(found.context)} tokens and {found.batch} sequences at once"


def _short(attempt: _Attempt) -> str:
    setting, span, _ = attempt
    return short_by(least_budget(setting, span))


def _plan(machine: Machine, outcome: Outcome, rejected: tuple[Rejection, ...]) -> Plan:
    setting, found = outcome.setting, outcome.found
    chosen = Chosen(
        profile=setting.profile.name,
        engine=setting.profile.engine,
        purpose=purpose_of(setting.model),
        precision=setting.profile.precision,
        kv_precision=setting.compute.kv_precision,
        activation_precision=setting.compute.activation_precision,
        tensor_parallel=1,
        pipeline_parallel=1,
        devices=(),
        max_batch_size=found.batch,
        max_num_tokens=found.tokens,
        max_seq_len=found.context,
        threads=machine.cpu.cores,
        group_size=setting.group_size,
    )
    reasons = reasons_for(machine, chosen, outcome)
    sources = sources_for(chosen, outcome)
    return Plan(machine, setting.model, chosen, found.budget, rejected, reasons, sources)

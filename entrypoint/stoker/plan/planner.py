"""The plan: a pure function of machine, model, engine kinds and overrides. It reads nothing else, not even a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import replace

from stoker.errors import StokerError, UsageError
from stoker.plan.devices import CPU, Place, pools
from stoker.plan.kind import PlanKind, Question
from stoker.plan.outcome import plan_of
from stoker.plan.overrides import asked, check_overrides, goal_of, is_asked_for, only_on_the_cpu
from stoker.plan.purpose import purpose_of
from stoker.plan.refused import final_error
from stoker.plan.selection import UNKNOWN
from stoker.plan.speculation import NOTHING, Speculation, check_draft, parse_speculation
from stoker.plan.turn import (
    ELSEWHERE,
    FACTS,
    MISSING,
    SIZES,
    Refusal,
    Taken,
    Turn,
    all_busy,
    elsewhere,
    not_installed,
    play,
)
from stoker.plan.types import Overrides, Plan
from stoker.plan.units import count_text
from stoker.probe.machine import Machine
from stoker.resolve import rope
from stoker.resolve.model import Model


def make_plan(
    machine: Machine,
    model: Model,
    kinds: Sequence[PlanKind],
    overrides: Overrides,
    buildable: Set[str] | None = None,
    draft: Model | None = None,
) -> Plan:
    """The first candidate, by place and kind, that fits comfortably; failing that the first that fits at all.

    GPUs come before the CPU, and kinds of last choice after the others. `buildable` are the names of the kinds that
    this installation can build; None plans as if all could. `draft`: the model that the override for speculative
    decoding names. Raises UsageError for overrides that make no sense or
    contradict each other, UnsupportedModelError for a model that no kind knows, and DoesNotFitError, naming the largest
    value that would do, for overrides or a model that this machine cannot hold.
    """
    check_overrides(overrides, kinds, model)
    longest = longest_context(model)
    _check_context(overrides, longest, model)
    speculation = speculation_of(overrides)
    if draft is not None:
        check_draft(model, draft, speculation.method)
    question = Question(machine, model, overrides, goal_of(overrides, kinds), longest, speculation, draft)
    serving = sorted((kind for kind in kinds if purpose_of(model) in kind.purposes), key=lambda kind: kind.order)
    own = [kind for kind in serving if is_asked_for(kind, overrides)]
    refused = all_busy(own, machine, buildable)
    for turns in _order(own, question):
        for turn in turns(own, question, refused):
            found = _outcome(turn, question, buildable)
            if isinstance(found, Taken):
                return plan_of(found, turn, serving, question, refused)
            refused = (*refused, found)
    error = final_error(refused, own, serving, question, buildable)
    if overrides.engine is None:
        raise error
    raise _engine_refused(error, kinds, question, buildable)


def _engine_refused(
    error: StokerError, kinds: Sequence[PlanKind], question: Question, buildable: Set[str] | None
) -> StokerError:
    """With what would serve instead of the kind that the user asks for."""
    model, overrides = question.model, question.overrides
    assert overrides.engine is not None
    what = f"{asked(overrides.engine, 'engine')} {overrides.engine.value} is not available for {model.served_name}"
    why = f"{error.what}: {error.why}" if error.why else error.what
    try:
        others = replace(overrides, engine=None)
        chosen = make_plan(question.machine, model, kinds, others, buildable, question.draft).chosen
    except StokerError:
        return type(error)(what, why=why, remedy=error.remedy)
    other = f"{chosen.engine} would serve it, with the profile {chosen.profile}"
    return type(error)(what, why=why, remedy="; ".join(filter(None, (error.remedy, other))))


def longest_context(model: Model) -> int:
    """What the configuration allows: `max_position_embeddings`, or with yarn the original context times the factor.

    Other rope variants' `max_position_embeddings` is the scaled context already. A model that pools says it itself.
    """
    if model.pooling is not None:
        return model.pooling.max_length
    return rope.longest_context(model.config, model.architecture.max_position_embeddings)


def speculation_of(overrides: Overrides) -> Speculation:
    """UsageError for a text that is none."""
    return parse_speculation(overrides.speculative.value) if overrides.speculative else NOTHING


def _check_context(overrides: Overrides, longest: int, model: Model) -> None:
    override = overrides.max_seq_len
    if override is not None and override.value > longest:
        raise UsageError(
            f"{asked(override, 'max-seq-len')} {override.value} is more than {model.served_name} was made for",
            why=f"its configuration allows {count_text(longest)} tokens",
            remedy=f"ask for {longest} or less",
        )


_Turns = Callable[[Sequence[PlanKind], Question, Sequence[Refusal]], Iterator[Turn]]


def _order(kinds: Sequence[PlanKind], question: Question) -> tuple[_Turns, ...]:
    """GPUs before the CPU, unless only engines of the CPU have what the user set; kinds of last choice after the others
    of a place."""
    if question.machine.gpus and only_on_the_cpu(kinds, question.overrides):
        return (_on_the_cpu, _last_on_gpus, _last_on_the_cpu)
    return (_on_gpus, _last_on_gpus, _on_the_cpu, _last_on_the_cpu)


def _on_gpus(kinds: Sequence[PlanKind], question: Question, _: Sequence[Refusal]) -> Iterator[Turn]:
    own = tuple(kind for kind in kinds if not kind.last_choice and set(kind.devices) != {CPU})
    return _turns(own, [Place(question.machine.cpu, pool) for pool in pools(question.machine)])


def _last_on_gpus(kinds: Sequence[PlanKind], question: Question, _: Sequence[Refusal]) -> Iterator[Turn]:
    own = tuple(kind for kind in kinds if kind.last_choice and set(kind.devices) != {CPU})
    return _turns(own, [Place(question.machine.cpu, pool) for pool in pools(question.machine)])


def _on_the_cpu(kinds: Sequence[PlanKind], question: Question, refused: Sequence[Refusal]) -> Iterator[Turn]:
    own = tuple(kind for kind in kinds if not kind.last_choice and CPU in kind.devices)
    return _turns(own, [Place(question.machine.cpu)] if _cpu_may_serve(question, refused) else [])


def _last_on_the_cpu(kinds: Sequence[PlanKind], question: Question, refused: Sequence[Refusal]) -> Iterator[Turn]:
    """Where the others do not know the model, or are not installed: what is too large for them, or was refused for an
    override, is no better off with a kind of last choice. Nor is what its own rules refuse on the GPUs."""
    own = tuple(kind for kind in kinds if kind.last_choice and CPU in kind.devices)
    others = [one.code for one in refused if not one.on_gpu]
    ruled_out = any(one.code == FACTS for one in refused if one.on_gpu and one.kinds[0].last_choice)
    may = _cpu_may_serve(question, refused) and all(code in (UNKNOWN, MISSING) for code in others) and not ruled_out
    return _turns(own, [Place(question.machine.cpu)] if may else [])


def _turns(kinds: tuple[PlanKind, ...], places: Iterable[Place]) -> Iterator[Turn]:
    return (Turn(kinds, place) for place in places if kinds)


def _cpu_may_serve(question: Question, refused: Sequence[Refusal]) -> bool:
    """Not where smaller sizes alone would make it the GPUs, and not where nothing is known of the CPU."""
    on_gpus = [one for one in refused if one.on_gpu]
    if any(one.code == SIZES for one in on_gpus):
        return False
    known = [one for one in on_gpus if one.code not in (MISSING, ELSEWHERE)]
    return question.machine.host_known or not known


def _outcome(turn: Turn, question: Question, buildable: Set[str] | None) -> Taken | Refusal:
    here = replace(turn, kinds=tuple(kind for kind in turn.kinds if turn.place.device in kind.devices))
    if not here.kinds:
        return elsewhere(turn)
    there = replace(here, kinds=tuple(kind for kind in here.kinds if buildable is None or kind.name in buildable))
    return play(there, question) if there.kinds else not_installed(here)

"""What was taken, put into words: the plan with its reasons, sources, and what stands against every other profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from stoker.plan.attempt import Attempt, shape_of
from stoker.plan.devices import CPU
from stoker.plan.fit import Fit
from stoker.plan.formulas import loras_of
from stoker.plan.kind import Case, PlanKind, Question
from stoker.plan.machines import machines_reasons, nodes_over
from stoker.plan.overrides import asked, is_asked_for, only_on_the_cpu
from stoker.plan.purpose import purpose_of
from stoker.plan.replicas import replica_reasons
from stoker.plan.sources import given_text, sources_for
from stoker.plan.speculation import WITH_MODEL, identity, method_of
from stoker.plan.turn import MISSING, Refusal, Taken, Turn
from stoker.plan.types import Chosen, Plan, Reason, Rejection


def plan_of(
    taken: Taken, turn: Turn, kinds: Sequence[PlanKind], question: Question, refused: Sequence[Refusal]
) -> Plan:
    """`refused` are the turns before this one; `kinds` all that serve such models."""
    candidate, found, span = taken.attempt.candidate, taken.attempt.found, taken.attempt.span
    assert found is not None
    shape = shape_of(candidate, found.tokens, found.batch, found.context)
    chosen = _chosen(taken.attempt, found, shape.tokens, question)
    memory = candidate.budget(shape)
    own = [kind for kind in kinds if is_asked_for(kind, question.overrides)]
    rejected = _rejected(taken, turn, kinds, question, refused)
    why = refused[0].words if refused else ""
    told = (taken.before, rejected, taken.next_profile, why)
    case = Case(question, candidate, span, found, chosen, memory, *told, taken.attempt.replicas)
    why_not_gpus, first = _not_from_gpus(turn, own, question, refused)
    reasons = (*first, *_engine(case), *candidate.reasons(case), *replica_reasons(case), *machines_reasons(case))
    sources = sources_for(chosen, candidate, found, question)
    plan = Plan(question.machine, question.model, chosen, memory, rejected, reasons, sources, replicas=case.replicas)
    plan = replace(plan, draft=question.draft if chosen.draft else None)
    own_settings = ("activation_precision",) if question.overrides.activation_precision else ()
    return replace(plan, next_profile=taken.next_profile, why_not_gpus=why_not_gpus, kind_settings=own_settings)


def _chosen(attempt: Attempt, found: Fit, tokens: int, question: Question) -> Chosen:
    candidate, method = attempt.candidate, method_of(attempt.kind.speculates, question)
    nodes = nodes_over(candidate.devices, question.machine)
    return Chosen(
        profile=candidate.profile.name,
        engine=attempt.kind.name,
        purpose=purpose_of(question.model),
        precision=candidate.profile.precision,
        kv_precision=candidate.kv_precision,
        activation_precision=candidate.activation_precision,
        tensor_parallel=candidate.split.tensor,
        pipeline_parallel=candidate.split.pipeline,
        devices=attempt.replicas[0].devices,
        max_batch_size=found.batch,
        max_num_tokens=tokens,
        max_seq_len=found.context,
        threads=candidate.place.cpu.cores,
        group_size=candidate.group_size,
        max_loras=loras_of(question.overrides)[0],
        max_lora_rank=loras_of(question.overrides)[1],
        speculative=method,
        draft=identity(question.draft) if question.draft and method in WITH_MODEL else "",
        nodes=nodes,
    )


def _rejected(
    taken: Taken, turn: Turn, kinds: Sequence[PlanKind], question: Question, refused: Sequence[Refusal]
) -> tuple[Rejection, ...]:
    """Each profile for the model's purpose once, with the last that was said of it; not the one that was taken."""
    purpose = purpose_of(question.model)
    own = {one.name for kind in kinds for one in kind.profiles if purpose in one.purposes}
    found = [*taken.rejected, *(one for refusal in refused for one in refusal.rejected)]
    for kind in kinds:
        if why := _not_played(kind, turn, question):
            found += [Rejection(one.name, why) for one in kind.profiles]
    by_name = {one.profile: one for one in reversed(found) if one.profile in own}
    by_name.pop(taken.attempt.candidate.profile.name, None)
    return tuple(reversed(by_name.values()))


def _not_played(kind: PlanKind, turn: Turn, question: Question) -> str:
    """Why a kind had no turn, though it comes before those of last choice; empty where it had one."""
    profile, engine = question.overrides.profile, question.overrides.engine
    if kind.last_choice:
        return ""
    if not is_asked_for(kind, question.overrides):
        name, override = ("profile", profile) if profile else ("engine", engine)
        return f"{asked(override, name)} asks for {override.value}" if override else ""
    return "the GPU comes before the CPU" if turn.place.pool and set(kind.devices) == {CPU} else ""


def _not_from_gpus(
    turn: Turn, kinds: Sequence[PlanKind], question: Question, refused: Sequence[Refusal]
) -> tuple[str, tuple[Reason, ...]]:
    """Why the machine's GPUs do not serve, and the line that says so; empty where they do, or there are none."""
    gpus = question.machine.gpus
    if not gpus or turn.place.pool:
        return "", ()
    on_gpus = next((one for one in refused if one.on_gpu), None)
    if override := only_on_the_cpu(kinds, question.overrides):
        why, text = f"only its engine has {override}", "serving from the CPU"
    elif on_gpus is None:
        found = "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
        return "", (Reason("gpus", f"{found} found; this version has no engine for them; serving from the CPU"),)
    else:
        why = on_gpus.words
        text = "serving from the CPU" + (f", not from {gpus[0].name}" if on_gpus.code == MISSING else "")
    return why, (Reason("not_from_gpus", f"{text}: {why}"),)


def _engine(case: Case) -> Iterable[Reason]:
    if engine := case.question.overrides.engine:
        yield Reason("engine", f"engine {engine.value}: {given_text(engine)}")

"""What to raise when every kind is refused at every place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from stoker.errors import DoesNotFitError, StokerError, UnsupportedModelError
from stoker.plan.devices import CPU
from stoker.plan.kind import PlanKind, Question
from stoker.plan.overrides import asked, offers
from stoker.plan.selection import UNKNOWN
from stoker.plan.turn import ELSEWHERE, FACTS, MISSING, SIZES, Refusal
from stoker.resolve.model import Model


def final_error(
    refused: Sequence[Refusal],
    kinds: Sequence[PlanKind],
    serving: Sequence[PlanKind],
    question: Question,
    buildable: Set[str] | None,
) -> StokerError:
    """`kinds` are those that the overrides allow, of all that are `serving` such models.

    The first refusal that says more than that something is not installed, or that the model is not known; kinds of last
    choice have the last word.
    """
    if not refused:
        return _no_place(kinds, question)
    if missing := _missing_offers(refused, kinds, question):
        return missing
    told = [one for one in refused if one.code not in (MISSING, ELSEWHERE)] or list(refused)
    told.sort(key=lambda one: (one.code == UNKNOWN, one.kinds[0].last_choice))
    first = told[0]
    if unknown := unknown_error(question.model, serving, buildable):
        return unknown
    on_cpu = any(CPU in one.devices for one in kinds)
    if first.on_gpu and first.code != SIZES and on_cpu and not question.machine.host_known:
        remedy = f"describe the host too (--machine {question.machine.name},cpu:16c-64g) to plan for its CPU"
        return _adding(first.error, remedy)
    if first.code in (FACTS, UNKNOWN) and (others := _on_other_machines(serving, question)):
        return _adding(first.error, "; ".join(others))
    return first.error


def _adding(error: StokerError, remedy: str) -> StokerError:
    return type(error)(error.what, why=error.why, remedy=f"{error.remedy}; {remedy}".lstrip("; "))


def _on_other_machines(serving: Sequence[PlanKind], question: Question) -> tuple[str, ...]:
    """Kinds that know the model and read its checkpoint, and have no device here."""
    here = {CPU, *(gpu.vendor for gpu in question.machine.gpus)}
    able = [kind for kind in serving if not here.intersection(kind.devices) and _serves(kind, question.model)]
    return tuple(f"{kind.name} serves it on {_where(kind)}" for kind in able)


def _serves(kind: PlanKind, model: Model) -> bool:
    return kind.unknown(model) is None and any(kind.checkpoint(model) in one.checkpoints for one in kind.profiles)


def _where(kind: PlanKind) -> str:
    return " or ".join("CPUs" if device == CPU else f"{device.upper()} GPUs" for device in kind.devices)


def _no_place(kinds: Sequence[PlanKind], question: Question) -> StokerError:
    """For kinds that run on GPUs alone, on a machine without."""
    overrides = question.overrides
    given = next(
        ((name, one) for name, one in (("profile", overrides.profile), ("engine", overrides.engine)) if one), None
    )
    what = f"{asked(given[1], given[0])} {given[1].value}" if given else question.model.served_name
    others = [gpu.name for gpu in question.machine.gpus]
    why = (
        f"{others[0]} is not for it: {kinds[0].elsewhere}" if others and kinds else "it needs a GPU, and none was found"
    )
    return DoesNotFitError(f"{what} is not available", why=why)


def _missing_offers(refused: Sequence[Refusal], kinds: Sequence[PlanKind], question: Question) -> StokerError | None:
    """For an override that only kinds which are not installed have."""
    overrides = question.overrides
    gone = [one for one in refused if one.code == MISSING]
    missing = {kind.name for one in gone for kind in one.kinds}
    for name in ("profile", "precision", "kv_precision"):
        override = getattr(overrides, name)
        offering = [kind for kind in kinds if override is not None and offers(kind, overrides)[override.value]]
        if offering and all(kind.name in missing for kind in offering):
            there = [one for kind in kinds if kind.name not in missing for one in kind.profiles]
            precisions = {one.precision for one in there}
            caches = {kv for one in there for kv in one.kv_precisions}
            possible = ", ".join(sorted(caches if name == "kv_precision" else precisions))
            on_cpu = all(set(kind.devices) == {CPU} for kind in kinds if kind.name not in missing)
            what = f"{asked(override, name.replace('_', '-'))} {override.value} is not available"
            remedy = f"possible {'on the CPU' if on_cpu else 'here'}: {possible}" if possible else ""
            return DoesNotFitError(what, why=gone[0].words, remedy=remedy)
    return None


def unknown_error(model: Model, kinds: Sequence[PlanKind], buildable: Set[str] | None) -> StokerError | None:
    """For a model that none of the kinds that can be built knows: with what is supported, and which kinds know it."""
    known = [kind for kind in kinds if kind.unknown(model) is None]
    if any(buildable is None or kind.name in buildable for kind in known):
        return None
    names = sorted({name for kind in kinds for name in kind.architectures})
    own = [kind for kind in kinds if kind not in known and (buildable is None or kind.name in buildable)]
    errors = [error for kind in own if (error := kind.unknown(model))]
    if not errors:  # nothing can be built here at all
        return None
    *others, last = errors
    why = "; ".join(
        dict.fromkeys(filter(None, (last.why, *(error.what for error in others if error.what != last.what))))
    )
    remedy = last.remedy or f"supported: {', '.join(names)}"
    return UnsupportedModelError(last.what, why=why, remedy="; or ".join((remedy, *_elsewhere(known))))


def _elsewhere(known: Sequence[PlanKind]) -> Iterator[str]:
    """Which kinds know the model, and where they serve it."""
    for kind in known:
        yield f"{kind.name} serves it on {_where(kind)}: {kind.package.remedy}"

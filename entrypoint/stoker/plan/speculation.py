"""Speculative decoding: what the user may ask for, and what each engine kind says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.errors import UsageError
from stoker.nearest import did_you_mean
from stoker.plan.units import count_text
from stoker.resolve.heads import check_head, check_no_head
from stoker.resolve.model import Model

if TYPE_CHECKING:
    from stoker.plan.kind import Question

OFF, AUTO, LOOKUP, DRAFT, EAGLE3, MTP = "off", "auto", "lookup", "draft", "eagle3", "mtp"
WITH_MODEL = (DRAFT, EAGLE3)
FORMS = (OFF, AUTO, LOOKUP, MTP, *(f"{method}=MODEL" for method in WITH_MODEL))


@dataclass(frozen=True)
class Speculation:
    """`method`: one of the above. `reference`: of the model that guesses, where the method has one."""

    method: str = OFF
    reference: str = ""


NOTHING = Speculation()


def parse_speculation(text: str) -> Speculation:
    """From `lookup`, `draft=org/name` and so on; UsageError for anything else."""
    method, _, reference = (part.strip() for part in text.partition("="))
    if method in WITH_MODEL and reference:
        return Speculation(method, reference)
    if method in (OFF, AUTO, LOOKUP, MTP) and "=" not in text:
        return Speculation(method)
    why = f"{method} needs a model" if method in WITH_MODEL else f"possible: {', '.join(FORMS)}"
    remedy = f"--speculative {method}=MODEL" if method in WITH_MODEL else did_you_mean(method, FORMS)
    raise UsageError(f"invalid --speculative {text!r}", why=why, remedy=remedy)


@dataclass(frozen=True)
class Speculates:
    """What an engine kind says of speculative decoding.

    `why_not`: why it does not have a method for a model, empty where it has. `pays`: the method that measurements show
    to raise the tokens per second for a goal; OFF without such a measurement.
    """

    why_not: Callable[[str, Question], str]
    pays: Callable[[str], str]


def never(why: str) -> Speculates:
    """For kinds without it."""
    return Speculates(lambda _method, _question: why, lambda _goal: OFF)


def method_of(kind: Speculates, question: Question) -> str:
    """What a kind does: OFF, or one of its methods."""
    method = question.speculation.method
    if method != AUTO:
        return method
    paying = kind.pays(question.goal)
    return OFF if paying == OFF or kind.why_not(paying, question) else paying


def why_not(kind: Speculates, question: Question) -> str:
    """Why a kind does not have what the user asks for; empty where it has."""
    method = method_of(kind, question)
    return "" if method == OFF else kind.why_not(method, question)


def identity(draft: Model) -> str:
    """Of the model that guesses, in an engine's key."""
    return f"{draft.served_name}@{draft.revision}"


def check_draft(model: Model, draft: Model, method: str) -> None:
    """UsageError for a model that cannot guess another's tokens."""
    if method == EAGLE3:
        check_head(model, draft)
    else:
        check_no_head(draft)
    own, other = model.architecture.vocabulary_size, draft.architecture.vocabulary_size
    if method == DRAFT and own != other:
        raise UsageError(
            f"{draft.served_name} cannot draft for {model.served_name}",
            why=f"it has {count_text(other)} token ids, {model.served_name} has {count_text(own)}",
            remedy="use a smaller model of the same family, with the same tokenizer",
        )

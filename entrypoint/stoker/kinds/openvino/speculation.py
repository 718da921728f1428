"""Speculative decoding by OpenVINO GenAI: what it has, and how many tokens are guessed. Imports no OpenVINO.

Each step of a sequence computes the guesses too, so that a step of many sequences takes longer than their guesses save.
GenAI takes no request without guesses in a pipeline that has them; one guess is the fewest.
"""

from __future__ import annotations

from dataclasses import replace

from stoker.plan.formulas import WIDTH
from stoker.plan.speculation import DRAFT, EAGLE3, LOOKUP, OFF, WITH_MODEL
from stoker.plan.types import Chosen

DRAFT_FOLDER = "draft"  # in the engine's directory
METHODS = (LOOKUP, DRAFT, EAGLE3)
GUESSES = 4  # tokens per step and sequence while few run
FEWEST_GUESSES = 1
FEW_STREAMS = 2  # sequences that run at once up to which guesses are worth their time
NGRAM = 3  # tokens of the text's end that are looked for in it, at most


def guesses(running: int) -> int:
    """For a sequence that begins while so many run, itself included."""
    return GUESSES if running <= FEW_STREAMS else FEWEST_GUESSES


def most_rows(method: str, batch: int) -> int:
    """Tokens that one step of the whole batch computes at most."""
    few = min(batch, FEW_STREAMS)
    return batch if method == OFF else few * (GUESSES + 1) + (batch - few) * (FEWEST_GUESSES + 1)


def most_tokens(chosen: Chosen) -> int:
    """Of one step. Sequences that a step has no room for wait until others end, so that all guesses must fit into one.
    A draft reads its prompts apart from the model, in pieces of another length, after which GenAI gives a token twice:
    so a prompt is read whole, beside the guesses of all others."""
    rows = most_rows(chosen.speculative, chosen.max_batch_size)
    return max(chosen.max_num_tokens, rows + (chosen.max_seq_len if chosen.speculative in WITH_MODEL else 0))


def spare_blocks(chosen: Chosen) -> int:
    """Of the KV cache, for guesses beyond the longest answers: one for each sequence."""
    return 0 if chosen.speculative == OFF else chosen.max_batch_size


def draft_precision(precision: str) -> str:
    """Of the model that guesses: as the other's, but never calibrated."""
    return precision if precision in WIDTH else "int8"


def as_draft(chosen: Chosen) -> Chosen:
    """How the model that guesses is built."""
    return replace(chosen, precision=draft_precision(chosen.precision), group_size=0, speculative=OFF, draft="")


def why_not(method: str, *, dense: bool, pooling: bool) -> str:
    """Empty where the method is there."""
    if pooling:
        return "the model generates no text"
    if dense:
        return "this model's soft-capped attention cannot be paged, and GenAI guesses only in its paged pipeline"
    return "" if method in METHODS else f"OpenVINO GenAI has no {method}; it has {' and '.join(METHODS)}"

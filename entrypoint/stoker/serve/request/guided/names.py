"""Names of further properties: any JSON string that is none of those which a schema knows already."""

from __future__ import annotations

from stoker.serve.request.guided.grammar import NOTHING, GuideError, Node, Text, choice, sequence, without
from stoker.serve.request.guided.json_values import PLAIN, PLAIN_CHARACTER

MAX_NAME = 100


def other_names(names: tuple[str, ...]) -> Node:
    """Without escapes, so that none can spell a known name in another way."""
    if any(len(name) > MAX_NAME for name in names):
        raise GuideError(f"names beside additionalProperties may have at most {MAX_NAME} characters")
    return sequence('"', _other(set(names)), '"')


def _other(names: set[str]) -> Node:
    """By the first character: one with which no name goes on, or one with which some do and then something else."""
    any_rest = PLAIN
    if not names:
        return any_rest
    firsts = sorted({name[0] for name in names if name})
    elsewhere = without(PLAIN_CHARACTER, *((ord(first), ord(first)) for first in firsts))
    options: list[Node] = [] if "" in names else [NOTHING]
    options.append(sequence(elsewhere, any_rest))
    for first in firsts:
        if first not in '"\\' and first >= " ":
            options.append(sequence(Text(first), _other({name[1:] for name in names if name[:1] == first})))
    return choice(options)

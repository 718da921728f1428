"""What an engine kind cannot sample with, so that the API refuses it by name instead of passing it over."""

from __future__ import annotations

from collections.abc import Mapping

NOTHING: frozenset[str] = frozenset()
GUIDES = "guide"

# Parameters of stoker.launch.generation.Generation, which are called the same in a request. transformers' continuous
# batching keeps no counts of a request's tokens on the device, which penalties and a least length would need.
LACKS: Mapping[str, frozenset[str]] = {
    "torch": frozenset({GUIDES, "min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty"}),
}


def lacks(kind: str) -> frozenset[str]:
    return LACKS.get(kind, NOTHING)

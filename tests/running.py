"""What engines give, step by step, without a server."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import Runtime


def tokens_of(runtime: Runtime, generations: Sequence[Generation]) -> list[list[int]]:
    """All at once to their ends."""
    running = {index: runtime.add(generation) for index, generation in enumerate(generations)}
    ids: list[list[int]] = [[] for _ in generations]
    while running:
        runtime.step()
        for index, sequence in tuple(running.items()):
            output = sequence.read()
            assert not output.refused
            ids[index] += output.ids
            if output.ended:
                del running[index]
    return ids

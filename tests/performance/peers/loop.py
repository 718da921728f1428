"""What every peer's process does: it loads, says `loaded`, warms up, says `ready`, and measures a load for each line on
its standard input.

A line is "STREAMS PROMPT_TOKENS NEW_TOKENS SEED"; the answer is {"seconds", "tokens"} in one line. All streams begin at
once, greedy, the end of a sequence ignored; no two prompts are alike.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence

OUTPUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what engines print is no answer


def serve(generate: Callable[[Sequence[Sequence[int]], int], None], facts: dict[str, str]) -> None:
    """`generate` takes prompts and the number of tokens that each is to get. `facts` name what is measured."""
    print(json.dumps({"loaded": True}), file=OUTPUT, flush=True)
    for streams, prompt in ((1, 8), (2, 16), (1, 200), (4, 33)):
        generate(prompts(streams, prompt, seed=prompt), 4)
    print(json.dumps({"ready": facts}), file=OUTPUT, flush=True)
    for line in sys.stdin:
        streams, prompt, new, seed = map(int, line.split())
        given = prompts(streams, prompt, seed)
        began = time.perf_counter()
        generate(given, new)
        print(json.dumps({"seconds": time.perf_counter() - began, "tokens": streams * new}), file=OUTPUT, flush=True)


def prompts(streams: int, tokens: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(2, 2000) for _ in range(tokens)] for _ in range(streams)]

"""The same engine driven directly, in a process of its own: no Triton, no HTTP.

`python direct.py SETTINGS.json PROMPT_TOKENS NEW_TOKENS` loads once, warms up, and for every line on
standard input ("STREAMS") prints one JSON object {"seconds", "tokens", "first"}.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.settings import EngineSettings
from stoker.launch.warm_up import warm_up_rounds


def measure(runtime: PagedRuntime, streams: int, prompt_tokens: int, new_tokens: int, seed: int) -> dict:
    generator = random.Random(seed)
    prompts = [[generator.randrange(2, 2000) for _ in range(prompt_tokens)] for _ in range(streams)]
    return generate(runtime, prompts, new_tokens)


def generate(runtime: PagedRuntime, prompts: list[list[int]], new_tokens: int) -> dict:
    began = time.perf_counter()
    sequences = [runtime.add(Generation(str(i), prompt, new_tokens)) for i, prompt in enumerate(prompts)]
    first, tokens, running = 0.0, 0, sequences
    while running:
        runtime.step()
        outputs = [(sequence, sequence.read()) for sequence in running]
        tokens += sum(len(output.ids) for _, output in outputs)
        first = first or (time.perf_counter() - began if tokens else 0.0)
        running = [sequence for sequence, output in outputs if not output.ended]
    return {"seconds": time.perf_counter() - began, "tokens": tokens, "first": first}


def warm_up(runtime: PagedRuntime, settings: EngineSettings) -> None:
    """What the server does before it calls itself ready."""
    rounds = warm_up_rounds(settings.chosen.max_num_tokens, settings.chosen.max_seq_len, settings.chosen.max_batch_size)
    for number, lengths in enumerate(rounds):
        prompts = [
            [2 + (50 * number + 7 * each + place) % 1900 for place in range(n)] for each, n in enumerate(lengths)
        ]
        generate(runtime, prompts, 4)


def main() -> None:
    settings_file, prompt_tokens, new_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    settings = EngineSettings.read(Path(settings_file))
    runtime = PagedRuntime(settings)
    warm_up(runtime, settings)
    print("ready", flush=True)
    for number, line in enumerate(sys.stdin):
        print(json.dumps(measure(runtime, int(line), prompt_tokens, new_tokens, seed=number)), flush=True)


if __name__ == "__main__":
    main()

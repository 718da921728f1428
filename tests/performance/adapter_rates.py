"""What adapters cost an engine, as ratios: for adapters.py and adapters_torch.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_adapters import write_adapter
from random_models import shapes_of

from stoker.launch.generation import Adapter, Generation
from stoker.launch.stub.runtime import Runtime

RANK, TOKENS = 16, 16
CASES: Mapping[str, int | None] = {"no places": None, "0 adapters": 0, "1 adapter": 1, "8 adapters": 8}


def adapter(folder: Path, config: dict[str, Any], number: int) -> Adapter:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes_of(config):
        if name.endswith("_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            shapes |= {f"{module}.lora_A.weight": (RANK, shape[1]), f"{module}.lora_B.weight": (shape[0], RANK)}
    folder.mkdir()
    write_adapter(folder, {"peft_type": "LORA", "r": RANK, "lora_alpha": number}, shapes)
    return Adapter(number, str(folder))


def rate(runtime: Runtime, streams: int, adapters: list[Adapter]) -> float:
    """Tokens per second of that many sequences, each with the next adapter."""
    ids = np.random.default_rng().integers(10, 2000, (streams, 16))
    own = [adapters[index % len(adapters)] if adapters else None for index in range(streams)]
    generations = [Generation(str(n), ids[n].tolist(), TOKENS, adapter=each) for n, each in enumerate(own)]
    began = time.perf_counter()
    running = [runtime.add(generation) for generation in generations]
    while running:
        runtime.step()
        running = [sequence for sequence in running if not sequence.read().ended]
    return streams * TOKENS / (time.perf_counter() - began)


def ratios(runtimes: Mapping[str, Runtime], adapters: Sequence[Adapter], rounds: int) -> dict[str, dict[str, float]]:
    """Of CASES, tokens/s over the first's with 1 and 16 streams: medians of the rounds, in which they take
    turns."""
    rates: dict[str, dict[int, list[float]]] = {case: {1: [], 16: []} for case in CASES}
    for turn in range(rounds + 1):  # the first warms up, and loads the adapters
        for case, count in CASES.items():
            for streams in (16, 1):
                found = rate(runtimes[case], streams, list(adapters[: count or 0]))
                if turn:
                    rates[case][streams].append(found)
    first = rates["no places"]
    return {
        case: {
            str(streams): round(statistics.median(a / b for a, b in zip(own[streams], first[streams], strict=True)), 3)
            for streams in own
        }
        for case, own in rates.items()
    }

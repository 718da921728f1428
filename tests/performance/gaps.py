"""The longest gap between the tokens of running streams while other prompts are read, over their usual gap.

    python -m tests.performance.gaps [--streams 16 32] [--prompts 128 1500] [--most 128 512] [--rounds 2]

The engine alone, in this process. So many streams run; then a prompt of each length comes, one after the other. All
figures are of the same run, the variants in turns: in wall time and, since other work may share the machine, in
processor time. With --loaded the policy counts processor time too; with --gap 0 it does what it does for models whose
steps take longer.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from processes import WORK
from random_models import write_model
from tests.performance.__main__ import engine_settings

USUAL_STEPS = 12
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Taken:
    """Seconds: on the clock, and of processors."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Reading:
    """Of one prompt: every gap of the streams that ran, and the time until its own first token."""

    usual: Taken
    longest: Taken
    first: Taken
    steps: int


@dataclass(frozen=True)
class Variant:
    """`gap`: what a step with pieces of prompts may take; with an infinite one each step is full, as GenAI has it."""

    gap: float
    runtime: Any

    def readings(self, streams: int, prompts: Sequence[int], generator: random.Random) -> list[Reading]:
        from stoker.launch.stub import step_times

        step_times.LONGEST_GAP = self.gap
        return list(readings(self.runtime, streams, prompts, generator))


def with_tokens(settings: Any, most: int) -> Any:
    return replace(settings, chosen=replace(settings.chosen, max_num_tokens=most))


def one_step(runtime: Any) -> Taken:
    wall, processor = time.perf_counter(), time.process_time()
    runtime.step()
    return Taken(time.perf_counter() - wall, time.process_time() - processor)


def added(runtime: Any, tokens: int, new: int, generator: random.Random) -> Any:
    from stoker.launch.generation import Generation

    return runtime.add(Generation(str(next(_NUMBERS)), [generator.randrange(2, 2000) for _ in range(tokens)], new))


def readings(runtime: Any, streams: int, prompts: Sequence[int], generator: random.Random) -> Iterator[Reading]:
    running = [added(runtime, 32, 4096, generator) for _ in range(streams)]
    waiting = set(running)
    while waiting:
        runtime.step()
        waiting -= {each for each in waiting if each.read().ids}
    for tokens in prompts:
        usual = [one_step(runtime) for _ in range(USUAL_STEPS)]
        came, taken = added(runtime, tokens, 1, generator), []
        while not came.read().ended:
            taken.append(one_step(runtime))
        yield Reading(_each(statistics.median, usual), _each(max, taken), _each(sum, taken), len(taken))
    for each in running:
        each.cancel()
    runtime.step()


def _each(of: Any, taken: Sequence[Taken]) -> Taken:
    return Taken(of([each.wall for each in taken]), of([each.processor for each in taken]))


def line(name: str, streams: int, tokens: int, found: Sequence[Reading]) -> str:
    cells = [name, str(streams), f"{tokens:,}", str(found[0].steps)]
    for clock in ("wall", "processor"):
        usual, longest, first = (
            statistics.median(getattr(getattr(each, one), clock) for each in found)
            for one in ("usual", "longest", "first")
        )
        cells += [f"{usual * 1e3:.0f}", f"{longest * 1e3:.0f}", f"{longest / usual:.1f}", f"{first:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Gaps between tokens while prompts are read")
    parser.add_argument("--streams", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--prompts", type=int, nargs="+", default=[128, 1500])
    parser.add_argument("--most", type=int, nargs="+", help="tokens per step; as planned")
    parser.add_argument("--gap", type=float, help="seconds that a step may take; as in the product")
    parser.add_argument("--loaded", action="store_true")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    from stoker.kinds.openvino.runtime import paged
    from stoker.launch.settings import EngineSettings
    from stoker.launch.stub import step_times

    WORK.mkdir(parents=True, exist_ok=True)
    model = write_model(WORK / "qwen2.5-0.5b-shape")
    settings = EngineSettings.read(engine_settings(model, WORK / "cache", options.precision))
    gap = step_times.LONGEST_GAP if options.gap is None else options.gap
    if options.loaded:
        threads = settings.chosen.threads
        counted = SimpleNamespace(monotonic=lambda: time.process_time() / threads, sleep=time.sleep)
        paged.time = counted  # type: ignore[assignment]  # processor time instead of the clock
    variants = {
        f"{most} tokens, {how}": Variant(each, paged.PagedRuntime(with_tokens(settings, most)))
        for most in options.most or [settings.chosen.max_num_tokens]
        for how, each in (("full steps", math.inf), ("by step times", gap))
    }
    generator = random.Random(1)
    print("| what | streams | prompt | steps | usual gap, ms | longest, ms | ratio | first token, s |", end="")
    print(" processors: usual | longest | ratio | first |\n" + "|---" * 12 + "|", flush=True)
    for streams in options.streams:
        turns = [
            {name: one.readings(streams, options.prompts, generator) for name, one in variants.items()}
            for _ in range(options.rounds)
        ]
        for name in variants:
            for place, tokens in enumerate(options.prompts):
                print(line(name, streams, tokens, [turn[name][place] for turn in turns]), flush=True)


if __name__ == "__main__":
    main()

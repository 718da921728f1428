"""What prefix affinity is worth: conversations over two replicas, with and without it, and how evenly they are loaded.

    STOKER_VLLM_PYTHON=... python tests/performance/affinity.py [--replicas 2] [--clients 32] [--turns 8] [--rounds 2]

Two vLLM engines of the demo model on the CPU, which tell how many blocks of each prompt their caches held. Every client
has a conversation: a beginning that all share, then turns of a question and an answer. Prints a line for each way to
route: the share of prompt blocks that were reused, tokens per second beside those without affinity, and the part of the
sequences that the busiest replica had.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.engine_settings import CHOSEN

from stoker.kinds.vllm.kind import TENSORS
from stoker.kinds.vllm.runtime.engine import RELAY
from stoker.kinds.vllm.runtime.process import CHECKPOINT, SETTINGS, Launch
from stoker.launch.generation import Generation
from stoker.launch.python_engine import PythonEngine
from stoker.launch.replicas import Replicas
from stoker.launch.routing import Router
from stoker.launch.settings import EngineSettings
from stoker.launch.supervisor import Patience, Supervisor
from stoker.pinning import Pinning
from stoker.plan.types import KvPool, chosen_from
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY

POOL = KvPool(512, 32, 16384)  # of fewer tokens vLLM makes no blocks on a CPU
SHARED, QUESTION, ANSWER, VOCABULARY = 64, 48, 16, 1900
WAYS = {"no affinity": None, "affinity, slack of 1": 0.0, "affinity, slack 1/4": 0.25, "affinity, slack 1/2": 0.5}


@dataclass
class Run:
    """Whole blocks of prompts, those of them that a cache held, and tokens of answers."""

    block_tokens: int
    blocks: int = 0
    reused: int = 0
    tokens: int = 0
    seconds: float = 0.0
    shares: list[int] = field(default_factory=list)

    @property
    def reuse(self) -> float:
        return self.reused / self.blocks

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def busiest(self) -> float:
        return max(self.shares) / sum(self.shares)


def engine(folder: Path) -> PythonEngine:
    folder.mkdir()
    (folder / CHECKPOINT).symlink_to(DEMO_DIRECTORY)
    Launch({"enforce_eager": True, "block_size": POOL.block_tokens}).write(folder / SETTINGS)
    limits = {"max_batch_size": 32, "max_num_tokens": 1024, "max_seq_len": 2048}
    chosen = chosen_from({**CHOSEN, **limits, "engine": "vllm"})
    settings = EngineSettings(RELAY, str(folder), chosen, POOL, vocabulary_size=2048)
    return PythonEngine(settings, "*.safetensors", TENSORS["text"])


def replicas(count: int, servable: PythonEngine) -> Replicas:
    patience = Patience(heartbeat=3600, fresh=3600, wedged=7200)

    def supervisor(number: int, on_state: Callable[[str], None]) -> Supervisor:
        return Supervisor(servable, patience, on_state, pinning=Pinning((number % 2,)))

    return Replicas(count, supervisor, Router(count), patience)


async def converse(all_: Replicas, run: Run, chance: random.Random, shared: list[int], turns: int) -> None:
    history = list(shared)
    for turn in range(turns):
        history += [chance.randrange(300, VOCABULARY) for _ in range(QUESTION)]
        name = f"{chance.random()}-{turn}"
        generation = Generation(name, tuple(history), ANSWER, perf_metrics=True)
        async for delta in all_.generate(generation):
            history += delta.ids
            run.tokens += len(delta.ids)
            if delta.perf_metrics is not None:
                run.blocks += len(generation.input_ids) // run.block_tokens
                run.reused += delta.perf_metrics.reused_blocks or 0
        await asyncio.sleep(chance.uniform(0, 0.2))


async def measured(all_: Replicas, router: Router, options: argparse.Namespace, seed: int) -> Run:
    """Prompts of a run are in no cache before it."""
    all_._router = router
    gauges, chance = await all_.state(), random.Random(seed)
    run = Run(gauges.kv_block_tokens)
    shared = [chance.randrange(300, VOCABULARY) for _ in range(SHARED)]
    before, began = await all_.members(), time.perf_counter()
    clients = [random.Random(chance.random()) for _ in range(options.clients)]
    await asyncio.gather(*(converse(all_, run, client, shared, options.turns) for client in clients))
    run.seconds = time.perf_counter() - began
    after = await all_.members()
    run.shares = [late.requests - early.requests for late, early in zip(after, before, strict=True)]
    return run


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("replicas", 2), ("clients", 32), ("turns", 8), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        all_ = replicas(options.replicas, engine(Path(folder) / "demo"))
        await all_.start(Silent())
        try:
            found: dict[str, list[Run]] = {way: [] for way in WAYS}
            for number in range(options.rounds * len(WAYS)):
                way = list(WAYS)[number % len(WAYS)]
                found[way].append(await measured(all_, router_of(WAYS[way], options.replicas), options, number))
                print(way, found[way][-1], flush=True)
        finally:
            await all_.stop()
    base = statistics.median(run.rate for run in found["no affinity"])
    for way, runs in found.items():
        reuse, busiest = (statistics.mean(getattr(run, name) for run in runs) for name in ("reuse", "busiest"))
        rate = statistics.median(run.rate for run in runs) / base
        print(f"{way}: {reuse:.0%} of prompt blocks reused, tokens/s {rate:.2f} times, busiest replica {busiest:.0%}")


def router_of(slack: float | None, count: int) -> Router:
    return Router(count) if slack is None else Router(count, POOL.blocks, POOL.block_tokens, slack)


if __name__ == "__main__":
    asyncio.run(main())

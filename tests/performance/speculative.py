"""What guesses gain on `openvino`: `python -m tests.performance.speculative [--shape] [--rounds N]`.

One engine after the other answers the same prompts at 1, 4 and 16 streams, without guesses, with `lookup`, and with the
demo model's draft and head, round by round, so that a busy machine is busy for all; ratios are medians over the rounds,
of tokens per second and, which other processes disturb less, of tokens per second of processor time. Chats are the demo
model's own. A copy is a passage that the prompt has said twice already; answers go on past its end, so that the model,
which is too small to copy well, at least repeats itself. `--shape` takes a model of 130 million random weights instead,
whose greedy text turns in circles: the best case for a lookup.
"""

from __future__ import annotations

import argparse
import gc
import io
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engine_settings import engine_settings
from tests.performance.random_models import QWEN2_5_0_5B, write_model
from tokenizers import Tokenizer

from stoker.build.child import Lines
from stoker.build.jobs import Job
from stoker.kinds.openvino.build.worker import build_job
from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation
from stoker.launch.stub.runtime import RunningSequence
from stoker.progress import Silent
from stoker.resolve.local import DEMO_DIRECTORY, DEMO_DRAFT_DIRECTORY, DEMO_HEAD_DIRECTORY, resolve_directory
from stoker.resolve.model import Model

Engines = Mapping[str, Path]  # by method; of those that are not named, the first

SMALL = {**QWEN2_5_0_5B, "num_hidden_layers": 8, "vocab_size": 2048}
STREAMS, TOKENS = (1, 4, 16), 64
PLACES = ("France", "Japan", "Italy", "Spain", "Peru", "Kenya", "Egypt", "India")
PASSAGE = "The miller had a cat. The cat sat on the wall, and the sun was warm. "
CHAT = [f"<|user|>Tell me a short story about {place}.<|end|><|assistant|>" for place in PLACES]
COPY = [f"{PASSAGE.replace('miller', place)} {PASSAGE.replace('miller', place)} The {place}" for place in PLACES]


def model_in(directory: Path, cache: Path) -> Model:
    return resolve_directory(directory, "m", "m", cache, Silent(), weights=True, check=lambda _: None)


def build(folder: Path, source: Path, draft: Path | None, method: str = "draft") -> Path:
    engine = folder / f"engine-{method}"
    engine.mkdir()
    chosen = engine_settings("", engine, engine="openvino", precision="int8", speculative=method).chosen
    guessing = model_in(draft, folder / "models") if draft else None
    build_job(Job(model_in(source, folder / "models"), chosen, str(engine), draft=guessing), Lines(io.StringIO()))
    return engine


def measure(
    engines: Engines, method: str, prompts: Sequence[Sequence[int]], streams: int
) -> tuple[float, float, float]:
    """Tokens per second, per second of processor time, and for each step of a sequence."""
    settings = engine_settings(
        *("", engines.get(method, engines["off"])), kv_blocks=512,
        precision="int8", activation_precision="bf16", kv_precision="u8",
        max_batch_size=16, max_num_tokens=128, max_seq_len=2048, threads=2, speculative=method,
    )  # fmt: skip
    runtime = PagedRuntime(settings)
    try:
        answer(runtime, prompts[:1], 1)
        began, used = time.perf_counter(), time.process_time()
        tokens, steps = answer(runtime, [*prompts] * max(1, 2 * streams // len(prompts)), streams)
        return tokens / (time.perf_counter() - began), tokens / (time.process_time() - used), tokens / steps
    finally:
        runtime.close()
        gc.collect()


def answer(runtime: PagedRuntime, prompts: Sequence[Sequence[int]], streams: int) -> tuple[int, int]:
    waiting, tokens, steps = list(prompts), 0, 0
    running: list[RunningSequence] = []
    while waiting or running:
        while waiting and len(running) < streams:
            running.append(runtime.add(Generation(str(len(waiting)), waiting.pop(0), TOKENS)))
        runtime.step()
        outputs = [(each, each.read()) for each in running]
        tokens += sum(len(output.ids) for _, output in outputs)
        steps += sum(bool(output.ids) for _, output in outputs)
        running = [each for each, output in outputs if not output.over]
    return tokens, steps


def compare(engines: Engines, methods: Sequence[str], texts: dict[str, Sequence[str]], rounds: int) -> None:
    tokenizer = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    for name, prompts in texts.items():
        ids = [tokenizer.encode(text).ids for text in prompts]
        for streams in STREAMS:
            found = [[measure(engines, method, ids, streams) for method in methods] for _ in range(rounds)]
            for place, method in enumerate(methods[1:], 1):
                wall, processor = (statistics.median(each[place][n] / each[0][n] for each in found) for n in (0, 1))
                kept = statistics.median(each[place][2] for each in found) - 1
                told = f"{wall:.2f}x by the clock, {processor:.2f}x by processor time, {kept:.2f} kept per step"
                print(f"{name:8} {method:7} {streams:2} streams: {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", action="store_true", help="a model of random weights instead of the demo")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.shape:
            engine = build(place, write_model(place / "random", SMALL), None)
            compare({"off": engine}, ("off", "lookup"), {"circles": COPY}, options.rounds)
        else:
            engine = build(place, DEMO_DIRECTORY, DEMO_DRAFT_DIRECTORY)
            headed = build(place, DEMO_DIRECTORY, DEMO_HEAD_DIRECTORY, "eagle3")
            methods = ("off", "lookup", "draft", "eagle3")
            compare({"off": engine, "eagle3": headed}, methods, {"chat": CHAT, "copy": COPY}, options.rounds)


if __name__ == "__main__":
    main()

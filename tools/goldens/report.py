"""Prints the golden table of docs/architectures.md from a real run: `python tools/goldens/report.py`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "integration" / "goldens"))

import golden_run
from golden_run import Golden, Paged, Stateful


def main() -> None:
    print("| case | attention | prefill | decode | tokens alone | tokens in a batch |\n|---|---|---|---|---|---|")
    for name in golden_run.names():
        with tempfile.TemporaryDirectory() as folder:
            print(row(golden_run.load(name), Path(folder)), flush=True)


def row(golden: Golden, directory: Path) -> str:
    model = golden_run.build(golden, directory)
    engine = Stateful(model)
    errors = [golden_run.logits_errors(engine, prompt) for prompt in golden.prompts]
    prefill, decode = (max(error[part] for error in errors) for part in (0, 1))
    if golden_run.is_dense(model):
        alone, batch, kind = [engine.greedy(prompt, 64) for prompt in golden.inputs], None, "dense"
    else:
        paged, kind = Paged(model, directory), "paged"
        alone = [paged.greedy([prompt], 64)[0] for prompt in golden.inputs]
        batch = paged.greedy(golden.inputs, 64)
    counts = (equal(alone, golden), "one at a time" if batch is None else equal(batch, golden))
    return f"| {golden.name} | {kind} | {prefill:.1e} | {decode:.1e} | {counts[0]} | {counts[1]} |"


def equal(found: list[list[int]], golden: Golden) -> str:
    pairs = [zip(*each, strict=True) for each in zip(found, golden.continuations, strict=True)]
    tokens = [first == second for each in pairs for first, second in each]
    return f"{sum(tokens)} of {len(tokens)}"


if __name__ == "__main__":
    main()

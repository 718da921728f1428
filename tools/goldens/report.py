"""Prints the golden tables of docs/architectures.md from a real run: `python tools/goldens/report.py [CASE...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "integration" / "goldens"))

import golden_run
import pooled_run
from golden_run import Golden, Paged, Stateful
from pooled_run import PooledGolden


def main() -> None:
    wanted = sys.argv[1:]
    print("| case | attention | prefill | decode | tokens alone | tokens in a batch |\n|---|---|---|---|---|---|")
    for name in chosen(golden_run.names(), wanted):
        with tempfile.TemporaryDirectory() as folder:
            print(row(golden_run.load(name), Path(folder)), flush=True)
    print("\n| case | f32 alone | f32 in a batch | bf16 | int8 |\n|---|---|---|---|---|")
    for name in chosen(pooled_run.names(), wanted):
        print(pooled_row(pooled_run.load(name)), flush=True)


def chosen(names: list[str], wanted: list[str]) -> list[str]:
    return [name for name in names if not wanted or name in wanted]


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


def pooled_row(golden: PooledGolden) -> str:
    (alone, together), (_, bf16), (_, int8) = (
        pooled_vectors(golden, precision) for precision in ("f32", "bf16", "int8")
    )
    errors = [max(map(golden_run.relative, found, expected(golden))) for found in (alone, together)]
    compared = [likeness(found, golden) for found in (bf16, int8)]
    return f"| {golden.name} | {errors[0]:.1e} | {errors[1]:.1e} | {compared[0]} | {compared[1]} |"


def pooled_vectors(golden: PooledGolden, precision: str) -> tuple[list[Any], list[Any]]:
    """Each text alone, and all at once."""
    with tempfile.TemporaryDirectory() as folder:
        engine = pooled_run.runtime(golden, Path(folder), precision)
        return [pooled_run.encoded(engine, (text,))[0][0] for text in golden.texts], pooled_run.encoded(
            engine, golden.texts
        )[0]


def expected(golden: PooledGolden) -> list[Any]:
    return [text.vector for text in golden.texts]


def likeness(found: list[Any], golden: PooledGolden) -> str:
    """Of vectors the least cosine, of scores the largest difference."""
    if golden.facts["method"] == "score":
        return f"off by {max(abs(a - b)[0] for a, b in zip(found, expected(golden), strict=True)):.3f}"
    return f"{min(map(pooled_run.cosine, found, expected(golden))):.4f}"


def equal(found: list[list[int]], golden: Golden) -> str:
    pairs = [zip(*each, strict=True) for each in zip(found, golden.continuations, strict=True)]
    tokens = [first == second for each in pairs for first, second in each]
    return f"{sum(tokens)} of {len(tokens)}"


if __name__ == "__main__":
    main()

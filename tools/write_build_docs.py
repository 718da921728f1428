"""Rewrites the command lines in docs/nvidia-build.md: `python tools/write_build_docs.py`. A test compares them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stoker.kinds.tensorrt_llm.build.commands import Step, steps

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "nvidia-build.md"
BEGIN = "<!-- begin: written by `python tools/write_build_docs.py` -->\n"
END = "<!-- end -->"
CASES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("llama-3.1-8b", "1xH100", {}),
    ("llama-3.1-70b", "2xH100", {"precision": "fp8"}),
)
TOOLS = {"convert": "convert_checkpoint.py", "quantize": "quantize.py", "build": "trtllm-build"}


def orders() -> Any:
    """tests/unit/build/tensorrt_llm/orders.py, which tests and this tool share."""
    path = ROOT / "tests" / "unit" / "build" / "tensorrt_llm" / "orders.py"
    spec = importlib.util.spec_from_file_location("orders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines() -> Iterator[str]:
    shared = orders()
    for model, machine, overrides in CASES:
        plan = shared.plan_of(shared.model_of(model), machine, **overrides)
        yield f"### {model} on {machine}: {plan.chosen.precision} weights, {plan.chosen.kv_precision} cache\n\n"
        for step in steps(shared.order_of(plan)):
            yield from table(step)


def table(step: Step) -> Iterator[str]:
    yield f"| {TOOLS[step.tool]} | value | why |\n|---|---|---|\n"
    for flag in step.flags:
        value = f"`{flag.value}`" if flag.value else ""
        yield f"| `{flag.name}` | {value} | {flag.reason} |\n"
    yield "\n"


def written() -> str:
    """The document as it should be."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    return f"{before}{BEGIN}{''.join(lines())}{END}{rest.split(END, 1)[1]}"


if __name__ == "__main__":
    DOCUMENT.write_text(written())

"""Rewrites the results in tests/unit/plan/gpu_plans.yaml for the cases that stand there: read the difference by eye.

python tools/write_gpu_plans.py [FILE]
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "unit" / "plan" / "gpu_plans.yaml"
HEAD = """\
# Plans for models (tests/unit/configs) on described machines; test_gpu_table.py compares. Sizes are bytes on each GPU,
# and `step` the most tokens in one step of the engine. After a change that is meant: python tools/write_gpu_plans.py
"""


def table() -> Any:
    """tests/unit/plan/gpu_table.py, which tests and this tool share."""
    path = FILE.with_name("gpu_table.py")
    spec = importlib.util.spec_from_file_location("gpu_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    file = Path(sys.argv[1]) if sys.argv[1:] else FILE
    cases = [row["case"] for row in yaml.safe_load(file.read_text())]
    result_of = table().result_of
    lines = []
    for case in sorted(cases, key=lambda case: (case["model"], case["machine"], case.get("goal", ""))):
        lines += [f"- case: {flow(case)}", f"  plan: {flow(result_of(case))}"]
    FILE.write_text(HEAD + "\n".join(lines) + "\n")


def flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip()


if __name__ == "__main__":
    main()

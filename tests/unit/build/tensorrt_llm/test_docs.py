"""docs/nvidia-build.md shows the command lines as they are."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_the_documented_command_lines_are_those_that_are_run():
    writer = runpy.run_path(str(ROOT / "tools" / "write_build_docs.py"))
    document = (ROOT / "docs" / "nvidia-build.md").read_text()
    assert document == writer["written"](), "run: python tools/write_build_docs.py"
    assert document.count("| trtllm-build |") == 2

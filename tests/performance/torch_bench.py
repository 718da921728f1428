"""`make bench-torch`: `stoker bench` of the 0.5B shape, openvino against torch, and its chart into docs/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from processes import WORK
from random_models import write_model

DOCS = Path(__file__).parents[2] / "docs"
KINDS = "openvino:bf16,openvino:int8,openvino:int4,torch:bf16"


def main() -> int:
    model = write_model(WORK / "qwen2.5-0.5b-shape")
    command = [sys.executable, "-m", "stoker", "bench", str(model), "--kinds", KINDS, "--streams", "1,4,16"]
    command += ["--chart", str(DOCS / "benchmark-torch.svg"), *sys.argv[1:]]
    table = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    (DOCS / "benchmark-torch.txt").write_text(table)
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

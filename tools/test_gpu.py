"""`make test-gpu`: tests/hardware with the Python that has TensorRT-LLM, as in NVIDIA's image, else with .venv's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Replaces this process by pytest."""
    if importlib.util.find_spec("tensorrt_llm") is not None:
        run(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
        run(sys.executable, "-m", "pip", "install", "--quiet", "--editable", ".", "--group", "test")
        python = sys.executable
    else:
        run(sys.executable, str(ROOT / "tools" / "setup.py"), "test")
        python = str(ROOT / ".venv" / "bin" / "python")
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "pytest", "tests/hardware", *sys.argv[1:]])


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"error: this failed: {' '.join(command)}")


if __name__ == "__main__":
    main()

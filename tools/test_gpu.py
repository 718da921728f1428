"""`make test-gpu`: tests/hardware in an environment on top of NVIDIA's, as in our image, else in .venv.

The base keeps its packages, except the one that our image fixes too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NVIDIA = ROOT / "images" / "nvidia"
VENV = ROOT / ".venv-gpu"


def main() -> None:
    """Replaces this process by pytest."""
    base = base_python()
    if base:
        python = on_top_of(base)
    else:
        run(sys.executable, str(ROOT / "tools" / "setup.py"), "test")
        python = str(ROOT / ".venv" / "bin" / "python")
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "pytest", "tests/hardware", *sys.argv[1:]])


def base_python() -> str:
    """The Python that has TensorRT-LLM; empty where there is none."""
    answer = subprocess.run(["sh", str(NVIDIA / "python")], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def on_top_of(base: str) -> str:
    """The environment's Python. What the base's Python has is seen behind what is installed here."""
    python = str(VENV / "bin" / "python")
    run("sh", str(NVIDIA / "fix"))
    run(base, "-m", "venv", "--without-pip", str(VENV))
    run(base, "-m", "pip", "--python", python, "install", "--quiet", "pip>=25.1")
    run(python, "-m", "pip", "install", "--quiet", "--editable", ".", "--group", "test")
    run("sh", str(NVIDIA / "behind"), str(VENV))
    return python


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"error: this failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
